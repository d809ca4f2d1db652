//! The ownership of a name.

use crate::{
    log::Standing,
    protocol::{OwnerNumber, Seq},
};

/// An ownership of a name, and how far its inbox was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// Its number.
    pub owner: OwnerNumber,
    /// Every private message up to this number was delivered to the owner.
    pub delivered: Seq,
    /// The standing of the name.
    pub standing: Standing,
}
