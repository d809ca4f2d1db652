//! The work a session waits for: at most one command at a time.

use std::{
    future::{poll_fn, ready},
    pin::Pin,
    task::{Poll, ready},
};

use futures_util::FutureExt;
use tokio::sync::mpsc::error::TrySendError;

use super::inbox_start::InboxStart;
use crate::{
    hub::{Claimed, Receipts, Submission, Submitter},
    log::Draft,
    protocol::{
        Event, Followed, Refusal, Start,
        ignored::IgnoredNames,
        name::{Name, Reference, RoomName},
    },
};

/// A command's work that cannot be answered at once.
pub(super) enum PendingWork {
    /// Store a draft, and tell its author that this recipient is away.
    Publish(Draft, Option<Name>),
    /// Join another room, or read this one from another position.
    Join(RoomName, Start),
    /// Look up an answer.
    LookUp(SideTask),
}

/// A command's work, and the `ref` of its answer.
pub(super) struct PendingCommand {
    pub(super) work: PendingWork,
    pub(super) reference: Option<Reference>,
}

/// A lookup in progress.
pub(super) struct SideTask {
    /// Resolves to the finding.
    future: Pin<Box<dyn Future<Output = SideTaskResult> + Send>>,
    /// Whether it changes state. A change is completed even if the server
    /// drains; a plain lookup is dropped.
    changes: bool,
}

impl SideTask {
    /// A lookup that changes state.
    pub(super) fn write(future: impl Future<Output = SideTaskResult> + Send + 'static) -> Self {
        SideTask {
            future: Box::pin(future),
            changes: true,
        }
    }

    /// A lookup that only reads.
    pub(super) fn read(future: impl Future<Output = SideTaskResult> + Send + 'static) -> Self {
        SideTask {
            future: Box::pin(future),
            changes: false,
        }
    }
}

/// The result of a lookup.
pub(super) enum SideTaskResult {
    /// The answer.
    Event(Event),
    /// No answer.
    Nothing,
    /// The member has a name now.
    Name(Box<TakenName>),
    /// The member's owner has these places.
    Places(Vec<Followed>),
    /// The member ignores these names now.
    Ignored(IgnoredNames),
    /// A draft to store, or its refusal.
    Draft(Result<Box<Draft>, Refusal>),
}

/// A name that is now the member's.
pub(super) struct TakenName {
    /// The name, as typed.
    pub(super) name: Name,
    pub(super) claimed: Claimed,
    /// The names that its owner ignores.
    pub(super) ignored: IgnoredNames,
    /// Where its private messages begin, if they could be read.
    pub(super) inbox: Option<InboxStart>,
}

/// The room to join, where to start in it, and the `ref` of the answer.
pub(super) type JoinTarget = (RoomName, Start, Option<Reference>);

/// The work in progress; the session reads no further command until it is done.
#[derive(Default)]
pub(super) enum Pending {
    #[default]
    Nothing,
    /// Waits for room in the hub's inbox for a draft.
    Submitting(Pin<Box<dyn Future<Output = bool> + Send>>),
    Joining(Box<JoinTarget>),
    LookingUp(SideTask, Option<Reference>),
}

impl Pending {
    pub(super) fn is_idle(&self) -> bool {
        matches!(self, Pending::Nothing)
    }

    pub(super) fn is_submitting(&self) -> bool {
        matches!(self, Pending::Submitting(_))
    }

    pub(super) fn is_joining(&self) -> bool {
        matches!(self, Pending::Joining(_))
    }

    /// Whether the pending work changes state.
    pub(super) fn is_changing(&self) -> bool {
        matches!(self, Pending::LookingUp(lookup, _) if lookup.changes)
    }

    pub(super) fn begin(
        &mut self,
        command: PendingCommand,
        receipts: &Receipts,
        submitter: Option<&Submitter>,
    ) {
        let PendingCommand {
            work: job,
            reference,
        } = command;
        *self = match job {
            PendingWork::Publish(draft, away) => {
                let receipt = receipts.issue_for(reference, away);
                Pending::submit(Submission::message(draft, receipt), submitter)
            }
            PendingWork::Join(room, start) => Pending::Joining(Box::new((room, start, reference))),
            PendingWork::LookUp(lookup) => Pending::LookingUp(lookup, reference),
        }
    }

    /// Submits a draft at once if the hub's inbox has room; otherwise waits for
    /// room.
    fn submit(submission: Submission, submitter: Option<&Submitter>) -> Self {
        let Some(submitter) = submitter else {
            return Pending::Submitting(Box::pin(ready(false)));
        };
        match submitter.try_send(submission) {
            Ok(()) => Pending::Nothing,
            Err(TrySendError::Full(left) | TrySendError::Closed(left)) => {
                let submitter = submitter.clone();
                Pending::Submitting(Box::pin(async move { submitter.send(left).await.is_ok() }))
            }
        }
    }

    /// Waits until the draft is submitted or the lookup is done. Cancel-safe.
    pub(super) fn done(&mut self) -> impl Future<Output = Done> {
        poll_fn(|cx| {
            let done = match self {
                Pending::Submitting(submitting) => {
                    Done::Submitted(ready!(submitting.poll_unpin(cx)))
                }
                Pending::LookingUp(lookup, reference) => {
                    let found = ready!(lookup.future.poll_unpin(cx));
                    Done::Found(Box::new(found), reference.take())
                }
                Pending::Nothing | Pending::Joining(_) => return Poll::Pending,
            };
            *self = Pending::Nothing;
            Poll::Ready(done)
        })
    }
}

/// Completed work.
pub(super) enum Done {
    /// A draft was submitted; false if the writer has ended.
    Submitted(bool),
    /// A lookup is done; the `ref` is that of its command.
    Found(Box<SideTaskResult>, Option<Reference>),
}
