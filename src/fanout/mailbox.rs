//! The mailbox of a shard.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Notify;

use super::outlet::{Outlet, SharedOutlet};

/// The number of subscribers in a mailbox at which its shard is woken without a
/// new batch. The shard then releases those that have left.
pub(super) const WAKE_THRESHOLD: usize = 256;

/// Subscribers whose mode has changed. The shard looks at them before its next
/// write. Each is in the mailbox at most once.
#[derive(Default)]
pub(super) struct Mailbox {
    subscribers: Mutex<Vec<Arc<SharedOutlet>>>,
    threshold_reached: Notify,
}

impl Mailbox {
    pub(super) fn put(&self, subscriber: &Arc<SharedOutlet>, outlet: &mut Outlet) {
        if !std::mem::replace(&mut outlet.mailed, true) {
            let mut subscribers = self
                .subscribers
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            subscribers.push(Arc::clone(subscriber));
            if subscribers.len().is_multiple_of(WAKE_THRESHOLD) {
                self.threshold_reached.notify_one();
            }
        }
    }

    pub(super) fn take(&self) -> Vec<Arc<SharedOutlet>> {
        std::mem::take(
            &mut self
                .subscribers
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Waits until the number of subscribers in the mailbox reaches a multiple
    /// of [`WAKE_THRESHOLD`].
    pub(super) async fn threshold_reached(&self) {
        self.threshold_reached.notified().await;
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.subscribers.lock().unwrap().len()
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}
