//! The part of a message that is indexed.

use rusqlite::Connection;

use crate::{
    protocol::Seq,
    store::{
        StoreError,
        row::{TableRow, find, to_db},
        tables::{MESSAGES, MessageRow},
    },
};

/// The part of a message that is indexed.
#[derive(Clone, Debug)]
pub(in crate::store) struct IndexedMessage {
    pub(in crate::store) seq: Seq,
    /// The id of its room.
    pub(in crate::store) room: i64,
    /// When it was sealed, by the wall clock, in milliseconds.
    pub(in crate::store) at: i64,
    pub(in crate::store) text: String,
}

impl IndexedMessage {
    /// The indexed part of a message; `None` if it is redacted, private or a
    /// change of another one.
    pub(in crate::store) fn of(message: &MessageRow<'_>) -> Option<Self> {
        let is_public = message.recipient.is_none();
        let indexed = is_public && !message.is_redacted() && !message.is_change();
        indexed.then(|| IndexedMessage::unchecked(message))
    }

    /// The same of any message, even a redacted or private one.
    pub(in crate::store) fn unchecked(message: &MessageRow<'_>) -> Self {
        IndexedMessage {
            seq: message.seq,
            room: message.room,
            at: message.at,
            text: message.text.to_owned(),
        }
    }

    /// The indexed parts of the messages with these numbers, as the store has
    /// them. A message without one is left out.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub(in crate::store) fn all(store: &Connection, seqs: &[Seq]) -> Result<Vec<Self>, StoreError> {
        let mut all = Vec::new();
        for seq in seqs {
            let found = find(store, &MESSAGES, "WHERE seq = ?1", [to_db(*seq)], |row| {
                MessageRow::read(row).and_then(|message| IndexedMessage::of(&message))
            })?;
            all.extend(found.flatten());
        }
        Ok(all)
    }
}
