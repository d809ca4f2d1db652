//! How fast one may speak: buckets of a connection, and larger ones of its
//! address.
//!
//! What is too fast is refused with the time to wait. Who does not heed that for
//! long is a flood.

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    num::NonZeroU32,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::network::Network;
use crate::{
    hub::Deferred,
    protocol::{Refusal, RefusalCode, name::MessageId},
};

/// The largest rate and burst that can be set.
const MAX_SETTING: u32 = 1_000_000;

/// A burst that was not set is so many seconds of the rate.
const BURST_SECONDS: u32 = 10;

/// How many connections' worth of messages one address may send.
const CONNECTIONS: u32 = 4;

/// What one address may at least do that is no message: requests, upgrades and
/// commands.
const OTHERS: Rate = Rate::of(50, 500);

/// How many messages may come before the time they were told to come at, less
/// those taken: more than our client has under way when it hears of the first
/// refusal. After that it sends one, and another with each that is taken.
const PATIENCE: u32 = 1024;

/// How long that is borne.
const FLOOD: Duration = Duration::from_secs(10);

/// How many addresses are remembered that have nobody connected and have not
/// yet got back what they used. Were there more, these are forgotten.
const MAX_ADDRESSES: usize = 1 << 14;

/// So many a second; after a pause, so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many a second.
    pub per_second: NonZeroU32,
    /// How many at once.
    pub burst: NonZeroU32,
}

impl Rate {
    /// What holds on a network unless something else is said.
    pub const DEFAULT: Rate = Rate::of(20, 200);

    /// Of numbers from 1 on.
    const fn of(per_second: u32, burst: u32) -> Rate {
        Rate {
            per_second: NonZeroU32::MIN.saturating_add(per_second - 1),
            burst: NonZeroU32::MIN.saturating_add(burst - 1),
        }
    }

