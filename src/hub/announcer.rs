//! Sends the members of a room its ephemeral events: joins, leaves, renames and
//! new topics.
//!
//! One task does this, outside the log. It sends a few joins, leaves and
//! renames a second in each room, and beyond that only the number of people.

use tokio::{
    task::yield_now,
    time::{Instant, sleep_until},
};

use super::registry::{News, Registry};
use crate::fanout::Ephemeral;

/// How many sockets the task writes to before other tasks get their turn.
const WRITES_A_TURN: usize = 200;

/// Sends ephemeral events as they become due. Never returns.
pub(super) async fn announce(registry: &Registry) {
    let mut told = 0;
    loop {
        let next = registry.news_due();
        tokio::select! {
            () = registry.news_sooner() => {}
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
        }
        while let Some((room, news)) = registry.take_news() {
            for News { event, later, to } in news {
                let (now, later) = (Ephemeral::new(&event), Ephemeral::new(&later));
                for subscriber in to {
                    subscriber.send_ephemeral(&room, &now, &later);
                    told += 1;
                    if told % WRITES_A_TURN == 0 {
                        yield_now().await;
                    }
                }
            }
        }
    }
}
