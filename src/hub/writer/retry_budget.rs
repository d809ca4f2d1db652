//! How often the writer tries a failing log.

use std::time::Duration;

use tokio::time::Instant;

/// How often the writer tries a failing log: once in `TRY_EVERY` in the long
/// run, and up to `TRIES_AT_ONCE` times in a row. It refuses all other entries
/// without touching the disk.
pub(super) const TRY_EVERY: Duration = Duration::from_millis(250);
const TRIES_AT_ONCE: u32 = 8;

/// Limits how often a failing log is tried.
pub(super) struct RetryBudget {
    /// When all [`TRIES_AT_ONCE`] tries are available again.
    free: Instant,
}

impl RetryBudget {
    pub(super) fn new() -> Self {
        RetryBudget {
            free: Instant::now(),
        }
    }

    /// Takes one try; false if none is available yet.
    pub(super) fn take(&mut self) -> bool {
        let now = Instant::now();
        let free = self.free.max(now) + TRY_EVERY;
        let allowed = free <= now + TRY_EVERY * TRIES_AT_ONCE;
        if allowed {
            self.free = free;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_failing_log_is_not_tried_for_every_message() {
        let mut tries = RetryBudget::new();
        let count = |tries: &mut RetryBudget| (0..100).filter(|_| tries.take()).count();
        assert_eq!(count(&mut tries), 8);
        tokio::time::advance(TRY_EVERY * 3).await;
        assert_eq!(count(&mut tries), 3);
        tokio::time::advance(TRY_EVERY * 300).await;
        assert_eq!(count(&mut tries), 8);
    }
}
