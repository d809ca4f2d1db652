//! Messages with their numbers, and the rest of a redacted message.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    connection_id::ConnectionId,
    name::{MessageId, Name, RoomName},
    owner_number::OwnerNumber,
    position::Seq,
    tag::Tag,
    text::Text,
    wall_time::WallTime,
};

/// The author of a message: the connection's tag, and its name, if any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// The display name; absent if the connection has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// The connection's tag.
    pub addr: Tag,
    /// The author's owner number, if it owns its name. No client is told the
    /// number: in a client it is [`OwnerNumber::UNTOLD`].
    #[serde(skip)]
    pub owner: Option<OwnerNumber>,
}

impl Author {
    /// The server itself, for which a person at its machine acts.
    pub fn server() -> Self {
        Author {
            name: Some(Name::of_server()),
            addr: ConnectionId::SERVER.into(),
            owner: None,
        }
    }

    /// Whether it has a name that nobody owns: anyone may use that name.
    pub fn is_unverified(&self) -> bool {
        self.name.is_some() && self.owner.is_none()
    }
}

impl fmt::Display for Author {
    /// Writes the name, or the tag if there is none, as the plain format does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => name.fmt(f),
            None => self.addr.fmt(f),
        }
    }
}

/// The author of a message, as clients are told it.
#[derive(Serialize)]
struct ToldAuthor<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a Name>,
    addr: &'a Tag,
    #[serde(skip_serializing_if = "Option::is_none")]
    unverified: Option<bool>,
}

/// The author of a message, as a client reads it.
#[derive(Deserialize)]
struct HeardAuthor {
    #[serde(default)]
    name: Option<Name>,
    addr: Tag,
    #[serde(default)]
    unverified: bool,
}

fn tell<S: Serializer>(author: &Author, to: S) -> Result<S::Ok, S::Error> {
    let told = ToldAuthor {
        name: author.name.as_ref(),
        addr: &author.addr,
        unverified: author.is_unverified().then_some(true),
    };
    told.serialize(to)
}

fn hear<'de, D: Deserializer<'de>>(from: D) -> Result<Author, D::Error> {
    let heard = HeardAuthor::deserialize(from)?;
    let owned = heard.name.is_some() && !heard.unverified;
    Ok(Author {
        owner: owned.then_some(OwnerNumber::UNTOLD),
        name: heard.name,
        addr: heard.addr,
    })
}

/// The kind of a message. An ordinary message has no `kind` in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// Something said: an ordinary message.
    #[default]
    Said,
    /// Something done: `/me`.
    Me,
}

impl MessageKind {
    /// Whether JSON leaves the kind out. Takes a reference because serde passes
    /// one.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    pub(super) fn is_said(&self) -> bool {
        *self == MessageKind::Said
    }
}

/// A message with its number and its room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The number in the log.
    pub seq: Seq,
    /// The number of the message before it in its room. It proves to a reader
    /// that it missed no message.
    pub prev: Seq,
    /// The room it was published in.
    pub room: RoomName,
    /// The time when it was stored.
    pub at: WallTime,
    /// The author. Clients are told whether anybody owns its name.
    #[serde(serialize_with = "tell", deserialize_with = "hear")]
    pub from: Author,
    /// The text, made safe.
    pub text: Text,
    /// The publisher's own id of the message, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<MessageId>,
    /// Whether it is something said or something done.
    #[serde(default, skip_serializing_if = "MessageKind::is_said")]
    pub kind: MessageKind,
    /// The recipient of a private message. The room is then the inbox of the
    /// author or of the recipient, and the event is an
    /// [`Event::Private`](super::Event::Private).
    #[serde(skip)]
    pub to: Option<Name>,
    /// The connection it was published on. No client is told.
    #[serde(skip)]
    pub connection: ConnectionId,
}

impl Message {
    /// The private message that a client is told; `None` for a public one.
    pub fn private(&self) -> Option<PrivateMessage> {
        let to = self.to.clone()?;
        Some(PrivateMessage {
            sent: (self.from.owner).is_some_and(|owner| self.room == RoomName::inbox(owner)),
            seq: self.seq,
            prev: self.prev,
            at: self.at,
            from: self.from.clone(),
            to,
            text: self.text.clone(),
            id: self.id.clone(),
        })
    }
}

/// A private message, as its author and its recipient see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivateMessage {
    /// The number in the log. The author and the recipient see different
    /// numbers.
    pub seq: Seq,
    /// The number of the private message before it in the same person's inbox.
    pub prev: Seq,
    /// The time when it was stored.
    pub at: WallTime,
    /// The author.
    pub from: Author,
    /// The recipient.
    pub to: Name,
    /// The text, made safe.
    pub text: Text,
    /// The publisher's own id of the message, if any. Only the publisher sees
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<MessageId>,
    /// Whether the reader of this event is the author.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sent: bool,
}

/// The content of one number of the log: a message, or the rest of a redacted
/// one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Slot {
    /// A message that was redacted.
    #[serde(rename = "erased")]
    Redacted(Redaction),
    /// A message. On a page it has no `type`.
    #[serde(untagged)]
    Message(Message),
}

impl Slot {
    /// The number.
    pub fn seq(&self) -> Seq {
        match self {
            Slot::Message(message) => message.seq,
            Slot::Redacted(erased) => erased.seq,
        }
    }

    /// The number before it in its room.
    pub fn prev(&self) -> Seq {
        match self {
            Slot::Message(message) => message.prev,
            Slot::Redacted(erased) => erased.prev,
        }
    }

    /// The message; `None` if it was redacted.
    pub fn message(&self) -> Option<&Message> {
        match self {
            Slot::Message(message) => Some(message),
            Slot::Redacted(_) => None,
        }
    }

    /// The length of its text in bytes; 0 if it was redacted.
    pub fn text_bytes(&self) -> usize {
        self.message().map_or(0, |message| message.text.len())
    }
}

/// The rest of a redacted message. Readers see from it that they missed no
/// message, and the publisher sees that its message was stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redaction {
    /// The number in the log.
    pub seq: Seq,
    /// The number of the message before it in its room.
    pub prev: Seq,
    /// The publisher's own id of the message, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<MessageId>,
}
