//! All subscribers, for what concerns each of them.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use super::{CatchingUp, Saying, outlet::Mode, subscriber::Shared};
use crate::protocol::{Event, Seq, name::RoomName};

#[derive(Default)]
pub(super) struct Directory {
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    next: u64,
    subscribers: HashMap<u64, Weak<Shared>>,
    /// Those that read an inbox, by that.
    inboxes: HashMap<RoomName, Vec<Weak<Shared>>>,
}

/// That a subscriber reads an inbox; dropping it ends that.
pub(super) struct Receiving {
    directory: Arc<Directory>,
    inbox: RoomName,
    subscriber: Weak<Shared>,
}

/// A subscriber's place; dropping it gives it back.
pub(super) struct Listed {
    directory: Arc<Directory>,
    number: u64,
}

impl Directory {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn list(self: &Arc<Self>, subscriber: &Arc<Shared>) -> Listed {
        let mut entries = self.entries();
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
            let entries = self.entries();
            let subscribers = entries.subscribers.values();
            subscribers.filter_map(Weak::upgrade).collect()
        };
        for subscriber in all {
            subscriber.lock().erased(room, seq, &told);
        }
    }

    /// From here on a subscriber hears of it when an inbox grows.
    pub(super) fn receive(
        self: &Arc<Self>,
        inbox: RoomName,
        subscriber: &Arc<Shared>,
    ) -> Receiving {
        let subscriber = Arc::downgrade(subscriber);
        let mut entries = self.entries();
        let readers = entries.inboxes.entry(inbox.clone()).or_default();
        readers.push(Weak::clone(&subscriber));
        Receiving {
            directory: Arc::clone(self),
            inbox,
            subscriber,
        }
    }

    /// Sends the live readers of an inbox to the log.
    pub(super) fn fall_behind(&self, inbox: &RoomName) {
        let entries = self.entries();
        let readers = entries.inboxes.get(inbox).cloned().unwrap_or_default();
        drop(entries);
        for subscriber in readers.iter().filter_map(Weak::upgrade) {
            let mut outlet = subscriber.lock();
            if outlet.mode == Mode::Live {
                outlet.fall_behind();
            }
        }
    }

    /// How those stand who are not live, where the log ends at `head`.
    pub(super) fn catching_up(&self, head: Seq) -> CatchingUp {
        let entries = self.entries();
        let mut all = CatchingUp::default();
        for subscriber in entries.subscribers.values().filter_map(Weak::upgrade) {
            let outlet = subscriber.lock();
            if outlet.mode == Mode::CatchingUp {
                all.subscribers += 1;
                all.behind = all.behind.max(head.0.saturating_sub(outlet.position.0));
            }
            all.kept += outlet.kept();
        }
        all
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        let mut entries = self.directory.entries();
        if let Some(readers) = entries.inboxes.get_mut(&self.inbox) {
            // One of them: the same subscriber may have two for a moment.
            let own = readers
                .iter()
                .position(|reader| reader.ptr_eq(&self.subscriber));
            own.map(|place| readers.swap_remove(place));
            if readers.is_empty() {
                entries.inboxes.remove(&self.inbox);
            }
        }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut entries = self.directory.entries();
        entries.subscribers.remove(&self.number);
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").finish_non_exhaustive()
    }
}
