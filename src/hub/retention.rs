//! Retention: old messages expire, from the beginning of the log on, a few at a
//! time. Which ones is decided here, once, and stands in the log.

use std::time::Duration;

use tokio::time::sleep;
use tracing::{error, info};

use super::entries::Entries;
use crate::{
    log::{Action, Clock},
    protocol::{At, ConnectionId},
    store::Store,
};

/// How often is looked whether something is old. What expires in between does
/// so together.
const INTERVAL: Duration = Duration::from_secs(10);

/// The pause between two steps: publishers come first.
const PAUSE: Duration = Duration::from_millis(20);

/// What is kept. A message expires as soon as either limit excludes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Messages not older than this; absent: of any age.
    pub age: Option<Duration>,
    /// The last so many messages of the log; absent: however many.
    pub messages: Option<u64>,
}

/// Expires what is old, and what becomes so, if not all is kept; ends only when
/// it is dropped.
pub(super) async fn run(entries: &Entries, store: &Store, clock: &Clock, keep: Keep) {
    let mut failing = false;
    loop {
        let step = expire_some(entries, store, clock, keep).await;
        if let Err(why) = &step
            && !failing
        {
            error!("old messages cannot be erased: {why}");
        } else if step.is_ok() && failing {
            info!("old messages can be erased again");
        }
        failing = step.is_err();
        let more = step.is_ok_and(|expired| expired);
        if !more {
            // If that cannot be done now, it is tried again.
            let _ = store.empty_wal().await;
        }
        sleep(if more { PAUSE } else { INTERVAL }).await;
    }
}

/// Expires some messages; whether there were any.
async fn expire_some(
    entries: &Entries,
    store: &Store,
    clock: &Clock,
    keep: Keep,
) -> Result<bool, String> {
    if keep == Keep::default() {
        return Ok(false);
    }
    let before = keep.age.map(|age| {
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        At(clock.now().0.saturating_sub(age))
    });
    let old = store.expirable(before, keep.messages).await;
    let Some(upto) = old.map_err(|why| why.to_string())? else {
        return Ok(false);
    };
    let expired = entries.act(ConnectionId::SERVER, Action::Expire { upto });
    expired.await.map(|_| true).map_err(|refusal| refusal.text)
}
