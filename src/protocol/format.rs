//! The formats a connection may speak, and what each makes of events.

use std::fmt::Write;

use super::{
    Event, Message, Request, Slot, close::CloseReason, event_stream, frame, json, name::Reference,
    plain, typed,
};

/// How a connection speaks: decided at its upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines for people and small scripts.
    Plain,
    /// Plain lines, each message led by its number and a space (`seq=1`).
    NumberedPlain,
    /// Subprotocol `chat.v1`.
    Json,
    /// Server-sent events: whoever speaks so only reads.
    EventStream,
}

impl Format {
    /// How many formats there are.
    pub const COUNT: usize = Self::ALL.len();

    /// All formats, each at its index.
    pub const ALL: [Format; 4] = [
        Format::Plain,
        Format::NumberedPlain,
        Format::Json,
        Format::EventStream,
    ];

    /// A place for each format in an array.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// What a text frame asks for; `None` where there is nothing to do.
    pub fn parse(self, text: &str) -> Option<Request> {
        match self {
            Format::Plain | Format::NumberedPlain => {
                typed::parse(text).transpose().map(Request::without_ref)
            }
            Format::Json => Some(json::parse(text)),
            Format::EventStream => None,
        }
    }

    /// The frame of an event; `None` where this format shows nothing.
    pub fn frame(self, event: &Event) -> Option<Vec<u8>> {
        self.answer(event, None)
    }

    /// The frame of an event that answers the command with this ref.
    pub fn answer(self, event: &Event, reference: Option<&Reference>) -> Option<Vec<u8>> {
        let payload = match self {
            Format::Json => json::answer(event, reference),
            Format::Plain | Format::NumberedPlain => match event {
                Event::Page(page) => {
                    plain::page(page, |line, message| self.put_line(line, message))
                }
                _ => plain::event(event)?,
            },
            Format::EventStream => return Some(event_stream::event(event).into()),
        };
        let mut out = Vec::with_capacity(payload.len() + 10);
        frame::put_text(&mut out, payload.as_bytes());
        Some(out)
    }

    /// Appends a message as this format writes it.
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

    /// Appends the frame of what stands at a number, if this format shows it.
    /// `scratch` is working space, so that encoding a batch allocates once.
    pub fn put_slot(self, out: &mut Vec<u8>, scratch: &mut String, entry: &Slot) {
        match entry {
            Slot::Message(message) => self.put_message(out, scratch, message),
            Slot::Erased(erased) => {
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

    /// What shows that the connection lives, or makes the peer show it.
    pub fn ping(self) -> Vec<u8> {
        match self {
            Format::EventStream => event_stream::nothing().into(),
            _ => frame::ping(),
        }
    }

    /// The last thing said.
    pub fn close(self, reason: &CloseReason) -> Vec<u8> {
        match self {
            Format::EventStream => event_stream::end(reason).into(),
            _ => frame::close(reason),
        }
    }
}
