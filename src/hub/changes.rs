//! Corrections and erasures of messages, by their authors and by operators.
//!
//! The log decides each of them. A change that it would refuse is refused before
//! it becomes an entry: other people pay for entries.

use std::{sync::atomic::Ordering, time::Duration};

use tracing::error;

use super::{Hub, admission, start::millis};
use crate::{
    log::{Action, Draft},
    protocol::{
        About, AboutKind, Author, ConnectionId, OwnerNumber, Refusal, Seq,
        name::{MessageId, RoomName},
    },
    store::{Asker, Outcome},
};

impl Hub {
    /// Redacts the message with a given number in a room, as an operator asks.
    /// The room's readers are told.
    ///
    /// # Errors
    ///
    /// Refuses if the room has no such message, or if the redaction cannot be
    /// stored.
    pub fn redact(
        &self,
        by: &Author,
        origin: ConnectionId,
        room: RoomName,
        seq: Seq,
    ) -> impl Future<Output = Result<(), Refusal>> + use<> {
        let (actions, by) = (self.actions(), by.to_string());
        async move {
            let action = Action::Redact {
                room: room.clone(),
                seq,
                by,
            };
            told(&room, seq, &actions.act(origin, action).await?.outcome)
        }
    }

    /// Redacts the message with a given number in a room, as its author asks.
    ///
    /// # Errors
    ///
    /// As [`Hub::redact`]; refuses also another author, and one that comes too
    /// late.
    pub fn retract(
        &self,
        by: &Author,
        origin: ConnectionId,
        room: RoomName,
        seq: Seq,
    ) -> impl Future<Output = Result<(), Refusal>> + use<> {
        let (actions, owner) = (self.actions(), by.owner);
        let foreseen = self.foresee(&room, seq, None, by, origin);
        async move {
            if let Some(outcome) = foreseen.await {
                return told(&room, seq, &outcome);
            }
            let action = Action::Retract {
                room: room.clone(),
                seq,
                owner: owner.unwrap_or(OwnerNumber::NONE),
            };
            told(&room, seq, &actions.act(origin, action).await?.outcome)
        }
    }

    /// Checks a correction; the log decides of any other draft.
    ///
    /// # Errors
    ///
    /// Refuses a message that is not there or has another author, and an author
    /// that comes too late.
    pub fn check_correction(
        &self,
        draft: &Draft,
        origin: ConnectionId,
    ) -> impl Future<Output = Result<(), Refusal>> + use<> {
        let correction = draft.about.filter(|it| it.kind == AboutKind::Edit);
        let foreseen = correction.map(|About { seq, .. }| {
            let id = draft.id.clone();
            let outcome = self.foresee(&draft.room, seq, id, &draft.from, origin);
            (draft.room.clone(), seq, outcome)
        });
        let id = draft.id.clone();
        async move {
            let Some((room, seq, outcome)) = foreseen else {
                return Ok(());
            };
            let refused = match outcome.await {
                Some(Outcome::RedactedBefore) => Err(admission::not_here(&room, seq)),
                Some(outcome) => told(&room, seq, &outcome),
                None => Ok(()),
            };
            refused.map_err(|refusal| refusal.with_id(id))
        }
    }

    /// Changes how long authors may change their messages, unless it is so
    /// already.
    ///
    /// # Errors
    ///
    /// Refuses if the change cannot be stored.
    pub async fn set_edit_window(&self, window: Duration) -> Result<(), Refusal> {
        let window = millis(window);
        let current = &self.shared.edit_window_ms;
        if current.load(Ordering::Relaxed) == window {
            return Ok(());
        }
        let action = Action::Settings {
            name_expiry_ms: millis(self.shared.claims.expiry),
            edit_window_ms: window,
        };
        self.act(ConnectionId::SERVER, action).await?;
        current.store(window, Ordering::Relaxed);
        Ok(())
    }

    /// The outcome of a change by an author, as far as it is known before the
    /// log decides.
    fn foresee(
        &self,
        room: &RoomName,
        seq: Seq,
        id: Option<MessageId>,
        by: &Author,
        connection: ConnectionId,
    ) -> impl Future<Output = Option<Outcome>> + use<> {
        let store = self.history().store().clone();
        let asker = Asker {
            connection,
            owner: by.owner,
            at: self.shared.clock.stamp().wall,
        };
        let room = room.clone();
        async move {
            let foreseen = store.foresee(room, seq, id, asker).await;
            foreseen.unwrap_or_else(|why| {
                error!("the message store cannot be read: {why}");
                None
            })
        }
    }
}

/// The answer to a redaction.
///
/// # Errors
///
/// Refuses as the outcome says.
fn told(room: &RoomName, seq: Seq, outcome: &Outcome) -> Result<(), Refusal> {
    match outcome {
        Outcome::NotHere => Err(admission::not_here(room, seq)),
        Outcome::Denied(denial) => Err(admission::refusal(*denial)),
        _ => Ok(()),
    }
}
