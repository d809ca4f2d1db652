//! The sweep: rows that nobody needs any more leave the store.
//!
//! This task finds the rows. An entry of the log removes each, if its row is
//! still not needed when the entry is applied.

use std::time::Duration;

use tokio::time::sleep;
use tracing::warn;

use super::{actions::ActionSubmitter, registry::Registry};
use crate::{
    log::{Action, GuardedClock},
    protocol::ConnectionId,
    store::Store,
};

/// How often the task looks at all rows.
const INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Removes what has expired, now and later. Never returns.
pub(super) async fn run(
    actions: &ActionSubmitter,
    store: &Store,
    clock: &GuardedClock,
    registry: &Registry,
) {
    loop {
        if let Err(why) = sweep(actions, store, clock, registry).await {
            // The next round tries again.
            warn!("expired names cannot be removed: {why}");
        }
        sleep(INTERVAL).await;
    }
}

/// Removes what has expired.
///
/// # Errors
/// Fails if the store cannot be read or written.
pub(super) async fn sweep(
    actions: &ActionSubmitter,
    store: &Store,
    clock: &GuardedClock,
    registry: &Registry,
) -> Result<(), String> {
    let mut after = Some(String::new());
    while let Some(from) = after {
        let page = store.expired_names(from, clock.now()).await;
        let page = page.map_err(|why| why.to_string())?;
        for name in page.expired {
            // The use by a connected owner is noted late after a failure.
            if registry.owners(&name.claimed) == 0 {
                act(actions, Action::ExpireName { key: name.key }).await?;
            }
        }
        after = page.next;
    }
    Ok(())
}

async fn act(actions: &ActionSubmitter, action: Action) -> Result<(), String> {
    let removed = actions.act(ConnectionId::SERVER, action).await;
    removed.map(drop).map_err(|refusal| refusal.text)
}
