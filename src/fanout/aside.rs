//! A word to a subscriber outside of the log.

use std::{
    fmt,
    mem::{Discriminant, discriminant},
    sync::Arc,
};

use super::subscriber::Shared;
use crate::protocol::{Event, format::Format, name::RoomName};

/// What is said, encoded for each format that shows it.
#[derive(Clone, Debug)]
pub struct Saying {
    /// Of several of one kind that are held back, the last one counts; of those
    /// without a kind each.
    pub(super) kind: Option<Discriminant<Event>>,
    frames: [Option<Arc<[u8]>>; Format::COUNT],
}

impl Saying {
    /// Says this event.
    pub fn new(event: &Event) -> Self {
        Saying {
            kind: Some(discriminant(event)),
            frames: Format::ALL.map(|format| format.frame(event).map(Into::into)),
        }
    }

    /// Says this event, whatever else of its kind is said.
    pub(super) fn each(event: &Event) -> Self {
        Saying {
            kind: None,
            ..Saying::new(event)
        }
    }

    pub(super) fn frame(&self, format: Format) -> Option<&Arc<[u8]>> {
        self.frames[format.index()].as_ref()
    }
}

/// A way to a subscriber's outlet for those who have something to say that is
/// no message. It keeps nobody waiting and nothing alive but a shell.
#[derive(Clone)]
pub struct Aside {
    subscriber: Arc<Shared>,
}

impl Aside {
    pub(super) fn to(subscriber: &Arc<Shared>) -> Self {
        Aside {
            subscriber: Arc::clone(subscriber),
        }
    }

    /// How it speaks.
    pub fn format(&self) -> Format {
        self.subscriber.lock().format()
    }

    /// Says something of a room. Whoever does not follow it yet, has not seen
    /// its replay or takes nothing now is told `later` instead, once it is
    /// live: of each kind the last that it missed.
    pub fn say(&self, room: &RoomName, now: &Saying, later: &Saying) {
        self.subscriber.lock().say_aside(room, now, later);
    }
}

impl fmt::Debug for Aside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aside").finish_non_exhaustive()
    }
}
