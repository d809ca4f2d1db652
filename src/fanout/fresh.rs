//! A batch on its way to the shards, and when they are done with it.

use std::{
    sync::{Arc, Weak},
    thread::{self, Thread},
};

use tokio::time::Instant;

use super::run::Batch;

/// A batch on its way to the shards.
#[derive(Clone, Debug)]
pub struct Fresh {
    /// What was committed.
    pub batch: Arc<Batch>,
    /// When the first of it came.
    pub arrived: Instant,
    /// Dropped by each shard that is through with it.
    #[expect(dead_code)]
    through: Arc<Through>,
}

/// Wakes the writer when the last shard is through. (A channel would, while it
/// holds the lock that whoever wakes up takes first.)
#[derive(Debug)]
struct Through(Thread);

impl Drop for Through {
    fn drop(&mut self) {
        self.0.unpark();
    }
}

/// Tells when every shard is through with a batch.
#[derive(Debug)]
pub struct Underway(Weak<Through>);

impl Fresh {
    /// What was committed, the first of which came at a time; and, for the thread
    /// that calls this, what it can wait for.
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
    /// Whether every shard is through with it.
    pub fn is_over(&self) -> bool {
        self.0.strong_count() == 0
    }

    /// Blocks until every shard is through with it, or enough of something else
    /// has come, or until then. Whoever brings that unparks this thread.
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
