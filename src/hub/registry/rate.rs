//! Rates, and the bucket that a rate fills.

use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

use tokio::time::Instant;

use crate::protocol::{Refusal, RefusalCode};

/// The largest rate and burst that can be set.
const MAX_SETTING: u32 = 1_000_000;

/// The default burst is this many seconds of the rate.
const BURST_SECONDS: u32 = 10;

/// The messages of one prefix are limited to the rate of this many connections.
const PREFIX_FACTOR: u32 = 4;

/// A rate: how many a second, and how many at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many a second.
    pub per_second: NonZeroU32,
    /// How many at once after a pause.
    pub burst: NonZeroU32,
}

impl Rate {
    /// The default rate of a server that other machines can reach.
    pub const DEFAULT: Rate = Rate::of(20, 200);

    /// A rate of two numbers, each at least 1.
    pub(in crate::hub) const fn of(per_second: u32, burst: u32) -> Rate {
        Rate {
            per_second: NonZeroU32::MIN.saturating_add(per_second - 1),
            burst: NonZeroU32::MIN.saturating_add(burst - 1),
        }
    }

    pub(super) fn for_prefix(self) -> Rate {
        let times = NonZeroU32::MIN.saturating_add(PREFIX_FACTOR - 1);
        Rate {
            per_second: self.per_second.saturating_mul(times),
            burst: self.burst.saturating_mul(times),
        }
    }

    pub(super) fn or_more(self, other: Rate) -> Rate {
        Rate {
            per_second: self.per_second.max(other.per_second),
            burst: self.burst.max(other.burst),
        }
    }
}

impl FromStr for Rate {
    type Err = &'static str;

    /// Parses `20`, or `20:200` with a burst.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const RULE: &str = "a rate is MESSAGES_PER_SECOND[:BURST], like 20 or 20:200, of numbers from 1 to 1000000; or off";
        let number = |text: &str| {
            let number = text.parse().ok().filter(|n| (1..=MAX_SETTING).contains(n));
            number.ok_or(RULE)
        };
        let (per_second, burst) = match text.split_once(':') {
            Some((rate, burst)) => (number(rate)?, number(burst)?),
            None => (number(text)?, number(text)? * BURST_SECONDS),
        };
        Ok(Rate::of(per_second, burst))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.per_second.get() {
            1 => f.write_str("one message a second"),
            many => write!(f, "{many} messages a second"),
        }
    }
}

/// A bucket that fills at a steady rate. It is a generic cell rate algorithm,
/// whose only state is the moment when the bucket will be full.
#[derive(Debug)]
pub struct Bucket {
    /// How long the bucket takes to regain one.
    each: Duration,
    /// How long an empty bucket takes to fill.
    all: Duration,
    full_at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn full(rate: Rate) -> Self {
        let each = Duration::from_secs(1) / rate.per_second.get();
        Bucket {
            each,
            all: each * rate.burst.get(),
            full_at: Instant::now(),
        }
    }

    /// Changes the rate. The missing part stays missing, up to a whole bucket.
    pub(super) fn set_rate(&mut self, rate: Rate) {
        let each = Duration::from_secs(1) / rate.per_second.get();
        let all = each * rate.burst.get();
        if (self.each, self.all) != (each, all) {
            *self = Bucket::full(rate).used_as(self);
        }
    }

    /// This bucket, as empty as another one with another rate.
    pub(super) fn used_as(self, other: &Bucket) -> Self {
        let full_at = other.full_at.min(self.full_at + self.all);
        Bucket { full_at, ..self }
    }

    /// A full bucket of this size, which takes the time `all` to fill.
    pub(super) fn filling(size: u64, all: Duration) -> Self {
        let nanos = u64::try_from(all.as_nanos()).unwrap_or(u64::MAX);
        Bucket {
            each: Duration::from_nanos(nanos / size.max(1)),
            all,
            full_at: Instant::now(),
        }
    }

    /// Whether nothing is missing.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }

    /// How long until this many can be taken; zero if they can be taken now.
    /// More than a full bucket holds are taken from a full bucket.
    pub(super) fn wait(&self, now: Instant, count: u32) -> Duration {
        let needed = (self.each * count).min(self.all);
        (self.full_at.max(now) + needed).saturating_duration_since(now + self.all)
    }

    /// Takes this many, even those that the bucket does not hold. It then takes
    /// longer to fill.
    pub(super) fn take(&mut self, now: Instant, count: u32) {
        self.full_at = self.full_at.max(now) + self.each * count;
    }
}

/// Makes the refusal of a message, request or command that came too fast.
/// `wait` is the time until it may be sent again.
pub fn too_fast(what: &str, wait: Duration) -> Refusal {
    let ms = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    // People read tenths of a second, rounded up.
    let tenths = ms.div_ceil(100);
    Refusal {
        code: RefusalCode::Rate,
        text: format!(
            "{what}: send it again in {}.{} s.",
            tenths / 10,
            tenths % 10
        ),
        id: None,
        retry_ms: Some(ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_parsed_as_typed() {
        for (typed, rate) in [
            ("20", Rate::of(20, 200)),
            ("20:200", Rate::of(20, 200)),
            ("500:100", Rate::of(500, 100)),
            ("1:1", Rate::of(1, 1)),
        ] {
            assert_eq!(typed.parse(), Ok(rate), "{typed}");
        }
        for typed in [
            "", "0", "1:0", ":5", "5:", "-1", "1.5", "1000001", "a", "1:2:3",
        ] {
            assert!(typed.parse::<Rate>().is_err(), "{typed}");
        }
    }
}
