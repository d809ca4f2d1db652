//! What waits to go out on one connection before anything else.

use std::sync::Arc;

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

/// A frame of a message, of which something is missing.
struct Cut {
    /// Those whose sockets were full at the same frame share it.
    frame: Arc<[u8]>,
    out: usize,
}

impl Waiting {
    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        let cut = self.cut.as_ref().map_or(0, |cut| cut.frame.len() - cut.out);
        cut + self.said.len() - self.out
    }

    /// Whole frames of the session's own go behind what waits.
    pub(super) fn say(&mut self, frames: &[u8]) {
        self.said.extend_from_slice(frames);
    }

    /// A message's frame is out up to here. To be called where nothing waits.
    pub(super) fn cut(&mut self, frame: Arc<[u8]>, out: usize) {
        debug_assert_eq!(self.len(), 0, "messages wait for what goes first");
        self.cut = Some(Box::new(Cut { frame, out }));
    }

    /// What goes next in one piece; empty where nothing waits.
    pub(super) fn next(&self) -> &[u8] {
        match &self.cut {
            Some(cut) => &cut.frame[cut.out..],
            None => &self.said[self.out..],
        }
    }

    /// So much of [`Waiting::next`] is out.
    pub(super) fn advance(&mut self, count: usize) {
        let Some(cut) = &mut self.cut else {
            self.out += count;
            if self.out == self.said.len() {
                (self.said, self.out) = (Vec::new(), 0);
            }
            return;
        };
        cut.out += count;
        if cut.out == cut.frame.len() {
            self.cut = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_frame_goes_before_what_is_said() {
        let frame: Arc<[u8]> = (*b"frame").into();
        let mut waiting = Waiting::default();
        waiting.cut(Arc::clone(&frame), 2);
        waiting.say(b"pong");
        let mut out = Vec::new();
        while waiting.len() > 0 {
            let left = waiting.len();
            out.push(waiting.next()[0]);
            waiting.advance(1);
            assert_eq!(waiting.len(), left - 1);
        }
        assert_eq!((&out[..], waiting.next()), (&b"amepong"[..], &b""[..]));
        assert_eq!(waiting.said.capacity(), 0, "nothing is kept");
        assert_eq!(Arc::strong_count(&frame), 1);
    }
}
