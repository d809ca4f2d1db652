//! The queue of searches. A few run at a time, and at most one of a prefix. The
//! prefix that searched least lately goes first.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::tables::LockedTables;
use crate::{
    net::Prefix,
    protocol::{Refusal, RefusalCode},
    store::SEARCHES_AT_ONCE,
};

/// How many searches may wait, and how many of one prefix may wait or run.
const MAX_WAITING: usize = 256;
const MAX_OF_PREFIX: usize = 16;

/// How long a search may wait and run, together.
const TIME_LIMIT: Duration = Duration::from_secs(2);

/// How long a search may run while a search of another prefix waits.
const SHARED_LIMIT: Duration = Duration::from_millis(250);

/// For this many times its duration a search counts against its prefix, but
/// never longer than [`MAX_DEBT`].
const DEBT_FACTOR: u32 = 16;
const MAX_DEBT: Duration = Duration::from_secs(60);

/// How long a refused client should wait, in ms.
const RETRY_MS: u64 = 2000;

/// The searches that run or wait.
#[derive(Debug, Default)]
pub(super) struct Searches {
    /// The number and the prefix of each search that runs.
    running: Vec<(u64, Option<Prefix>)>,
    /// In the order of their arrival.
    waiting: Vec<Waiting>,
    /// Whether a waiting search could run if another ended.
    contended: Arc<AtomicBool>,
    arrived: u64,
}

#[derive(Debug)]
struct Waiting {
    prefix: Option<Prefix>,
    number: u64,
    start: oneshot::Sender<()>,
}

impl Searches {
    /// Queues a search, which starts at once if it may. Returns its number. If
    /// too many wait, the prefix with the most waiting searches loses its last.
    ///
    /// # Errors
    /// Refuses if too many searches of the prefix or of all wait.
    pub(super) fn queue(
        &mut self,
        prefix: Option<Prefix>,
        debt: impl Fn(Option<Prefix>) -> Option<Instant>,
    ) -> Result<(u64, oneshot::Receiver<()>), Refusal> {
        let waiting = |of: Option<Prefix>| self.waiting.iter().filter(move |it| it.prefix == of);
        let count = waiting(prefix).count();
        if count + usize::from(self.runs(prefix)) >= MAX_OF_PREFIX {
            return Err(too_many());
        }
        if self.waiting.len() >= MAX_WAITING {
            let longest = self.waiting.iter().map(|it| waiting(it.prefix).count());
            let last = longest.enumerate().max_by_key(|(_, count)| *count);
            let (last, _) = last
                .filter(|(_, most)| *most > count + 1)
                .ok_or_else(too_many)?;
            // Its receiver is told by the drop.
            self.waiting.remove(last);
        }
        let (start, started) = oneshot::channel();
        self.arrived += 1;
        self.waiting.push(Waiting {
            prefix,
            number: self.arrived,
            start,
        });
        self.start(debt);
        Ok((self.arrived, started))
    }

    /// Removes a search that has ended or waits no longer.
    pub(super) fn remove(&mut self, number: u64, debt: impl Fn(Option<Prefix>) -> Option<Instant>) {
        self.waiting.retain(|it| it.number != number);
        self.running.retain(|(running, _)| *running != number);
        self.start(debt);
    }

    fn runs(&self, prefix: Option<Prefix>) -> bool {
        self.running.iter().any(|(_, running)| *running == prefix)
    }

    /// Starts the searches that may run.
    fn start(&mut self, debt: impl Fn(Option<Prefix>) -> Option<Instant>) {
        let next = |this: &Self| {
            let idle = |(_, it): &(usize, &Waiting)| !this.runs(it.prefix);
            let all = this.waiting.iter().enumerate().filter(idle);
            all.min_by_key(|(_, it)| debt(it.prefix)).map(|(at, _)| at)
        };
        let mut waiting = next(self);
        while let Some(at) = waiting
            && self.running.len() < SEARCHES_AT_ONCE
        {
            let Waiting {
                prefix,
                number,
                start,
            } = self.waiting.remove(at);
            self.running.push((number, prefix));
            // A search that is gone removes itself.
            let _ = start.send(());
            waiting = next(self);
        }
        self.contended.store(waiting.is_some(), Ordering::Relaxed);
    }
}

