//! Sealing: makes entries a batch with a stamp, a number and its bytes.

use std::sync::Arc;

use super::{
    clock::Clock,
    encoding::encode,
    entry::{Batch, Entry, Origin},
};

/// A sealed batch: the batch with its encoded bytes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The batch.
    pub batch: Arc<Batch>,
    /// The encoded batch.
    pub bytes: Arc<[u8]>,
}

impl Sealed {
    /// Seals a batch: encodes it.
    pub fn new(batch: Batch) -> Self {
        Sealed {
            bytes: encode(&batch).into(),
            batch: Arc::new(batch),
        }
    }

    /// The server run that sealed it, and its number there.
    pub fn origin(&self) -> Origin {
        self.batch.origin
    }
}

/// Seals batches for one run of one server.
#[derive(Debug)]
pub struct Sealer {
    last: Origin,
    clock: Arc<Clock>,
}

impl Sealer {
    /// A sealer for the run after the one that sealed `last`.
    pub fn after(last: Origin, clock: Arc<Clock>) -> Self {
        let last = Origin {
            incarnation: last.incarnation + 1,
            number: 0,
        };
        Sealer { last, clock }
    }

    /// Seals entries as the next batch, with the current time.
    pub fn seal(&mut self, entries: Vec<Entry>) -> Sealed {
        self.last.number += 1;
        Sealed::new(Batch {
            origin: self.last,
            stamp: self.clock.stamp(),
            entries,
        })
    }
}
