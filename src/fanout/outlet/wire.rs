//! A socket, and what goes out on it first.
//!
//! Only whole frames leave in order: the rest of a frame whose beginning went out
//! goes before anything else.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use tokio::io::AsyncWrite;

use super::waiting::{Cut, Waiting};
use crate::{
    fanout::{
        reading::{Part, Reading},
        socket::Socket,
        stretch::Stretch,
    },
    metrics::Tally,
    protocol::{Seq, format::Format},
};

/// The most pieces handed to one `writev(2)`.
const MAX_PIECES: usize = 64;

/// The writing side of one connection. It knows frames, and no room.
pub(super) struct Wire {
    socket: Option<Socket>,
    format: Format,
    /// What goes before anything else.
    rest: Waiting,
    /// How many writes made progress; a writer that sees no change is blocked.
    progress: u64,
    failed: Option<io::ErrorKind>,
    /// What was written and is not counted yet.
    written: Tally,
    /// The session's, for when there is something to do for it.
    waker: Option<Waker>,
}

impl Wire {
    pub(super) fn new(socket: Socket, format: Format) -> Self {
        Wire {
            socket: Some(socket),
            format,
            rest: Waiting::default(),
            progress: 0,
            failed: None,
            written: Tally::default(),
            waker: None,
        }
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// How many bytes wait to go first.
    pub(super) fn waiting(&self) -> usize {
        self.rest.len()
    }

    /// How many bytes are kept in memory until the socket takes them.
    pub(super) fn kept(&self) -> usize {
        self.rest.said().len()
    }

    pub(super) fn progress(&self) -> u64 {
        self.progress
    }

    /// What was written since this was called last.
    pub(super) fn take_written(&mut self) -> Tally {
        std::mem::take(&mut self.written)
    }

    /// From here on the session is woken when there is something to do for it.
    pub(super) fn is_awaited(&mut self, cx: &Context<'_>) {
        let awaited = |waker: &Waker| waker.will_wake(cx.waker());
        if !self.waker.as_ref().is_some_and(awaited) {
            self.waker = Some(cx.waker().clone());
        }
    }

    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    #[cfg(test)]
    pub(super) fn has_waker(&self) -> bool {
        self.waker.is_some()
    }

    /// Lets go of the socket.
    pub(super) fn close(&mut self) {
        self.socket = None;
        self.rest = Waiting::default();
        self.waker = None;
    }

    /// The frame that is partly out.
    pub(super) fn cut(&self) -> Option<&Cut> {
        self.rest.cut()
    }

    /// Queues whole frames and writes what the socket takes at once.
    pub(super) fn send(&mut self, frames: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        self.rest.say(frames);
        // A failure shows at the next poll of the session.
        let mut cx = Context::from_waker(Waker::noop());
        if self.cut().is_some() || self.poll_said(&mut cx).is_pending() {
            self.wake();
        }
    }

    /// Writes what the session said, unless a frame has to be completed before;
    /// then waits for the socket, if that is needed for a frame that is cut or for
    /// `more`.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>, more: bool) -> Poll<io::Result<()>> {
        let is_cut = self.cut().is_some();
        if !is_cut {
            ready!(self.poll_said(cx))?;
        }
        match &self.socket {
            Some(socket) if is_cut || more => socket.poll_ready(cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Writes what the session said; to be called where no frame is partly out.
    pub(super) fn poll_said(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.rest.said().is_empty() {
            let written = ready!(self.poll_write(cx, |wire, socket, cx| {
                socket.poll_write(cx, wire.rest.said())
            }))?;
            self.rest.advance(written);
        }
        match self.failed {
            Some(kind) => Poll::Ready(Err(kind.into())),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Writes the rest of the frame that is partly out, which is the first of
    /// what was read.
    pub(super) fn poll_cut(
        &mut self,
        cx: &mut Context<'_>,
        reading: &Reading,
    ) -> Poll<io::Result<()>> {
        let parts = reading.parts();
        let format = self.format;
        while let Some(cut) = self.rest.cut() {
            let frame = parts.first().and_then(|part| cut.find(part, format));
            let Some(frame) = frame else {
                // Nothing can follow half a frame.
                let erased = io::Error::other("what it was shown a part of is erased");
                return Poll::Ready(Err(self.fail(&erased)));
            };
            let out = cut.out;
            let written =
                ready!(self.poll_write(cx, |_, socket, cx| socket.poll_write(cx, &frame[out..])))?;
            if self.rest.advance_cut(written) {
                self.written.add(1, frame.len());
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes all of a stretch at once, with nobody woken when more would go;
    /// `None` where something waits or the socket has failed. False when the
    /// socket is full: the position tells how far it came.
    pub(super) fn try_write(
        &mut self,
        stretch: &Stretch,
        position: &mut Seq,
    ) -> Option<io::Result<bool>> {
        let (0, Some(socket), None) = (self.rest.len(), &mut self.socket, self.failed) else {
            return None;
        };
        let frames = stretch.frames(self.format);
        let written = match socket.try_write(frames) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Some(Err(self.fail(&error))),
        };
        if written == frames.len() {
            self.progress += 1;
            *position = stretch.last();
            self.written.add(stretch.messages(), frames.len());
            return Some(Ok(true));
        }
        self.progress += u64::from(written > 0);
        let mut out = written;
        for run in stretch.runs() {
            let length = run.block(self.format).all().len();
            let (from, to) = (0, run.slots().len());
            if out < length {
                self.stop_in(&Part { run, from, to }, out, position);
                break;
            }
            self.written.add(to, length);
            *position = run.last();
            out -= length;
        }
        Some(Ok(false))
    }

    /// Writes the pieces; with all of them out, the position is `reached`. Pending
    /// where the socket is full: the position tells how far it came.
    pub(super) fn write_pieces(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[Part<'_>],
        position: &mut Seq,
        reached: Seq,
    ) -> Poll<io::Result<()>> {
        let format = self.format;
        let mut first = 0;
        // How much of the first is out.
        let mut out = 0;
        while first < pieces.len() {
            let mut slices: Vec<IoSlice<'_>> = pieces[first..]
                .iter()
                .take(MAX_PIECES)
                .map(|piece| IoSlice::new(piece.frames(format)))
                .collect();
            slices[0].advance(out);
            let written = self.poll_write(cx, |_, socket, cx| match &slices[..] {
                [one] => socket.poll_write(cx, one),
                many => socket.poll_write_vectored(cx, many),
            });
            drop(slices);
            let Poll::Ready(written) = written else {
                self.stop_in(&pieces[first], out, position);
                return Poll::Pending;
            };
            out += written?;
            while let Some(piece) = pieces.get(first)
                && let length = piece.frames(format).len()
                && out >= length
            {
                out -= length;
                self.written.add(piece.to - piece.from, length);
                *position = piece.last();
                first += 1;
            }
        }
        *position = reached;
        Poll::Ready(Ok(()))
    }

    /// The socket took `out` bytes of a piece and no more: between two frames, or
    /// in the middle of one.
    fn stop_in(&mut self, piece: &Part<'_>, mut out: usize, position: &mut Seq) {
        let Part { run, from, to } = *piece;
        let block = run.block(self.format);
        for at in from..to {
            let length = block.frames(at, at + 1).len();
            let seq = run.slots()[at].seq();
            if out < length {
                if out > 0 {
                    let room = run.room().clone();
                    *position = seq;
                    self.rest.cut_at(Cut {
                        room,
                        seq,
                        length,
                        out,
                    });
                }
                return;
            }
            out -= length;
            self.written.add(1, length);
            *position = seq;
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(&Self, Pin<&mut Socket>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Some(kind) = self.failed {
            return Poll::Ready(Err(kind.into()));
        }
        let Some(mut socket) = self.socket.take() else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let written = write(self, Pin::new(&mut socket), cx);
        self.socket = Some(socket);
        match written {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(0)) => Poll::Ready(Err(self.fail(&io::ErrorKind::WriteZero.into()))),
            Poll::Ready(Ok(written)) => {
                self.progress += 1;
                Poll::Ready(Ok(written))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.fail(&error))),
        }
    }

    /// A socket that failed once has nothing more to say to anyone.
    fn fail(&mut self, error: &io::Error) -> io::Error {
        self.failed = Some(error.kind());
        self.rest = Waiting::default();
        self.wake();
        error.kind().into()
    }

    /// Ends the sending direction.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Some(socket) => Pin::new(socket).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}
