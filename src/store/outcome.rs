//! What became of an entry.

use super::Sanction;
use crate::protocol::{Seq, Topic};

/// What became of an entry when it was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it says.
    Done,
    /// The message is stored under this number.
    Stored(Seq),
    /// The message's id was stored before, under this number.
    Repeat(Seq),
    /// The name is owned now.
    Claimed {
        /// The last number before that: private messages up to it are not for
        /// the new owner.
        since: Seq,
    },
    /// The name is owned already.
    NameTaken,
    /// The room's topic now.
    Topic(Topic),
    /// The sanction now in force.
    Sanctioned(Sanction),
    /// The message's words are gone.
    Redacted,
    /// They were gone before.
    RedactedBefore,
    /// The room has no message of this number.
    NotHere,
    /// Every message up to this number has expired.
    Expired(Seq),
}
