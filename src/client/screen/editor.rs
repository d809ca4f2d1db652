//! The editor of the typed text; it edits whole graphemes.
//!
//! The cursor is always between two graphemes, so a Backspace never leaves half
//! of a family emoji or of an é. `docs/decisions/025-terminal-editor.md` says why
//! this is not reedline's editor.

use std::{mem, ops::Range};

use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation};

use super::width::{grapheme_width, text_width, visible_form};
use crate::protocol::text::sanitize;

/// The longest text, in bytes: several times the limit of any server.
const MOST: usize = 256 << 10;

/// How many changes can be undone.
const UNDO: usize = 200;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Version {
    text: String,
    cursor: usize,
}

/// The kind of the last change: one undo reverts a series of `Typed` or of
/// `Erased`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Last {
    #[default]
    Other,
    Typed,
    Erased,
}

/// The target of a movement or an erasure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    Left,
    Right,
    WordLeft,
    WordRight,
    /// To the start of the word before; only whitespace separates words here.
    WhitespaceLeft,
    LineStart,
    LineEnd,
    Start,
    End,
}

/// A text with a cursor and its earlier versions.
#[derive(Debug, Default)]
pub(super) struct Editor {
    now: Version,
    before: Vec<Version>,
    undone: Vec<Version>,
    last: Last,
    killed: String,
}

/// A text cut into rows, each a range of its bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) rows: Vec<Range<usize>>,
    /// The index of the row with the cursor.
    pub(super) cursor: usize,
}

impl Editor {
    /// An editor with this text and the cursor at its end.
    #[cfg(test)]
    pub(super) fn with(text: String) -> Self {
        let mut editor = Editor::default();
        editor.now.cursor = text.len();
        editor.now.text = text;
        editor
    }

    pub(super) fn text(&self) -> &str {
        &self.now.text
    }

    pub(super) fn cursor(&self) -> usize {
        self.now.cursor
    }

    pub(super) fn is_empty(&self) -> bool {
        self.now.text.is_empty()
    }

    /// Takes the text out; undo brings it back.
    pub(super) fn take(&mut self) -> String {
        self.change(Last::Other);
        let text = mem::take(&mut self.now.text);
        self.now.cursor = 0;
        text
    }

    /// Replaces the whole text.
    pub(super) fn set(&mut self, text: &str) {
        self.change(Last::Other);
        text.clone_into(&mut self.now.text);
        self.now.cursor = text.len();
    }

    /// Inserts a character at the cursor.
    pub(super) fn type_char(&mut self, c: char) {
        // A space ends the series: undo reverts one word.
        let last = if c.is_whitespace() {
            Last::Other
        } else {
            Last::Typed
        };
        self.put(c.encode_utf8(&mut [0; 4]), last);
    }

    /// Inserts a text at the cursor, made safe to show.
    pub(super) fn insert(&mut self, text: &str) {
        self.put(&sanitize(text), Last::Other);
    }

    fn put(&mut self, text: &str, last: Last) {
        let room = MOST.saturating_sub(self.now.text.len());
        let mut end = text.len().min(room);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        if end == 0 {
            return;
        }
        self.change(last);
        self.now.text.insert_str(self.now.cursor, &text[..end]);
        self.now.cursor += end;
        // The text may form one grapheme with the text after it.
        self.now.cursor = self.boundary(self.now.cursor);
    }

    /// Replaces the text from `start` to the cursor.
    pub(super) fn replace(&mut self, start: usize, text: &str) {
        self.change(Last::Other);
        let cursor = self.now.cursor;
        self.now.text.replace_range(start..cursor, text);
        self.now.cursor = self.boundary(start + text.len());
    }

    pub(super) fn go(&mut self, to: To) {
        self.last = Last::Other;
        self.now.cursor = self.find(to);
    }

