//! Rates: the bucket of each connection, and the larger buckets of its prefix.

use std::{
    fmt,
    num::NonZeroU32,
    str::FromStr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::protocol::{Refusal, RefusalCode};

/// The largest rate and burst that can be set.
const MAX_SETTING: u32 = 1_000_000;

/// A frame or body counts as one message more for each of these bytes that it
/// has.
const BYTES_PER_COUNT: usize = 1024;

/// A message counts as one more for each of these bytes that the server writes
/// to the readers of its room.
const DELIVERED_BYTES_PER_COUNT: usize = 256 << 10;

/// The bytes of an encoded message in addition to those of its frame: an
/// estimate.
const DELIVERY_OVERHEAD: usize = 256;

/// How long nobody from a prefix is let in after one of its connections was
/// closed for flooding.
const FLOOD_BAN: Duration = Duration::from_secs(60);

/// The default burst is this many seconds of the rate.
const BURST_SECONDS: u32 = 10;

/// The messages of one prefix are limited to the rate of this many connections.
const PREFIX_FACTOR: u32 = 4;

/// The lowest limit of one prefix for everything but messages: requests,
/// upgrades and commands.
const MIN_REQUEST_RATE: Rate = Rate::of(50, 500);

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

    fn for_prefix(self) -> Rate {
        let times = NonZeroU32::MIN.saturating_add(PREFIX_FACTOR - 1);
        Rate {
            per_second: self.per_second.saturating_mul(times),
            burst: self.burst.saturating_mul(times),
        }
    }

    fn or_more(self, other: Rate) -> Rate {
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
    fn full(rate: Rate) -> Self {
        let each = Duration::from_secs(1) / rate.per_second.get();
        Bucket {
            each,
            all: each * rate.burst.get(),
            full_at: Instant::now(),
        }
    }

    /// How long until this many can be taken; zero if they can be taken now.
    /// More than a full bucket holds are taken from a full bucket.
    fn wait(&self, now: Instant, count: u32) -> Duration {
        let needed = (self.each * count).min(self.all);
        (self.full_at.max(now) + needed).saturating_duration_since(now + self.all)
    }

    /// Takes this many, even those that the bucket does not hold. It then takes
    /// longer to fill.
    fn take(&mut self, now: Instant, count: u32) {
        self.full_at = self.full_at.max(now) + self.each * count;
    }
}

/// The rate budget of one prefix, shared by all its connections.
#[derive(Debug)]
pub struct Budget {
    rate: Rate,
    buckets: Mutex<Buckets>,
}

#[derive(Debug)]
struct Buckets {
    messages: Bucket,
    /// Messages by POST. They have no connection of their own, so together they
    /// have the rate of one.
    posts: Bucket,
    /// Requests, upgrades and commands.
    requests: Bucket,
    /// Until then nobody of the prefix is let in.
    banned_until: Option<Instant>,
}

impl Budget {
    /// An unused budget, where `rate` is the rate of one connection.
    pub fn new(rate: Rate) -> Self {
        let shared = rate.for_prefix();
        Budget {
            rate,
            buckets: Mutex::new(Buckets {
                messages: Bucket::full(shared),
                posts: Bucket::full(rate),
                requests: Bucket::full(shared.or_more(MIN_REQUEST_RATE)),
                banned_until: None,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A full bucket for the messages of one connection.
    pub fn connection(&self) -> Bucket {
        Bucket::full(self.rate)
    }

    /// Takes a message of this cost from the connection's own bucket and from
    /// the prefix's.
    ///
    /// # Errors
    ///
    /// Refuses a message that comes too fast, with the time to wait.
    pub fn message(&self, own: &mut Bucket, cost: u32, now: Instant) -> Result<(), Refusal> {
        let messages = &mut self.lock().messages;
        self.take(now, cost, [own, messages])
    }

    /// Takes one message by POST, before its body is read.
    ///
    /// # Errors
    ///
    /// Refuses a message that comes too fast, with the time to wait.
    pub fn post(&self) -> Result<(), Refusal> {
        let Buckets {
            messages, posts, ..
        } = &mut *self.lock();
        self.take(Instant::now(), 1, [posts, messages])
    }

    /// Takes the rest of a message by POST of this cost, once its body was read.
    /// It refuses nothing; later messages wait for longer.
    pub fn posted(&self, cost: u32) {
        let Buckets {
            messages, posts, ..
        } = &mut *self.lock();
        let now = Instant::now();
        for bucket in [posts, messages] {
            bucket.take(now, cost.saturating_sub(1));
        }
    }

    /// Takes one request.
    ///
    /// # Errors
    ///
    /// Refuses a request that comes too fast, with the time to wait.
    pub fn request(&self) -> Result<(), Refusal> {
        self.take_request("These are too many requests", 1, Instant::now())
    }

    /// Takes frames of this cost that are not messages.
    ///
    /// # Errors
    ///
    /// Refuses commands that come too fast, with the time to wait.
    pub fn commands(&self, cost: u32, now: Instant) -> Result<(), Refusal> {
        self.take_request("These are too many commands", cost, now)
    }

    /// Lets nobody of the prefix in for a minute, because one of its
    /// connections flooded.
    pub fn ban_flooder(&self) {
        self.lock().banned_until = Some(Instant::now() + FLOOD_BAN);
    }

    /// Checks that no connection of the prefix flooded a moment ago.
    ///
    /// # Errors
    ///
    /// Refuses otherwise, with the time to wait.
    pub fn check_flood_ban(&self) -> Result<(), Refusal> {
        let until = self.lock().banned_until;
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        match left.filter(|left| !left.is_zero()) {
            Some(left) => Err(too_fast("A connection from your address flooded", left)),
            None => Ok(()),
        }
    }

    fn take(&self, now: Instant, count: u32, buckets: [&mut Bucket; 2]) -> Result<(), Refusal> {
        let [own, shared] = &buckets;
        let wait = own.wait(now, count).max(shared.wait(now, count));
        if !wait.is_zero() {
            let what = format!("This is faster than {}", self.rate);
            return Err(too_fast(&what, wait));
        }
        for bucket in buckets {
            bucket.take(now, count);
        }
        Ok(())
    }

    fn take_request(&self, told: &str, count: u32, now: Instant) -> Result<(), Refusal> {
        let others = &mut self.lock().requests;
        let wait = others.wait(now, count);
        if !wait.is_zero() {
            return Err(too_fast(told, wait));
        }
        others.take(now, count);
        Ok(())
    }

    /// Whether all buckets are full, so that the budget need not be remembered.
    pub(super) fn is_untouched(&self, now: Instant) -> bool {
        let buckets = self.lock();
        [&buckets.messages, &buckets.posts, &buckets.requests]
            .iter()
            .all(|bucket| bucket.full_at <= now)
            && buckets.banned_until.is_none_or(|until| until <= now)
    }
}

/// How many commands a frame of this many bytes counts as.
pub fn frame_cost(bytes: usize) -> u32 {
    u32::try_from(bytes / BYTES_PER_COUNT).map_or(u32::MAX, |more| more.saturating_add(1))
}

/// How many messages a frame or body of this many bytes counts as, if its room
/// has this many readers.
pub fn message_cost(bytes: usize, readers: usize) -> u32 {
    let delivered = bytes
        .saturating_add(DELIVERY_OVERHEAD)
        .saturating_mul(readers);
    let more = u32::try_from(delivered / DELIVERED_BYTES_PER_COUNT).unwrap_or(u32::MAX);
    frame_cost(bytes).saturating_add(more)
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

    #[test]
    fn a_message_costs_its_bytes_and_its_deliveries() {
        for (bytes, readers, cost) in [
            (0, 0, 1),
            (1023, 200, 1),
            (1024, 1, 2),
            (8 << 10, 2, 9),
            (0, 1024, 2),
            (100, 5000, 7),
            (8 << 10, 5000, 9 + 161),
            (usize::MAX, usize::MAX, u32::MAX),
        ] {
            assert_eq!(message_cost(bytes, readers), cost, "{bytes} {readers}");
        }
    }
}
