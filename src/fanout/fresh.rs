//! Batches on their way to the shards, and how the writer learns that every
//! shard has finished with one.

use std::{
    sync::{Arc, Weak},
    thread::{self, Thread},
};

use tokio::time::Instant;

use super::run::Batch;

/// A committed batch on its way to the shards.
#[derive(Clone, Debug)]
pub struct Fresh {
    /// The batch.
    pub batch: Arc<Batch>,
    /// When the first entry of the batch arrived.
    pub arrived: Instant,
    /// Each shard drops its clone when it has finished with the batch.
    #[expect(dead_code)]
    through: Arc<Through>,
}

/// Unparks the writer when the last shard has finished with a batch. A channel
/// would wake the writer while the channel still holds the lock that the writer
/// takes first.
#[derive(Debug)]
struct Through(Thread);

impl Drop for Through {
    fn drop(&mut self) {
        self.0.unpark();
    }
}

/// Tells the writer whether every shard has finished with a batch.
#[derive(Debug)]
pub struct Underway(Weak<Through>);

impl Fresh {
    /// Creates a batch for the shards. The calling thread can wait on the
    /// returned [`Underway`]. `arrived` is when the first entry of the batch
    /// arrived.
    pub fn new(batch: Arc<Batch>, arrived: Instant) -> (Self, Underway) {
        let through = Arc::new(Through(thread::current()));
        let underway = Underway(Arc::downgrade(&through));
        let fresh = Fresh {
            batch,
            arrived,
            through,
        };
        (fresh, underway)
    }
}

impl Underway {
    /// Whether every shard has finished with the batch.
    pub fn is_over(&self) -> bool {
        self.0.strong_count() == 0
    }

    /// Blocks until every shard has finished with the batch, `enough` returns
    /// true, or `until` has passed. A thread that makes `enough` true must
    /// unpark this one.
    pub fn wait(&self, until: Instant, enough: impl Fn() -> bool) {
        while !self.is_over() && !enough() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::park_timeout(left);
        }
    }
}
