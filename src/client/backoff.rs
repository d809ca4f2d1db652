//! How long to wait before the next attempt to connect.

use std::time::Duration;

use fastrand::Rng;

/// The shortest wait.
const SHORTEST: Duration = Duration::from_millis(100);

/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(15);

/// Waits that grow with every failure, and differ from client to client: those
/// who lost one server at one moment do not all come back at one moment.
#[derive(Debug)]
pub(super) struct Backoff {
    rng: Rng,
    failures: u32,
}

impl Backoff {
    pub(super) fn seeded(seed: u64) -> Self {
        Backoff {
            rng: Rng::with_seed(seed),
            failures: 0,
        }
    }

    /// The next wait: between 0.1 s and a bound that is 0.2 s at first and
    /// doubles up to 15 s.
    pub(super) fn next(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let bound = SHORTEST
            .saturating_mul(2_u32.saturating_pow(self.failures))
            .min(LONGEST);
        SHORTEST + bound.saturating_sub(SHORTEST).mul_f64(self.rng.f64())
    }

    /// The attempts have led to something: the next failure is the first.
    pub(super) fn start_over(&mut self) {
        self.failures = 0;
    }

    /// Whether a connection that lasted so long counts as one.
    pub(super) fn has_lasted(lasted: Duration) -> bool {
        lasted > LONGEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_within_bounds_and_differ() {
        let mut longest = vec![Duration::ZERO; 12];
        for seed in 0..500 {
            let mut backoff = Backoff::seeded(seed);
            for longest in &mut longest {
                let wait = backoff.next();
                assert!((SHORTEST..=LONGEST).contains(&wait));
                *longest = wait.max(*longest);
            }
            backoff.start_over();
            assert!(backoff.next() <= SHORTEST * 2);
        }
        assert!(longest[0] <= SHORTEST * 2 && longest[0] > SHORTEST * 19 / 10);
        assert!(longest[1] <= SHORTEST * 4 && longest[1] > SHORTEST * 38 / 10);
        assert!(longest[11] > LONGEST.mul_f64(0.95));
        let draw = |seed| Backoff::seeded(seed).next();
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn failures_without_end() {
        let mut backoff = Backoff::seeded(0);
        backoff.failures = u32::MAX;
        assert!(backoff.next() <= LONGEST);
    }
}
