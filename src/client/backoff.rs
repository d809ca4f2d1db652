//! How long to wait before the next attempt to connect.

use std::time::Duration;

use fastrand::Rng;

use crate::protocol::Refusal;

/// The shortest wait.
const SHORTEST: Duration = Duration::from_millis(100);

/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(15);

/// How long to wait when a refusal for now does not say.
const RETRY: Duration = Duration::from_secs(1);

/// The bounds of what a server may ask for: neither a loop nor the end.
pub(super) const SHORTEST_RETRY: Duration = Duration::from_millis(10);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// The longest wait a server that goes away may ask for.
pub(super) const LONGEST_DRAIN: Duration = Duration::from_secs(300);

/// The wait that a refusal for now asks for, within bounds.
pub(super) fn asked(refusal: &Refusal) -> Duration {
    let wait = refusal.retry_ms.map_or(RETRY, Duration::from_millis);
    wait.clamp(SHORTEST_RETRY, LONGEST_RETRY)
}

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
        wait(self.failures, self.rng.f64())
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

/// The wait after so many failures, where `chance`, from 0 to 1, decides between
/// the shortest and the longest possible.
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
    fn waits_are_those_of_the_vectors() {
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
    fn closes_are_those_of_the_vectors() {
        for close in vectors().closes {
            let (code, reason) = (close.code, close.reason);
            let end = End::Closed { code, reason };
            assert_eq!(end.is_final(), close.r#final, "{end:?}");
            assert_eq!(end.wait(), close.ms.map(Duration::from_millis), "{end:?}");
        }
    }

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
