//! Messages with their numbers, and what stands under a number of the log.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    about::MessageKind,
    author::{Author, hear, tell},
    change::{Change, ChangeKind, Quote, Reaction},
    connection_id::ConnectionId,
    name::{MessageId, Name, RoomName},
    position::Seq,
    text::Text,
    wall_time::WallTime,
};

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
    /// The number of the message that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<Seq>,
    /// The beginning of the message that it answers, unless that is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<Box<Quote>>,
    /// Whether its author corrected the text.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub edited: bool,
    /// When its author last corrected the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<WallTime>,
    /// The reactions to it, if any; the first one first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reactions: Option<Arc<[Reaction]>>,
    /// The connection it was published on. No client is told.
    #[serde(skip)]
    pub connection: ConnectionId,
}

impl Message {
    /// Its author, and that of its quote.
    pub fn authors_mut(&mut self) -> impl Iterator<Item = &mut Author> {
        let quoted = self.quote.as_mut().map(|quote| &mut quote.from);
        [&mut self.from].into_iter().chain(quoted)
    }

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

/// The content of one number of the log: a message, a change of one, or the rest
/// of a redacted message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Slot {
    /// A message that was redacted.
    #[serde(rename = "erased")]
    Redacted(Redaction),
    /// A change of a message.
    Changed(Change),
    /// A message. On a page it has no `type`.
    #[serde(untagged)]
    Message(Message),
}

impl From<Message> for Slot {
    fn from(message: Message) -> Slot {
        Slot::Message(message)
    }
}

/// The effect of a later entry on a message.
#[derive(Clone, Debug)]
pub enum Revision {
    /// Its author corrected it: the text now, and when that was.
    Edited(Text, WallTime),
    /// It has these reactions now, perhaps with the names of before.
    Reacted(Arc<[Reaction]>),
    /// It was redacted.
    Redacted,
}

impl Revision {
    /// The message that a change revises, and how; `None` for another slot.
    pub fn of(slot: &Slot) -> Option<(Seq, Self)> {
        let Slot::Changed(change) = slot else {
            return None;
        };
        let revision = match (&change.reactions, &change.text) {
            (Some(reactions), _) => Revision::Reacted(Arc::clone(reactions)),
            (None, Some(text)) => Revision::Edited(text.clone(), change.at),
            (None, None) => return None,
        };
        Some((change.about, revision))
    }
}

impl Slot {
    /// The number.
    pub fn seq(&self) -> Seq {
        match self {
            Slot::Message(message) => message.seq,
            Slot::Changed(change) => change.seq,
            Slot::Redacted(erased) => erased.seq,
        }
    }

    /// The number before it in its room.
    pub fn prev(&self) -> Seq {
        match self {
            Slot::Message(message) => message.prev,
            Slot::Changed(change) => change.prev,
            Slot::Redacted(erased) => erased.prev,
        }
    }

    /// The message; `None` for a change, and if it was redacted.
    pub fn message(&self) -> Option<&Message> {
        match self {
            Slot::Message(message) => Some(message),
            Slot::Changed(_) | Slot::Redacted(_) => None,
        }
    }

    /// The room; `None` if it was redacted.
    pub fn room(&self) -> Option<&RoomName> {
        match self {
            Slot::Message(message) => Some(&message.room),
            Slot::Changed(change) => Some(&change.room),
            Slot::Redacted(_) => None,
        }
    }

    /// The author and the connection; `None` if it was redacted.
    pub fn author(&self) -> Option<(&Author, ConnectionId)> {
        match self {
            Slot::Message(message) => Some((&message.from, message.connection)),
            Slot::Changed(change) => Some((&change.from, change.connection)),
            Slot::Redacted(_) => None,
        }
    }

    /// The authors that this shows.
    pub fn authors_mut(&mut self) -> impl Iterator<Item = &mut Author> {
        let (message, change) = match self {
            Slot::Message(message) => (Some(message), None),
            Slot::Changed(change) => (None, Some(&mut change.from)),
            Slot::Redacted(_) => (None, None),
        };
        let of_message = message.into_iter().flat_map(Message::authors_mut);
        of_message.chain(change)
    }

    /// The message that this answers or changes.
    pub fn about(&self) -> Option<Seq> {
        match self {
            Slot::Message(message) => message.about,
            Slot::Changed(change) => Some(change.about),
            Slot::Redacted(_) => None,
        }
    }

    /// The length of its texts in bytes; 0 if it was redacted.
    pub fn text_bytes(&self) -> usize {
        let of = |reactions: &[Reaction]| reactions.iter().map(Reaction::bytes).sum::<usize>();
        match self {
            Slot::Message(message) => {
                let quote = message.quote.as_ref().map_or(0, |quote| quote.text.len());
                message.text.len() + quote + message.reactions.as_deref().map_or(0, of)
            }
            Slot::Changed(change) => {
                let text = change.text.as_ref().map_or(0, |text| text.len());
                text + change.reactions.as_deref().map_or(0, of)
            }
            Slot::Redacted(_) => 0,
        }
    }

    /// Brings this to the state after a revision of the message `seq`.
    pub fn revise(&mut self, seq: Seq, revision: &Revision) {
        let own = self.seq() == seq;
        match (self, revision) {
            (Slot::Message(message), Revision::Edited(text, at)) if own => {
                (message.text, message.edited) = (text.clone(), true);
                message.edited_at = Some(*at);
            }
            (Slot::Message(message), Revision::Reacted(reactions)) if own => {
                let now = Reaction::updated(message.reactions.as_deref(), reactions);
                message.reactions = Some(now).filter(|now| !now.is_empty());
            }
            (slot @ Slot::Message(_), Revision::Redacted) if own => {
                if let Slot::Message(Message { prev, id, .. }) = slot {
                    let (prev, id) = (*prev, id.take());
                    *slot = Slot::Redacted(Redaction { seq, prev, id });
                }
            }
            (Slot::Message(message), Revision::Edited(text, _)) if message.about == Some(seq) => {
                if let Some(quote) = &mut message.quote {
                    quote.text = Quote::beginning(text);
                }
            }
            (Slot::Message(message), Revision::Redacted) if message.about == Some(seq) => {
                message.quote = None;
            }
            (Slot::Changed(change), revision) if change.about == seq => match revision {
                Revision::Edited(text, _) if change.kind == ChangeKind::Edit => {
                    change.text = Some(text.clone());
                }
                Revision::Redacted => change.redact(),
                _ => {}
            },
            _ => {}
        }
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
