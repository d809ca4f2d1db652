//! The budget of a prefix: its rates and its quotas.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    quotas::{QuotaLimits, Quotas},
    rate::{Bucket, Rate, too_fast},
};
use crate::protocol::Refusal;

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

/// The lowest limit of one prefix for everything but messages: requests,
/// upgrades and commands.
const MIN_REQUEST_RATE: Rate = Rate::of(50, 500);

/// The rates and quotas of one prefix, shared by all its connections.
#[derive(Debug)]
pub struct Budget(Mutex<Buckets>);

#[derive(Debug)]
struct Buckets {
    /// The rate of one connection, if rates are limited.
    rate: Option<Rate>,
    messages: Bucket,
    /// Messages by POST. They have no connection of their own, so together they
    /// have the rate of one.
    posts: Bucket,
    /// Requests, upgrades and commands.
    requests: Bucket,
    quotas: Quotas,
    /// Until then nobody of the prefix is let in.
    banned_until: Option<Instant>,
}

impl Budget {
    /// An unused budget, where `rate` is the rate of one connection.
    pub fn new(rate: Option<Rate>, quotas: QuotaLimits) -> Self {
        Budget(Mutex::new(Buckets::full(rate, quotas)))
    }

    /// Changes the limits. Recent use counts on, up to a whole bucket.
    pub(super) fn set_limits(&self, rate: Option<Rate>, quotas: QuotaLimits) {
        let buckets = &mut *self.lock();
        let next = Buckets::full(rate, quotas);
        *buckets = Buckets {
            messages: next.messages.used_as(&buckets.messages),
            posts: next.posts.used_as(&buckets.posts),
            requests: next.requests.used_as(&buckets.requests),
            quotas: next.quotas.used_as(&buckets.quotas),
            banned_until: buckets.banned_until,
            ..next
        };
    }

    fn lock(&self) -> MutexGuard<'_, Buckets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A full bucket for the messages of one connection.
    pub fn connection(&self) -> Bucket {
        Bucket::full(self.lock().rate.unwrap_or(Rate::DEFAULT))
    }

    /// Takes a message of this cost from the connection's own bucket and from
    /// the prefix's.
    ///
    /// # Errors
    ///
    /// Refuses a message that comes too fast, with the time to wait.
    pub fn message(&self, own: &mut Bucket, cost: u32, now: Instant) -> Result<(), Refusal> {
        let Buckets { rate, messages, .. } = &mut *self.lock();
        if let Some(rate) = rate {
            // The rate may have changed since the connection began.
            own.set_rate(*rate);
        }
        take(*rate, now, cost, [own, messages])
    }

    /// Takes one message by POST, before its body is read.
    ///
    /// # Errors
    ///
    /// Refuses a message that comes too fast, with the time to wait.
    pub fn post(&self) -> Result<(), Refusal> {
        let Buckets {
            rate,
            messages,
            posts,
            ..
        } = &mut *self.lock();
        take(*rate, Instant::now(), 1, [posts, messages])
    }

    /// Takes the rest of a message by POST of this cost, once its body was read.
    /// It refuses nothing; later messages wait for longer.
    pub fn posted(&self, cost: u32) {
        let Buckets {
            rate,
            messages,
            posts,
            ..
        } = &mut *self.lock();
        if rate.is_none() {
            return;
        }
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

    /// Takes a new owned name from the quota.
    ///
    /// # Errors
    ///
    /// Refuses one name too many, with the time to wait.
    pub fn new_name(&self) -> Result<(), Refusal> {
        self.lock().quotas.name(Instant::now())
    }

    /// Takes a topic of this many bytes from the quotas.
    ///
    /// # Errors
    ///
    /// Refuses a topic beyond a quota, with the time to wait.
    pub fn topic(&self, bytes: usize) -> Result<(), Refusal> {
        self.lock().quotas.topic(Instant::now(), bytes)
    }

    /// Takes rows with a text of this many bytes from the quota.
    ///
    /// # Errors
    ///
    /// Refuses bytes beyond the quota, with the time to wait.
    pub fn store(&self, rows: u32, bytes: usize) -> Result<(), Refusal> {
        self.lock().quotas.store(Instant::now(), rows, bytes)
    }

    fn take_request(&self, told: &str, count: u32, now: Instant) -> Result<(), Refusal> {
        let Buckets {
            rate,
            requests: others,
            ..
        } = &mut *self.lock();
        if rate.is_none() {
            return Ok(());
        }
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
            .all(|bucket| bucket.is_full(now))
            && buckets.quotas.are_untouched(now)
            && buckets.banned_until.is_none_or(|until| until <= now)
    }
}

impl Buckets {
    fn full(rate: Option<Rate>, quotas: QuotaLimits) -> Self {
        let own = rate.unwrap_or(Rate::DEFAULT);
        let shared = own.for_prefix();
        Buckets {
            rate,
            messages: Bucket::full(shared),
            posts: Bucket::full(own),
            requests: Bucket::full(shared.or_more(MIN_REQUEST_RATE)),
            quotas: Quotas::new(quotas),
            banned_until: None,
        }
    }
}

fn take(
    rate: Option<Rate>,
    now: Instant,
    count: u32,
    buckets: [&mut Bucket; 2],
) -> Result<(), Refusal> {
    let Some(rate) = rate else {
        return Ok(());
    };
    let [own, shared] = &buckets;
    let wait = own.wait(now, count).max(shared.wait(now, count));
    if !wait.is_zero() {
        let what = format!("This is faster than {rate}");
        return Err(too_fast(&what, wait));
    }
    for bucket in buckets {
        bucket.take(now, count);
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

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
