//! The log: entries, batches, and the authority that orders them.
//!
//! Only an [`Entry`] changes durable state. A server seals entries into a
//! [`Batch`], and a [`Log`] orders the batches. Every replica applies a batch at
//! the same [`BatchPosition`]. This module does not know what an entry does to a
//! store.

mod clock;
mod encoding;
mod entry;
mod fields;
mod local;
#[cfg(test)]
pub(crate) mod model;
mod order;
mod sealer;

pub use self::{
    clock::GuardedClock,
    encoding::{DecodeError, FORMAT, decode, encode},
    entry::{
        Action, AuditRecord, Batch, BatchId, Draft, Entry, GuardedTime, Recipient, SanctionKind,
        Stamp, UnreadLimit,
    },
    local::LocalLog,
    order::{BatchPosition, Log, NoAnswer, OrderedBatch},
    sealer::{SealedBatch, Sealer},
};
