//! The outcome of an entry.

use super::{Denial, Ownership, Sanction};
use crate::protocol::{FollowLevel, Seq, Topic};

/// The outcome of applying an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The entry was applied and has nothing more to tell.
    Done,
    /// The message is stored under this number.
    Stored(Seq),
    /// The same message was stored under its id before, under this number.
    Repeat(Seq),
    /// Another message was stored under the id before.
    IdTaken,
    /// The message before it is not stored, so this one is not stored either.
    FollowsUnstored,
    /// The name is owned now.
    Claimed(Ownership),
    /// The name is admitted now.
    Admitted(Ownership),
    /// The number of the invitation made.
    Invited(u64),
    /// The author of the entry may not do this.
    Denied(Denial),
    /// The name is owned already.
    NameTaken,
    /// The reader's inbox has no room for another message of this author.
    InboxFull,
    /// The owner ignores the most names allowed.
    IgnoresTooMany,
    /// The owner had read as far before.
    ReadBefore,
    /// The owner follows the room now, and is told this much of it.
    Follows(FollowLevel),
    /// The owner follows the most rooms allowed.
    FollowsTooMany,
    /// The room's topic now.
    Topic(Topic),
    /// The sanction now in force.
    Sanctioned(Sanction),
    /// The message is redacted.
    Redacted,
    /// The message was redacted before.
    RedactedBefore,
    /// The room has no message of this number that can be read.
    NotHere,
    /// Every message up to this number has expired.
    Expired(Seq),
}
