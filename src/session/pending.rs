//! The work a session waits for, one command at a time.

use std::{
    future::{pending, ready},
    pin::Pin,
};

use tokio::sync::mpsc::error::TrySendError;

use crate::{
    hub::{Publisher, Receipts, Submission, Taken},
    log::Draft,
    protocol::{
        Event, Start,
        name::{MessageId, Name, Reference, RoomName},
    },
};

/// Job that takes longer than an answer.
pub(super) enum Job {
    /// To store a draft, said after the message of this id.
    Publish(Draft, Option<MessageId>),
    /// To read another room, or this one from elsewhere.
    Join(RoomName, Start),
    /// To find an answer.
    LookUp(Lookup),
}

/// The work a command asks for, and the ref of its answer.
pub(super) struct Asked {
    pub(super) job: Job,
    pub(super) reference: Option<Reference>,
}

/// An answer that is being looked up.
pub(super) struct Lookup {
    /// What it will be.
    found: Pin<Box<dyn Future<Output = Finding> + Send>>,
    /// Something is changed by it, which is not left off when the server goes
    /// away; what is only looked up is.
    changes: bool,
}

impl Lookup {
    /// One that changes something.
    pub(super) fn change(found: impl Future<Output = Finding> + Send + 'static) -> Self {
        Lookup {
            found: Box::pin(found),
            changes: true,
        }
    }

    /// One that changes nothing.
    pub(super) fn question(found: impl Future<Output = Finding> + Send + 'static) -> Self {
        Lookup {
            found: Box::pin(found),
            changes: false,
        }
    }
}

/// What was found, or done.
pub(super) enum Finding {
    /// This is the answer.
    Event(Event),
    /// A name is one's own, written so.
    Name(Name, Taken),
    /// This may be stored, said after that.
    Draft(Draft, Option<MessageId>),
}

/// A room to go to, where to start in it, and the ref of the answer.
pub(super) type Joining = (RoomName, Start, Option<Reference>);

/// The work under way: until it is done nothing more is read.
#[derive(Default)]
pub(super) enum Pending {
    #[default]
    Nothing,
    /// To hand on what is to be stored, once there is room for it.
    Submitting(Pin<Box<dyn Future<Output = bool> + Send>>),
    Joining(Box<Joining>),
    LookingUp(Lookup, Option<Reference>),
}

impl Pending {
    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Pending::Nothing)
    }

    pub(super) fn submits(&self) -> bool {
        matches!(self, Pending::Submitting(_))
    }

    pub(super) fn joins(&self) -> bool {
        matches!(self, Pending::Joining(_))
    }

    /// Whether something is being changed by it.
    pub(super) fn changes(&self) -> bool {
        matches!(self, Pending::LookingUp(lookup, _) if lookup.changes)
    }

    pub(super) fn begin(
        &mut self,
        asked: Asked,
        receipts: &Receipts,
        publisher: Option<&Publisher>,
    ) {
        let Asked { job, reference } = asked;
        *self = match job {
            Job::Publish(draft, follows) => {
                let receipt = receipts.expect_for(reference);
                Pending::submit(Submission::message(draft, follows, receipt), publisher)
            }
            Job::Join(room, start) => Pending::Joining(Box::new((room, start, reference))),
            Job::LookUp(lookup) => Pending::LookingUp(lookup, reference),
        }
    }

    /// Hands on what is to be stored: now, where the inbox has room for it.
    fn submit(submission: Submission, publisher: Option<&Publisher>) -> Self {
        let Some(publisher) = publisher else {
            return Pending::Submitting(Box::pin(ready(false)));
        };
        match publisher.try_send(submission) {
            Ok(()) => Pending::Nothing,
            Err(TrySendError::Full(left) | TrySendError::Closed(left)) => {
                let publisher = publisher.clone();
                Pending::Submitting(Box::pin(async move { publisher.send(left).await.is_ok() }))
            }
        }
    }

    /// Waits until it is handed on, or looked up. Safe to drop and call again.
    pub(super) async fn done(&mut self) -> Done {
        let done = match self {
            Pending::Submitting(submitting) => Done::Submitted(submitting.await),
            Pending::LookingUp(lookup, reference) => {
                let found = lookup.found.as_mut().await;
                Done::Found(found, reference.take())
            }
            Pending::Nothing | Pending::Joining(_) => pending().await,
        };
        *self = Pending::Nothing;
        done
    }
}

/// What was done.
pub(super) enum Done {
    /// What is to be stored was handed on, if there is still a writer.
    Submitted(bool),
    /// The answer was found, to the command of this ref.
    Found(Finding, Option<Reference>),
}
