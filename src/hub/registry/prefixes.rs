//! The prefixes: the connections, the rate budget and the searches of each.

use std::{collections::HashMap, fmt, sync::Arc};

use tokio::{sync::Mutex as FairMutex, time::Instant};

use super::rate::{Budget, Rate};
use crate::{
    net::Prefix,
    protocol::{Refusal, RefusalCode},
};

/// If a check of the table leaves more prefixes than this, all without a
/// connection are forgotten, even if their budget is not full again. So no more
/// than twice this many are known, or twice as many as are in use.
const MAX_AFTER_SWEEP: usize = 1 << 14;

/// How many searches from one prefix may be under way or waiting.
const MAX_SEARCHES: usize = 16;

/// How long a client should wait, in ms, if its prefix has that many.
const SEARCH_RETRY_MS: u64 = 2000;

/// The limits of one prefix.
#[derive(Clone, Copy, Debug)]
pub struct PrefixLimits {
    /// The most connections, if that is limited.
    pub connections: Option<usize>,
    /// The rate of one connection, if that is limited.
    pub rate: Option<Rate>,
}

impl PrefixLimits {
    /// No limit at all.
    pub const UNLIMITED: PrefixLimits = PrefixLimits {
        connections: None,
        rate: None,
    };
}

/// Why a connection cannot register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// Its prefix has this many connections, the most it may have.
    Prefix(usize),
    /// The server has the most connections it may have.
    Server,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Full::Prefix(count) => write!(
                f,
                "Your address has {count} connections, which is as many as it may have; close one, or try again later."
            ),
            Full::Server => {
                f.write_str("The server has as many connections as it takes; try again later.")
            }
        }
    }
}

/// All known prefixes: those with a connection, and those whose budget is not
/// full again. Peers without an address count as one prefix.
#[derive(Debug)]
pub(super) struct Prefixes {
    limits: PrefixLimits,
    /// The limits of forwarded connections.
    forwarded: PrefixLimits,
    known: HashMap<Option<Prefix>, PrefixState>,
    /// How many prefixes must be known before the table is searched for
    /// prefixes to forget.
    sweep_at: usize,
}

#[derive(Debug)]
struct PrefixState {
    connections: usize,
    /// How many of them count as forwarded.
    forwarded: usize,
    /// The budget; `None` if rates are not limited.
    budget: Option<Arc<Budget>>,
    /// The budget of forwarded connections, if there were any.
    forwarded_budget: Option<Arc<Budget>>,
    /// Held by the search that runs. Each search of the prefix has a reference.
    searching: Arc<FairMutex<()>>,
}

impl PrefixState {
    fn is_in_use(&self) -> bool {
        self.connections > 0
    }

    fn is_needed(&self, now: Instant) -> bool {
        let mut budgets = self.budget.iter().chain(&self.forwarded_budget);
        self.is_in_use() || budgets.any(|budget| !budget.is_untouched(now))
    }
}

impl Prefixes {
    pub(super) fn new(limits: PrefixLimits, forwarded: PrefixLimits) -> Self {
        Prefixes {
            limits,
            forwarded,
            known: HashMap::new(),
            sweep_at: 0,
        }
    }

    /// Counts one more connection. Returns the budget of its prefix, if rates
    /// are limited.
    ///
    /// # Errors
    ///
    /// Fails with the limit if the prefix already has the most connections
    /// allowed.
    pub(super) fn connect(&mut self, prefix: Option<Prefix>) -> Result<Option<Arc<Budget>>, usize> {
        if !self.known.contains_key(&prefix) {
            self.sweep();
        }
        let PrefixLimits { connections, rate } = self.limits;
        let known = self.known.entry(prefix).or_insert_with(|| PrefixState {
            connections: 0,
            forwarded: 0,
            budget: rate.map(|rate| Arc::new(Budget::new(rate))),
            forwarded_budget: None,
            searching: Arc::default(),
        });
        if let Some(most) = connections.filter(|most| known.connections >= *most) {
            return Err(most);
        }
        known.connections += 1;
        Ok(known.budget.clone())
    }

    /// Counts a connection as forwarded. Returns the budget of all forwarded
    /// connections of its prefix, if their rates are limited.
    ///
    /// # Errors
    ///
    /// Fails with the limit if the prefix already has the most forwarded
    /// connections allowed.
    pub(super) fn forward(&mut self, prefix: Option<Prefix>) -> Result<Option<Arc<Budget>>, usize> {
        let PrefixLimits { connections, rate } = self.forwarded;
        let Some(known) = self.known.get_mut(&prefix) else {
            return Ok(None);
        };
        if let Some(most) = connections.filter(|most| known.forwarded >= *most) {
            return Err(most);
        }
        known.forwarded += 1;
        let budget = &mut known.forwarded_budget;
        Ok(rate.map(|rate| Arc::clone(budget.get_or_insert_with(|| Arc::new(Budget::new(rate))))))
    }

    /// Counts one connection fewer.
    pub(super) fn disconnect(&mut self, prefix: Option<Prefix>, forwarded: bool) {
        if let Some(known) = self.known.get_mut(&prefix) {
            known.connections -= 1;
            known.forwarded -= usize::from(forwarded);
            if known.connections == 0 && !known.is_needed(Instant::now()) {
                self.known.remove(&prefix);
            }
        }
    }

