//! What is kept of each prefix: its connections, what it has used of its rates,
//! and its searches.

use std::{collections::HashMap, sync::Arc};

use tokio::{sync::Mutex as FairMutex, time::Instant};

use super::rate::{Budget, Rate};
use crate::{
    net::Prefix,
    protocol::{Refusal, RefusalCode},
};

/// How many prefixes are remembered that have no connection and have not yet got
/// back what they used. Twice as many are never exceeded: then all these are
/// forgotten.
const MAX_REMEMBERED: usize = 1 << 14;

/// How many searches from one prefix may be under way or wait.
const MAX_SEARCHES: usize = 16;

/// When to search again where there are so many.
const RETRY_MS: u64 = 2000;

/// All prefixes with a connection, and those that are remembered. Peers without an
/// address count as one prefix.
#[derive(Debug)]
pub(super) struct Prefixes {
    /// The rate of one connection, if that is limited.
    rate: Option<Rate>,
    /// How many connections one prefix may have, if that is limited.
    most: Option<usize>,
    known: HashMap<Option<Prefix>, Known>,
    /// At so many it is looked which of them can be forgotten.
    look_at: usize,
}

#[derive(Debug)]
struct Known {
    connections: usize,
    /// None where rates are not limited.
    budget: Option<Arc<Budget>>,
    searches: Option<Queue>,
}

/// The searches of one prefix, of which one is made at a time.
#[derive(Debug, Default)]
struct Queue {
    length: usize,
    turn: Arc<FairMutex<()>>,
}

impl Known {
    fn is_in_use(&self) -> bool {
        self.connections > 0 || self.searches.is_some()
    }

    fn is_needed(&self, now: Instant) -> bool {
        let used = self.budget.as_ref().filter(|it| !it.is_untouched(now));
        self.is_in_use() || used.is_some()
    }
}

impl Prefixes {
    pub(super) fn new(most: Option<usize>, rate: Option<Rate>) -> Self {
        Prefixes {
            rate,
            most,
            known: HashMap::new(),
            look_at: 0,
        }
    }

    /// Counts one more connection, and gives the budget of its prefix, if rates are
    /// limited.
    ///
    /// # Errors
    ///
    /// Fails with their number if the prefix has as many connections as it may.
    pub(super) fn connect(&mut self, prefix: Option<Prefix>) -> Result<Option<Arc<Budget>>, usize> {
        if !self.known.contains_key(&prefix) {
            self.forget();
        }
        let rate = self.rate;
        let known = self.known.entry(prefix).or_insert_with(|| Known {
            connections: 0,
            budget: rate.map(|rate| Arc::new(Budget::new(rate))),
            searches: None,
        });
        if let Some(most) = self.most.filter(|most| known.connections >= *most) {
            return Err(most);
        }
        known.connections += 1;
        Ok(known.budget.clone())
    }

    /// Counts one connection less.
    pub(super) fn disconnect(&mut self, prefix: Option<Prefix>) {
        if let Some(known) = self.known.get_mut(&prefix) {
            known.connections -= 1;
            if known.connections == 0 {
                self.drop_unneeded(prefix);
            }
        }
    }

    /// Queues one more search; the next one may be made once the turn is had.
    ///
    /// # Errors
    ///
    /// Refuses where many are under way or wait.
    pub(super) fn queue(&mut self, prefix: Option<Prefix>) -> Result<Arc<FairMutex<()>>, Refusal> {
        let known = self.known.get_mut(&prefix);
        let queue = known.map(|known| known.searches.get_or_insert_default());
        match queue {
            Some(queue) if queue.length < MAX_SEARCHES => {
                queue.length += 1;
                Ok(Arc::clone(&queue.turn))
            }
            _ => {
                let text =
                    "Too many searches from your address are under way; search again in a while.";
                Err(Refusal {
                    retry_ms: Some(RETRY_MS),
                    ..Refusal::new(RefusalCode::Busy, text)
                })
            }
        }
    }

    /// One search less is under way or waits.
    pub(super) fn leave_queue(&mut self, prefix: Option<Prefix>) {
        if let Some(known) = self.known.get_mut(&prefix)
            && let Some(queue) = &mut known.searches
        {
            queue.length -= 1;
            if queue.length == 0 {
                known.searches = None;
                self.drop_unneeded(prefix);
            }
        }
    }

