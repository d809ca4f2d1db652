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
mod hook_draft;
mod invitation_draft;
mod local;
#[cfg(test)]
pub(crate) mod model;
mod order;
mod recipient;
mod sealer;
mod standing;

pub use self::{
    clock::GuardedClock,
    encoding::{DecodeError, FORMAT, decode, encode},
    entry::{Action, AuditRecord, Batch, BatchId, Draft, Entry, GuardedTime, SanctionKind, Stamp},
    hook_draft::HookDraft,
    invitation_draft::InvitationDraft,
    local::LocalLog,
    order::{BatchPosition, Log, NoAnswer, OrderedBatch},
    recipient::{Recipient, UnreadLimit},
    sealer::{SealedBatch, Sealer},
    standing::{Admitted, Standing},
};
