//! Batches and room batches, with encodings that are made once and shared.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use crate::protocol::{
    Message, Revision, Seq, Slot,
    format::Format,
    name::{NameKey, RoomName},
};

/// The bytes that one message costs in a [`RoomBatch`] besides its text: the
/// structure itself, and the tags, numbers and frame headers of its encodings.
const MESSAGE_OVERHEAD: usize = 500;

/// The most bytes that one byte of text costs. The text itself has one. Each of
/// the two plain formats has three (a newline and two spaces). Each of the two
/// JSON formats has two (an escape).
const TEXT_FACTOR: usize = 11;

/// The messages committed together: one room batch for each room that has any.
#[derive(Debug, Default)]
pub struct MessageBatch {
    /// The room batches; no two of the same room.
    pub room_batches: Vec<Arc<RoomBatch>>,
    /// The last number in the batch; [`Seq::START`] if the batch is empty.
    pub last: Seq,
}

impl MessageBatch {
    /// Sorts messages and changes, given in the order of the log, into room
    /// batches.
    pub(super) fn of(slots: Vec<impl Into<Slot>>) -> Self {
        let mut last = Seq::START;
        let mut places: HashMap<RoomName, usize> = HashMap::new();
        let mut rooms: Vec<(RoomName, Vec<Slot>)> = Vec::new();
        for slot in slots {
            let slot = slot.into();
            last = slot.seq();
            // Only a slot of the store may be redacted.
            let Some(room) = slot.room() else { continue };
            let place = if let Some(place) = places.get(room) {
                *place
            } else {
                let room = room.clone();
                places.insert(room.clone(), rooms.len());
                rooms.push((room, Vec::new()));
                rooms.len() - 1
            };
            rooms[place].1.push(slot);
        }
        let room_batches = rooms
            .into_iter()
            .filter_map(|(room, slots)| RoomBatch::of(room, slots))
            .map(Arc::new)
            .collect();
        MessageBatch { room_batches, last }
    }
}

/// A room batch: consecutive messages of one room, at least one. It holds their
/// frames in each format that was needed so far.
#[derive(Debug)]
pub struct RoomBatch {
    room: RoomName,
    slots: Vec<Slot>,
    /// Whether any slot is about an earlier message.
    is_about_others: bool,
    blocks: [OnceLock<Block>; Format::COUNT],
    /// The comparison key of each slot's author, if a reader ignores names.
    author_keys: OnceLock<Box<[Option<NameKey>]>>,
}

impl RoomBatch {
    /// Creates a room batch of slots in order; `None` if there are none.
    pub(super) fn of(room: RoomName, slots: Vec<Slot>) -> Option<Self> {
        (!slots.is_empty()).then(|| RoomBatch {
            room,
            is_about_others: slots.iter().any(|slot| slot.about().is_some()),
            slots,
            blocks: Default::default(),
            author_keys: OnceLock::new(),
        })
    }

    /// The same room batch after a message was revised; `None` if it has
    /// neither this message nor anything about it.
    pub(super) fn revised(&self, seq: Seq, revision: &Revision) -> Option<Self> {
        let is_meant = |slot: &Slot| match slot {
            Slot::Message(message) => message.seq == seq || message.about == Some(seq),
            Slot::Changed(change) => change.about == seq,
            Slot::Redacted(_) => false,
        };
        let may_have = self.is_about_others || self.first() <= seq && seq <= self.last();
        if !may_have || !self.slots.iter().any(is_meant) {
            return None;
        }
        let mut slots = self.slots.clone();
        for slot in &mut slots {
            slot.revise(seq, revision);
        }
        RoomBatch::of(self.room.clone(), slots)
    }

    /// The room.
    pub fn room(&self) -> &RoomName {
        &self.room
    }

    /// The number in its room right before the room batch.
    pub fn prev(&self) -> Seq {
        self.slots[0].prev()
    }

    /// The first number in the room batch.
    pub fn first(&self) -> Seq {
        self.slots[0].seq()
    }

    /// The last number in the room batch.
    pub fn last(&self) -> Seq {
        self.slots[self.slots.len() - 1].seq()
    }

    /// Its messages, changes of messages, and what remains of redacted ones, in
    /// order.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Its messages, without changes and redacted ones.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.slots.iter().filter_map(Slot::message)
    }

    /// The index of the first slot after a number.
    pub fn index_after(&self, after: Seq) -> usize {
        self.slots.partition_point(|slot| slot.seq() <= after)
    }

    /// Its frames in a format; encoded at the first call for the format.
    pub fn block(&self, format: Format) -> &Block {
        self.blocks[format.index()].get_or_init(|| Block::of(format, &self.slots))
    }

    /// The comparison key of the name of a slot's author. The first call makes
    /// all keys: each reader that ignores names needs them.
    pub(super) fn author_key(&self, index: usize) -> Option<&NameKey> {
        let key = |slot: &Slot| Some(slot.author()?.0.name.as_ref()?.key());
        let keys = || self.slots.iter().map(key).collect();
        self.author_keys.get_or_init(keys)[index].as_ref()
    }

    /// The most bytes that it occupies.
    pub(super) fn weight(&self) -> usize {
        self.slots
            .iter()
            .map(|slot| slot.text_bytes() * TEXT_FACTOR + MESSAGE_OVERHEAD)
            .sum()
    }
}

