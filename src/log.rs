//! The log: entries, batches, and the authority that orders them.
//!
//! Only an [`Entry`] changes durable state. A server seals entries into a
//! [`Batch`], and a [`Log`] orders the batches. Every replica applies a batch at
//! the same [`Position`]. This module does not know what an entry does to a
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
    clock::Clock,
    encoding::{DecodeError, FORMAT, decode, encode},
    entry::{
        Action, Audit, Batch, ClockTime, Draft, Entry, Origin, Recipient, SanctionKind, Stamp,
    },
    local::Local,
    order::{Log, Ordered, Position, Unanswered},
    sealer::{Sealed, Sealer},
};