    fn of_an_address(self) -> Rate {
        let times = NonZeroU32::MIN.saturating_add(CONNECTIONS - 1);
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

    /// `20`, or with a burst `20:200`.
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

/// A bucket that fills at a steady pace (as a generic cell rate algorithm: all
/// there is to remember is when it will be full).
#[derive(Debug)]
struct Bucket {
    /// How long one takes to come back.
    each: Duration,
    /// How long all take.
    all: Duration,
    full_at: Instant,
}

impl Bucket {
    fn full(rate: Rate) -> Self {
        let each = Duration::from_secs(1) / rate.per_second.get();
        Bucket {
            each,
            all: each * rate.burst.get(),
            full_at: Instant::now(),
        }
    }

    /// How long until one can be taken.
    fn wait(&self, now: Instant) -> Duration {
        (self.full_at.max(now) + self.each).saturating_duration_since(now + self.all)
    }

    fn take(&mut self, now: Instant) {
        self.full_at = self.full_at.max(now) + self.each;
    }
}

/// What holds for everyone, and what each address has used of it.
#[derive(Debug)]
pub struct Rates {
    rate: Rate,
    addresses: Mutex<Addresses>,
}

#[derive(Debug)]
struct Addresses {
    budgets: HashMap<Network, Arc<Budget>>,
    /// At so many it is looked which of them can be forgotten.
    look_at: usize,
}

/// What one address has used, with all its connections.
#[derive(Debug)]
struct Budget(Mutex<Buckets>);

#[derive(Debug)]
struct Buckets {
    messages: Bucket,
    /// Messages by POST, which come each by itself: together they are like
    /// those of one connection.
    posts: Bucket,
    /// Whatever is no message.
    others: Bucket,
}

impl Budget {
    fn lock(&self) -> MutexGuard<'_, Buckets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes for something that is no message.
    fn other(&self, told: &str, now: Instant) -> Result<(), Refusal> {
        let others = &mut self.lock().others;
        let wait = others.wait(now);
        if !wait.is_zero() {
            return Err(refusal(told, wait));
        }
        others.take(now);
        Ok(())
    }

    /// Whether there is nothing to remember.
    fn is_untouched(&self, now: Instant) -> bool {
        let buckets = self.lock();
        [&buckets.messages, &buckets.posts, &buckets.others]
            .iter()
            .all(|bucket| bucket.full_at <= now)
    }
}

impl Rates {
    /// Nobody has said anything yet.
    pub fn new(rate: Rate) -> Self {
        Rates {
            rate,
            addresses: Mutex::new(Addresses {
                budgets: HashMap::new(),
                look_at: 0,
            }),
        }
    }

    /// A request is made: may it be?
    pub fn request(&self, peer: SocketAddr) -> Result<(), Refusal> {
        let told = "These are too many requests";
        self.budget(peer).other(told, Instant::now())
    }

    /// A message comes by a request: may it?
    pub fn post(&self, peer: SocketAddr) -> Result<(), Refusal> {
        let budget = self.budget(peer);
        let Buckets {
            messages, posts, ..
        } = &mut *budget.lock();
        self.message(Instant::now(), [posts, messages])
    }

    fn message(&self, now: Instant, buckets: [&mut Bucket; 2]) -> Result<(), Refusal> {
        let [own, shared] = &buckets;
        let wait = own.wait(now).max(shared.wait(now));
        if !wait.is_zero() {
            let what = format!("This is faster than {}", self.rate);
            return Err(refusal(&what, wait));
        }
        for bucket in buckets {
            bucket.take(now);
        }
        Ok(())
    }

    fn budget(&self, peer: SocketAddr) -> Arc<Budget> {
        let network = Network::from(peer);
        let mut addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(budget) = addresses.budgets.get(&network) {
            return Arc::clone(budget);
        }
        addresses.forget();
        let rate = self.rate.of_an_address();
        let budget = Arc::new(Budget(Mutex::new(Buckets {
            messages: Bucket::full(rate),
            posts: Bucket::full(self.rate),
            others: Bucket::full(rate.or_more(OTHERS)),
        })));
        addresses.budgets.insert(network, Arc::clone(&budget));
        budget
    }
}

impl Addresses {
    /// Makes room, where there are many: for each new one little is to be done.
    fn forget(&mut self) {
        if self.budgets.len() < self.look_at {
            return;
        }
        let now = Instant::now();
        let in_use = |budget: &Arc<Budget>| Arc::strong_count(budget) > 1;
        self.budgets
            .retain(|_, budget| in_use(budget) || !budget.is_untouched(now));
        if self.budgets.len() > MAX_ADDRESSES {
            self.budgets.retain(|_, budget| in_use(budget));
        }
        self.look_at = (self.budgets.len() * 2).max(1024);
    }
}

fn refusal(what: &str, wait: Duration) -> Refusal {
    let ms = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    // In tenths of a second, rounded up, for people.
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

/// How fast one connection speaks.
#[derive(Debug)]
pub(super) struct Pace {
    rates: Arc<Rates>,
    budget: Arc<Budget>,
    messages: Bucket,
    deferred: Deferred,
    /// When the next one may come, if the last one was told that.
    told: Option<Instant>,
    patience: u32,
    /// Since when it is drawn upon.
    drawn: Option<Instant>,
}

impl Pace {
    pub(super) fn new(rates: &Arc<Rates>, peer: SocketAddr) -> Self {
        Pace {
            rates: Arc::clone(rates),
            budget: rates.budget(peer),
            messages: Bucket::full(rates.rate),
            deferred: Deferred::default(),
            told: None,
            patience: PATIENCE,
            drawn: None,
        }
    }

    /// A message comes: may it?
    pub(super) fn message(
        &mut self,
        id: Option<&MessageId>,
        follows: Option<&MessageId>,
    ) -> Result<(), Refusal> {
        let now = Instant::now();
        let paced = if self.deferred.holds(follows) {
            let wait = self
                .told
                .map_or(Duration::ZERO, |told| told.saturating_duration_since(now));
            Err(refusal(
                "The message before it was refused",
                wait.max(Duration::from_millis(1)),
            ))
        } else {
            let buckets = [&mut self.messages, &mut self.budget.lock().messages];
            self.rates.message(now, buckets)
        };
        match &paced {
            Ok(()) => self.deferred.take(id),
            Err(_) => self.deferred.put(id),
        }
        self.heeded(now, paced)
            .map_err(|refusal| refusal.of(id.cloned()))
    }

    /// Something else is asked: may it be?
    pub(super) fn command(&mut self) -> Result<(), Refusal> {
        let now = Instant::now();
        let paced = self.budget.other("These are too many commands", now);
        self.heeded(now, paced)
    }

    fn heeded(&mut self, now: Instant, paced: Result<(), Refusal>) -> Result<(), Refusal> {
        match &paced {
            Ok(()) => {
                self.patience = PATIENCE.min(self.patience + 1);
                if self.patience == PATIENCE {
                    self.drawn = None;
                }
            }
            Err(refusal) => {
                if self.told.is_some_and(|told| now < told) {
                    self.patience = self.patience.saturating_sub(1);
                    self.drawn.get_or_insert(now);
                }
                let wait = Duration::from_millis(refusal.retry_ms.unwrap_or_default());
                self.told = self.told.max(Some(now + wait));
            }
        }
        paced
    }

    /// Whether it has gone on for so long, and so much of it, that no client
    /// that heeds what it is told can be meant.
    pub(super) fn is_flood(&self) -> bool {
        self.patience == 0 && self.drawn.is_some_and(|since| since.elapsed() >= FLOOD)
    }
}

#[cfg(test)]
mod tests;
