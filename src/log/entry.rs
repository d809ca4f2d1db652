//! Entries and batches: the data of the log.
//!
//! An entry holds everything that applying it needs. The server that makes it
//! puts in times, salts and comparison keys. It never holds a secret.

use serde::{Deserialize, Serialize};

use super::{
    fields::{
        AtField, AuthorField, IdField, KeyField, KindField, LevelField, NameField, RoomField,
        TextField,
    },
    hook_draft::HookDraft,
    invitation_draft::InvitationDraft,
    recipient::Recipient,
    standing::Admitted,
};
use crate::protocol::{
    About, AboutKind, Author, ConnectionId, Epoch, FollowLevel, MessageKind, OwnerNumber, Seq,
    WallTime,
    name::{MessageId, Name, NameKey, RoomName},
    text::Text,
};

/// A time of the guarded [`GuardedClock`](super::GuardedClock), in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GuardedTime(pub i64);

impl GuardedTime {
    /// The time that is `ms` milliseconds later.
    #[must_use]
    pub fn plus(self, ms: u64) -> GuardedTime {
        GuardedTime(self.0.saturating_add_unsigned(ms))
    }

    /// The milliseconds since an earlier time; 0 if that time is later.
    pub fn since(self, earlier: GuardedTime) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

/// The time at which a batch was sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The time of the wall clock, for people.
    #[serde(with = "AtField")]
    pub wall: WallTime,
    /// The time of the guarded clock. Everything that expires goes by it.
    pub guarded: GuardedTime,
}

/// The identity of a batch: a run of a server, and a number within that run.
/// A replica applies each batch once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BatchId {
    /// The run. Each run has a higher number than all runs before it.
    pub incarnation: u64,
    /// The batch within the run: from 1, dense.
    pub number: u64,
}

/// A batch: entries that are ordered and committed together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The server run that sealed it, and its number there.
    pub id: BatchId,
    /// The time at which it was sealed.
    pub stamp: Stamp,
    /// Random bytes, drawn when it was sealed: the salt of its messages' digests.
    pub random: [u8; 16],
    /// The entries, in order.
    pub entries: Vec<Entry>,
}

/// An entry: the unit of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The connection that asked for it; [`ConnectionId::SERVER`] if the server
    /// itself made it.
    pub connection: ConnectionId,
    /// The change that it makes.
    pub action: Action,
}

impl Entry {
    /// An entry that the server itself makes.
    pub fn of_server(action: Action) -> Self {
        Entry {
            connection: ConnectionId::SERVER,
            action,
        }
    }
}

