//! An event that is not in the log, encoded once for all its readers.

use std::{
    mem::{Discriminant, discriminant},
    sync::Arc,
};

use crate::protocol::{Event, format::Format};

/// An ephemeral event as frames, one for each format that shows it.
#[derive(Clone, Debug)]
pub struct Ephemeral {
    /// Of held events of one kind only the last counts; of those without a kind
    /// each does.
    kind: Option<Discriminant<Event>>,
    frames: [Option<Arc<[u8]>>; Format::COUNT],
}

impl Ephemeral {
    /// An event that replaces those of its kind that a reader has not seen.
    pub fn new(event: &Event) -> Self {
        Ephemeral {
            kind: Some(discriminant(event)),
            frames: Format::ALL.map(|format| format.frame(event).map(Into::into)),
        }
    }

    /// An event that replaces no other.
    pub(super) fn each(event: &Event) -> Self {
        Ephemeral {
            kind: None,
            ..Ephemeral::new(event)
        }
    }

    /// The kind of which a later event replaces this one.
    pub(super) fn kind(&self) -> Option<Discriminant<Event>> {
        self.kind
    }

    /// The frame in a format, if that shows it.
    pub(super) fn frame(&self, format: Format) -> Option<&Arc<[u8]>> {
        self.frames[format.index()].as_ref()
    }
}
