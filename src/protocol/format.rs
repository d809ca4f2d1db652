//! The formats that a connection may use, and their encodings of events.

use std::fmt::Write;

use super::{
    Event, Message, Outline, Request, Slot, close::CloseReason, event_stream, frame, json,
    name::Reference, plain, typed,
};

/// The format of a connection, decided at its upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines for people and small scripts.
    Plain,
    /// Plain lines; each message starts with its number and a space (`seq=1`).
    NumberedPlain,
    /// Subprotocol `chat.v1`.
    Json,
    /// Server-sent events; such a connection only reads.
    EventStream,
}

impl Format {
    /// The number of formats.
    pub const COUNT: usize = Self::ALL.len();

    /// All formats, each at its index.
    pub const ALL: [Format; 4] = [
        Format::Plain,
        Format::NumberedPlain,
        Format::Json,
        Format::EventStream,
    ];

    /// The index of this format in [`Format::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Finds the outline of a text frame; `None` if the frame asks for nothing.
    pub fn outline(self, text: &str) -> Option<Outline> {
        match self {
            Format::Plain | Format::NumberedPlain => typed::outline(text),
            Format::Json => Some(json::outline(text)),
            Format::EventStream => None,
        }
    }

    /// Parses a text frame with this outline; `None` if the frame asks for
    /// nothing.
    pub fn parse(self, text: &str, outline: Outline) -> Option<Request> {
        match self {
            Format::Plain | Format::NumberedPlain => {
                typed::parse(text).transpose().map(Request::without_ref)
            }
            Format::Json => Some(json::parse_outlined(text, outline)),
            Format::EventStream => None,
        }
    }

    /// Whether the server hides messages of ignored names. In the other formats
    /// a reader proves by `prev` that no message is missing.
    pub fn hides_ignored(self) -> bool {
        matches!(self, Format::Plain | Format::NumberedPlain)
    }

    /// Encodes an event as a frame; `None` if this format does not show it.
    pub fn frame(self, event: &Event) -> Option<Vec<u8>> {
        self.answer(event, None)
    }

    /// Encodes an event that answers the command with this ref, as
    /// [`Format::frame`] does.
    pub fn answer(self, event: &Event, reference: Option<&Reference>) -> Option<Vec<u8>> {
        let payload = match self {
            Format::Json => json::answer(event, reference),
            Format::Plain | Format::NumberedPlain => match event {
                Event::Page(page) => {
                    plain::page(page, |line, message| self.put_line(line, message))
                }
                Event::Changed(change) => {
                    let number = match self {
                        Format::NumberedPlain => format!("{} ", change.seq),
                        _ => String::new(),
                    };
                    number + &plain::event(event)?
                }
                _ => plain::event(event)?,
            },
            Format::EventStream => return event_stream::event(event).map(Into::into),
        };
        let mut out = Vec::with_capacity(payload.len() + 10);
        frame::put_text(&mut out, payload.as_bytes());
        Some(out)
    }

    /// Appends a message in this format, without a frame.
    pub fn put_line(self, line: &mut String, message: &Message) {
        match self {
            Format::Plain => plain::put_message(line, message),
            Format::NumberedPlain => {
                // Writing to a String cannot fail.
                let _ = write!(line, "{} ", message.seq);
                plain::put_message(line, message);
            }
            Format::Json => json::put_message(line, message),
            Format::EventStream => event_stream::put_message(line, message),
        }
    }

    /// Appends the frame of a slot, if this format shows it. `scratch` is
    /// working space, so that a caller allocates once for many slots.
    pub fn put_slot(self, out: &mut Vec<u8>, scratch: &mut String, entry: &Slot) {
        match entry {
            Slot::Message(message) => self.put_message(out, scratch, message),
            Slot::Changed(change) => {
                out.extend(
                    self.frame(&Event::Changed(change.clone()))
                        .unwrap_or_default(),
                );
            }
            Slot::Redacted(erased) => {
                out.extend(self.frame(&erased.clone().into()).unwrap_or_default());
            }
        }
    }

    fn put_message(self, out: &mut Vec<u8>, scratch: &mut String, message: &Message) {
        scratch.clear();
        self.put_line(scratch, message);
        match self {
            Format::EventStream => out.extend_from_slice(scratch.as_bytes()),
            _ => frame::put_text(out, scratch.as_bytes()),
        }
    }

    /// Encodes a ping. For server-sent events it is a comment, which has no
    /// answer.
    pub fn ping(self) -> Vec<u8> {
        match self {
            Format::EventStream => event_stream::keep_alive().into(),
            _ => frame::ping(),
        }
    }

    /// Encodes the end of the connection.
    pub fn close(self, reason: &CloseReason) -> Vec<u8> {
        match self {
            Format::EventStream => event_stream::close(reason).into(),
            _ => frame::close(reason),
        }
    }
}
