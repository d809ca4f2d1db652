//! What travels: names, positions, messages, commands and events, their limits,
//! and the encodings that turn them into frames.
//!
//! Knows nothing of sockets, clocks or tasks. Server and client both read this
//! module first; it is the whole contract between them.

pub mod close;
pub mod event_stream;
pub mod format;
pub mod frame;
pub mod json;
pub mod lasting;
pub mod name;
pub mod plain;
pub mod secret;
pub mod text;
pub mod who;

use std::{fmt, net::SocketAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use self::{
    lasting::Lasting,
    name::{MessageId, Name, RoomName},
    secret::Secret,
    text::Text,
    who::Who,
};

/// The subprotocol (RFC 6455 §1.9) that selects the JSON format.
pub const SUBPROTOCOL: &str = "chat.v1";

/// The first thing the server says in the plain format.
pub const WELCOME: &str = "Welcome to chat! Type a message";

/// The port of server and client when none is given.
///
/// The one place to change it for both.
pub const DEFAULT_PORT: u16 = 2000;

/// The longest text of one message in bytes, unless `--max-text` says otherwise.
pub const DEFAULT_TEXT_BYTES: usize = 8192;

/// The longest topic of a room, in bytes.
pub const MAX_TOPIC: usize = 300;

/// The largest backlog a newcomer is shown, in messages.
pub const MAX_BACKLOG: u32 = 1000;

/// How many messages a page of the history has where nobody says how many.
pub const EXCERPT: u32 = 50;

/// The most messages it has.
pub const MAX_EXCERPT: u32 = 200;

/// The most bytes of text in such a page, if it has more than one message.
pub const MAX_EXCERPT_BYTES: usize = 128 << 10;

/// A message's number in the log: from 1, rising, not dense within one room.
///
/// `Seq::START` (0) stands before the first message.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The position before the first message.
    pub const START: Seq = Seq(0);

    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which log a number belongs to: drawn at random when the log is created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub Arc<str>);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A moment for people to read, in milliseconds since 1970 UTC. Never used for
/// order, ids or timers. Written as RFC 3339 with milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct At(pub i64);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment =
            jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        write!(f, "{moment:.3}")
    }
}

impl Serialize for At {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for At {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let moment: jiff::Timestamp = String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)?;
        Ok(At(moment.as_millisecond()))
    }
}

/// Who said it: the connection's address, and the name chosen on it, if any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// The display name; absent while none was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// The peer address of the connection.
    pub addr: SocketAddr,
}

impl fmt::Display for Author {
    /// The tag of the plain format: the name, or `IP:port` while there is none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => name.fmt(f),
            None => self.addr.fmt(f),
        }
    }
}

/// What kind of message it is. An ordinary one has none in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Something said.
    #[default]
    Said,
    /// `/me`: something done.
    Me,
}

impl Kind {
    /// Left out in JSON. By reference, as serde asks.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    fn is_said(&self) -> bool {
        *self == Kind::Said
    }
}

/// What a person said, as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its number in the log.
    pub seq: Seq,
    /// The number of the message before it in its room: a reader's proof that
    /// it missed nothing.
    pub prev: Seq,
    /// The room it was said in.
    pub room: RoomName,
    /// When it was stored.
    pub at: At,
    /// Who said it.
    pub from: Author,
    /// What was said; safe to show.
    pub text: Text,
    /// The publisher's own id of it, if one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<MessageId>,
    /// Said or done.
    #[serde(default, skip_serializing_if = "Kind::is_said")]
    pub kind: Kind,
    /// Whom alone it was said to, where it was. The room then is the inbox of
    /// one of the two, and it is told as [`Event::Private`].
    #[serde(skip)]
    pub to: Option<Name>,
}

impl Message {
    /// What is told of it where it was said to one person alone.
    pub fn private(&self) -> Option<Private> {
        let from = self.from.name.as_ref().map(Name::key);
        Some(Private {
            sent: from.is_some_and(|key| self.room == RoomName::inbox(&key)),
            seq: self.seq,
            prev: self.prev,
            at: self.at,
            from: self.from.clone(),
            to: self.to.clone()?,
            text: self.text.clone(),
            id: self.id.clone(),
        })
    }
}

