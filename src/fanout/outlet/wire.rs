//! The wire: a socket, and the bytes that must be written to it first.
//!
//! Only whole frames are written, in order. The rest of a partly written frame
//! is written before anything else.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use tokio::io::AsyncWrite;

use crate::{
    fanout::{merged_page::Part, room_batches::RoomBatches, socket::Socket},
    metrics::DeliveryCount,
    protocol::{Seq, format::Format},
};

/// The most pieces given to one `writev(2)`.
const MAX_PIECES: usize = 64;

/// The writing side of one connection. It knows frames, but no rooms.
pub(super) struct Wire {
    socket: Option<Socket>,
    format: Format,
    /// The bytes that are written before anything else: the rest of a partly
    /// written frame, and behind it the session's own frames.
    rest: Vec<u8>,
    /// The number of writes that made progress. While it stays the same, the
    /// writer is blocked.
    progress: u64,
    failed: Option<io::ErrorKind>,
    /// The tally of what was written and not counted yet.
    written: DeliveryCount,
    /// The session's waker, for when the session has something to do.
    waker: Option<Waker>,
}

impl Wire {
    pub(super) fn new(socket: Socket, format: Format) -> Self {
        Wire {
            socket: Some(socket),
            format,
            rest: Vec::new(),
            progress: 0,
            failed: None,
            written: DeliveryCount::default(),
            waker: None,
        }
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// The number of bytes that must be written before any message. They are
    /// kept in memory until then.
    pub(super) fn waiting(&self) -> usize {
        self.unsent() + self.rest.len()
    }

    /// The bytes that the socket itself holds.
    fn unsent(&self) -> usize {
        self.socket.as_ref().map_or(0, Socket::unsent)
    }

    pub(super) fn progress(&self) -> u64 {
        self.progress
    }

    /// Takes the tally of what was written since the last call.
    pub(super) fn take_written(&mut self) -> DeliveryCount {
        std::mem::take(&mut self.written)
    }

    /// Registers the session's waker: from here on the session is woken when it
    /// has something to do.
    pub(super) fn register_waker(&mut self, cx: &Context<'_>) {
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

    /// Closes the socket and drops everything that waits for it.
    pub(super) fn close(&mut self) {
        self.socket = None;
        self.rest = Vec::new();
        self.waker = None;
    }

    /// Queues whole frames and writes what the socket takes at once.
    pub(super) fn send(&mut self, frames: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        self.rest.extend_from_slice(frames);
        // The next poll of the session reports a failure.
        let mut cx = Context::from_waker(Waker::noop());
        if self.poll_rest(&mut cx).is_pending() {
            self.wake();
        }
    }

    /// Writes the bytes that come before any message. Then waits for the socket
    /// if `more` is set.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>, more: bool) -> Poll<io::Result<()>> {
        ready!(self.poll_rest(cx))?;
        match &self.socket {
            Some(socket) if more => socket.poll_ready(cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Writes the bytes that come before any message.
    pub(super) fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.rest.is_empty() {
            let written =
                ready!(self.poll_write(cx, |wire, socket, cx| socket.poll_write(cx, &wire.rest)))?;
            self.rest.drain(..written);
        }
        ready!(self.poll_flush(cx))?;
        // Usually nothing waits, and the memory is released.
        self.rest = Vec::new();
        match self.failed {
            Some(kind) => Poll::Ready(Err(kind.into())),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Sends what the socket itself holds.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let held = self.unsent();
        let due = held > 0 && self.failed.is_none();
        let Some(socket) = self.socket.as_mut().filter(|_| due) else {
            return Poll::Ready(Ok(()));
        };
        let flushed = Pin::new(socket).poll_flush(cx);
        self.progress += u64::from(self.unsent() < held);
        flushed.map_err(|error| self.fail(&error))
    }

    /// Writes a stretch in one write; no task is woken when the socket takes
    /// more. `None` if bytes wait or the socket has failed. False if the socket
    /// is full: then the position tells how far the write came.
    ///
    /// # Errors
    /// Fails if the connection is broken.
    pub(super) fn try_write(
        &mut self,
        room_batches: &RoomBatches,
        position: &mut Seq,
    ) -> Option<io::Result<bool>> {
        let (true, Some(socket), None) = (self.rest.is_empty(), &mut self.socket, self.failed)
        else {
            return None;
        };
        let frames = room_batches.frames(self.format);
        let written = match socket.try_write(frames) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Some(Err(self.fail(&error))),
        };
        if written == frames.len() && socket.unsent() == 0 {
            self.progress += 1;
            *position = room_batches.last();
            self.written.add(room_batches.messages(), frames.len());
            return Some(Ok(true));
        }
        self.progress += u64::from(written > 0);
        let mut out = written;
        for room_batch in room_batches.as_slice() {
            let length = room_batch.block(self.format).all().len();
            let (from, to) = (0, room_batch.slots().len());
            if out < length {
                self.stop_in(
                    &Part {
                        room_batch,
                        from,
                        to,
                    },
                    out,
                    position,
                );
                break;
            }
            self.written.add(to, length);
            *position = room_batch.last();
            out -= length;
        }
        Some(Ok(false))
    }

    /// Writes pieces, and sets the position to `reached` once all are written.
    /// Pending if the socket is full: then the position tells how far the write
    /// came.
    pub(super) fn write_pieces(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[Part<'_>],
        position: &mut Seq,
        reached: Seq,
    ) -> Poll<io::Result<()>> {
        let format = self.format;
        let mut first = 0;
        // How many bytes of the first piece are written.
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

    /// Notes that the socket took only `out` bytes of a piece. They end between
    /// two frames or within one. The rest of that one frame is kept, and counts
    /// as written; the frames behind it are read again.
    fn stop_in(&mut self, piece: &Part<'_>, mut out: usize, position: &mut Seq) {
        debug_assert!(self.rest.is_empty(), "messages come after all other bytes");
        let Part {
            room_batch: run,
            from,
            to,
        } = *piece;
        let block = run.block(self.format);
        for at in from..to {
            if out == 0 {
                return;
            }
            let frame = block.frames(at, at + 1);
            self.written.add(1, frame.len());
            *position = run.slots()[at].seq();
            if out < frame.len() {
                self.rest.extend_from_slice(&frame[out..]);
                return;
            }
            out -= frame.len();
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

    /// Marks the socket as failed: nothing more is written to it.
    fn fail(&mut self, error: &io::Error) -> io::Error {
        self.failed = Some(error.kind());
        self.rest = Vec::new();
        self.wake();
        error.kind().into()
    }

    /// Shuts down the sending direction of the connection.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Some(socket) => Pin::new(socket).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}
