//! The relation of a draft to the message that it is about.

use std::sync::Arc;

use crate::protocol::{Quote, Reaction, Seq};

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
