//! Pages: consecutive messages of one room, as readers are fed them.

use std::sync::Arc;

use super::room_batch::RoomBatch;
use crate::{protocol::Seq, store::Hole};

/// Consecutive messages of one room.
#[derive(Debug, Default)]
pub struct FeedPage {
    /// The hole before the room batches, if messages are missing there.
    pub hole: Option<Hole>,
    /// The room batches, in order; empty at the end of the room.
    pub room_batches: Vec<Arc<RoomBatch>>,
    /// Every message of the room up to this number is in the page or before it.
    pub upto: Seq,
}

impl FeedPage {
    /// The hole, and the first number available after it.
    pub fn gap(&self) -> Option<(Hole, Seq)> {
        let hole = self.hole?;
        let first = self.room_batches.first().map(|run| run.first());
        Some((hole, first.unwrap_or(hole.upto.next())))
    }
}
