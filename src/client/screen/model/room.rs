//! The state of a room, kept while another room is on the screen.

use std::collections::VecDeque;

use super::super::{super::Position, editor::Editor, line::Line};
use crate::protocol::{LastOf, Seq};

/// How many lines of a room are kept.
const LINES: usize = 500;

/// How many messages are shown while the user picks one.
const CHOICE: usize = 3;

/// How many of the texts sent in a room are kept.
const TYPED: usize = 500;

/// A message on the screen, which the user may refer to.
#[derive(Clone, Debug)]
pub(in super::super) struct ShownMessage {
    pub(in super::super) seq: Seq,
    pub(in super::super) from: String,
    pub(in super::super) text: String,
    /// The time of day when it was said.
    pub(in super::super) at: String,
    pub(in super::super) own: bool,
    /// The message that it answers.
    pub(in super::super) about: Option<Seq>,
}

/// The content of a line.
#[derive(Clone, Debug)]
pub(in super::super) enum Shown {
    /// A message.
    Message(ShownMessage),
    /// A change of the message with this number.
    Change(Seq),
    /// A private message, which is not shown again in the room.
    Private,
    /// Anything else.
    Other,
}

impl Shown {
    /// Whether it belongs to the room alone.
    pub(super) fn is_of_room(&self) -> bool {
        matches!(self, Shown::Message(_) | Shown::Change(_))
    }

