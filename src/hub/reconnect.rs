//! Reconnect delays: after a drain, clients come back one after the other.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// The time between two clients, if there are many.
const EACH: Duration = Duration::from_millis(10);

/// The shortest and the longest time over which all clients come back.
const SHORTEST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(10);

/// Spreads the reconnecting clients over a time that grows with their number.
#[derive(Debug, Default)]
pub(super) struct ReconnectDelays {
    total: OnceLock<u32>,
    next: AtomicU32,
}

impl ReconnectDelays {
    /// The delay of the next client. The first call counts all clients with
    /// `members`.
    pub(super) fn next(&self, members: impl FnOnce() -> usize) -> Duration {
        let count = || u32::try_from(members()).unwrap_or(u32::MAX).max(1);
        let total = *self.total.get_or_init(count);
        let number = self.next.fetch_add(1, Ordering::Relaxed) % total;
        let all = EACH.saturating_mul(total).clamp(SHORTEST, LONGEST);
        all.mul_f64(f64::from(number + 1) / f64::from(total))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_client_gets_a_different_delay() {
        for (total, last) in [
            (1, 200),
            (20, 200),
            (100, 1000),
            (1000, 10_000),
            (5000, 10_000),
        ] {
            let delays = ReconnectDelays::default();
            let waits: BTreeSet<_> = (0..total)
                .map(|_| delays.next(|| total).as_millis())
                .collect();
            assert_eq!(waits.len(), total);
            assert_eq!(waits.last(), Some(&last));
        }
        // A draining client may be missing from the count.
        assert_eq!(ReconnectDelays::default().next(|| 0), SHORTEST);
    }
}
