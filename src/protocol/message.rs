//! What stands in the log: messages, and what is left of one that was erased.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    connection_id::ConnectionId,
    name::{MessageId, Name, RoomName},
    tag::Tag,
    text::Text,
};

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

/// Who said it: the connection's tag, and the name chosen on it, if any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// The display name; absent while none was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// The connection's tag.
    pub addr: Tag,
}

impl fmt::Display for Author {
    /// As the plain format shows it: the name, or the tag while there is none.
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
    pub(super) fn is_said(&self) -> bool {
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
    /// one of the two, and it is told as [`Event::Private`](super::Event::Private).
    #[serde(skip)]
    pub to: Option<Name>,
    /// The connection it was said on. Nobody is told.
    #[serde(skip)]
    pub origin: ConnectionId,
}

impl Message {
    /// What is told of it where it was said to one person alone.
    pub fn private(&self) -> Option<Private> {
        let to = self.to.clone()?;
        let from = self.from.name.as_ref().map(Name::key);
        Some(Private {
            sent: from.is_some_and(|key| self.room == RoomName::inbox(&key)),
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
pub enum Slot {
    /// Where a message was erased.
    Erased(Erased),
    /// A message. In a page it says no type.
    #[serde(untagged)]
    Message(Message),
}

impl Slot {
    /// Its number.
    pub fn seq(&self) -> Seq {
        match self {
            Slot::Message(message) => message.seq,
            Slot::Erased(erased) => erased.seq,
        }
    }

    /// The number before it in its room.
    pub fn prev(&self) -> Seq {
        match self {
            Slot::Message(message) => message.prev,
            Slot::Erased(erased) => erased.prev,
        }
    }

    /// The message, where there still is one.
    pub fn message(&self) -> Option<&Message> {
        match self {
            Slot::Message(message) => Some(message),
            Slot::Erased(_) => None,
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