/// The change that an entry makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Names the log. It is the first entry of a log. A copy that becomes a log
    /// of its own also gets one, with a new epoch.
    Begin {
        /// The epoch in the log's positions.
        epoch: Epoch,
    },
    /// Changes the settings that replicas share.
    Settings {
        /// The milliseconds without use after which an owned name is free.
        name_expiry_ms: u64,
        /// For so many milliseconds the author of a message may change it.
        edit_window_ms: u64,
    },
    /// Stores a message, or a change of one. A private message takes two rows.
    Message(Draft),
    /// Makes a name owned, unless it has an owner.
    Claim {
        /// The name as its owner typed it.
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
    /// Notes up to which number an inbox was delivered to the owner of the name.
    Delivered {
        /// The name's comparison key.
        #[serde(with = "KeyField")]
        key: NameKey,
        /// The owner: a later owner of the name was delivered nothing.
        owner: OwnerNumber,
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
    /// Adds a sanction. It replaces one of the same kind and target.
    Sanction {
        /// The kind of the sanction.
        kind: SanctionKind,
        /// A name or a prefix, in the form that comparisons use.
        target: String,
        /// The duration in milliseconds; absent: until an operator lifts it.
        duration_ms: Option<u64>,
        /// The audit record.
        audit: AuditRecord,
    },
    /// Lifts a sanction.
    Lift {
        /// The kind of the sanction.
        kind: SanctionKind,
        /// As in [`Action::Sanction`].
        target: String,
        /// The audit record.
        audit: AuditRecord,
    },
    /// Redacts a message: removes its words.
    Redact {
        /// The room of the message.
        #[serde(with = "RoomField")]
        room: RoomName,
        /// The number of the message.
        seq: Seq,
        /// The name or tag of the operator.
        by: String,
    },
    /// Closes the connections of a target. The store keeps only the audit
    /// record.
    Kick(AuditRecord),
    /// Expires every message up to a number.
    Expire {
        /// The last number.
        upto: Seq,
    },
    /// Adds a name to those that an owner ignores, or removes it.
    Ignore {
        /// The owner.
        owner: OwnerNumber,
        /// The name.
        #[serde(with = "NameField")]
        name: Name,
        /// The comparison key of `name`.
        #[serde(with = "KeyField")]
        key: NameKey,
        /// Whether the owner ignores it from now on.
        ignored: bool,
    },
    /// Removes the row of a name, if its ownership ended long ago.
    ExpireName {
        /// The comparison key of the row.
        #[serde(with = "KeyField")]
        key: NameKey,
    },
    /// Removes the row of a room without messages, and its old topic.
    ExpireRoom {
        /// The room, or the inbox of a former owner.
        #[serde(with = "RoomField")]
        room: RoomName,
    },
    /// Makes a room private or public.
    SetAccess {
        /// The room.
        #[serde(with = "RoomField")]
        room: RoomName,
        /// Whether only its members may enter from now on.
        private: bool,
        /// The owner number of the name that asks. It becomes the first owner
        /// of a private room.
        by: OwnerNumber,
        /// The name.
        #[serde(with = "NameField")]
        name: Name,
        /// Whether an operator asks.
        operator: bool,
    },
    /// Removes a member from a private room.
    RemoveMember {
        /// The room.
        #[serde(with = "RoomField")]
        room: RoomName,
        /// The member.
        member: OwnerNumber,
        /// The owner number of the name that asks.
        by: OwnerNumber,
    },
    /// Makes a member of a private room one of its owners.
    AddRoomOwner {
        /// The room.
        #[serde(with = "RoomField")]
        room: RoomName,
        /// The member.
        member: OwnerNumber,
        /// The owner number of the name that asks.
        by: OwnerNumber,
    },
    /// Makes an invitation.
    Invite(InvitationDraft),
    /// Takes back an invitation.
    Uninvite {
        /// The number of the invitation.
        id: u64,
        /// The owner number of the name that asks.
        by: OwnerNumber,
        /// Whether an operator asks.
        operator: bool,
    },
    /// Admits a name by an invitation. A name without an owner is claimed.
    Admit {
        /// SHA-256 of the token of the invitation.
        token: [u8; 32],
        /// The name.
        #[serde(with = "NameField")]
        name: Name,
        /// The comparison key of the name.
        #[serde(with = "KeyField")]
        key: NameKey,
        /// The owner of the name.
        whom: Admitted,
    },
    /// Makes the owner of a name an operator, or an operator no more.
    SetOperator {
        /// The comparison key of the name.
        #[serde(with = "KeyField")]
        key: NameKey,
        /// Whether the owner is an operator from now on.
        operator: bool,
    },
    /// Ends the ownership of a name.
    Release {
        /// The comparison key of the name.
        #[serde(with = "KeyField")]
        key: NameKey,
        /// The audit record.
        audit: AuditRecord,
    },
    /// Makes a hook, or gives one another token.
    AddHook(HookDraft),
    /// Ends a hook.
    RemoveHook {
        /// The room of the hook.
        #[serde(with = "RoomField")]
        room: RoomName,
        /// The comparison key of its name.
        #[serde(with = "KeyField")]
        key: NameKey,
        /// The owner number of the name that asks.
        by: OwnerNumber,
        /// Whether an operator asks.
        operator: bool,
    },
    /// Has the owner of a name follow a room, from the last number given on.
    Follow {
        /// The owner.
        owner: OwnerNumber,
        /// The room.
        #[serde(with = "RoomField")]
        room: RoomName,
        /// How much of it the owner is told; absent for an owner that joins the
        /// room: then a level set before stays.
        #[serde(with = "LevelField")]
        level: Option<FollowLevel>,
    },
    /// Has the owner of a name follow a room no more.
    Unfollow {
        /// The owner.
        owner: OwnerNumber,
        /// The room.
        #[serde(with = "RoomField")]
        room: RoomName,
    },
    /// Notes how far the owner of a name has read a place.
    Read {
        /// The owner.
        owner: OwnerNumber,
        /// The room; for a private conversation, the inbox of the other person.
        #[serde(with = "RoomField")]
        room: RoomName,
        /// Every message up to this number was read.
        upto: Seq,
    },
    /// Redacts a message as its author asks. The connection of the entry, or the
    /// owner, must be the author.
    Retract {
        /// The room of the message.
        #[serde(with = "RoomField")]
        room: RoomName,
        /// The number of the message.
        seq: Seq,
        /// The owner number of the name that asks.
        owner: OwnerNumber,
    },
}

impl Action {
    /// The message that it stores; `None` for another action.
    pub fn message(&self) -> Option<&Draft> {
        match self {
            Action::Message(draft) => Some(draft),
            _ => None,
        }
    }
}

/// A draft: a message before it has a number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// The room; for a private message, the author's inbox.
    #[serde(with = "RoomField")]
    pub room: RoomName,
    /// The author.
    #[serde(with = "AuthorField")]
    pub from: Author,
    /// The text.
    #[serde(with = "TextField")]
    pub text: Text,
    /// The publisher's own id, if any. The same id of the same owner in the same
    /// room is stored once.
    #[serde(with = "IdField")]
    pub id: Option<MessageId>,
    /// The id of the message that its publisher sent before it. If that message
    /// is not stored, neither is this one.
    #[serde(with = "IdField")]
    pub follows: Option<MessageId>,
    /// Whether it is something said or something done.
    #[serde(with = "KindField")]
    pub kind: MessageKind,
    /// The recipient of a private message.
    pub to: Option<Recipient>,
    /// The owners whose names the text mentions; each of them at most once.
    pub mentions: Vec<OwnerNumber>,
    /// The message of the room that it answers or changes.
    pub about: Option<About>,
}

