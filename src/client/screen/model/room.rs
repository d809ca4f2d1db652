//! The state of a room, kept while another room is on the screen.

use std::collections::VecDeque;

use super::super::{super::Position, editor::Editor, line::Line};
use crate::protocol::Seq;

/// How many lines of a room are kept.
const LINES: usize = 500;

/// How many of the texts sent in a room are kept.
const TYPED: usize = 500;

#[derive(Debug, Default)]
pub(super) struct RoomModel {
    lines: VecDeque<(Option<Seq>, Line)>,
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
    pub(super) fn keep(&mut self, seq: Option<Seq>, line: Line) {
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back((seq, line));
    }

    /// Removes the message with a number; returns whether it was there.
    pub(super) fn redact(&mut self, seq: Seq) -> bool {
        let before = self.lines.len();
        self.lines.retain(|(number, _)| *number != Some(seq));
        self.lines.len() < before
    }

    /// The last `count` lines.
    pub(super) fn last_lines(&self, count: usize) -> impl Iterator<Item = &Line> {
        let skipped = self.lines.len().saturating_sub(count);
        self.lines.iter().skip(skipped).map(|(_, line)| line)
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
