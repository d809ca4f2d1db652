//! Sealing: makes entries a batch with a stamp, a number and its bytes.

use std::sync::Arc;

use super::{
    clock::GuardedClock,
    encoding::encode,
    entry::{Batch, BatchId, Entry},
};

/// A sealed batch: the batch with its encoded bytes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SealedBatch {
    /// The batch.
    pub batch: Arc<Batch>,
    /// The encoded batch.
    pub bytes: Arc<[u8]>,
}

impl SealedBatch {
    /// Seals a batch: encodes it.
    pub fn new(batch: Batch) -> Self {
        SealedBatch {
            bytes: encode(&batch).into(),
            batch: Arc::new(batch),
        }
    }

    /// The server run that sealed it, and its number there.
    pub fn id(&self) -> BatchId {
        self.batch.id
    }
}

/// Seals batches for one run of one server.
#[derive(Debug)]
pub struct Sealer {
    last: BatchId,
    clock: Arc<GuardedClock>,
}

impl Sealer {
    /// A sealer for the run after the one that sealed `last`.
    pub fn after(last: BatchId, clock: Arc<GuardedClock>) -> Self {
        let last = BatchId {
            incarnation: last.incarnation + 1,
            number: 0,
        };
        Sealer { last, clock }
    }

    /// Seals entries as the next batch, with the current time and random bytes.
    pub fn seal(&mut self, entries: Vec<Entry>) -> SealedBatch {
        self.last.number += 1;
        let mut random = [0; 16];
        let mut messages = entries.iter().filter_map(|entry| entry.action.message());
        // Only messages with an id have a digest that needs the random bytes.
        if messages.any(|draft| draft.id.is_some()) {
            // Digests without a random salt still tell contents apart.
            let _ = getrandom::fill(&mut random);
        }
        SealedBatch::new(Batch {
            id: self.last,
            stamp: self.clock.stamp(),
            random,
            entries,
        })
    }
}
