//! The seam between the server and the authority that orders batches.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{entry::BatchId, sealer::SealedBatch};

/// The position of a batch in the log: from 1, dense. 0 is before the first
/// batch.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct BatchPosition(pub u64);

impl BatchPosition {
    /// The position before the first batch.
    pub const START: BatchPosition = BatchPosition(0);

    /// The position after this one.
    #[must_use]
    pub fn next(self) -> BatchPosition {
        BatchPosition(self.0 + 1)
    }
}

impl fmt::Display for BatchPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A batch with its position in the log.
#[derive(Clone, Debug)]
pub struct OrderedBatch {
    /// The position.
    pub position: BatchPosition,
    /// The batch, with its bytes.
    pub sealed: SealedBatch,
}

/// The authority that orders batches.
///
/// The writer proposes one batch at a time. It proposes the same batch again
/// until it reads that batch from the log. So a log may hold a batch twice, but
/// a replica applies each [`BatchId`] once.
pub trait Log: Send {
    /// Proposes a batch for the next position.
    ///
    /// # Errors
    /// [`NoAnswer`] if the log gives no answer. The batch may have a position
    /// or not.
    fn propose(&mut self, sealed: &SealedBatch) -> Result<(), NoAnswer>;

    /// The batch after a position; `None` if there is none yet.
    ///
    /// # Errors
    /// [`NoAnswer`] if the log cannot be read now.
    fn read_after(&mut self, after: BatchPosition) -> Result<Option<OrderedBatch>, NoAnswer>;

    /// Withdraws a batch that could not be applied. False if the log keeps the
    /// batch: the replica must then apply it later.
    fn withdraw(&mut self, origin: BatchId) -> bool;
}

/// The log gave no answer in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAnswer;

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the log gives no answer")
    }
}

impl std::error::Error for NoAnswer {}
