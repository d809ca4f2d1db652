//! The words that a batch removes from the index.

use std::collections::BTreeMap;

use super::IndexedMessage;
use crate::protocol::Seq;

/// The words that a batch removes from the index.
#[derive(Debug, Default)]
pub(in crate::store) struct RemovedWords {
    /// The messages, with their words before the batch.
    messages: BTreeMap<Seq, IndexedMessage>,
    /// Whether a message had words that nobody knows.
    pub(super) any_unknown: bool,
}

impl RemovedWords {
    /// Notes the words of a message as they were until now.
    pub(in crate::store) fn add(&mut self, message: IndexedMessage) {
        // The index does not have the words of a correction in this batch.
        self.messages.entry(message.seq).or_insert(message);
    }

    /// Notes that a message had words that nobody knows.
    pub(in crate::store) fn add_unknown(&mut self) {
        self.any_unknown = true;
    }

    pub(in crate::store) fn is_empty(&self) -> bool {
        self.messages.is_empty() && !self.any_unknown
    }

    pub(super) fn messages(&self) -> impl Iterator<Item = &IndexedMessage> {
        self.messages.values()
    }
}
