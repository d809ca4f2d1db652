//! Calls the user: the bell, notifications of the desktop and the title of the
//! window.

use std::{fmt::Write, mem};

use super::Model;
use crate::protocol::text::sanitize;

/// The longest text of a notification, in characters.
const MAX_NOTIFIED: usize = 120;

/// Ends an operating system command (OSC) of a terminal.
const END: char = '\x07';

impl Model {
    /// Rings the bell, and notifies the desktop while the terminal has no focus.
    pub(super) fn call(&mut self, text: String) {
        self.rings = true;
        if self.unfocused_since.is_some() && self.options.bell {
            self.notification = Some(text);
        }
    }

    /// Takes the bytes that notify the desktop, and those of a changed title.
    /// Terminals ignore a command that they do not know.
    pub(in super::super) fn take_calls(&mut self) -> String {
        let mut bytes = String::new();
        if let Some(text) = self.notification.take() {
            // A semicolon would end the title of the second form.
            let text = sanitize(&text).replace(['\n', '\t', ';'], " ");
            let text: String = text.chars().take(MAX_NOTIFIED).collect();
            // Writing to a String cannot fail.
            let _ = write!(bytes, "\x1b]9;{text}{END}\x1b]777;notify;chat;{text}{END}");
        }
        let title = self.title();
        if mem::replace(&mut self.shown_title, title.clone()) != title {
            let _ = write!(bytes, "\x1b]2;{title}{END}");
        }
        bytes
    }

    /// The title of the window: while the terminal has no focus, it begins with
    /// the number of messages and places that the user has not seen.
    fn title(&self) -> String {
        let unseen = self.unseen.as_ref().map_or(0, |unseen| unseen.count);
        let count = unseen + self.calling_places() as u64;
        let here = self.here_place().to_string();
        if self.unfocused_since.is_some() && count > 0 {
            format!("({count}) {here}")
        } else {
            here
        }
    }
}
