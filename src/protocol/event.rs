//! What the server tells.

use serde::{Deserialize, Serialize};

use super::{
    At, Author, Epoch, Erased, Limits, MAX_TOPIC, Message, Private, Refusal, RefusalCode, Seq,
    Slot,
    name::{MessageId, Name, RoomName},
    secret::Secret,
    text::Text,
};

/// What the server tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The first event, and the answer to `join`; then comes the replay.
    Welcome(Welcome),
    /// The replay is over: from here on things are seen as they happen.
    Live {
        /// Everything up to this number was shown or is not for this room.
        seq: Seq,
    },
    /// A message of the room.
    Message(Message),
    /// A message to one person alone, told to whom it was said to and to whom it
    /// is from, in whatever room they are.
    Private(Private),
    /// What was said under a number was erased: told in its place, and without
    /// `prev` at once to those who may have been shown it.
    Erased {
        /// The number.
        seq: Seq,
        /// The number before it in its room.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prev: Option<Seq>,
        /// The publisher's own id of it, if one was given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<MessageId>,
    },
    /// What stood between is not to be had.
    Gap {
        /// The last number the reader has.
        after: Seq,
        /// The first number it can have.
        next: Seq,
        /// Why.
        reason: GapReason,
    },
    /// The receipt, for a publisher that does not see its own messages or
    /// repeated an id.
    Accepted {
        /// The id it was published with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<MessageId>,
        /// Its number, or the original's.
        seq: Seq,
        /// It had been stored before.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        duplicate: bool,
    },
    /// The answer to `name`.
    Name {
        /// The name now carried.
        name: Name,
        /// What proves from now on that it is one's own, where the server made
        /// it: told this once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        secret: Option<Secret>,
    },
    /// Somebody came into the room.
    Joined {
        /// Who.
        #[serde(flatten)]
        who: Author,
        /// How many people are in the room now.
        members: usize,
    },
    /// Somebody left the room.
    Left {
        /// Who.
        #[serde(flatten)]
        who: Author,
        /// How many people are in the room now.
        members: usize,
    },
    /// Somebody in the room is shown under another name from now on.
    Renamed {
        /// The name before, or `IP:port`.
        from: String,
        /// The name now.
        to: Name,
    },
    /// The answer to `members`; and, without names, what is said where too
    /// many come and go for naming each.
    Members {
        /// Names, or `IP:port` of those without one; a part of them when many.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        names: Vec<String>,
        /// How many there are.
        total: usize,
    },
    /// The answer to `history` and to `search`.
    Page(Page),
    /// The answer to `rooms`.
    Rooms {
        /// Those with most people first; a part of them when many.
        rooms: Vec<RoomInfo>,
        /// How many there are.
        total: usize,
    },
    /// The answer to `topic`, and what is said to the room when it changes.
    Topic {
        /// The room.
        room: RoomName,
        /// What it is about.
        #[serde(flatten)]
        topic: Topic,
    },
    /// A command was not carried out; the connection lives on.
    Refused(Refusal),
    /// Something a person should read.
    Notice {
        /// The sentence.
        text: String,
    },
}

impl From<Erased> for Event {
    fn from(Erased { seq, prev, id }: Erased) -> Event {
        let prev = Some(prev);
        Event::Erased { seq, prev, id }
    }
}

/// What a room is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    /// In one line; empty where it is about nothing.
    pub text: Text,
    /// Who said so: a name, or `IP:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<At>,
}

impl Topic {
    /// Of a room that is about nothing.
    pub fn none() -> Self {
        Topic {
            text: String::new().into(),
            by: None,
            at: None,
        }
    }

    /// The text of a topic that is given, made safe; refused where it is long
    /// or more than a line.
    pub fn accept(raw: &str) -> Result<Text, Refusal> {
        let text = Text::from(raw.trim().to_owned());
        if text.len() > MAX_TOPIC {
            let (length, most) = (text.len(), MAX_TOPIC);
            let why = format!("The topic has {length} bytes; at most {most} are taken.");
            return Err(Refusal::new(RefusalCode::TooLong, why));
        }
        if text.contains('\n') {
            let why = "A topic is one line.";
            return Err(Refusal::new(RefusalCode::BadField, why));
        }
        Ok(text)
    }
}

/// A room that somebody is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomInfo {
    /// Its name.
    pub room: RoomName,
    /// How many people are in it.
    pub members: usize,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<Text>,
}

/// What a newcomer is told first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The room joined.
    pub room: RoomName,
    /// How this connection is shown to others.
    pub you: Author,
    /// Which log the numbers count in.
    pub epoch: Epoch,
    /// The last number of the log at this moment.
    pub head: Seq,
    /// Private messages after this number follow: for whoever has a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbox: Option<Seq>,
    /// How many people are in the room, this one included.
    pub members: usize,
    /// What the room is about, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<Text>,
    /// Name and version of the server.
    pub server: String,
    /// What is refused beyond.
    pub limits: Limits,
}

/// Messages of the room that were asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The last of those asked for, oldest first.
    pub messages: Vec<Slot>,
    /// Whether there are others before them.
    pub more: bool,
    /// What was searched for, if it was.
    #[serde(flatten)]
    pub search: Option<Search>,
}

/// What a page was searched for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Search {
    /// The words.
    pub query: String,
    /// Only what was said up to this number was searched: the rest soon can be.
    pub indexed: Seq,
}

/// Why a stretch of the log is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// The position counts in another log; this one is shown from its start.
    Epoch,
    /// It was erased.
    Erased,
    /// It is damaged, and what may be wrong is not shown.
    Damaged,
    /// A reason of a later version.
    #[serde(other)]
    Other,
}