    pub(super) fn message(&self) -> Option<&ShownMessage> {
        match self {
            Shown::Message(message) => Some(message),
            _ => None,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct RoomModel {
    lines: VecDeque<(Shown, Line)>,
    /// The message that the user has picked.
    picked: Option<Seq>,
    /// The unsent text, while another room is on the screen.
    pub(super) draft: Editor,
    /// The position up to which the room was shown.
    pub(super) last_position: Option<Position>,
    sent_texts: Vec<String>,
    /// Whether `sent_texts` includes the texts sent by earlier clients.
    pub(super) has_earlier: bool,
    /// While the user looks through `sent_texts`: the index of the text shown, and
    /// the unsent text it replaced.
    browsing: Option<(usize, String)>,
}

impl RoomModel {
    pub(super) fn keep(&mut self, shown: Shown, line: Line) {
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back((shown, line));
    }

    /// Removes the message with a number, its changes and its quotes; returns
    /// the message.
    pub(super) fn redact(&mut self, seq: Seq) -> Option<ShownMessage> {
        let message = self.message(seq).cloned();
        self.lines.retain_mut(|(shown, line)| match shown {
            Shown::Message(message) => {
                if message.about == Some(seq) {
                    line.remove_quote();
                }
                message.seq != seq
            }
            Shown::Change(about) => *about != seq,
            Shown::Private | Shown::Other => true,
        });
        message
    }

    /// The messages, the oldest first.
    fn messages(&self) -> impl DoubleEndedIterator<Item = &ShownMessage> {
        self.lines.iter().filter_map(|(shown, _)| shown.message())
    }

    /// The message with a number.
    pub(super) fn message(&self, seq: Seq) -> Option<&ShownMessage> {
        self.messages().rev().find(|message| message.seq == seq)
    }

    /// Gives a message its corrected text.
    pub(super) fn correct(&mut self, seq: Seq, text: &str) {
        for (shown, _) in &mut self.lines {
            if let Shown::Message(message) = shown
                && message.seq == seq
            {
                text.clone_into(&mut message.text);
            }
        }
    }

    /// The message that a command without a number means: the picked one, or the
    /// last one.
    pub(super) fn meant(&self, among: LastOf) -> Option<&ShownMessage> {
        let picked = self.picked.and_then(|seq| self.message(seq));
        let is_meant = |message: &&ShownMessage| among == LastOf::All || message.own;
        picked.or_else(|| self.messages().rev().find(is_meant))
    }

    /// Picks the message before (`back`) or after the picked one, at first the
    /// last one.
    pub(super) fn pick(&mut self, back: bool) {
        let seqs: Vec<_> = self.messages().map(|message| message.seq).collect();
        let at = self
            .picked
            .and_then(|seq| seqs.iter().position(|other| *other == seq));
        let next = match (at, back) {
            (None, true) => seqs.len().checked_sub(1),
            (None, false) => None,
            (Some(at), true) => Some(at.saturating_sub(1)),
            (Some(at), false) => Some(at + 1),
        };
        self.picked = next.and_then(|next| seqs.get(next).copied());
    }

    /// Ends the picking; false if no message was picked.
    pub(super) fn unpick(&mut self) -> bool {
        self.picked.take().is_some()
    }

    /// The picked message with some around it, and whether each is the picked
    /// one.
    pub(super) fn choice(&self) -> Vec<(bool, &ShownMessage)> {
        let messages: Vec<_> = self.messages().collect();
        let is_picked = |message: &ShownMessage| self.picked == Some(message.seq);
        let Some(at) = messages.iter().position(|message| is_picked(message)) else {
            return Vec::new();
        };
        let last = (at + CHOICE / 2 + 1).max(CHOICE).min(messages.len());
        let first = last.saturating_sub(CHOICE);
        let shown = messages[first..last].iter();
        shown
            .map(|message| (is_picked(message), *message))
            .collect()
    }

    /// The last `count` lines.
    pub(super) fn last_lines(&self, count: usize) -> impl Iterator<Item = &Line> {
        let skipped = self.lines.len().saturating_sub(count);
        self.lines.iter().skip(skipped).map(|(_, line)| line)
    }

    /// The last `count` lines without private messages.
    pub(super) fn last_public_lines(&self, count: usize) -> Vec<Line> {
        let lines = self.lines.iter().rev();
        let public = lines.filter(|(shown, _)| !matches!(shown, Shown::Private));
        let mut last: Vec<_> = public.take(count).map(|(_, line)| line.clone()).collect();
        last.reverse();
        last
    }

    /// Adds the texts sent by earlier clients, before those of this one.
    pub(super) fn add_earlier(&mut self, mut typed: Vec<String>) {
        typed.append(&mut self.sent_texts);
        self.sent_texts = typed;
        self.sent_texts
            .drain(..self.sent_texts.len().saturating_sub(TYPED));
        self.has_earlier = true;
    }

    /// Adds a sent text.
    pub(super) fn add_sent(&mut self, text: &str) {
        self.browsing = None;
        if self.sent_texts.last().is_some_and(|last| last == text) {
            return;
        }
        if self.sent_texts.len() == TYPED {
            self.sent_texts.remove(0);
        }
        self.sent_texts.push(text.to_owned());
    }

    /// The sent text before (`back`) or after the one shown, `None` at either
    /// end. `now` is the unsent text.
    pub(super) fn browse(&mut self, back: bool, now: &str) -> Option<String> {
        let at = self
            .browsing
            .as_ref()
            .map_or(self.sent_texts.len(), |(at, _)| *at);
        let next = if back { at.checked_sub(1)? } else { at + 1 };
        if next > self.sent_texts.len() {
            return None;
        }
        if next == self.sent_texts.len() {
            return self.browsing.take().map(|(_, stood)| stood);
        }
        let (looking, _) = self.browsing.get_or_insert_with(|| (at, now.to_owned()));
        *looking = next;
        Some(self.sent_texts[next].clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sent_texts_can_be_browsed_without_losing_the_draft() {
        let mut room = RoomModel::default();
        assert_eq!(room.browse(true, "draft"), None);
        for text in ["a", "b", "b"] {
            room.add_sent(text);
        }
        for (back, seen) in [
            (false, None),
            (true, Some("b")),
            (true, Some("a")),
            (true, None),
            (false, Some("b")),
            (false, Some("draft")),
            (false, None),
        ] {
            assert_eq!(room.browse(back, "draft").as_deref(), seen);
        }
    }
}
