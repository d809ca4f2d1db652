//! Runs of messages and their encodings, made once and shared.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use crate::protocol::{Message, Seq, format::Format, name::RoomName};

/// What one message costs in a [`Run`] beside its text, in bytes: the structure
/// itself and its encodings' tags, numbers and frame headers.
const MESSAGE_OVERHEAD: usize = 500;

/// What a byte of text costs at most: itself, twice as a newline set in by two
/// spaces, and twice as a JSON escape.
const TEXT_FACTOR: usize = 11;

/// What was committed together: one run for each room spoken in.
#[derive(Debug, Default)]
pub struct Batch {
    /// The runs; no two of the same room.
    pub runs: Vec<Arc<Run>>,
    /// The last number in the batch; where it is empty, the start.
    pub last: Seq,
}

impl Batch {
    /// Sorts messages, given in the log's order, into runs.
    pub(super) fn of(messages: Vec<Message>) -> Self {
        let last = messages.last().map_or(Seq::START, |m| m.seq);
        let mut places: HashMap<RoomName, usize> = HashMap::new();
        let mut rooms: Vec<Vec<Message>> = Vec::new();
        for message in messages {
            let place = *places.entry(message.room.clone()).or_insert_with(|| {
                rooms.push(Vec::new());
                rooms.len() - 1
            });
            rooms[place].push(message);
        }
        let runs = rooms
            .into_iter()
            .filter_map(Run::of)
            .map(Arc::new)
            .collect();
        Batch { runs, last }
    }
}

/// Messages of one room that follow each other in it, at least one, with their
/// frames in each format that anybody asked for.
#[derive(Debug)]
pub struct Run {
    messages: Vec<Message>,
    blocks: [OnceLock<Block>; Format::COUNT],
}

impl Run {
    /// A run of messages in order; `None` of none.
    pub(super) fn of(messages: Vec<Message>) -> Option<Self> {
        (!messages.is_empty()).then(|| Run {
            messages,
            blocks: Default::default(),
        })
    }

    /// The room.
    pub fn room(&self) -> &RoomName {
        &self.messages[0].room
    }

    /// The number that stands before the run in its room.
    pub fn prev(&self) -> Seq {
        self.messages[0].prev
    }

    /// The first number in the run.
    pub fn first(&self) -> Seq {
        self.messages[0].seq
    }

    /// The last number in the run.
    pub fn last(&self) -> Seq {
        self.messages[self.messages.len() - 1].seq
    }

    /// The messages.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The index of the first message after a position.
    pub fn index_after(&self, after: Seq) -> usize {
        self.messages
            .partition_point(|message| message.seq <= after)
    }

    /// The run as frames; encoded the first time somebody asks for the format.
    pub fn block(&self, format: Format) -> &Block {
        self.blocks[format.index()].get_or_init(|| Block::of(format, &self.messages))
    }

    /// What the run occupies, in bytes, at most.
    pub(super) fn weight(&self) -> usize {
        self.messages
            .iter()
            .map(|m| m.text.len() * TEXT_FACTOR + MESSAGE_OVERHEAD)
            .sum()
    }
}

/// The frames of a run in one format, end to end.
#[derive(Debug)]
pub struct Block {
    bytes: Vec<u8>,
    /// Where each message's frame ends in `bytes`.
    ends: Vec<usize>,
}

impl Block {
    fn of(format: Format, messages: &[Message]) -> Self {
        let mut bytes = Vec::new();
        let mut scratch = String::new();
        let mut ends = Vec::with_capacity(messages.len());
        for message in messages {
            format.put_message(&mut bytes, &mut scratch, message);
            ends.push(bytes.len());
        }
        bytes.shrink_to_fit();
        Block { bytes, ends }
    }

    /// The frames of all messages.
    pub fn all(&self) -> &[u8] {
        &self.bytes
    }

    /// The frames of the messages `from..to`.
    pub fn frames(&self, from: usize, to: usize) -> &[u8] {
        &self.bytes[self.start(from)..self.start(to)]
    }

    /// Where the frame of a message starts.
    fn start(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.ends[before])
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::protocol::{At, Author, Kind};

    pub(in crate::history) fn message(room: &str, prev: u64, seq: u64) -> Message {
        Message {
            seq: Seq(seq),
            prev: Seq(prev),
            room: room.parse().expect("a room"),
            at: At(0),
            from: Author {
                name: None,
                addr: ([127, 0, 0, 1], 5000).into(),
            },
            text: format!("text {seq}").into(),
            id: None,
            kind: Kind::Said,
        }
    }

    #[test]
    fn a_batch_has_one_run_a_room() {
        let batch = Batch::of(vec![
            message("a", 0, 1),
            message("b", 0, 2),
            message("a", 1, 3),
            message("b", 2, 4),
        ]);
        let runs: Vec<_> = batch
            .runs
            .iter()
            .map(|r| (r.room().as_str(), r.prev().0, r.last().0))
            .collect();
        assert_eq!(runs, [("a", 0, 3), ("b", 0, 4)]);
        assert_eq!(batch.last, Seq(4));
        assert!(Batch::of(Vec::new()).runs.is_empty());
    }

    #[test]
    fn blocks_are_whole_frames_end_to_end() {
        let run = Run::of(vec![message("a", 0, 1), message("a", 1, 5)]).expect("a run");
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
}