impl Draft {
    /// Whether it changes another message, and is no message of its own.
    pub fn is_change(&self) -> bool {
        self.about.is_some_and(About::is_change)
    }

    /// Whether it corrects another message.
    pub fn is_edit(&self) -> bool {
        self.about
            .is_some_and(|about| about.kind == AboutKind::Edit)
    }
}

/// The kind of a sanction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SanctionKind {
    /// The target may not connect.
    Ban,
    /// The target may publish nothing: no messages, topics or names.
    Mute,
}

impl SanctionKind {
    /// The word for this kind in the store and in audit records.
    pub fn word(self) -> &'static str {
        match self {
            SanctionKind::Ban => "ban",
            SanctionKind::Mute => "mute",
        }
    }

    /// What its target is.
    pub fn participle(self) -> &'static str {
        match self {
            SanctionKind::Ban => "banned",
            SanctionKind::Mute => "muted",
        }
    }
}

/// An audit record: one act of an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// The operator's name or tag.
    pub operator: String,
    /// The act: `kick`, `ban 2h`.
    pub act: String,
    /// The target: a name, tag or address; for a redaction, the message's
    /// author.
    pub target: String,
    /// The operator's reason; may be empty.
    pub reason: String,
}

#[cfg(test)]
impl Draft {
    /// A draft of an author without a name, for tests.
    pub(crate) fn of(room: &str, text: impl Into<String>) -> Self {
        Draft {
            room: room.parse().expect("a room"),
            from: Author {
                name: None,
                addr: ([127, 0, 0, 1], 5000).into(),
                owner: None,
            },
            text: text.into().into(),
            id: None,
            follows: None,
            kind: MessageKind::Said,
            to: None,
            mentions: Vec::new(),
            about: None,
        }
    }

    /// Wraps the draft in an entry.
    pub(crate) fn entry(self) -> Entry {
        Entry {
            connection: ConnectionId(7),
            action: Action::Message(self),
        }
    }
}