/// A search that waits or runs. Dropping it ends it.
#[derive(Debug)]
pub struct SearchPlace {
    shared: Arc<LockedTables>,
    prefix: Option<Prefix>,
    number: u64,
    start: oneshot::Receiver<()>,
    contended: Arc<AtomicBool>,
    /// When it must have ended.
    end: Instant,
    /// When its turn came.
    begun: Option<Instant>,
}

impl SearchPlace {
    /// Queues a search of a prefix.
    ///
    /// # Errors
    /// Refuses if too many searches of the prefix or of all wait.
    pub(super) fn queue(
        shared: &Arc<LockedTables>,
        prefix: Option<Prefix>,
    ) -> Result<Self, Refusal> {
        let mut tables = shared.lock();
        let (number, start) = tables.prefixes.queue_search(prefix)?;
        let contended = Arc::clone(&tables.prefixes.searches.contended);
        drop(tables);
        Ok(SearchPlace {
            shared: Arc::clone(shared),
            prefix,
            number,
            start,
            contended,
            end: Instant::now() + TIME_LIMIT,
            begun: None,
        })
    }

    /// Waits for its turn.
    ///
    /// # Errors
    /// Refuses if the turn does not come in time, or another prefix needs the
    /// place in the queue.
    pub async fn turn(&mut self) -> Result<(), Refusal> {
        let started = timeout_at(self.end, &mut self.start).await;
        if !matches!(started, Ok(Ok(()))) {
            return Err(too_many());
        }
        self.begun = Some(Instant::now());
        Ok(())
    }

    /// Whether the search must stop.
    pub fn is_over(&self) -> bool {
        let now = Instant::now();
        let is_others = self.contended.load(Ordering::Relaxed);
        let had_its_share = |begun: Instant| now - begun >= SHARED_LIMIT;
        now >= self.end || is_others && self.begun.is_some_and(had_its_share)
    }
}

impl Drop for SearchPlace {
    fn drop(&mut self) {
        let used = self.begun.map_or(Duration::ZERO, |begun| begun.elapsed());
        let mut tables = self.shared.lock();
        tables.prefixes.end_search(self.prefix, self.number, used);
    }
}

/// The new debt of a prefix after one more search: the time up to which
/// prefixes with a lower one go first.
pub(super) fn debt_after(debt: Instant, used: Duration) -> Instant {
    let now = Instant::now();
    (debt.max(now) + used * DEBT_FACTOR).min(now + MAX_DEBT)
}

