//! What waits to go out on one connection before anything else.

use crate::{
    fanout::reading::{Feed, Part},
    protocol::{Seq, format::Format, name::RoomName},
};

/// The rest of a frame that is partly out, and behind it what the session says.
///
/// Most of the time nothing waits, and no memory is kept for it.
#[derive(Default)]
pub(super) struct Waiting {
    cut: Option<Box<Cut>>,
    said: Vec<u8>,
    /// How much of it is out.
    out: usize,
}

/// A message's frame, of which something is out and something is missing.
///
/// Not the frame itself: it is read again once the socket takes more. So who
/// stands still costs nothing, however long what he was being shown.
pub(super) struct Cut {
    pub(super) room: RoomName,
    pub(super) seq: Seq,
    /// How long the frame is.
    pub(super) length: usize,
    /// How much of it is out: not nothing, and not all.
    pub(super) out: usize,
}

impl Cut {
    /// The number after which it comes next in its room.
    pub(super) fn before(&self) -> Seq {
        Seq(self.seq.0.saturating_sub(1))
    }

    /// Its room, whatever its reader follows now.
    pub(super) fn feed(&self) -> Feed {
        let (room, floor) = (self.room.clone(), Seq::START);
        Feed { room, floor }
    }

    /// The frame, if it is the first of these: once it was erased it is not.
    pub(super) fn find<'a>(&self, part: &Part<'a>, format: Format) -> Option<&'a [u8]> {
        let Part { run, from, .. } = *part;
        let same = *run.room() == self.room && run.slots()[from].seq() == self.seq;
        let frame = run.block(format).frames(from, from + 1);
        (same && frame.len() == self.length).then_some(frame)
    }
}

impl Waiting {
    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        let cut = self.cut.as_ref().map_or(0, |cut| cut.length - cut.out);
        cut + self.said().len()
    }

    /// The frame that has to be completed before anything else goes.
    pub(super) fn cut(&self) -> Option<&Cut> {
        self.cut.as_deref()
    }

    /// Messages stopped in the middle of a frame. To be called where nothing
    /// waits.
    pub(super) fn cut_at(&mut self, cut: Cut) {
        debug_assert_eq!(self.len(), 0, "messages wait for what goes first");
        self.cut = Some(Box::new(cut));
    }

    /// So much more of the frame that was partly out is out; whether that is all
    /// of it.
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

    /// Whole frames of the session's own go behind what waits.
    pub(super) fn say(&mut self, frames: &[u8]) {
        self.said.extend_from_slice(frames);
    }

    /// What the session said and is not out.
    pub(super) fn said(&self) -> &[u8] {
        &self.said[self.out..]
    }

    /// So much of [`Waiting::said`] is out.
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
    fn what_waits_is_counted_and_forgotten() {
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
