//! The bytes that must be written on a connection before anything else.

use crate::{
    fanout::reading::{Feed, Part},
    protocol::{Seq, format::Format, name::RoomName},
};

/// The rest of a partly written frame, and behind it the session's own frames.
///
/// Usually nothing waits, and this occupies no further memory.
#[derive(Default)]
pub(super) struct Waiting {
    cut: Option<Box<Cut>>,
    said: Vec<u8>,
    /// How many bytes of `said` are written.
    out: usize,
}

/// A message's frame that is partly written.
///
/// The frame itself is not kept: it is read again once the socket takes more.
/// So a stalled reader costs no memory, however long its frame is.
pub(super) struct Cut {
    pub(super) room: RoomName,
    pub(super) seq: Seq,
    /// The length of the frame in bytes.
    pub(super) length: usize,
    /// How many bytes of the frame are written: at least one, but not all.
    pub(super) out: usize,
}

impl Cut {
    /// The number right before its message: a read after it begins with the
    /// message.
    pub(super) fn before(&self) -> Seq {
        Seq(self.seq.0.saturating_sub(1))
    }

    /// The feed of its room, whatever its reader follows now.
    pub(super) fn feed(&self) -> Feed {
        let (room, floor) = (self.room.clone(), Seq::START);
        Feed { room, floor }
    }

    /// The frame, if the part begins with it. After a redaction the part has no
    /// such frame.
    pub(super) fn find<'a>(&self, part: &Part<'a>, format: Format) -> Option<&'a [u8]> {
        let Part { run, from, .. } = *part;
        let same = *run.room() == self.room && run.slots()[from].seq() == self.seq;
        let frame = run.block(format).frames(from, from + 1);
        (same && frame.len() == self.length).then_some(frame)
    }
}

impl Waiting {
    /// The number of bytes that wait.
    pub(super) fn len(&self) -> usize {
        let cut = self.cut.as_ref().map_or(0, |cut| cut.length - cut.out);
        cut + self.said().len()
    }

    /// The frame that must be completed before anything else is written.
    pub(super) fn cut(&self) -> Option<&Cut> {
        self.cut.as_deref()
    }

    /// Notes that a write of messages stopped within a frame. Nothing else may
    /// wait at that time.
    pub(super) fn cut_at(&mut self, cut: Cut) {
        debug_assert_eq!(self.len(), 0, "messages are written only if nothing waits");
        self.cut = Some(Box::new(cut));
    }

    /// Counts further bytes of the partly written frame as written; returns
    /// true if the frame is now complete.
    pub(super) fn advance_cut(&mut self, count: usize) -> bool {
        let Some(cut) = &mut self.cut else {
            return false;
        };
        cut.out += count;
        let complete = cut.out == cut.length;
        if complete {
            self.cut = None;
        }
        complete
    }

    /// Queues whole frames of the session behind everything that waits.
    pub(super) fn say(&mut self, frames: &[u8]) {
        self.said.extend_from_slice(frames);
    }

    /// The bytes of the session's frames that are not written yet.
    pub(super) fn said(&self) -> &[u8] {
        &self.said[self.out..]
    }

    /// Counts bytes of [`Waiting::said`] as written.
    pub(super) fn advance(&mut self, count: usize) {
        self.out += count;
        if self.out == self.said.len() {
            (self.said, self.out) = (Vec::new(), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_bytes_are_counted_and_then_freed() {
        let mut waiting = Waiting::default();
        waiting.cut_at(Cut {
            room: RoomName::lobby(),
            seq: Seq(1),
            length: 5,
            out: 2,
        });
        waiting.say(b"pong");
        assert_eq!(waiting.len(), 7);
        assert!(!waiting.advance_cut(2));
        assert!(waiting.advance_cut(1));
        assert_eq!((waiting.len(), waiting.said()), (4, &b"pong"[..]));
        waiting.advance(1);
        assert_eq!((waiting.len(), waiting.said()), (3, &b"ong"[..]));
        waiting.advance(3);
        assert_eq!(waiting.len(), 0);
        assert_eq!(waiting.said.capacity(), 0, "nothing is kept");
    }
}
