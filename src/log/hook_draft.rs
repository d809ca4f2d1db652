//! A hook that is to be made.

use serde::{Deserialize, Serialize};

use super::fields::{KeyField, NameField, RoomField};
use crate::protocol::{
    OwnerNumber,
    name::{Name, NameKey, RoomName},
};

/// A hook that is to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookDraft {
    /// SHA-256 of its token.
    pub token: [u8; 32],
    /// The room in which its messages appear.
    #[serde(with = "RoomField")]
    pub room: RoomName,
    /// The author of its messages.
    #[serde(with = "NameField")]
    pub name: Name,
    /// The comparison key of `name`.
    #[serde(with = "KeyField")]
    pub key: NameKey,
    /// The owner number of the name that asks.
    pub by: OwnerNumber,
    /// The name or tag of the person who asks.
    pub author: String,
    /// Whether an operator asks.
    pub operator: bool,
}
