//! The part of a message that is indexed.

use crate::{protocol::Seq, store::tables::MessageRow};

/// The part of a message that is indexed.
#[derive(Debug)]
pub(in crate::store) struct IndexedMessage {
    pub(in crate::store) seq: Seq,
    /// The id of its room.
    pub(in crate::store) room: i64,
    /// When it was sealed, by the wall clock, in milliseconds.
    pub(in crate::store) at: i64,
    pub(in crate::store) text: String,
}

impl IndexedMessage {
    /// The indexed part of a message; `None` if it is redacted or private.
    pub(in crate::store) fn of(message: &MessageRow<'_>) -> Option<Self> {
        let indexed = message.recipient.is_none() && !message.is_redacted();
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
}
