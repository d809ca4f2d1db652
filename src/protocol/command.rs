//! What a client asks.

pub mod table;

use serde::{Deserialize, Serialize};

use super::{
    Epoch, Event, GapReason, Kind, Seq,
    lasting::Lasting,
    name::{MessageId, Name, RoomName},
    secret::Secret,
    who::Who,
};

/// Where a subscriber wants to start reading a room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Resume: everything after this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Seq>,
    /// The log that `after` counts in; absent: this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// Without `after`: the last so many messages, at most [`MAX_BACKLOG`](super::MAX_BACKLOG).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog: Option<u32>,
    /// For a connection with a name of one's own, at its beginning: private
    /// messages from after this number, and not `after`.
    #[serde(skip)]
    pub inbox: Option<Seq>,
}

impl Start {
    /// What is to be said where the position is none of this log, which ends at
    /// `head`: the reader has nothing of it, and is shown it from its start.
    pub fn gap(&self, epoch: &Epoch, head: Seq) -> Option<Event> {
        let after = self.after?;
        let foreign = self.epoch.as_ref().is_some_and(|other| other != epoch);
        (foreign || after > head).then(|| Event::Gap {
            after,
            next: Seq::START.next(),
            reason: GapReason::Epoch,
        })
    }
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Command {
    /// Say something in the room. The same `id` in the same room is stored once.
    Publish {
        /// What to say; made safe at the door, refused when over the limit.
        text: String,
        /// A client-made id, for sending again without doubling.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<MessageId>,
        /// Said or done.
        #[serde(default, skip_serializing_if = "Kind::is_said")]
        kind: Kind,
        /// The id of the message sent before it on this conversation: where
        /// that one was refused for now, this one is to be as well, so that
        /// both can be sent again in order.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        follows: Option<MessageId>,
    },
    /// Take a display name, as one's own.
    Name {
        /// The name to take.
        name: Name,
        /// What proves that it is one's own, or is to prove it from now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        secret: Option<Secret>,
    },
    /// Say something to one person alone. The same `id` is stored once for whom
    /// it is from.
    Private {
        /// The name of that person.
        to: Name,
        /// What to say, as of [`Command::Publish`].
        text: String,
        /// As of [`Command::Publish`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<MessageId>,
        /// As of [`Command::Publish`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        follows: Option<MessageId>,
    },
    /// Go to a room (or start over in this one).
    Join {
        /// The room to read from now on.
        room: RoomName,
        /// Where in it to start.
        #[serde(flatten)]
        start: Start,
    },
    /// Who is here?
    Members,
    /// What was said in the room, and is not followed?
    History {
        /// Only what stands before this number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Seq>,
        /// At most so many messages: [`EXCERPT`](super::EXCERPT) if absent, and at most
        /// [`MAX_EXCERPT`](super::MAX_EXCERPT).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
    },
    /// Which messages of the room have these words?
    Search {
        /// Words that are all to be in it, the last one also as a beginning.
        query: String,
        /// Only what stands before this number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Seq>,
        /// At most so many messages, as of [`Command::History`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
    },
    /// Which rooms is somebody in?
    Rooms,
    /// What is this room about?
    Topic {
        /// What it is to be about from now on; with no text, about nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    /// May I keep order?
    Operator {
        /// What proves it.
        secret: String,
    },
    /// Sends somebody away; for operators.
    Kick {
        /// Whom.
        who: Who,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Sends somebody away and keeps them out; for operators.
    Ban {
        /// Whom: a name or an address.
        who: Who,
        /// For how long; absent: until it is lifted.
        #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
        lasts: Option<Lasting>,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Lifts a ban; for operators.
    Unban {
        /// Of whom.
        who: Who,
    },
    /// Lets somebody say nothing more; for operators.
    Mute {
        /// Whom: a name or an address.
        who: Who,
        /// For how long; absent: until it is lifted.
        #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
        lasts: Option<Lasting>,
    },
    /// Lets somebody speak again; for operators.
    Unmute {
        /// Whom.
        who: Who,
    },
    /// Erases what was said in the room under a number; for operators.
    Erase {
        /// The number.
        seq: Seq,
    },
    /// What can be typed? (Plain format only.)
    #[serde(skip)]
    Help,
}

impl Command {
    /// Its declaration.
    pub fn spec(&self) -> Option<&'static table::Spec> {
        let kind = match self {
            Command::Publish { .. } => "publish",
            Command::Name { .. } => "name",
            Command::Private { .. } => "private",
            Command::Join { .. } => "join",
            Command::Members => "members",
            Command::History { .. } => "history",
            Command::Search { .. } => "search",
            Command::Rooms => "rooms",
            Command::Topic { .. } => "topic",
            Command::Operator { .. } => "operator",
            Command::Kick { .. } => "kick",
            Command::Ban { .. } => "ban",
            Command::Unban { .. } => "unban",
            Command::Mute { .. } => "mute",
            Command::Unmute { .. } => "unmute",
            Command::Erase { .. } => "erase",
            Command::Help => return table::typed("help"),
        };
        table::sent(kind)
    }
}
