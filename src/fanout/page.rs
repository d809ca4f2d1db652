//! A stretch of one room, as readers are fed it.

use std::sync::Arc;

use super::run::Run;
use crate::{protocol::Seq, store::Hole};

/// A stretch of one room.
#[derive(Debug, Default)]
pub struct Page {
    /// What is missing before the runs.
    pub hole: Option<Hole>,
    /// What stands there, in order; empty at the end.
    pub runs: Vec<Arc<Run>>,
    /// Every message of the room up to this number is in the page or before it.
    pub upto: Seq,
}

impl Page {
    /// The hole before the runs, and the first number to be had after it.
    pub fn gap(&self) -> Option<(Hole, Seq)> {
        let hole = self.hole?;
        let first = self.runs.first().map(|run| run.first());
        Some((hole, first.unwrap_or(hole.upto.next())))
    }
}