    /// Moves a line up or down; false if there is none.
    pub(super) fn go_line(&mut self, down: bool) -> bool {
        let (start, end) = (self.find(To::LineStart), self.find(To::LineEnd));
        let text = &self.now.text;
        let line = if down {
            if end == text.len() {
                return false;
            }
            let rest = &text[end + 1..];
            end + 1..end + 1 + rest.find('\n').unwrap_or(rest.len())
        } else {
            if start == 0 {
                return false;
            }
            text[..start - 1].rfind('\n').map_or(0, |at| at + 1)..start - 1
        };
        let wanted = text_width(&text[start..self.now.cursor]);
        let mut column = 0;
        let mut cursor = line.end;
        for (at, grapheme) in text[line.clone()].grapheme_indices(true) {
            if column >= wanted {
                cursor = line.start + at;
                break;
            }
            column += grapheme_width(visible_form(grapheme));
        }
        self.last = Last::Other;
        self.now.cursor = cursor;
        true
    }

    /// Erases from the cursor to a target.
    pub(super) fn erase(&mut self, to: To) {
        let (from, to_there) = (self.now.cursor, self.find(to));
        let range = from.min(to_there)..from.max(to_there);
        if range.is_empty() {
            return;
        }
        let letter = matches!(to, To::Left | To::Right);
        self.change(if letter { Last::Erased } else { Last::Other });
        let erased: String = self.now.text.drain(range.clone()).collect();
        if !letter {
            self.killed = erased;
        }
        self.now.cursor = self.boundary(range.start);
    }

    /// Inserts the text that was erased last, except by single letters.
    pub(super) fn yank(&mut self) {
        let killed = self.killed.clone();
        self.put(&killed, Last::Other);
    }

    pub(super) fn undo(&mut self) {
        if let Some(version) = self.before.pop() {
            self.undone.push(mem::replace(&mut self.now, version));
            self.last = Last::Other;
        }
    }

    pub(super) fn redo(&mut self) {
        if let Some(version) = self.undone.pop() {
            self.before.push(mem::replace(&mut self.now, version));
            self.last = Last::Other;
        }
    }

    /// Saves the present version for undo, before a change.
    fn change(&mut self, last: Last) {
        if last == Last::Other || last != self.last {
            if self.before.len() == UNDO {
                self.before.remove(0);
            }
            self.before.push(self.now.clone());
        }
        self.undone.clear();
        self.last = last;
    }

    /// This place, or the end of the grapheme it is in.
    fn boundary(&self, at: usize) -> usize {
        let text = &self.now.text;
        let mut place = GraphemeCursor::new(at, text.len(), true);
        if place.is_boundary(text, 0) == Ok(true) {
            return at;
        }
        place
            .next_boundary(text, 0)
            .ok()
            .flatten()
            .unwrap_or(text.len())
    }

    fn find(&self, to: To) -> usize {
        let (text, cursor) = (self.now.text.as_str(), self.now.cursor);
        let (left, right) = text.split_at(cursor);
        match to {
            To::Left => cursor - left.graphemes(true).next_back().map_or(0, str::len),
            To::Right => cursor + right.graphemes(true).next().map_or(0, str::len),
            To::WordLeft => {
                let word = left.unicode_word_indices().next_back();
                self.boundary(word.map_or(0, |(at, _)| at))
            }
            To::WordRight => {
                let word = right.unicode_word_indices().next();
                let end = word.map_or(text.len(), |(at, word)| cursor + at + word.len());
                self.boundary(end)
            }
            To::WhitespaceLeft => {
                let word = left.trim_end();
                word.rfind(char::is_whitespace).map_or(0, |at| {
                    at + word[at..].chars().next().map_or(0, char::len_utf8)
                })
            }
            To::LineStart => left.rfind('\n').map_or(0, |at| at + 1),
            To::LineEnd => right.find('\n').map_or(text.len(), |at| cursor + at),
            To::Start => 0,
            To::End => text.len(),
        }
    }

    /// The text in rows of at most `width` cells.
    pub(super) fn rows(&self, width: usize) -> Rows {
        let text = self.now.text.as_str();
        let mut rows = Vec::new();
        let mut start = 0;
        for line in text.split('\n') {
            let (mut begun, mut column) = (start, 0);
            for (at, grapheme) in line.grapheme_indices(true) {
                let wide = grapheme_width(visible_form(grapheme));
                if column + wide > width && column > 0 {
                    rows.push(begun..start + at);
                    (begun, column) = (start + at, 0);
                }
                column += wide;
            }
            rows.push(begun..start + line.len());
            start += line.len() + 1;
        }
        let cursor = rows.iter().rposition(|row| row.start <= self.now.cursor);
        Rows {
            rows,
            cursor: cursor.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests;
