//! Batches on their way to the shards, and how the writer learns that every
//! shard has finished with one.

use std::{
    sync::{Arc, Weak},
    thread::{self, Thread},
};

use tokio::time::Instant;

use super::room_batch::MessageBatch;

/// A committed batch on its way to the shards.
#[derive(Clone, Debug)]
pub struct InFlightBatch {
    /// The batch.
    pub batch: Arc<MessageBatch>,
    /// When the first entry of the batch arrived.
    pub arrived: Instant,
    /// Each shard drops its clone when it has finished with the batch.
    #[expect(dead_code)]
    done: Arc<DoneSignal>,
}

/// Unparks the writer when the last shard has finished with a batch. A channel
/// would wake the writer while the channel still holds the lock that the writer
/// takes first.
#[derive(Debug)]
struct DoneSignal(Thread);

impl Drop for DoneSignal {
    fn drop(&mut self) {
        self.0.unpark();
    }
}

/// Tells the writer whether every shard has finished with a batch.
#[derive(Debug)]
pub struct FanOutProgress(Weak<DoneSignal>);

impl InFlightBatch {
    /// Creates a batch for the shards. The calling thread can wait on the
    /// returned [`FanOutProgress`]. `arrived` is when the first entry of the batch
    /// arrived.
    pub fn new(batch: Arc<MessageBatch>, arrived: Instant) -> (Self, FanOutProgress) {
        let done = Arc::new(DoneSignal(thread::current()));
        let progress = FanOutProgress(Arc::downgrade(&done));
        let in_flight = InFlightBatch {
            batch,
            arrived,
            done,
        };
        (in_flight, progress)
    }
}

impl FanOutProgress {
    /// Whether every shard has finished with the batch.
    pub fn is_done(&self) -> bool {
        self.0.strong_count() == 0
    }

    /// Blocks until every shard has finished with the batch, `enough` returns
    /// true, or `until` has passed. A thread that makes `enough` true must
    /// unpark this one.
    pub fn wait(&self, until: Instant, enough: impl Fn() -> bool) {
        while !self.is_done() && !enough() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::park_timeout(left);
        }
    }
}