/// The frames of a room batch in one format, end to end.
#[derive(Debug)]
pub struct Block {
    bytes: Vec<u8>,
    /// Where each slot's frame ends in `bytes`. A slot without a frame ends
    /// where it begins.
    ends: Vec<usize>,
}

impl Block {
    fn of(format: Format, slots: &[Slot]) -> Self {
        let mut bytes = Vec::new();
        let mut scratch = String::new();
        let mut ends = Vec::with_capacity(slots.len());
        for slot in slots {
            format.put_slot(&mut bytes, &mut scratch, slot);
            ends.push(bytes.len());
        }
        bytes.shrink_to_fit();
        Block { bytes, ends }
    }

    /// All frames.
    pub fn all(&self) -> &[u8] {
        &self.bytes
    }

    /// The frames of the slots `from..to`.
    pub fn frames(&self, from: usize, to: usize) -> &[u8] {
        &self.bytes[self.start(from)..self.start(to)]
    }

    /// Where the frame of a slot starts.
    fn start(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.ends[before])
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::protocol::{Author, ConnectionId, MessageKind, WallTime};

    pub(in crate::fanout) fn message(room: &str, prev: u64, seq: u64) -> Message {
        Message {
            seq: Seq(seq),
            prev: Seq(prev),
            room: room.parse().expect("a room"),
            at: WallTime(0),
            connection: ConnectionId(7),
            from: Author {
                name: None,
                addr: ([127, 0, 0, 1], 5000).into(),
                owner: None,
            },
            text: format!("text {seq}").into(),
            id: None,
            kind: MessageKind::Said,
            to: None,
            about: None,
            quote: None,
            edited: false,
            edited_at: None,
            reactions: None,
        }
    }

    pub(in crate::fanout) fn room_batch(messages: Vec<Message>) -> RoomBatch {
        let room = messages[0].room.clone();
        let slots = messages.into_iter().map(Slot::Message).collect();
        RoomBatch::of(room, slots).expect("a run")
    }

    #[test]
    fn a_batch_has_one_run_per_room() {
        let batch = MessageBatch::of(vec![
            message("a", 0, 1),
            message("b", 0, 2),
            message("a", 1, 3),
            message("b", 2, 4),
        ]);
        let runs: Vec<_> = batch
            .room_batches
            .iter()
            .map(|r| (r.room().as_str(), r.prev().0, r.last().0))
            .collect();
        assert_eq!(runs, [("a", 0, 3), ("b", 0, 4)]);
        assert_eq!(batch.last, Seq(4));
        assert!(MessageBatch::of(Vec::<Slot>::new()).room_batches.is_empty());
    }

    #[test]
    fn blocks_are_whole_frames_end_to_end() {
        let run = room_batch(vec![message("a", 0, 1), message("a", 1, 5)]);
        let block = run.block(Format::Plain);
        let first = b"\x81\x16127.0.0.1:5000: text 1";
        assert_eq!(block.frames(0, 1), first);
        assert_eq!(block.frames(0, 2).len(), 2 * first.len());
        assert_eq!(block.frames(1, 2), b"\x81\x16127.0.0.1:5000: text 5");
        assert_eq!(
            (
                run.index_after(Seq(0)),
                run.index_after(Seq(1)),
                run.index_after(Seq(9))
            ),
            (0, 1, 2)
        );
    }

    #[test]
    fn a_redacted_message_keeps_its_place() {
        let messages = vec![message("a", 0, 1), message("a", 1, 5), message("a", 5, 6)];
        let run = room_batch(messages);
        assert!(run.revised(Seq(2), &Revision::Redacted).is_none());
        let without = run
            .revised(Seq(5), &Revision::Redacted)
            .expect("it was there");
        assert!(
            without.revised(Seq(5), &Revision::Redacted).is_none(),
            "once"
        );
        assert_eq!((without.prev(), without.last()), (Seq(0), Seq(6)));
        let seqs: Vec<_> = without.messages().map(|message| message.seq.0).collect();
        assert_eq!(seqs, [1, 6]);
        let of = |format| without.block(format).frames(1, 2);
        assert_eq!(of(Format::Plain), b"");
        assert_eq!(
            of(Format::Json),
            b"\x81\x22{\"type\":\"erased\",\"seq\":5,\"prev\":1}"
        );
        let event = "id: 5\nevent: erased\ndata: {\"type\":\"erased\",\"seq\":5,\"prev\":1}\n\n";
        assert_eq!(of(Format::EventStream), event.as_bytes());
        let lines = without.block(Format::Plain);
        assert_eq!(lines.frames(0, 3).len(), 2 * lines.frames(0, 1).len());
    }
}
