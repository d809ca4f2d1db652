//! An event that is not in the log, encoded once for all its readers.

use std::{
    mem::{Discriminant, discriminant},
    sync::Arc,
};

use crate::protocol::{Event, format::Format};

/// An ephemeral event as frames, one for each format that shows it.
#[derive(Clone, Debug)]
pub struct Ephemeral {
    /// Of the held events of one kind, only the last is kept. Every held event
    /// without a kind is kept.
    kind: Option<Discriminant<Event>>,
    frames: [Option<Arc<[u8]>>; Format::COUNT],
}

impl Ephemeral {
    /// Encodes an event that replaces each event of its kind that a reader was
    /// not sent yet.
    pub fn new(event: &Event) -> Self {
        Ephemeral {
            kind: Some(discriminant(event)),
            frames: Format::ALL.map(|format| format.frame(event).map(Into::into)),
        }
    }

    /// Encodes an event that replaces no other event.
    pub(super) fn without_kind(event: &Event) -> Self {
        Ephemeral {
            kind: None,
            ..Ephemeral::new(event)
        }
    }

    /// The kind of the event; a later event of the same kind replaces it.
    pub(super) fn kind(&self) -> Option<Discriminant<Event>> {
        self.kind
    }

    /// The frame in a format; `None` if the format does not show the event.
    pub(super) fn frame(&self, format: Format) -> Option<&Arc<[u8]>> {
        self.frames[format.index()].as_ref()
    }
}
