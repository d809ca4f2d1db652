//! The recipient of a private message.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::fields::NameField;
use crate::protocol::{
    OwnerNumber,
    name::{Name, RoomName},
};

/// The recipient of a private message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// The name.
    #[serde(with = "NameField")]
    pub name: Name,
    /// The owner of the name.
    pub owner: OwnerNumber,
    /// Whether the recipient ignores the author: only the author gets a copy.
    pub ignores: bool,
    /// How many messages may be unread, if no connection uses the recipient's
    /// name.
    pub unread: Option<UnreadLimit>,
}

/// How many private messages may be unread in one inbox. Beyond that, further
/// ones are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadLimit {
    /// Those of one sender.
    pub of_sender: u32,
    /// Those of all senders.
    pub of_all: u32,
}

impl UnreadLimit {
    /// The limit if no flag sets another.
    pub const DEFAULT: UnreadLimit = UnreadLimit {
        of_sender: 200,
        of_all: 1000,
    };
}

impl FromStr for UnreadLimit {
    type Err = &'static str;

    /// Parses `200:1000`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const RULE: &str = "give ONE:ALL, like 200:1000, of numbers from 1 to 10000; or off";
        let number = |text: &str| text.parse().ok().filter(|n| (1..=10_000).contains(n));
        let (one, all) = text.split_once(':').ok_or(RULE)?;
        Ok(UnreadLimit {
            of_sender: number(one).ok_or(RULE)?,
            of_all: number(all).ok_or(RULE)?,
        })
    }
}

impl Recipient {
    /// The inbox of the recipient.
    pub fn inbox(&self) -> RoomName {
        RoomName::inbox(self.owner)
    }
}
