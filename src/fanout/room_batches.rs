//! Consecutive room batches of one room, to be written in one piece.

use std::{cell::OnceCell, collections::HashSet, sync::Arc};

use super::room_batch::RoomBatch;
use crate::protocol::{ConnectionId, Seq, Slot, format::Format};

/// The new room batches of one room: at least one.
pub(super) struct RoomBatches {
    batches: Vec<Arc<RoomBatch>>,
    messages: usize,
    authors: Authors,
    /// The frames of all room batches, end to end; joined when first needed.
    joined: [OnceCell<Vec<u8>>; Format::COUNT],
}

impl RoomBatches {
    pub(super) fn of(first: Arc<RoomBatch>) -> Self {
        let mut room_batches = RoomBatches {
            messages: 0,
            batches: Vec::with_capacity(1),
            authors: Authors::default(),
            joined: Default::default(),
        };
        room_batches.push(first);
        room_batches
    }

    pub(super) fn push(&mut self, room_batch: Arc<RoomBatch>) {
        self.messages += room_batch.slots().len();
        room_batch
            .slots()
            .iter()
            .filter_map(Slot::author)
            .for_each(|(_, connection)| self.authors.add(connection));
        self.batches.push(room_batch);
    }

    pub(super) fn as_slice(&self) -> &[Arc<RoomBatch>] {
        &self.batches
    }

    /// Whether any of its messages came from this connection.
    pub(super) fn is_by(&self, origin: ConnectionId) -> bool {
        self.authors.contains(origin)
    }

    /// The number of its messages.
    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    /// Whether a reader at this position needs all of it, and nothing before
    /// it.
    pub(super) fn follows(&self, position: Seq) -> bool {
        let first = &self.batches[0];
        first.prev() <= position && position < first.first()
    }

    /// The last number in the stretch.
    pub(super) fn last(&self) -> Seq {
        self.batches[self.batches.len() - 1].last()
    }

    /// All frames, end to end. One copy costs less than a system call with many
    /// pieces for each of many sockets.
    pub(super) fn frames(&self, format: Format) -> &[u8] {
        match &self.batches[..] {
            [one] => one.block(format).all(),
            many => self.joined[format.index()].get_or_init(|| {
                let blocks = many.iter().map(|run| run.block(format).all());
                blocks.collect::<Vec<_>>().concat()
            }),
        }
    }
}

/// The connections that sent the messages. The shard asks about each of many
/// subscribers, and few of them sent any.
#[derive(Default)]
struct Authors {
    /// One bit for each id modulo 64; it rules out most subscribers without a
    /// hash.
    ends: u64,
    ids: HashSet<ConnectionId>,
}

impl Authors {
    fn add(&mut self, origin: ConnectionId) {
        self.ends |= Self::bit(origin);
        self.ids.insert(origin);
    }

    fn contains(&self, origin: ConnectionId) -> bool {
        self.ends & Self::bit(origin) != 0 && self.ids.contains(&origin)
    }

    fn bit(origin: ConnectionId) -> u64 {
        1 << (origin.0 % 64)
    }
}
