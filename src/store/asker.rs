//! Decides who may change a message, and foresees that decision.

use rusqlite::params;

use super::{
    Denial, Outcome, StoreError,
    reader::Store,
    room::RoomState,
    row::{TableRow, find, owner_to_db, to_db},
    state::ReplicaState,
    tables::{MESSAGES, MessageRow},
};
use crate::protocol::{
    ConnectionId, OwnerNumber, Seq, WallTime,
    name::{MessageId, RoomName},
};

/// A person that asks to change a message.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// The connection that asks.
    pub connection: ConnectionId,
    /// The owner of its name.
    pub owner: Option<OwnerNumber>,
    /// When it asks.
    pub at: WallTime,
}

impl Asker {
    /// Whether the person may not change a message: only its author may, for
    /// `edit_window_ms`.
    pub(super) fn denial(self, message: &MessageRow<'_>, edit_window_ms: u64) -> Option<Denial> {
        if !message.is_by(self.connection, self.owner) {
            return Some(Denial::NotAuthor);
        }
        let age = self.at.0.saturating_sub(message.at);
        let is_late = u64::try_from(age).is_ok_and(|age| age > edit_window_ms);
        (edit_window_ms == 0 || is_late).then_some(Denial::TooLate)
    }
}

impl Store {
    /// The outcome of a change of a message by its author; `None` if only the
    /// log can tell. `id` is that of the change: the log answers a repeat.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub async fn foresee(
        &self,
        room: RoomName,
        seq: Seq,
        id: Option<MessageId>,
        asker: Asker,
    ) -> Result<Option<Outcome>, StoreError> {
        // The message may be on its way to the log.
        if seq > self.head() {
            return Ok(None);
        }
        self.on_reader(move |database| {
            let view = database.db().unchecked_transaction()?;
            let Some(room) = RoomState::find(&view, &room)? else {
                return Ok(Some(Outcome::NotHere));
            };
            if let Some(id) = id {
                let owner = owner_to_db(asker.owner.unwrap_or(OwnerNumber::NONE));
                let scope = params![room.id, owner, id.as_str()];
                let condition = "WHERE room = ?1 AND owner = ?2 AND id = ?3";
                if find(&view, &MESSAGES, condition, scope, |_| ())?.is_some() {
                    return Ok(None);
                }
            }
            let window = ReplicaState::load(&view)?.edit_window_ms;
            let found = find(&view, &MESSAGES, "WHERE seq = ?1", [to_db(seq)], |row| {
                let row = MessageRow::read(row)?;
                if row.room != room.id || row.is_change() {
                    return Some(Some(Outcome::NotHere));
                }
                if row.is_redacted() {
                    return Some(Some(Outcome::RedactedBefore));
                }
                Some(asker.denial(&row, window).map(Outcome::Denied))
            })?;
            Ok(match found {
                None => Some(Outcome::NotHere),
                // A damaged row: its author is unknown.
                Some(None) => None,
                Some(Some(foreseen)) => foreseen,
            })
        })
        .await
    }
}
