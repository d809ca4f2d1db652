//! Follows a client's frames, only to know when none is open.

/// The longest frame head without its mask, in bytes (RFC 6455 §5.2).
const MAX_HEAD: usize = 10;

const MASK_BYTES: u64 = 4;

/// The position in the stream of frames.
///
/// The decoder detects protocol errors, not this type.
#[derive(Debug, Default)]
pub(super) struct Boundary {
    head: [u8; MAX_HEAD],
    /// How many bytes of the head have passed.
    passed: usize,
    /// How many bytes of the frame are still to come.
    left: u64,
    /// Whether a message's last fragment is still to come.
    fragmented: bool,
    /// How many frames began that do not end a message: control frames and
    /// fragments.
    extra: u32,
    /// How many bytes the open message has, those announced included.
    open: u64,
}

impl Boundary {
    /// Whether no frame and no message is open, so that the decoder holds no
    /// state.
    pub(super) fn is_here(&self) -> bool {
        self.passed == 0 && self.left == 0 && !self.fragmented
    }

    /// Takes the number of control frames and fragments that began since the
    /// last call.
    pub(super) fn take_extra(&mut self) -> u32 {
        std::mem::take(&mut self.extra)
    }

    pub(super) fn has_extra(&self) -> bool {
        self.extra > 0
    }

    /// How many bytes the open message has, as far as its frames announced
    /// them.
    pub(super) fn open_bytes(&self) -> usize {
        usize::try_from(self.open).unwrap_or(usize::MAX)
    }

    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let here = bytes.len() as u64;
                let skipped = self.left.min(here);
                self.left -= skipped;
                bytes = bytes
                    .split_at(usize::try_from(skipped).unwrap_or(bytes.len()))
                    .1;
                continue;
            }
            if self.is_here() {
                self.open = 0;
            }
            self.head[self.passed] = *first;
            self.passed += 1;
            bytes = rest;
            if let Some(left) = body(&self.head[..self.passed]) {
                let [flags, ..] = self.head;
                let (last, control) = (flags & 0x80 != 0, flags & 0x08 != 0);
                self.extra = self.extra.saturating_add(u32::from(control || !last));
                if !control {
                    self.fragmented = !last;
                    self.open = self.open.saturating_add(left);
                }
                self.left = left;
                self.passed = 0;
            }
        }
    }
}

/// How many bytes follow a frame's head and length; `None` while these are
/// incomplete.
fn body(head: &[u8]) -> Option<u64> {
    let second = *head.get(1)?;
    let length = match second & 0x7f {
        126 => u16::from_be_bytes(head.get(2..4)?.try_into().ok()?).into(),
        127 => u64::from_be_bytes(head.get(2..10)?.try_into().ok()?),
        short => short.into(),
    };
    let mask = if second & 0x80 == 0 { 0 } else { MASK_BYTES };
    Some(u64::saturating_add(length, mask))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A masked frame with its length in the fewest possible bytes.
    fn frame(last: bool, opcode: u8, length: usize) -> Vec<u8> {
        let mut bytes = vec![if last { 0x80 | opcode } else { opcode }];
        match u16::try_from(length) {
            Ok(length @ 0..=125) => bytes.push(0x80 | length.to_be_bytes()[1]),
            Ok(length) => {
                bytes.push(0xfe);
                bytes.extend_from_slice(&length.to_be_bytes());
            }
            Err(_) => {
                bytes.push(0xff);
                bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(&[0xff; 4]);
        bytes.resize(bytes.len() + length, 0xff);
        bytes
    }

    proptest! {
        /// However the bytes are split, a boundary is reported exactly where a
        /// message ends.
        #[test]
        fn a_boundary_is_reported_exactly_at_message_ends(
            frames in proptest::collection::vec(
                (any::<bool>(), prop_oneof![Just(1_u8), Just(9)], prop_oneof![0..200_usize, 65_000..66_000_usize]),
                1..6,
            ),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..8),
        ) {
            let mut bytes = Vec::new();
            let mut ends = std::collections::HashSet::from([0]);
            let mut open = false;
            for (last, opcode, length) in frames {
                bytes.extend(frame(last || opcode == 9, opcode, length));
                if opcode != 9 {
                    open = !last;
                }
                if !open {
                    ends.insert(bytes.len());
                }
            }
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend(ends.iter().copied());
            cuts.push(bytes.len());
            cuts.sort_unstable();
            let mut boundary = Boundary::default();
            let mut at = 0;
            for cut in cuts {
                boundary.pass(&bytes[at..cut]);
                at = cut;
                prop_assert_eq!(boundary.is_here(), ends.contains(&at), "at {}", at);
            }
        }
    }

    #[test]
    fn control_frames_and_fragments_are_counted() {
        let mut boundary = Boundary::default();
        boundary.pass(&frame(true, 1, 300));
        assert_eq!((boundary.take_extra(), boundary.is_here()), (0, true));
        for (part, extra) in [
            (frame(false, 1, 0), 1),
            (frame(false, 0, 200), 1),
            (frame(true, 9, 5), 1),
            (frame(false, 0, 0).repeat(3), 3),
            (frame(true, 0, 7)[..8].to_vec(), 0),
        ] {
            boundary.pass(&part);
            assert_eq!((boundary.take_extra(), boundary.is_here()), (extra, false));
        }
        // The bytes announced count, and each frame has a mask.
        assert_eq!(boundary.open_bytes(), 200 + 7 + 6 * 4);
    }

    #[test]
    fn the_largest_frame_length_does_not_overflow() {
        let mut boundary = Boundary::default();
        boundary.pass(&[0x81, 0xff, 255, 255, 255, 255, 255, 255, 255, 255, 1, 2]);
        assert!(!boundary.is_here());
    }
}