    fn drop_unneeded(&mut self, prefix: Option<Prefix>) {
        let now = Instant::now();
        if let Some(known) = self.known.get(&prefix)
            && !known.is_needed(now)
        {
            self.known.remove(&prefix);
        }
    }

    /// Makes room, where there are many: for each new one little is to be done.
    fn forget(&mut self) {
        if self.known.len() < self.look_at {
            return;
        }
        let now = Instant::now();
        self.known.retain(|_, known| known.is_needed(now));
        if self.known.len() > MAX_REMEMBERED {
            self.known.retain(|_, known| known.is_in_use());
        }
        self.look_at = (self.known.len() * 2).max(1024);
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
        Prefixes::new(None, Some(Rate::of(1, 1)))
    }

    fn prefix(n: u32) -> Prefix {
        IpAddr::from(Ipv4Addr::from(n)).into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_prefix_that_returns_has_used_as_much() {
        let mut prefixes = prefixes();
        let budget = |prefixes: &mut Prefixes, n| {
            let budget = prefixes.connect(Some(prefix(n))).expect("a place");
            budget.expect("rates are limited")
        };
        assert!(budget(&mut prefixes, 1).post().is_ok());
        prefixes.disconnect(Some(prefix(1)));
        assert!(budget(&mut prefixes, 1).post().is_err());
        assert!(budget(&mut prefixes, 2).post().is_ok(), "of its own");
        for n in [1, 2] {
            prefixes.disconnect(Some(prefix(n)));
        }
        tokio::time::advance(Duration::from_secs(3600)).await;
        drop(budget(&mut prefixes, 1));
        prefixes.disconnect(Some(prefix(1)));
        assert_eq!(prefixes.known.len(), 1, "what is untouched is not kept");
    }

    #[tokio::test(start_paused = true)]
    async fn prefixes_are_forgotten() {
        let mut prefixes = prefixes();
        let many = u32::try_from(4 * MAX_REMEMBERED).expect("a number");
        let here = prefixes.connect(Some(prefix(0))).expect("a place");
        assert!(here.expect("rates are limited").post().is_ok());
        for n in 1..=many {
            let budget = prefixes.connect(Some(prefix(n))).expect("a place");
            assert!(budget.expect("rates are limited").post().is_ok());
            prefixes.disconnect(Some(prefix(n)));
            if n % 4 == 0 {
                tokio::time::advance(MS).await;
            }
        }
        let known = prefixes.known.len();
        assert!(known <= 2 * MAX_REMEMBERED + 1, "{known}");
        // With time all have got back what was used, and nothing is to be known.
        tokio::time::advance(Duration::from_secs(3600)).await;
        prefixes.look_at = 0;
        let _new = prefixes.connect(Some(prefix(many + 1))).expect("a place");
        assert_eq!(prefixes.known.len(), 2, "both have a connection");
    }

    #[test]
    fn a_prefix_waits_for_its_own_searches() {
        let mut prefixes = Prefixes::new(None, None);
        let [here, elsewhere] = [1, 2].map(|n| Some(prefix(n)));
        for prefix in [here, elsewhere] {
            assert!(prefixes.connect(prefix).expect("a place").is_none());
        }
        let first = prefixes.queue(here).expect("the first");
        let searching = first.try_lock().expect("its turn");
        for _ in 1..MAX_SEARCHES {
            let waiting = prefixes.queue(here).expect("room");
            assert!(waiting.try_lock().is_err());
        }
        let refused = prefixes.queue(here).expect_err("too many");
        let told = (refused.code, refused.retry_ms);
        assert_eq!(told, (RefusalCode::Busy, Some(RETRY_MS)));
        // Others go on.
        let other = prefixes.queue(elsewhere).expect("another queue");
        assert!(other.try_lock().is_ok());
        drop(searching);
        assert!(first.try_lock().is_ok());
        prefixes.leave_queue(here);
        assert!(prefixes.queue(here).is_ok(), "one has left");
        for _ in 0..MAX_SEARCHES {
            prefixes.leave_queue(here);
        }
        prefixes.leave_queue(elsewhere);
        for prefix in [here, elsewhere] {
            prefixes.disconnect(prefix);
        }
        assert!(prefixes.known.is_empty(), "nothing is remembered");
    }
}
