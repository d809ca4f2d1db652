//! The relation of a draft to the message that it is about.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    protocol::{Quote, Reaction, Seq},
    store::index::IndexedMessage,
};

/// Corrected messages by number, with their words before the batch and now.
pub(super) type Reworded = BTreeMap<Seq, (IndexedMessage, IndexedMessage)>;

/// The relation of a draft to the message that it is about.
#[derive(Default)]
pub(super) struct Related {
    /// The beginning of the message, for a reply.
    pub(super) quote: Option<Box<Quote>>,
    /// The reactions to the message, once this one is carried out.
    pub(super) reactions: Option<Arc<[Reaction]>>,
    /// The row of the reaction that ends.
    pub(super) ended: Option<Seq>,
}