/// What was said to one person alone; shown to both of the two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Private {
    /// Its number in the log. Whoever it was said to sees it under another than
    /// who said it.
    pub seq: Seq,
    /// The number of the private message shown to the same person before it.
    pub prev: Seq,
    /// When it was stored.
    pub at: At,
    /// Who said it.
    pub from: Author,
    /// To whom.
    pub to: Name,
    /// What was said; safe to show.
    pub text: Text,
    /// The publisher's own id of it, if one was given, where the publisher sees
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<MessageId>,
    /// Whoever sees it has said it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sent: bool,
}

/// What stands at a number of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Entry {
    /// Where a message was erased.
    Erased(Erased),
    /// A message. In a page it says no type.
    #[serde(untagged)]
    Message(Message),
}

impl Entry {
    /// Its number.
    pub fn seq(&self) -> Seq {
        match self {
            Entry::Message(message) => message.seq,
            Entry::Erased(erased) => erased.seq,
        }
    }

    /// The number before it in its room.
    pub fn prev(&self) -> Seq {
        match self {
            Entry::Message(message) => message.prev,
            Entry::Erased(erased) => erased.prev,
        }
    }

    /// The message, where there still is one.
    pub fn message(&self) -> Option<&Message> {
        match self {
            Entry::Message(message) => Some(message),
            Entry::Erased(_) => None,
        }
    }

    /// How many bytes of text it has.
    pub fn text_bytes(&self) -> usize {
        self.message().map_or(0, |message| message.text.len())
    }
}

/// What is left of a message that was erased: enough for readers to see that
/// they missed nothing, and for its publisher that it was stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {
    /// Its number in the log.
    pub seq: Seq,
    /// The number before it in its room.
    pub prev: Seq,
    /// The publisher's own id of it, if one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<MessageId>,
}

/// Where a subscriber wants to start reading a room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Resume: everything after this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Seq>,
    /// The log that `after` counts in; absent: this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// Without `after`: the last so many messages, at most [`MAX_BACKLOG`].
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
        /// At most so many messages: [`EXCERPT`] if absent, and at most
        /// [`MAX_EXCERPT`].
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
    pub messages: Vec<Entry>,
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

/// What a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The longest text of one message, in bytes of UTF-8.
    pub text_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            text_bytes: DEFAULT_TEXT_BYTES,
        }
    }
}

impl Limits {
    /// The largest payload of one WebSocket message, in bytes; beyond it the
    /// connection is closed with 1009.
    ///
    /// Every text within the limit fits: JSON may write each byte as six
    /// (`\u0000`), and the rest of the object is smaller than 2 KiB.
    pub fn payload_bytes(self) -> usize {
        self.text_bytes * 6 + 2048
    }
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

/// A refusal: a code for programs and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// For people: what to do.
    pub text: String,
    /// The id of the message refused, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<MessageId>,
    /// When trying again makes sense, in milliseconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_ms: Option<u64>,
}

impl Refusal {
    /// A refusal with neither id nor time to wait.
    pub fn new(code: RefusalCode, text: impl Into<String>) -> Self {
        Refusal {
            code,
            text: text.into(),
            id: None,
            retry_ms: None,
        }
    }

    /// The same refusal, of the message with this id.
    #[must_use]
    pub fn of(mut self, id: Option<MessageId>) -> Self {
        self.id = id;
        self
    }
}

/// Why a command was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// Not JSON, or not an object.
    BadJson,
    /// No such command.
    UnknownType,
    /// A field is missing or not of its form.
    BadField,
    /// A text over the limit.
    TooLong,
    /// A text of no characters.
    Empty,
    /// Not a name.
    BadName,
    /// The name is another's.
    NameTaken,
    /// What or who is meant is not here.
    NotHere,
    /// It may not be done.
    NotAllowed,
    /// Too much in too short a time.
    Rate,
    /// It could not be stored now.
    Busy,
    /// A code of a later version.
    #[serde(other)]
    Other,
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Serialize::serialize(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_with_milliseconds() {
        for (ms, written) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_234, "1970-01-01T00:00:01.234Z"),
            (1_767_225_600_000, "2026-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(At(ms).to_string(), written);
            let json = serde_json::to_string(&At(ms)).expect("a time is JSON");
            assert_eq!(json, format!("\"{written}\""));
            assert_eq!(serde_json::from_str::<At>(&json).expect("and back"), At(ms));
        }
    }
}
