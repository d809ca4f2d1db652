//! The one order of everything durable: entries, batches, and the authority
//! that orders them.
//!
//! Nothing durable changes but by an [`Entry`]. A [`Batch`] of entries is sealed
//! by the server that takes them in, ordered by a [`Log`], and applied by every
//! replica at the same [`Position`]. This module does not know what an entry
//! does to a store.

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
