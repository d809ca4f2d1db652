//! A room as this client knows it, also while it is in another one.

use std::collections::VecDeque;

use super::super::{super::Position, editor::Editor, line::Line};
use crate::protocol::Seq;

/// How many lines of it are kept.
const LINES: usize = 500;

/// How many of the texts typed in it are kept.
const TYPED: usize = 500;

#[derive(Debug, Default)]
pub(super) struct Room {
    lines: VecDeque<(Option<Seq>, Line)>,
    /// What is typed and was not sent, while another room is on the screen.
    pub(super) draft: Editor,
    /// How far it was shown.
    pub(super) last: Option<Position>,
    typed: Vec<String>,
    /// What was typed on other days is among it.
    pub(super) recalled: bool,
    /// Which of them is looked at, and what stood in its place.
    looking: Option<(usize, String)>,
}

impl Room {
    pub(super) fn keep(&mut self, seq: Option<Seq>, line: Line) {
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back((seq, line));
    }

    /// Forgets what was said under a number; whether it was known.
    pub(super) fn forget(&mut self, seq: Seq) -> bool {
        let before = self.lines.len();
        self.lines.retain(|(number, _)| *number != Some(seq));
        self.lines.len() < before
    }

    /// The last so many lines.
    pub(super) fn last(&self, count: usize) -> impl Iterator<Item = &Line> {
        let skipped = self.lines.len().saturating_sub(count);
        self.lines.iter().skip(skipped).map(|(_, line)| line)
    }

    /// What was typed in it on other days.
    pub(super) fn recall(&mut self, mut typed: Vec<String>) {
        typed.append(&mut self.typed);
        self.typed = typed;
        self.typed.drain(..self.typed.len().saturating_sub(TYPED));
        self.recalled = true;
    }

    /// Something was sent.
    pub(super) fn typed(&mut self, text: &str) {
        self.looking = None;
        if self.typed.last().is_some_and(|last| last == text) {
            return;
        }
        if self.typed.len() == TYPED {
            self.typed.remove(0);
        }
        self.typed.push(text.to_owned());
    }

    /// What was sent before, or after, the one looked at; `now` is what is
    /// typed.
    pub(super) fn look(&mut self, back: bool, now: &str) -> Option<String> {
        let at = self
            .looking
            .as_ref()
            .map_or(self.typed.len(), |(at, _)| *at);
        let next = if back { at.checked_sub(1)? } else { at + 1 };
        if next > self.typed.len() {
            return None;
        }
        if next == self.typed.len() {
            return self.looking.take().map(|(_, stood)| stood);
        }
        let (looking, _) = self.looking.get_or_insert_with(|| (at, now.to_owned()));
        *looking = next;
        Some(self.typed[next].clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed() {
        let mut room = Room::default();
        assert_eq!(room.look(true, "draft"), None);
        for text in ["a", "b", "b"] {
            room.typed(text);
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
            assert_eq!(room.look(back, "draft").as_deref(), seen);
        }
    }
}
