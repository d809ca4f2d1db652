//! Whether the writer stores the entries that it gets.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// The events since the last look.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// Whether the last commit failed.
    pub(super) failing: AtomicBool,
    /// An entry came to the writer.
    asked: AtomicBool,
    /// A commit was begun and has not ended.
    committing: AtomicBool,
    /// A commit succeeded.
    stored: AtomicBool,
}

impl Pulse {
    /// Notes that an entry came to the writer.
    pub(super) fn asked(&self) {
        self.asked.store(true, Relaxed);
    }

    /// Notes the begin of a commit. The writer tries some again by itself.
    pub(super) fn begin(&self) {
        self.asked();
        self.committing.store(true, Relaxed);
    }

    /// Notes the end of a commit.
    pub(super) fn end(&self, stored: bool) {
        self.committing.store(false, Relaxed);
        if stored {
            self.stored.store(true, Relaxed);
        }
    }

    /// Whether a commit succeeded since the last look, or nothing was asked for.
    pub(super) fn take(&self) -> bool {
        let asked = self.asked.swap(false, Relaxed) || self.committing.load(Relaxed);
        self.stored.swap(false, Relaxed) || !asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Verified to fail when a stuck commit counts as none.
    #[test]
    fn only_a_commit_or_silence_is_a_pulse() {
        let pulse = Pulse::default();
        assert!(pulse.take(), "nothing was asked for");
        pulse.asked();
        pulse.begin();
        for _ in 0..3 {
            assert!(!pulse.take(), "the commit is stuck");
        }
        pulse.end(true);
        assert!(pulse.take());
        assert!(pulse.take());
        pulse.asked();
        pulse.begin();
        pulse.end(false);
        assert!(!pulse.take(), "the commit failed");
        assert!(pulse.take(), "nothing was asked for again");
        pulse.asked();
        assert!(!pulse.take(), "an entry was refused without a commit");
    }
}
