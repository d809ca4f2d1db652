//! An invitation before it has a number.

use serde::{Deserialize, Serialize};

use super::{fields::RoomField, standing::Standing};
use crate::protocol::{OwnerNumber, name::RoomName};

/// An invitation before it has a number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvitationDraft {
    /// SHA-256 of its token.
    pub token: [u8; 32],
    /// The room that it leads to.
    #[serde(with = "RoomField")]
    pub room: RoomName,
    /// The standing that it gives to a name.
    pub gives: Standing,
    /// How many names it admits.
    pub uses: u32,
    /// How long it is valid, in milliseconds.
    pub duration_ms: u64,
    /// The owner number of the author's name.
    pub by: OwnerNumber,
    /// The author's name or tag.
    pub author: String,
    /// Whether the author is an operator.
    pub operator: bool,
}
