//! The seam between the server and the authority that orders batches.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{entry::Origin, sealer::Sealed};

/// The position of a batch in the log: from 1, dense. 0 is before the first
/// batch.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Position(pub u64);

impl Position {
    /// The position before the first batch.
    pub const START: Position = Position(0);

    /// The position after this one.
    #[must_use]
    pub fn next(self) -> Position {
        Position(self.0 + 1)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A batch with its position in the log.
#[derive(Clone, Debug)]
pub struct Ordered {
    /// The position.
    pub position: Position,
    /// The batch, with its bytes.
    pub sealed: Sealed,
}

/// The authority that orders batches.
///
/// The writer proposes one batch at a time. It proposes the same batch again
/// until it reads that batch from the log. So a log may hold a batch twice, but
/// a replica applies each [`Origin`] once.
pub trait Log: Send {
    /// Proposes a batch for the next position.
    ///
    /// # Errors
    /// [`Unanswered`] if the log gives no answer. The batch may have a position
    /// or not.
    fn propose(&mut self, sealed: &Sealed) -> Result<(), Unanswered>;

    /// The batch after a position; `None` if there is none yet.
    ///
    /// # Errors
    /// [`Unanswered`] if the log cannot be read now.
    fn next(&mut self, after: Position) -> Result<Option<Ordered>, Unanswered>;

    /// Withdraws a batch that could not be applied. False if the log keeps the
    /// batch: the replica must then apply it later.
    fn withdraw(&mut self, origin: Origin) -> bool;
}

/// The log gave no answer in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unanswered;

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the log gives no answer")
    }
}

impl std::error::Error for Unanswered {}
