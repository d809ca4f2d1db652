//! The part of a message that is indexed.

use crate::{protocol::Seq, store::tables::MessageRow};

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
}
