//! The budget of a prefix: its rates and its quotas.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::{
    quotas::{QuotaLimits, Quotas},
    rate::{Bucket, Rate, too_fast},
};
use crate::protocol::Refusal;

/// A frame or body counts as one message more for each of these bytes that it
/// has.
const BYTES_PER_COUNT: usize = 1024;

/// The lowest limit of one prefix for everything but messages: requests,
/// upgrades and commands.
const MIN_REQUEST_RATE: Rate = Rate::of(50, 500);

/// The rates and quotas of one prefix, shared by all its connections.
#[derive(Debug)]
pub struct Budget {
    /// The rate of one connection, if rates are limited.
    rate: Option<Rate>,
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
    quotas: Quotas,
}

impl Budget {
    /// An unused budget, where `rate` is the rate of one connection.
    pub fn new(rate: Option<Rate>, quotas: QuotaLimits) -> Self {
        let own = rate.unwrap_or(Rate::DEFAULT);
        let shared = own.for_prefix();
        Budget {
            rate,
            buckets: Mutex::new(Buckets {
                messages: Bucket::full(shared),
                posts: Bucket::full(own),
                requests: Bucket::full(shared.or_more(MIN_REQUEST_RATE)),
                quotas: Quotas::new(quotas),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A full bucket for the messages of one connection.
    pub fn connection(&self) -> Bucket {
        Bucket::full(self.rate.unwrap_or(Rate::DEFAULT))
    }

    /// Takes a message with a frame of this many bytes from the connection's own
    /// bucket and from the prefix's.
    ///
    /// # Errors
    ///
    /// Refuses a message that comes too fast, with the time to wait.
    pub fn message(&self, own: &mut Bucket, bytes: usize, now: Instant) -> Result<(), Refusal> {
        let messages = &mut self.lock().messages;
        self.take(now, count(bytes), [own, messages])
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

    /// Takes the rest of a message by POST, whose body had this many bytes. It
    /// refuses nothing; later messages wait for longer.
    pub fn posted(&self, bytes: usize) {
        if self.rate.is_none() {
            return;
        }
        let Buckets {
            messages, posts, ..
        } = &mut *self.lock();
        let now = Instant::now();
        for bucket in [posts, messages] {
            bucket.take(now, count(bytes) - 1);
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

    /// Takes a frame of this many bytes that is not a message.
    ///
    /// # Errors
    ///
    /// Refuses a command that comes too fast, with the time to wait.
    pub fn command(&self, bytes: usize, now: Instant) -> Result<(), Refusal> {
        self.take_request("These are too many commands", count(bytes), now)
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

    fn take(&self, now: Instant, count: u32, buckets: [&mut Bucket; 2]) -> Result<(), Refusal> {
        let Some(rate) = self.rate else {
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

    fn take_request(&self, told: &str, count: u32, now: Instant) -> Result<(), Refusal> {
        if self.rate.is_none() {
            return Ok(());
        }
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
            .all(|bucket| bucket.is_full(now))
            && buckets.quotas.are_untouched(now)
    }
}

/// How many messages a frame or body of this many bytes counts as.
fn count(bytes: usize) -> u32 {
    u32::try_from(bytes / BYTES_PER_COUNT).map_or(u32::MAX, |more| more.saturating_add(1))
}
