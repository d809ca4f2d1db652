//! The prefixes: the connections, the rate budget and the searches of each.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use tokio::{sync::oneshot, time::Instant};

use super::{
    budget::Budget,
    quotas::QuotaLimits,
    rate::Rate,
    searches::{Searches, debt_after},
};
use crate::{net::Prefix, protocol::Refusal};

/// If a check of the table leaves more prefixes than this, all without a
/// connection are forgotten, even if their budget is not full again. So no more
/// than twice this many are known, or twice as many as are in use.
const MAX_AFTER_SWEEP: usize = 1 << 14;

/// The limits of one prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixLimits {
    /// The most connections, if that is limited.
    pub connections: Option<usize>,
    /// The rate of one connection, if that is limited.
    pub rate: Option<Rate>,
    /// How much it may add to what is kept.
    pub quotas: QuotaLimits,
}

impl PrefixLimits {
    /// No limit at all.
    pub const UNLIMITED: PrefixLimits = PrefixLimits {
        connections: None,
        rate: None,
        quotas: QuotaLimits::UNLIMITED,
    };

    /// An unused budget, if rates or quotas are limited.
    fn budget(self) -> Option<Arc<Budget>> {
        let is_limited = self.rate.is_some() || self.quotas != QuotaLimits::UNLIMITED;
        is_limited.then(|| Arc::new(Budget::new(self.rate, self.quotas)))
    }
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
/// full again or whose searches count. Peers without an address count as one prefix.
#[derive(Debug)]
pub(super) struct Prefixes {
    limits: PrefixLimits,
    /// The limits of forwarded connections.
    forwarded: PrefixLimits,
    known: HashMap<Option<Prefix>, PrefixState>,
    /// How many prefixes must be known before the table is searched for
    /// prefixes to forget.
    sweep_at: usize,
    pub(super) searches: Searches,
}

#[derive(Debug)]
struct PrefixState {
    connections: usize,
    /// How many of them count as forwarded.
    forwarded: usize,
    /// The budget; `None` if neither rates nor quotas are limited.
    budget: Option<Arc<Budget>>,
    /// The budget of forwarded connections, if there were any.
    forwarded_budget: Option<Arc<Budget>>,
    /// Until then its searches count against it.
    search_debt: Instant,
}

impl PrefixState {
    fn is_in_use(&self) -> bool {
        self.connections > 0
    }

    fn is_needed(&self, now: Instant) -> bool {
        let mut budgets = self.budget.iter().chain(&self.forwarded_budget);
        self.is_in_use()
            || budgets.any(|budget| !budget.is_untouched(now))
            || self.search_debt > now
    }
}

impl Prefixes {
    pub(super) fn new(limits: PrefixLimits, forwarded: PrefixLimits) -> Self {
        Prefixes {
            limits,
            forwarded,
            known: HashMap::new(),
            sweep_at: 0,
            searches: Searches::default(),
        }
    }

    /// Changes the limits, also of the budgets in use.
    pub(super) fn set_limits(&mut self, limits: PrefixLimits, forwarded: PrefixLimits) {
        self.limits = limits;
        self.forwarded = forwarded;
        for known in self.known.values_mut() {
            for (budget, limits) in [
                (&mut known.budget, limits),
                (&mut known.forwarded_budget, forwarded),
            ] {
                match budget {
                    Some(budget) => budget.set_limits(limits.rate, limits.quotas),
                    None => *budget = limits.budget(),
                }
            }
        }
    }

    /// Counts one more connection. Returns the budget of its prefix, if rates or
    /// quotas are limited.
    ///
    /// # Errors
    ///
    /// Fails with the limit if the prefix already has the most connections
    /// allowed.
    pub(super) fn connect(&mut self, prefix: Option<Prefix>) -> Result<Option<Arc<Budget>>, usize> {
        if !self.known.contains_key(&prefix) {
            self.sweep();
        }
        let limits = self.limits;
        let known = self.known.entry(prefix).or_insert_with(|| PrefixState {
            connections: 0,
            forwarded: 0,
            budget: limits.budget(),
            forwarded_budget: None,
            search_debt: Instant::now(),
        });
        if let Some(most) = limits.connections.filter(|most| known.connections >= *most) {
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
        let limits = self.forwarded;
        let Some(known) = self.known.get_mut(&prefix) else {
            return Ok(None);
        };
        if let Some(most) = limits.connections.filter(|most| known.forwarded >= *most) {
            return Err(most);
        }
        known.forwarded += 1;
        if known.forwarded_budget.is_none() {
            known.forwarded_budget = limits.budget();
        }
        Ok(known.forwarded_budget.clone())
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

    /// Queues one more search. Returns its number, and what tells its start.
    ///
    /// # Errors
    ///
    /// As [`Searches::queue`].
    pub(super) fn queue_search(
        &mut self,
        prefix: Option<Prefix>,
    ) -> Result<(u64, oneshot::Receiver<()>), Refusal> {
        self.searches.queue(prefix, debts(&self.known))
    }

    /// Ends a search that ran for so long.
    pub(super) fn end_search(&mut self, prefix: Option<Prefix>, number: u64, used: Duration) {
        if let Some(known) = self.known.get_mut(&prefix) {
            known.search_debt = debt_after(known.search_debt, used);
        }
        self.searches.remove(number, debts(&self.known));
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

fn debts(
    known: &HashMap<Option<Prefix>, PrefixState>,
) -> impl Fn(Option<Prefix>) -> Option<Instant> {
    |prefix| known.get(&prefix).map(|known| known.search_debt)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

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
}