    /// Queues one more search, which may run while it holds the returned mutex.
    /// Dropping the mutex leaves the queue.
    ///
    /// # Errors
    ///
    /// Refuses if [`MAX_SEARCHES`] of the prefix are under way or waiting.
    pub(super) fn queue_search(
        &self,
        prefix: Option<Prefix>,
    ) -> Result<Arc<FairMutex<()>>, Refusal> {
        match self.known.get(&prefix) {
            // One reference is the table's own.
            Some(known) if Arc::strong_count(&known.searching) <= MAX_SEARCHES => {
                Ok(Arc::clone(&known.searching))
            }
            _ => {
                let text =
                    "Too many searches from your address are under way; search again in a while.";
                Err(Refusal {
                    retry_ms: Some(SEARCH_RETRY_MS),
                    ..Refusal::new(RefusalCode::Busy, text)
                })
            }
        }
    }

    /// Forgets prefixes if many are known. The next search of the table comes
    /// only when their number has doubled, so a new prefix costs little on
    /// average.
    fn sweep(&mut self) {
        if self.known.len() < self.sweep_at {
            return;
        }
        let now = Instant::now();
        self.known.retain(|_, known| known.is_needed(now));
        if self.known.len() > MAX_AFTER_SWEEP {
            self.known.retain(|_, known| known.is_in_use());
        }
        self.sweep_at = (self.known.len() * 2).max(1024);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, Ipv4Addr},
        time::Duration,
    };

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn prefixes() -> Prefixes {
        let limits = PrefixLimits {
            rate: Some(Rate::of(1, 1)),
            ..PrefixLimits::UNLIMITED
        };
        Prefixes::new(limits, PrefixLimits::UNLIMITED)
    }

    fn prefix(n: u32) -> Prefix {
        IpAddr::from(Ipv4Addr::from(n)).into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_returning_prefix_finds_its_used_budget() {
        let mut prefixes = prefixes();
        let budget = |prefixes: &mut Prefixes, n| {
            let budget = prefixes.connect(Some(prefix(n))).expect("a place");
            budget.expect("rates are limited")
        };
        assert!(budget(&mut prefixes, 1).post().is_ok());
        prefixes.disconnect(Some(prefix(1)), false);
        assert!(budget(&mut prefixes, 1).post().is_err());
        assert!(budget(&mut prefixes, 2).post().is_ok(), "its own budget");
        for n in [1, 2] {
            prefixes.disconnect(Some(prefix(n)), false);
        }
        tokio::time::advance(Duration::from_secs(3600)).await;
        drop(budget(&mut prefixes, 1));
        prefixes.disconnect(Some(prefix(1)), false);
        assert_eq!(prefixes.known.len(), 1, "a full budget is not kept");
    }

    #[tokio::test(start_paused = true)]
    async fn idle_prefixes_are_forgotten() {
        let mut prefixes = prefixes();
        let many = u32::try_from(4 * MAX_AFTER_SWEEP).expect("a number");
        let here = prefixes.connect(Some(prefix(0))).expect("a place");
        assert!(here.expect("rates are limited").post().is_ok());
        for n in 1..=many {
            let budget = prefixes.connect(Some(prefix(n))).expect("a place");
            assert!(budget.expect("rates are limited").post().is_ok());
            prefixes.disconnect(Some(prefix(n)), false);
            if n % 4 == 0 {
                tokio::time::advance(MS).await;
            }
        }
        let known = prefixes.known.len();
        assert!(known <= 2 * MAX_AFTER_SWEEP + 1, "{known}");
        // After an hour every budget is full again, so no idle prefix is kept.
        tokio::time::advance(Duration::from_secs(3600)).await;
        prefixes.sweep_at = 0;
        let _new = prefixes.connect(Some(prefix(many + 1))).expect("a place");
        assert_eq!(prefixes.known.len(), 2, "both have a connection");
    }

    #[test]
    fn a_prefix_waits_only_for_its_own_searches() {
        let mut prefixes = Prefixes::new(PrefixLimits::UNLIMITED, PrefixLimits::UNLIMITED);
        let [here, elsewhere] = [1, 2].map(|n| Some(prefix(n)));
        for prefix in [here, elsewhere] {
            assert!(prefixes.connect(prefix).expect("a place").is_none());
        }
        let first = prefixes.queue_search(here).expect("the first");
        let searching = first.try_lock().expect("its turn");
        let waiting: Vec<_> = (1..MAX_SEARCHES)
            .map(|_| prefixes.queue_search(here).expect("room"))
            .collect();
        assert!(waiting.iter().all(|search| search.try_lock().is_err()));
        let refused = prefixes.queue_search(here).expect_err("too many");
        let told = (refused.code, refused.retry_ms);
        assert_eq!(told, (RefusalCode::Busy, Some(SEARCH_RETRY_MS)));
        // Another prefix does not wait.
        let other = prefixes.queue_search(elsewhere).expect("another queue");
        assert!(other.try_lock().is_ok());
        drop(searching);
        assert!(waiting[0].try_lock().is_ok());
        drop(first);
        assert!(prefixes.queue_search(here).is_ok(), "one search has left");
        for prefix in [here, elsewhere] {
            prefixes.disconnect(prefix, false);
        }
        assert!(prefixes.known.is_empty(), "nothing is remembered");
    }
}
