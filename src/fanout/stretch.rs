//! Runs that follow each other in a room, to be written in one piece.

use std::{cell::OnceCell, sync::Arc};

use crate::{
    history::Run,
    protocol::{Seq, format::Format},
};

/// What is new in a room: at least one run.
pub(super) struct Stretch {
    runs: Vec<Arc<Run>>,
    messages: usize,
    /// The frames of all runs, end to end; joined when somebody needs them.
    joined: [OnceCell<Vec<u8>>; Format::COUNT],
}

impl Stretch {
    pub(super) fn of(first: Arc<Run>) -> Self {
        Stretch {
            messages: first.entries().len(),
            runs: vec![first],
            joined: Default::default(),
        }
    }

    pub(super) fn push(&mut self, run: Arc<Run>) {
        self.messages += run.entries().len();
        self.runs.push(run);
    }

    pub(super) fn runs(&self) -> &[Arc<Run>] {
        &self.runs
    }

    /// How many messages it has.
    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    /// Whether all of it, and nothing before it, is new to who is there.
    pub(super) fn follows(&self, position: Seq) -> bool {
        let first = &self.runs[0];
        first.prev() <= position && position < first.first()
    }

    /// The last number in it.
    pub(super) fn last(&self) -> Seq {
        self.runs[self.runs.len() - 1].last()
    }

    /// All frames. Copying them together once is less than what a system call
    /// with many pieces costs for each of many sockets.
    pub(super) fn frames(&self, format: Format) -> &[u8] {
        match &self.runs[..] {
            [one] => one.block(format).all(),
            many => self.joined[format.index()].get_or_init(|| {
                let blocks = many.iter().map(|run| run.block(format).all());
                blocks.collect::<Vec<_>>().concat()
            }),
        }
    }
}
