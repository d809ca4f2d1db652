//! The sweep: rows that nobody needs any more leave the store.
//!
//! This task finds the rows. An entry of the log removes each, if its row is
//! still not needed when the entry is applied.

use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::sleep;
use tracing::warn;

use super::{actions::ActionSubmitter, registry::Registry};
use crate::{
    log::{Action, GuardedClock},
    protocol::ConnectionId,
    store::{ExpiredName, ExpiredPage, Store, StoreError},
};

/// How often the task looks at all rows.
const INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Removes expired rows now, runs `rest`, and removes more later. Never returns.
pub(super) async fn run(
    actions: &ActionSubmitter,
    store: &Store,
    clock: &GuardedClock,
    registry: &Registry,
    rest: impl Future,
) {
    let round = async || {
        if let Err(why) = sweep(actions, store, clock, registry).await {
            // The next round tries again.
            warn!("expired rows cannot be removed: {why}");
        }
    };
    round().await;
    let later = async {
        loop {
            sleep(INTERVAL).await;
            round().await;
        }
    };
    tokio::join!(later, rest);
}

/// Removes expired rows.
///
/// # Errors
/// Fails if the store cannot be read or written.
pub(super) async fn sweep(
    actions: &ActionSubmitter,
    store: &Store,
    clock: &GuardedClock,
    registry: &Registry,
) -> Result<(), String> {
    // The use by a connected owner is noted late after a failure.
    let unused = |name: ExpiredName| {
        let is_used = registry.owners(&name.claimed) > 0;
        (!is_used).then_some(Action::ExpireName { key: name.key })
    };
    // People in a room keep its topic.
    let unread = |room| (registry.readers(&room) == 0).then_some(Action::ExpireRoom { room });
    remove(
        actions,
        |after| store.expired_names(after, clock.now()),
        unused,
    )
    .await?;
    remove(actions, |after| store.empty_rooms(after), unread).await?;
    remove(
        actions,
        |after| store.expired_topics(after, clock.now()),
        unread,
    )
    .await
}

/// Reads a table page by page, and submits the entries of its expired rows.
async fn remove<T, R: Future<Output = Result<ExpiredPage<T>, StoreError>>>(
    actions: &ActionSubmitter,
    read: impl Fn(String) -> R,
    entry: impl Fn(T) -> Option<Action>,
) -> Result<(), String> {
    let mut after = Some(String::new());
    while let Some(from) = after {
        let page = read(from).await.map_err(|why| why.to_string())?;
        let expired = page.expired.into_iter().filter_map(&entry);
        // Together they share batches.
        let removed = expired.map(|action| actions.act(ConnectionId::SERVER, action));
        let removed = try_join_all(removed).await;
        removed.map_err(|refusal| refusal.text)?;
        after = page.next;
    }
    Ok(())
}
