//! Whose turn it is to search: of all connections from one address, one at a
//! time. A search may take seconds, and the next one waits for it; who asks for
//! many waits for himself, and everybody else for one of them at most.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Mutex as FairMutex, OwnedMutexGuard as OwnedFairGuard};

use super::network::Network;
use crate::protocol::{Refusal, RefusalCode};

/// How many searches from one address may be under way or wait.
const MAX_SEARCHES: usize = 16;

/// When to ask again where there are so many.
const RETRY_MS: u64 = 2000;

/// All who search; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Searches {
    queues: Arc<Mutex<HashMap<Network, Queue>>>,
}

/// Those from one address.
#[derive(Debug, Default)]
struct Queue {
    length: usize,
    turn: Arc<FairMutex<()>>,
}

/// A place in the queue of an address. Dropping it leaves the queue.
#[derive(Debug)]
pub(super) struct Place {
    searches: Searches,
    network: Network,
    turn: Arc<FairMutex<()>>,
}

impl Searches {
    fn queues(&self) -> MutexGuard<'_, HashMap<Network, Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues up, where not too many do already.
    pub(super) fn queue(&self, from: impl Into<Network>) -> Result<Place, Refusal> {
        let network = from.into();
        let mut queues = self.queues();
        let queue = queues.entry(network).or_default();
        if queue.length == MAX_SEARCHES {
            let text =
                "Too many searches from your address are under way; search again in a while.";
            return Err(Refusal {
                retry_ms: Some(RETRY_MS),
                ..Refusal::new(RefusalCode::Busy, text)
            });
        }
        queue.length += 1;
        let turn = Arc::clone(&queue.turn);
        drop(queues);
        Ok(Place {
            searches: self.clone(),
            network,
            turn,
        })
    }
}

impl Place {
    /// Waits for its turn, which lasts for as long as what is returned.
    pub(super) async fn turn(&self) -> OwnedFairGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queues = self.searches.queues();
        if let Some(queue) = queues.get_mut(&self.network) {
            queue.length -= 1;
            if queue.length == 0 {
                queues.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn an_address_waits_for_itself() {
        let searches = Searches::default();
        let [here, again, elsewhere] = ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1"]
            .map(|addr| addr.parse::<SocketAddr>().expect("an address"));
        let queue = |addr: SocketAddr| searches.queue(addr);
        let first = queue(here).expect("the first");
        let searching = first.turn().await;
        let waiting: Vec<_> = (1..MAX_SEARCHES)
            .map(|_| queue(again).expect("room"))
            .collect();
        assert!(waiting[0].turn().now_or_never().is_none());
        let refused = queue(here).expect_err("too many");
        assert_eq!(
            (refused.code, refused.retry_ms),
            (RefusalCode::Busy, Some(RETRY_MS))
        );
        // Others go on.
        let other = queue(elsewhere).expect("another queue");
        assert!(other.turn().now_or_never().is_some());
        drop((searching, first));
        assert!(waiting[0].turn().now_or_never().is_some());
        assert!(queue(here).is_ok(), "one has left");
        drop((waiting, other));
        assert!(searches.queues().is_empty(), "nobody is remembered");
    }
}
