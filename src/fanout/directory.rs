//! All subscribers, for what concerns each of them.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use super::{Saying, outlet::Mode, subscriber::Shared};
use crate::protocol::{Event, Seq, name::RoomName};

#[derive(Default)]
pub(super) struct Directory {
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    next: u64,
    subscribers: HashMap<u64, Weak<Shared>>,
}

/// A subscriber's place; dropping it gives it back.
pub(super) struct Listed {
    directory: Arc<Directory>,
    number: u64,
}

impl Directory {
    pub(super) fn list(self: &Arc<Self>, subscriber: &Arc<Shared>) -> Listed {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let number = entries.next;
        entries.next += 1;
        entries
            .subscribers
            .insert(number, Arc::downgrade(subscriber));
        Listed {
            directory: Arc::clone(self),
            number,
        }
    }

    /// Tells all who follow a room that what was said under a number is erased.
    pub(super) fn erased(&self, room: &RoomName, seq: Seq) {
        let (prev, id) = (None, None);
        let told = Saying::each(&Event::Erased { seq, prev, id });
        let all: Vec<_> = {
            let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            let subscribers = entries.subscribers.values();
            subscribers.filter_map(Weak::upgrade).collect()
        };
        for subscriber in all {
            subscriber.lock().erased(room, seq, &told);
        }
    }

    /// How many are not live, and how far the last of them is from `head`.
    pub(super) fn catching_up(&self, head: Seq) -> (usize, u64) {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let behind = entries.subscribers.values().filter_map(|subscriber| {
            let subscriber = subscriber.upgrade()?;
            let outlet = subscriber.lock();
            matches!(outlet.mode, Mode::CatchingUp | Mode::Joining)
                .then(|| head.0.saturating_sub(outlet.position.0))
        });
        behind.fold((0, 0), |(count, most), behind| {
            (count + 1, most.max(behind))
        })
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut entries = self
            .directory
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        entries.subscribers.remove(&self.number);
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").finish_non_exhaustive()
    }
}
