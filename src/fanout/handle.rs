//! Handles: how the rest of the server reaches a subscriber.

use std::{fmt, sync::Arc};

use super::{
    ephemeral::Ephemeral,
    outlet::{Mode, SharedOutlet},
};
use crate::protocol::{Event, Seq, format::Format, name::RoomName};

/// A handle to one subscriber, for code outside its session and its shard.
///
/// Its methods never wait for the socket. A closed subscriber keeps no socket
/// and no buffer, and ignores what it is sent.
#[derive(Clone)]
pub struct Handle {
    subscriber: Arc<SharedOutlet>,
}

/// How many subscribers are catching up, how far they are behind, and the
/// memory kept for all subscribers.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeliveryFigures {
    /// The number of subscribers that are catching up.
    pub subscribers: usize,
    /// How many numbers the slowest of them is behind the head of the log.
    pub behind: u64,
    /// The bytes kept in memory until sockets take them, for live subscribers
    /// too.
    pub kept: usize,
}

impl Handle {
    pub(super) fn new(subscriber: &Arc<SharedOutlet>) -> Self {
        Handle {
            subscriber: Arc::clone(subscriber),
        }
    }

    /// The subscriber's format.
    pub fn format(&self) -> Format {
        self.subscriber.lock().format()
    }

    /// Stops delivery: the session is about to end. It still sends its own
    /// frames.
    pub fn stop(&self) {
        self.subscriber.lock().stop();
    }

    /// Sends an event of another room than the subscriber's. Returns false if it
    /// cannot be sent now: the replay is not over, or bytes wait for the socket.
    pub fn tell(&self, event: &Event) -> bool {
        self.subscriber.lock().tell(event)
    }

    /// Sends an ephemeral event of a room.
    ///
    /// Some subscribers are sent `later` instead, once they are live: those
    /// that do not follow the room yet, have not seen their replay, or take
    /// nothing now. They are sent the last missed event of each kind.
    pub fn send_ephemeral(&self, room: &RoomName, now: &Ephemeral, later: &Ephemeral) {
        self.subscriber.lock().send_ephemeral(room, now, later);
    }
}

/// Tells the readers of a room about a redaction that the store and the tail
/// already have. A reader that was shown the message is sent the event. Any
/// other reader is no longer shown the message.
///
/// A batch on its way to a shard still has the message's text, and so has a
/// page that a session has read. So a reader whose position is before the
/// message reads the history again. `readers` must include all that follow the
/// room, and may include others.
pub fn tell_redaction(readers: impl IntoIterator<Item = Handle>, room: &RoomName, seq: Seq) {
    let (prev, id) = (None, None);
    let told = Ephemeral::without_kind(&Event::Erased { seq, prev, id });
    for reader in readers {
        reader.subscriber.lock().tell_redaction(room, seq, &told);
    }
}

impl DeliveryFigures {
    /// Adds up these subscribers; `head` is the end of the log.
    pub fn of(subscribers: impl IntoIterator<Item = Handle>, head: Seq) -> Self {
        let mut all = DeliveryFigures::default();
        for handle in subscribers {
            let outlet = handle.subscriber.lock();
            if outlet.mode == Mode::CatchingUp {
                all.subscribers += 1;
                all.behind = all.behind.max(head.0.saturating_sub(outlet.position.0));
            }
            all.kept += outlet.kept();
        }
        all
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}
