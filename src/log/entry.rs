//! What stands in the log: data, and all of it.
//!
//! An entry holds whatever applying it takes: times, salts and comparison keys
//! are drawn where it is made. It never holds a secret.

use serde::{Deserialize, Serialize};

use super::fields::{
    AtField, AuthorField, IdField, KeyField, KindField, NameField, RoomField, TextField,
};
use crate::protocol::{
    At, Author, ConnectionId, Epoch, Kind, Seq,
    name::{MessageId, Name, NameKey, RoomName},
    text::Text,
};

/// A time of the guarded [`Clock`](super::Clock), in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClockTime(pub i64);

impl ClockTime {
    /// So many milliseconds later.
    #[must_use]
    pub fn plus(self, ms: u64) -> ClockTime {
        ClockTime(self.0.saturating_add_unsigned(ms))
    }

    /// How many milliseconds have passed since an earlier time; 0 if it is later.
    pub fn since(self, earlier: ClockTime) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

/// When a batch was sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// By the wall clock, for people.
    #[serde(with = "AtField")]
    pub at: At,
    /// By the guarded clock, for whatever expires.
    pub clock: ClockTime,
}

/// Which batch of which run of a server: a replica applies each once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// The run: higher than that of every run before it.
    pub incarnation: u64,
    /// The batch in that run: from 1, dense.
    pub number: u64,
}

/// Entries that are ordered and committed together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Who sealed it.
    pub origin: Origin,
    /// When.
    pub stamp: Stamp,
    /// Its entries, in order.
    pub entries: Vec<Entry>,
}

/// The unit of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The connection that asked for it; [`ConnectionId::SERVER`] for the
    /// server itself.
    pub connection: ConnectionId,
    /// What it does.
    pub action: Action,
}

impl Entry {
    /// An entry that the server makes by itself.
    pub fn of_server(action: Action) -> Self {
        Entry {
            connection: ConnectionId::SERVER,
            action,
        }
    }
}

/// What an entry does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Names the log. The first entry of a log, and of a copy that goes on by
    /// itself.
    Begin {
        /// The log's name in positions.
        epoch: Epoch,
    },
    /// Changes the settings that replicas share.
    Settings {
        /// An owned name that is not used for so many milliseconds is free.
        name_expiry_ms: u64,
    },
    /// Stores a message. A private one takes two rows.
    Message(Draft),
    /// Makes a name owned, unless it is.
    Claim {
        /// The name as it was typed.
        #[serde(with = "NameField")]
        name: Name,
        /// Its comparison key.
        #[serde(with = "KeyField")]
        key: NameKey,
        /// The salt of `tag`.
        salt: [u8; 16],
        /// HMAC-SHA-256 of the secret under the salt.
        tag: [u8; 32],
    },
    /// Notes that an owned name is in use.
    Use {
        /// The name's comparison key.
        #[serde(with = "KeyField")]
        key: NameKey,
    },
    /// Notes how far an inbox was delivered to the owner of a name.
    Delivered {
        /// The name's comparison key.
        #[serde(with = "KeyField")]
        key: NameKey,
        /// Every private message up to this number was delivered.
        upto: Seq,
    },
    /// Sets a room's topic; an empty text removes it.
    Topic {
        /// The room.
        #[serde(with = "RoomField")]
        room: RoomName,
        /// The topic.
        #[serde(with = "TextField")]
        text: Text,
        /// The name or tag of its author.
        by: String,
    },
    /// Adds a sanction in place of one of the same kind and target.
    Sanction {
        /// Which.
        kind: SanctionKind,
        /// A name or an address, in the form in which they are compared.
        target: String,
        /// For how many milliseconds; absent: until it is lifted.
        lasts_ms: Option<u64>,
        /// The operator's record of it.
        audit: Audit,
    },
    /// Lifts a sanction.
    Lift {
        /// Which.
        kind: SanctionKind,
        /// As of [`Action::Sanction`].
        target: String,
        /// The operator's record of it.
        audit: Audit,
    },
    /// Takes a message's words away.
    Redact {
        /// The room it was said in.
        #[serde(with = "RoomField")]
        room: RoomName,
        /// Its number.
        seq: Seq,
        /// The operator.
        by: String,
    },
    /// Ends the connections of somebody; the record is all that the store keeps.
    Kick(Audit),
    /// Expires every message up to a number.
    Expire {
        /// The last number.
        upto: Seq,
    },
}

impl Action {
    /// The message it stores, if it does.
    pub fn message(&self) -> Option<&Draft> {
        match self {
            Action::Message(draft) => Some(draft),
            _ => None,
        }
    }
}

/// A message before it has a number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// The room it is for; of a private message the author's inbox.
    #[serde(with = "RoomField")]
    pub room: RoomName,
    /// The author.
    #[serde(with = "AuthorField")]
    pub from: Author,
    /// The text.
    #[serde(with = "TextField")]
    pub text: Text,
    /// The publisher's id; the same id in the same room is stored once.
    #[serde(with = "IdField")]
    pub id: Option<MessageId>,
    /// Said or done.
    #[serde(with = "KindField")]
    pub kind: Kind,
    /// The reader of a private message.
    pub to: Option<Recipient>,
}

/// The reader of a private message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// The name.
    #[serde(with = "NameField")]
    pub name: Name,
    /// The inbox of that name.
    #[serde(with = "RoomField")]
    pub inbox: RoomName,
}

impl Recipient {
    /// The reader of this name.
    pub fn new(name: Name) -> Self {
        Recipient {
            inbox: RoomName::inbox(&name.key()),
            name,
        }
    }
}

/// What a sanction forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SanctionKind {
    /// To connect.
    Ban,
    /// To say anything.
    Mute,
}

impl SanctionKind {
    /// The word for it in the store and in audit records.
    pub fn word(self) -> &'static str {
        match self {
            SanctionKind::Ban => "ban",
            SanctionKind::Mute => "mute",
        }
    }
}

/// A record of what an operator did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// The operator's name or tag.
    pub operator: String,
    /// What was done: `kick`, `ban 2h`.
    pub action: String,
    /// To whom, or to what.
    pub target: String,
    /// Why, in the operator's words; may be empty.
    pub reason: String,
}

#[cfg(test)]
impl Draft {
    /// A message of somebody without a name, for tests.
    pub(crate) fn of(room: &str, text: impl Into<String>) -> Self {
        Draft {
            room: room.parse().expect("a room"),
            from: Author {
                name: None,
                addr: ([127, 0, 0, 1], 5000).into(),
            },
            text: text.into().into(),
            id: None,
            kind: Kind::Said,
            to: None,
        }
    }

    /// The same as an entry.
    pub(crate) fn entry(self) -> Entry {
        Entry {
            connection: ConnectionId(7),
            action: Action::Message(self),
        }
    }
}
