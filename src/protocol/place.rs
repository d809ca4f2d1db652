//! Places: the rooms that a name follows, and its private conversations.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, de::Error};

use super::{
    Refusal, RefusalCode, Seq,
    name::{Name, RoomName},
};

/// The most rooms that one name follows, or that one connection watches.
pub const MAX_FOLLOWED: usize = 1000;

/// A room that a name follows, or the person of a private conversation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A room.
    Room(RoomName),
    /// A private conversation with the owner of this name.
    With(Name),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Room(room) => room.fmt(f),
            Place::With(name) => write!(f, "@{name}"),
        }
    }
}

/// How much of a room its follower is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FollowLevel {
    /// Every message.
    #[default]
    All,
    /// Only messages that mention the follower.
    Mentions,
    /// Nothing.
    None,
}

impl FollowLevel {
    /// The level as the store has it.
    pub fn stored(self) -> i64 {
        match self {
            FollowLevel::None => 0,
            FollowLevel::Mentions => 1,
            FollowLevel::All => 2,
        }
    }

    /// The level that the store has; an unknown one tells everything.
    pub fn from_stored(level: i64) -> Self {
        match level {
            0 => FollowLevel::None,
            1 => FollowLevel::Mentions,
            _ => FollowLevel::All,
        }
    }
}

/// The unread messages of a follower in a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// The place.
    #[serde(flatten)]
    pub place: Place,
    /// The number of its last message; 0 if it has none.
    pub last: Seq,
    /// How many messages after the read position are there.
    pub unread: u64,
    /// How many of the messages after the read position mention the follower.
    pub mentions: u64,
}

/// A place of a name, with its read position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Followed {
    /// The place.
    #[serde(flatten)]
    pub place: Place,
    /// Every message of the place up to this number was read.
    pub read: Seq,
    /// The number of its last message; 0 if it has none.
    pub last: Seq,
    /// As in [`Activity`].
    pub unread: u64,
    /// As in [`Activity`].
    pub mentions: u64,
    /// How much of it the follower is told.
    pub level: FollowLevel,
}

impl Followed {
    /// The unread messages in the place.
    pub fn activity(&self) -> Activity {
        Activity {
            place: self.place.clone(),
            last: self.last,
            unread: self.unread,
            mentions: self.mentions,
        }
    }
}

/// The rooms that a connection without an owned name watches, each with its
/// read position: at least one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct WatchedRooms(pub BTreeMap<RoomName, Seq>);

impl<'de> Deserialize<'de> for WatchedRooms {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rooms = BTreeMap::deserialize(deserializer)?;
        if rooms.is_empty() {
            return Err(D::Error::custom("1 to 64 rooms, each with a number"));
        }
        Ok(WatchedRooms(rooms))
    }
}

/// The refusal of one room too many.
pub fn too_many() -> Refusal {
    let text = format!("You follow {MAX_FOLLOWED} rooms already: /unfollow one first.");
    Refusal::new(RefusalCode::NotAllowed, text)
}
