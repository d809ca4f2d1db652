//! The wait before the next attempt to connect.

use std::time::Duration;

use fastrand::Rng;

use crate::protocol::Refusal;

/// The shortest wait between attempts.
const SHORTEST: Duration = Duration::from_millis(100);

/// The longest wait between attempts.
const LONGEST: Duration = Duration::from_secs(15);

/// The wait after a temporary refusal that names none.
const RETRY: Duration = Duration::from_secs(1);

/// The shortest wait that a server may ask for, so that the client does not
/// loop.
pub(super) const SHORTEST_RETRY: Duration = Duration::from_millis(10);

/// The longest wait that a temporary refusal may ask for.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// The longest wait that a draining server or `Retry-After` may ask for.
pub(super) const LONGEST_DRAIN: Duration = Duration::from_secs(300);

/// The wait that a temporary refusal asks for, within bounds.
pub(super) fn refusal_delay(refusal: &Refusal) -> Duration {
    let wait = refusal.retry_ms.map_or(RETRY, Duration::from_millis);
    wait.clamp(SHORTEST_RETRY, LONGEST_RETRY)
}

/// Waits that grow with every failure and differ between clients. So clients
/// that lost a server together do not all come back together.
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
        wait(self.failures, self.rng.f64())
    }

    /// Starts again with the shortest waits, after a connection that worked.
    pub(super) fn start_over(&mut self) {
        self.failures = 0;
    }

    /// Whether a connection that lasted this long counts as one that worked.
    pub(super) fn has_lasted(lasted: Duration) -> bool {
        lasted > LONGEST
    }
}

/// The wait after a number of failures. `chance`, from 0 to 1, chooses between
/// the shortest and the longest possible wait.
fn wait(failures: u32, chance: f64) -> Duration {
    let bound = SHORTEST
        .saturating_mul(2_u32.saturating_pow(failures))
        .min(LONGEST);
    SHORTEST + bound.saturating_sub(SHORTEST).mul_f64(chance)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::client::End;

    #[derive(Deserialize)]
    struct Vectors {
        waits: Vec<Wait>,
        closes: Vec<Close>,
    }

    #[derive(Deserialize)]
    struct Wait {
        failures: u32,
        chance: f64,
        ms: u64,
    }

    #[derive(Deserialize)]
    struct Close {
        code: u16,
        reason: String,
        r#final: bool,
        ms: Option<u64>,
    }

    fn vectors() -> Vectors {
        let vectors = include_str!("../../tests/vectors/backoff.json");
        serde_json::from_str(vectors).expect("vectors")
    }

    #[test]
    fn waits_follow_the_shared_vectors() {
        for Wait {
            failures,
            chance,
            ms,
        } in vectors().waits
        {
            let expected = Duration::from_millis(ms);
            assert_eq!(wait(failures, chance), expected, "{failures} {chance}");
        }
    }

    #[test]
    fn close_codes_follow_the_shared_vectors() {
        for close in vectors().closes {
            let (code, reason) = (close.code, close.reason);
            let end = End::Closed { code, reason };
            assert_eq!(end.is_final(), close.r#final, "{end:?}");
            assert_eq!(end.wait(), close.ms.map(Duration::from_millis), "{end:?}");
        }
    }

    #[test]
    fn waits_grow_within_bounds_and_differ_by_seed() {
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
    fn the_largest_failure_count_keeps_the_bound() {
        let mut backoff = Backoff::seeded(0);
        backoff.failures = u32::MAX;
        assert!(backoff.next() <= LONGEST);
    }
}
