//! Kinds of messages, and how a message refers to another one.

use serde::{Deserialize, Serialize};
use unicode_segmentation::UnicodeSegmentation;

use super::{
    position::Seq,
    refusal::{Refusal, RefusalCode},
};

/// The longest reaction: one grapheme of this many bytes, or a word of this many
/// characters.
const MAX_GRAPHEME_BYTES: usize = 32;
const MAX_WORD_CHARS: usize = 16;

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

/// How a message refers to another one of its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The number of the other message.
    pub seq: Seq,
    /// The kind of the reference.
    pub kind: AboutKind,
}

/// The kind of a reference to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AboutKind {
    /// Answers it.
    Reply,
    /// Corrects its text.
    Edit,
    /// Adds a reaction to it.
    React,
    /// Takes a reaction back.
    Unreact,
}

impl About {
    /// Whether it changes the other message, and is no message of its own.
    pub fn is_change(self) -> bool {
        self.kind != AboutKind::Reply
    }
}

/// The kind of what a client publishes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublishKind {
    /// Something said: an ordinary message.
    #[default]
    Said,
    /// Something done: `/me`.
    Me,
    /// An answer to a message.
    Reply,
    /// A reaction to a message.
    React,
    /// The end of a reaction.
    Unreact,
    /// A new text of a message.
    Edit,
}

impl PublishKind {
    /// All kinds, by their words.
    pub const ALL: [(&'static str, PublishKind); 6] = [
        ("said", PublishKind::Said),
        ("me", PublishKind::Me),
        ("reply", PublishKind::Reply),
        ("react", PublishKind::React),
        ("unreact", PublishKind::Unreact),
        ("edit", PublishKind::Edit),
    ];

    /// Whether JSON leaves the kind out. Takes a reference because serde passes
    /// one.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    pub(super) fn is_said(&self) -> bool {
        *self == PublishKind::Said
    }

    /// Whether it changes a message, and is none of its own.
    pub fn is_change(self) -> bool {
        matches!(
            self,
            PublishKind::React | PublishKind::Unreact | PublishKind::Edit
        )
    }

    /// The kind of message that this publishes, and how it refers to the message
    /// `about`.
    ///
    /// # Errors
    /// Refuses a kind that needs a message to refer to, if none is given. Also
    /// refuses another text than a reaction, and a reaction without a name.
    pub fn relate(
        self,
        about: Option<Seq>,
        text: &str,
        has_name: bool,
    ) -> Result<(MessageKind, Option<About>), Refusal> {
        let said = if self == PublishKind::Me {
            MessageKind::Me
        } else {
            MessageKind::Said
        };
        let kind = match (self, about) {
            (PublishKind::Said | PublishKind::Me, None) => return Ok((said, None)),
            (PublishKind::Said | PublishKind::Me | PublishKind::Reply, _) => AboutKind::Reply,
            (PublishKind::Edit, _) => AboutKind::Edit,
            (PublishKind::React, _) => AboutKind::React,
            (PublishKind::Unreact, _) => AboutKind::Unreact,
        };
        let Some(seq) = about else {
            let text = "This refers to a message: give its number in \"about\".";
            return Err(Refusal::new(RefusalCode::BadField, text));
        };
        if matches!(kind, AboutKind::React | AboutKind::Unreact) {
            check_reaction(text)?;
            if !has_name {
                let text = "A reaction shows who reacts, so it needs a name: /name NAME takes one.";
                return Err(Refusal::new(RefusalCode::NotAllowed, text));
            }
        }
        Ok((said, Some(About { seq, kind })))
    }
}

/// Checks that a text is one grapheme or one word.
///
/// # Errors
/// Refuses another text.
fn check_reaction(text: &str) -> Result<(), Refusal> {
    let is_word_char = |c: char| c.is_alphanumeric() || "+-_:".contains(c);
    let is_grapheme = text.len() <= MAX_GRAPHEME_BYTES && text.graphemes(true).count() == 1;
    let is_word = text.chars().count() <= MAX_WORD_CHARS && text.chars().all(is_word_char);
    if is_grapheme || is_word {
        return Ok(());
    }
    let text = "A reaction is one emoji or other character, or a word of up to 16 letters.";
    Err(Refusal::new(RefusalCode::BadField, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reaction_is_one_grapheme_or_a_short_word() {
        for (text, taken) in [
            ("\u{1f44d}", true),
            ("\u{1f44d}\u{1f3fd}", true),
            ("\u{1f44d}\u{1f44d}", false),
            ("e\u{301}", true),
            ("+1", true),
            ("lgtm", true),
            ("sixteenletters16", true),
            ("seventeenletters1", false),
            ("two words", false),
            ("a\nb", false),
        ] {
            let related = PublishKind::React.relate(Some(Seq(7)), text, true);
            assert_eq!(related.is_ok(), taken, "{text:?}");
        }
    }

    #[test]
    fn what_refers_to_a_message_names_it() {
        let seq = Some(Seq(7));
        let about = |kind| Some(About { seq: Seq(7), kind });
        for (kind, about, related) in [
            (PublishKind::Said, None, Ok((MessageKind::Said, None))),
            (PublishKind::Me, None, Ok((MessageKind::Me, None))),
            (
                PublishKind::Said,
                seq,
                Ok((MessageKind::Said, about(AboutKind::Reply))),
            ),
            (
                PublishKind::Me,
                seq,
                Ok((MessageKind::Me, about(AboutKind::Reply))),
            ),
            (
                PublishKind::Edit,
                seq,
                Ok((MessageKind::Said, about(AboutKind::Edit))),
            ),
            (PublishKind::Edit, None, Err(RefusalCode::BadField)),
            (PublishKind::Reply, None, Err(RefusalCode::BadField)),
            (PublishKind::React, seq, Err(RefusalCode::NotAllowed)),
        ] {
            let found = kind.relate(about, "x", false);
            assert_eq!(found.map_err(|refusal| refusal.code), related, "{kind:?}");
        }
    }
}
