//! What a session is at, one thing at a time.

use std::{
    future::{pending, ready},
    pin::Pin,
};

use tokio::sync::mpsc::error::TrySendError;

use super::conversation::{Answer, Found, Intent};
use crate::{
    hub::{Publisher, Receipts, Submission},
    protocol::{Start, name::RoomName},
};

/// What was asked for and is not done: until then nothing more is read.
#[derive(Default)]
pub(super) enum Doing {
    #[default]
    Nothing,
    /// To hand on what is to be stored, once there is room for it.
    Submitting(Pin<Box<dyn Future<Output = bool> + Send>>),
    Joining(Box<(RoomName, Start)>),
    LookingUp(Answer),
}

impl Doing {
    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Doing::Nothing)
    }

    pub(super) fn submits(&self) -> bool {
        matches!(self, Doing::Submitting(_))
    }

    pub(super) fn joins(&self) -> bool {
        matches!(self, Doing::Joining(_))
    }

    /// Whether something is being changed by it.
    pub(super) fn changes(&self) -> bool {
        matches!(self, Doing::LookingUp(answer) if answer.changes)
    }

    pub(super) fn begin(
        &mut self,
        intent: Intent,
        receipts: &Receipts,
        publisher: Option<&Publisher>,
    ) {
        *self = match intent {
            Intent::Publish(draft, follows) => {
                let submission = Submission::draft(draft, follows, receipts.expect());
                Doing::submit(submission, publisher)
            }
            Intent::Join(room, start) => Doing::Joining(Box::new((room, start))),
            Intent::Answer(answer) => Doing::LookingUp(answer),
            Intent::Close(_) => Doing::Nothing,
        }
    }

    /// Hands on what is to be stored: now, where the inbox has room for it.
    fn submit(submission: Submission, publisher: Option<&Publisher>) -> Self {
        let Some(publisher) = publisher else {
            return Doing::Submitting(Box::pin(ready(false)));
        };
        match publisher.try_send(submission) {
            Ok(()) => Doing::Nothing,
            Err(TrySendError::Full(left) | TrySendError::Closed(left)) => {
                let publisher = publisher.clone();
                Doing::Submitting(Box::pin(async move { publisher.send(left).await.is_ok() }))
            }
        }
    }

    /// Waits until it is handed on, or looked up. Safe to drop and call again.
    pub(super) async fn done(&mut self) -> Done {
        let done = match self {
            Doing::Submitting(submitting) => Done::Submitted(submitting.await),
            Doing::LookingUp(answer) => Done::Found(answer.found.as_mut().await),
            Doing::Nothing | Doing::Joining(_) => pending().await,
        };
        *self = Doing::Nothing;
        done
    }
}

/// What was done.
pub(super) enum Done {
    /// What is to be stored was handed on, if there is still a writer.
    Submitted(bool),
    Found(Found),
}
