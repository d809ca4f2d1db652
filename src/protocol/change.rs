//! Changes of messages: corrections and reactions.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use unicode_segmentation::UnicodeSegmentation;

use super::{
    author::{Author, hear, tell},
    connection_id::ConnectionId,
    name::{MessageId, RoomName},
    position::Seq,
    text::Text,
    wall_time::WallTime,
};

/// The longest quote, in graphemes.
const QUOTED: usize = 80;

/// A change of a message. It has a number of its own, and no place on a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The number in the log.
    pub seq: Seq,
    /// The number before it in its room.
    pub prev: Seq,
    /// The room of the message.
    pub room: RoomName,
    /// The time when it was stored.
    pub at: WallTime,
    /// The number of the message that it changes.
    pub about: Seq,
    /// The kind of the change.
    pub kind: ChangeKind,
    /// The author.
    #[serde(serialize_with = "tell", deserialize_with = "hear")]
    pub from: Author,
    /// The reaction, or the corrected text; absent if the corrected message is
    /// gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Text>,
    /// After a reaction, all reactions to the message; absent if the message is
    /// gone. If there are many names, some reactions have none: theirs are as
    /// before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reactions: Option<Arc<[Reaction]>>,
    /// The publisher's own id of the change, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<MessageId>,
    /// The connection it was published on. No client is told.
    #[serde(skip)]
    pub connection: ConnectionId,
}

/// The kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Corrects the text.
    Edit,
    /// Adds a reaction.
    React,
    /// Takes a reaction back.
    Unreact,
    /// A kind of a later version.
    #[serde(other)]
    Other,
}

impl Change {
    /// Removes what it shows of its message, which is redacted.
    pub fn redact(&mut self) {
        self.reactions = None;
        if self.kind == ChangeKind::Edit {
            self.text = None;
        }
    }
}

/// The reactions to a message that have the same text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaction {
    /// The text: one grapheme or a word.
    pub text: Text,
    /// How many people react so.
    pub count: usize,
    /// The names of the first 20 of them. In a change, they may be left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

impl Reaction {
    /// The reactions to a message after a change that has `now`. Names that the
    /// change leaves out are those of `before`.
    pub fn updated(before: Option<&[Reaction]>, now: &Arc<[Reaction]>) -> Arc<[Reaction]> {
        if now.iter().all(|reaction| !reaction.names.is_empty()) {
            return Arc::clone(now);
        }
        let known = |text: &Text| before?.iter().find(|known| known.text == *text);
        let with_names = |reaction: &Reaction| match known(&reaction.text) {
            Some(known) if reaction.names.is_empty() => Reaction {
                names: known.names.clone(),
                ..reaction.clone()
            },
            _ => reaction.clone(),
        };
        now.iter().map(with_names).collect()
    }

    /// About how many bytes it takes. The count is part of it, because each
    /// reaction is read to be counted.
    pub(super) fn bytes(&self) -> usize {
        let names: usize = self.names.iter().map(String::len).sum();
        self.text.len() + names + self.count
    }
}

/// The beginning of a message, as a reply shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// The author of the message.
    #[serde(serialize_with = "tell", deserialize_with = "hear")]
    pub from: Author,
    /// Its first characters, on one line.
    pub text: Text,
}

impl Quote {
    /// The first 80 characters of a text on one line, the last one `…` if there
    /// are more.
    pub fn beginning(text: &str) -> Text {
        // A text may be long: only its beginning is looked at.
        let line = |text: &str| text.replace(['\n', '\t'], " ");
        if text.grapheme_indices(true).nth(QUOTED).is_none() {
            return line(text).into();
        }
        let cut = text.grapheme_indices(true).nth(QUOTED - 1);
        let cut = cut.map_or(text.len(), |(cut, _)| cut);
        (line(text[..cut].trim_end()) + "…").into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_cut_as_the_vectors_say() {
        let vectors = include_str!("../../tests/vectors/quotes.json");
        let vectors: Vec<serde_json::Value> = serde_json::from_str(vectors).expect("vectors");
        for vector in vectors {
            let text = vector["text"].as_str().expect("a text");
            assert_eq!(&*Quote::beginning(text), vector["quote"], "{text:?}");
        }
    }
}