fn too_many() -> Refusal {
    let text = "Too many searches are under way; search again in a while.";
    Refusal {
        retry_ms: Some(RETRY_MS),
        ..Refusal::new(RefusalCode::Busy, text)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use futures_util::FutureExt;

    use super::*;
    use crate::{
        hub::{Capacity, registry::Registry},
        log::{GuardedClock, GuardedTime},
    };

    const MS: Duration = Duration::from_millis(1);

    fn registry() -> Registry {
        let clock = Arc::new(GuardedClock::after(GuardedTime(0)));
        Registry::new(Capacity::UNLIMITED, Vec::new(), clock)
    }

    /// A search of a prefix, and the same under way.
    fn queued(registry: &Registry, prefix: usize) -> Result<SearchPlace, Refusal> {
        let prefix = u32::try_from(prefix).expect("a small number");
        let prefix = IpAddr::from(Ipv4Addr::from(prefix)).into();
        let mut tables = registry.shared.lock();
        tables.prefixes.connect(Some(prefix)).expect("a place");
        drop(tables);
        SearchPlace::queue(&registry.shared, Some(prefix))
    }

    fn running(registry: &Registry, prefix: usize) -> SearchPlace {
        let mut place = queued(registry, prefix).expect("a place");
        assert!(begins(&mut place), "its turn");
        place
    }

    /// Whether a search has its turn now.
    fn begins(place: &mut SearchPlace) -> bool {
        place.turn().now_or_never().is_some_and(|turn| turn.is_ok())
    }

    /// Verified to fail when two searches of one prefix run at a time.
    #[tokio::test(start_paused = true)]
    async fn a_prefix_waits_only_for_its_own_searches() {
        let registry = registry();
        let first = running(&registry, 1);
        let waiting: Result<Vec<_>, _> = (1..MAX_OF_PREFIX).map(|_| queued(&registry, 1)).collect();
        let mut waiting = waiting.expect("places");
        assert!(!waiting.iter_mut().any(begins));
        let refused = queued(&registry, 1).expect_err("too many");
        let told = (refused.code, refused.retry_ms);
        assert_eq!(told, (RefusalCode::Busy, Some(RETRY_MS)));
        let _other = running(&registry, 2);
        drop(first);
        assert!(begins(&mut waiting[0]), "the first of the queue");
        assert!(queued(&registry, 1).is_ok(), "one search has ended");
    }

    /// Verified to fail when the oldest search goes first.
    #[tokio::test(start_paused = true)]
    async fn the_prefix_that_searched_least_goes_first() {
        let registry = registry();
        let mut places: Vec<_> = (1..=SEARCHES_AT_ONCE)
            .map(|prefix| running(&registry, prefix))
            .collect();
        tokio::time::advance(100 * MS).await;
        // The first prefix has searched, and asks again before another does.
        drop(places.remove(0));
        let _fifth = running(&registry, 5);
        let mut again = queued(&registry, 1).expect("a place");
        let mut new = queued(&registry, 6).expect("a place");
        drop(places.remove(0));
        assert!(begins(&mut new));
        assert!(!begins(&mut again));
        drop(places.remove(0));
        assert!(begins(&mut again), "nobody else waits");
    }

    /// Verified to fail when a running search may take the whole limit.
    #[tokio::test(start_paused = true)]
    async fn a_search_runs_shorter_while_others_wait() {
        let registry = registry();
        let places: Vec<_> = (1..=SEARCHES_AT_ONCE)
            .map(|prefix| running(&registry, prefix))
            .collect();
        tokio::time::advance(SHARED_LIMIT).await;
        let _own = queued(&registry, 1).expect("a place");
        assert!(!places[0].is_over(), "only its own prefix waits");
        let other = queued(&registry, 9).expect("a place");
        assert!(places.iter().all(SearchPlace::is_over));
        drop(other);
        assert!(!places[0].is_over());
        tokio::time::advance(TIME_LIMIT).await;
        assert!(places[0].is_over());
    }

    #[tokio::test(start_paused = true)]
    async fn no_search_waits_longer_than_two_seconds() {
        let registry = registry();
        let _places: Vec<_> = (1..=SEARCHES_AT_ONCE)
            .map(|prefix| running(&registry, prefix))
            .collect();
        let begun = Instant::now();
        let mut waiting = queued(&registry, 9).expect("a place");
        let refused = waiting.turn().await.expect_err("no turn");
        assert_eq!(begun.elapsed(), TIME_LIMIT);
        let told = (refused.code, refused.retry_ms);
        assert_eq!(told, (RefusalCode::Busy, Some(RETRY_MS)));
    }

    /// Verified to fail when the full queue refuses every prefix.
    #[tokio::test(start_paused = true)]
    async fn a_full_queue_has_room_for_another_prefix() {
        let registry = registry();
        let busy: Vec<_> = (1..=SEARCHES_AT_ONCE)
            .map(|prefix| running(&registry, prefix))
            .collect();
        let prefixes = MAX_WAITING / MAX_OF_PREFIX;
        let mut waiting: Vec<_> = (0..MAX_WAITING)
            .map(|n| queued(&registry, 100 + n % prefixes).expect("a place"))
            .collect();
        let refused = queued(&registry, 100).expect_err("full");
        assert_eq!(refused.code, RefusalCode::Busy);
        let mut new = queued(&registry, 9).expect("room");
        let told = waiting.last_mut().expect("many").turn().now_or_never();
        let refused = told.expect("told at once").expect_err("it lost its place");
        assert_eq!(refused.code, RefusalCode::Busy);
        drop(waiting);
        drop(busy);
        assert!(begins(&mut new));
        let tables = registry.shared.lock();
        assert_eq!(tables.prefixes.searches.running.len(), 1);
        assert!(tables.prefixes.searches.waiting.is_empty());
    }
}
