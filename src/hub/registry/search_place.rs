//! The place of one search in the queue.

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

use super::{searches::too_many, tables::LockedTables};
use crate::{net::Prefix, protocol::Refusal};

/// How long a search may wait and run, together.
const TIME_LIMIT: Duration = Duration::from_secs(2);

/// How long a search may run while a search of another prefix waits.
const SHARED_LIMIT: Duration = Duration::from_millis(250);

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

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use futures_util::FutureExt;

    use super::*;
    use crate::{
        hub::registry::{
            Registry,
            searches::{MAX_OF_PREFIX, MAX_WAITING, RETRY_MS},
        },
        protocol::RefusalCode,
        store::SEARCHES_AT_ONCE,
    };

    const MS: Duration = Duration::from_millis(1);

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
        let registry = Registry::unlimited();
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
        let registry = Registry::unlimited();
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
        let registry = Registry::unlimited();
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
        let registry = Registry::unlimited();
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
        let registry = Registry::unlimited();
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
