//! Retention: old messages expire, a few at a time, from the beginning of the
//! log.
//!
//! This task decides once which messages expire, and the decision is an entry
//! of the log.

use std::time::Duration;

use tokio::time::sleep;
use tracing::{error, info};

use super::actions::ActionSubmitter;
use crate::{
    log::{Action, GuardedClock},
    protocol::{ConnectionId, WallTime},
    store::Store,
};

/// How often retention looks for old messages. Messages that become old in
/// between expire together.
const INTERVAL: Duration = Duration::from_secs(10);

/// The same if the size of the store is limited.
const SIZE_INTERVAL: Duration = Duration::from_secs(1);

/// The pause between two steps, so that publishers come first. It is about as
/// long as a step.
const PAUSE: Duration = Duration::from_millis(2);

/// The last messages, which stay even if the store uses more than it may.
const KEPT_OVER_SIZE: u64 = 1;

/// Which messages are kept. A message expires as soon as any limit excludes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionLimits {
    /// The greatest age of a kept message; absent: no limit.
    pub age: Option<Duration>,
    /// How many of the log's last messages are kept; absent: no limit.
    pub messages: Option<u64>,
    /// The most bytes that the store and its index may use; absent: no limit.
    pub size: Option<u64>,
}

/// Expires old messages, now and later, if `keep` sets a limit. Also tries again
/// to empty a write-ahead log that may hold removed words. Never returns.
pub(super) async fn run(
    actions: &ActionSubmitter,
    store: &Store,
    clock: &GuardedClock,
    keep: RetentionLimits,
) {
    if keep != RetentionLimits::default() {
        store.limit_blocks(keep.age.is_some(), keep.size).await;
    }
    let interval = keep.size.map_or(INTERVAL, |_| SIZE_INTERVAL);
    let mut failing = false;
    loop {
        // The guarded clock follows the wall clock only while it is read often.
        clock.now();
        let step = expire_some(actions, store, clock, keep).await;
        if let Err(why) = &step
            && !failing
        {
            error!("old messages cannot be expired: {why}");
        } else if step.is_ok() && failing {
            info!("old messages can be expired again");
        }
        failing = step.is_err();
        let more = step.is_ok_and(|expired| expired);
        if !more {
            // After a failure, the next round tries again.
            let _ = store.empty_wal().await;
        }
        sleep(if more { PAUSE } else { interval }).await;
    }
}

async fn used_bytes(store: &Store) -> Result<u64, String> {
    store.used_bytes().await.map_err(|why| why.to_string())
}

async fn drop_expired_words(store: &Store) -> Result<bool, String> {
    let dropped = store.drop_expired_words().await;
    dropped.map_err(|why| why.to_string())
}

/// Expires some old messages, or drops the index's words of those before; false
/// if there were none.
pub(super) async fn expire_some(
    actions: &ActionSubmitter,
    store: &Store,
    clock: &GuardedClock,
    keep: RetentionLimits,
) -> Result<bool, String> {
    if keep == RetentionLimits::default() {
        return Ok(false);
    }
    let before = keep.age.map(|age| {
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        WallTime(clock.now().0.saturating_sub(age))
    });
    // Else more would expire while the index still has the words of those before.
    if keep.size.is_some() && drop_expired_words(store).await? {
        return Ok(true);
    }
    let messages = match keep.size {
        // A few of the oldest expire; then the size is looked at again.
        Some(size) if used_bytes(store).await? > size => Some(KEPT_OVER_SIZE),
        _ => keep.messages,
    };
    let old = store.expirable(before, messages).await;
    let Some(upto) = old.map_err(|why| why.to_string())? else {
        return Ok(false);
    };
    let expired = actions.act(ConnectionId::SERVER, Action::Expire { upto });
    expired.await.map(|_| true).map_err(|refusal| refusal.text)
}
