//! Reports wrong secrets in the server's output, for operators.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::net::{Peer, Prefix};

/// The shortest time between two lines about one source.
const INTERVAL: Duration = Duration::from_secs(60);

/// How often due lines are looked for.
const LOOKED_EVERY: Duration = Duration::from_secs(10);

/// How many sources are counted apart. The others count as one.
const MAX_SOURCES: usize = 1024;

/// Counts wrong secrets by their source. Clones share the counts.
#[derive(Clone, Default)]
pub(super) struct WrongSecrets(Arc<Mutex<HashMap<Source, Count>>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Source {
    Prefix(Prefix),
    NoAddress,
    Others,
}

#[derive(Debug)]
struct Count {
    /// When the last line was written.
    told: Instant,
    /// How many came since then.
    since: u64,
    /// The owner of the secret that the last one was to be.
    last: String,
}

impl WrongSecrets {
    /// Counts a wrong secret of `what`, and reports it if it is the first one
    /// for a while.
    pub(super) fn count(&self, peer: Peer, what: &str) {
        if let Some(line) = self.counted(peer, what) {
            warn!("{line}");
        }
    }

    /// Reports the counts of sources at intervals. Never returns.
    pub(super) async fn report(&self) {
        loop {
            sleep(LOOKED_EVERY).await;
            for line in self.due() {
                warn!("{line}");
            }
        }
    }

    fn counted(&self, peer: Peer, what: &str) -> Option<String> {
        let source = peer.prefix().map_or(Source::NoAddress, Source::Prefix);
        let mut counts = self.lock();
        let is_known = counts.contains_key(&source);
        let source = if is_known || counts.len() < MAX_SOURCES {
            source
        } else {
            Source::Others
        };
        if let Some(count) = counts.get_mut(&source) {
            count.since += 1;
            what.clone_into(&mut count.last);
            return None;
        }
        let first = Count {
            told: Instant::now(),
            since: 0,
            last: what.to_owned(),
        };
        counts.insert(source, first);
        Some(format!("a wrong secret of {what} came from {source}"))
    }

    /// The due lines. Forgets the sources that have stopped.
    fn due(&self) -> Vec<String> {
        let mut lines = Vec::new();
        self.lock().retain(|source, count| {
            if count.told.elapsed() < INTERVAL {
                return true;
            }
            let Count { told, since, last } = count;
            if *since == 0 {
                return false;
            }
            lines.push(format!(
                "{since} more wrong secrets came from {source}, the last one of {last}"
            ));
            (*told, *since) = (Instant::now(), 0);
            true
        });
        lines
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Source, Count>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Prefix(prefix) => prefix.fmt(f),
            Source::NoAddress => f.write_str("a peer without an address"),
            Source::Others => f.write_str("further addresses"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u32) -> Peer {
        let address = std::net::Ipv4Addr::from(n);
        Peer::accepted(Some((address, 5000).into())).expect("an id")
    }

    // Verified to fail when every wrong secret is reported.
    #[tokio::test(start_paused = true)]
    async fn one_line_a_minute_counts_the_wrong_secrets() {
        let wrong = WrongSecrets::default();
        let eve = peer(0xcb00_7107);
        let line = "a wrong secret of ana came from 203.0.113.7";
        assert_eq!(wrong.counted(eve, "ana").as_deref(), Some(line));
        for _ in 0..500 {
            assert_eq!(wrong.counted(eve, "bob"), None);
        }
        tokio::time::advance(INTERVAL / 2).await;
        assert_eq!(wrong.due(), [""; 0]);
        tokio::time::advance(INTERVAL / 2).await;
        let line = "500 more wrong secrets came from 203.0.113.7, the last one of bob";
        assert_eq!(wrong.due(), [line]);
        assert_eq!(wrong.counted(eve, "ana"), None);
        tokio::time::advance(INTERVAL).await;
        assert_eq!(wrong.due().len(), 1);
        tokio::time::advance(INTERVAL).await;
        assert_eq!(wrong.due(), [""; 0]);
        assert!(wrong.counted(eve, "ana").is_some(), "it has stopped before");
    }

    #[tokio::test(start_paused = true)]
    async fn many_sources_take_bounded_memory_and_lines() {
        let wrong = WrongSecrets::default();
        let lines = (0..5000).filter_map(|n| wrong.counted(peer(n), "ana"));
        assert_eq!(lines.count(), MAX_SOURCES + 1);
        assert_eq!(wrong.lock().len(), MAX_SOURCES + 1);
        tokio::time::advance(INTERVAL).await;
        let line = "3975 more wrong secrets came from further addresses, the last one of ana";
        assert_eq!(wrong.due(), [line]);
        assert_eq!(wrong.lock().len(), 1);
    }
}
