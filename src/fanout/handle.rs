//! A way to a subscriber for the rest of the server.

use std::{fmt, sync::Arc};

use super::{
    ephemeral::Ephemeral,
    outlet::{Mode, Shared},
};
use crate::protocol::{Event, Seq, format::Format, name::RoomName};

/// A way to one subscriber, beside its session and its shard.
///
/// It makes nobody wait. A closed subscriber keeps no socket and no buffer, and
/// ignores what it is told.
#[derive(Clone)]
pub struct Handle {
    subscriber: Arc<Shared>,
}

/// How the subscribers stand that are not live, and what is kept for all.
#[derive(Clone, Copy, Debug, Default)]
pub struct CatchingUp {
    /// The number of subscribers that are catching up.
    pub subscribers: usize,
    /// How many numbers of the log the last of them is behind.
    pub behind: u64,
    /// The bytes kept in memory until sockets take them, for live subscribers
    /// too.
    pub kept: usize,
}

impl Handle {
    pub(super) fn new(subscriber: &Arc<Shared>) -> Self {
        Handle {
            subscriber: Arc::clone(subscriber),
        }
    }

    /// The subscriber's format.
    pub fn format(&self) -> Format {
        self.subscriber.lock().format()
    }

    /// Sends an ephemeral event of a room.
    ///
    /// A subscriber that does not follow the room yet, has not seen its replay or
    /// takes nothing now is sent `later` instead, once it is live: of each kind
    /// the last that it missed.
    pub fn send(&self, room: &RoomName, now: &Ephemeral, later: &Ephemeral) {
        self.subscriber.lock().send_ephemeral(room, now, later);
    }
}

/// Tells the readers of a room that the message under a number was redacted, in
/// the log and in its tail: a reader that was shown it is told so, and the
/// others are not shown it any more.
///
/// A message that is on its way in a batch, or in a page that a session has
/// read, is what it was. So a reader that has not come so far reads the log
/// anew. `readers` are all that follow the room, and may be more.
pub fn redacted(readers: impl IntoIterator<Item = Handle>, room: &RoomName, seq: Seq) {
    let (prev, id) = (None, None);
    let told = Ephemeral::each(&Event::Erased { seq, prev, id });
    for reader in readers {
        reader.subscriber.lock().redacted(room, seq, &told);
    }
}

impl CatchingUp {
    /// How these subscribers stand, where the log ends at `head`.
    pub fn of(subscribers: impl IntoIterator<Item = Handle>, head: Seq) -> Self {
        let mut all = CatchingUp::default();
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
