//! Held events: the ephemeral events that a reader could not be sent in time.

use std::{mem::Discriminant, sync::Arc};

use crate::{
    fanout::ephemeral::Ephemeral,
    protocol::{Event, format::Format, name::RoomName},
};

/// The most frames held for one reader.
const MAX_HELD: usize = 1000;

/// The ephemeral events that one reader is sent once it is live: the last of
/// each kind.
///
/// Usually nothing is held, and this occupies no further memory.
#[derive(Default)]
pub(super) struct Held(Option<Box<Frames>>);

struct Frames {
    room: RoomName,
    frames: Vec<Frame>,
}

/// A frame and its kind; of each kind only the last frame is held.
type Frame = (Option<Discriminant<Event>>, Arc<[u8]>);

impl Held {
    /// Drops the held frames that an event replaces.
    pub(super) fn replace(&mut self, by: &Ephemeral) {
        if let (Some(held), Some(kind)) = (&mut self.0, by.kind()) {
            held.frames.retain(|(other, _)| *other != Some(kind));
        }
    }

    /// Holds an event of a room; events of other rooms are dropped.
    pub(super) fn put(&mut self, room: &RoomName, event: &Ephemeral, format: Format) {
        let Some(frame) = event.frame(format) else {
            return;
        };
        let held = self.0.take().filter(|held| held.room == *room);
        let mut held = held.unwrap_or_else(|| {
            let (room, frames) = (room.clone(), Vec::new());
            Box::new(Frames { room, frames })
        });
        // Beyond the limit a reader misses events, as a disconnected reader
        // does.
        if held.frames.len() < MAX_HELD {
            held.frames.push((event.kind(), Arc::clone(frame)));
        }
        self.0 = Some(held);
    }

    /// Takes the frames of a room, and drops those of any other.
    pub(super) fn take(&mut self, room: &RoomName) -> Vec<Frame> {
        let held = self.0.take().filter(|held| held.room == *room);
        held.map_or_else(Vec::new, |held| held.frames)
    }

    /// The number of bytes held.
    pub(super) fn len(&self) -> usize {
        let frames = self.0.iter().flat_map(|held| &held.frames);
        frames.map(|(_, frame)| frame.len()).sum()
    }
}
