//! Decodes incoming frames, and names protocol errors.

mod boundary;
mod unfinished;

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};
use tokio_websockets::{Error, Message, ServerBuilder, WebSocketStream, proto::ProtocolError};

pub use self::unfinished::UnfinishedMessages;
use self::{boundary::Boundary, unfinished::UnfinishedMessage};
use crate::protocol::{Limits, close::CloseReason};

/// The next input to act on.
pub(super) enum Received {
    /// A text message.
    Text(String),
    /// A ping, with its payload.
    Ping(Bytes),
    /// A pong: the peer is alive.
    Pong,
    /// Fragments of a message that goes on.
    Fragments,
    /// A close frame, or a protocol error: the reason to close.
    Close(CloseReason),
    /// The connection has ended.
    Ended,
}

/// The first read of a message, in bytes; a decoder is created only after it.
const FIRST_READ: usize = 2048;

/// How long a message may take from its first byte to its last, while the
/// session reads. No other limit ends a message that never ends: each byte is a
/// sign of life, and empty fragments never reach the size limit.
const MESSAGE_DEADLINE: Duration = Duration::from_secs(30);

/// How many bytes are read after a close frame, or from a peer that should send
/// none.
pub(super) const MAX_IGNORED: usize = 64 << 10;

/// How many bytes are read after the close frame of a server that stops. If the
/// server left bytes unread, the kernel would reset the connection, and a client
/// that is sending would lose its receipts.
pub(super) const MAX_IGNORED_IN_DRAIN: usize = 8 << 20;

/// The memory of a decoder without a message, in bytes.
const DECODER_BYTES: usize = 8 << 10;

/// The reading half of a connection.
pub(super) struct Inbound<R> {
    limits: tokio_websockets::Limits,
    stage: Stage<R>,
    /// Whether the session reads now.
    reading: bool,
    /// While a message is incomplete: when it must be complete.
    deadline: Option<Pin<Box<Sleep>>>,
    /// The unfinished messages of all connections.
    all_unfinished: UnfinishedMessages,
    /// While a message is incomplete: its share of the memory.
    unfinished: Option<Box<UnfinishedMessage>>,
}

/// Whether the connection has a decoder. A decoder holds a buffer of 8 KiB;
/// most connections are silent most of the time and have none.
enum Stage<R> {
    /// No message has begun.
    Silent(ReadHalf<R>),
    /// A message has begun, or ended a moment ago.
    Decoding(Box<WebSocketStream<ReadHalf<R>>>),
    /// No input is expected; bytes are dropped, at most so many more.
    Discarding(R, usize),
    /// Only while the stage changes.
    Switching,
}

impl<R: AsyncRead + Unpin> Inbound<R> {
    /// Reads a connection; `early` holds the bytes that arrived already.
    pub(super) fn new(
        read: R,
        early: &Bytes,
        limits: Limits,
        all_unfinished: &UnfinishedMessages,
    ) -> Self {
        let limits =
            tokio_websockets::Limits::default().max_payload_len(Some(limits.payload_bytes()));
        let silent = early.is_empty();
        let read = ReadHalf {
            read,
            // Copied even if empty: the slice may keep a larger buffer alive.
            early: Bytes::copy_from_slice(early),
            heard: false,
            boundary: Boundary::default(),
        };
        Inbound {
            limits,
            stage: if silent {
                Stage::Silent(read)
            } else {
                decoding(read, limits)
            },
            reading: true,
            deadline: None,
            all_unfinished: all_unfinished.clone(),
            unfinished: None,
        }
    }

    /// For a peer that sends nothing more: only its end is noticed.
    pub(super) fn discarding(read: R, all_unfinished: &UnfinishedMessages) -> Self {
        Inbound {
            limits: tokio_websockets::Limits::default(),
            stage: Stage::Discarding(read, MAX_IGNORED),
            reading: true,
            deadline: None,
            all_unfinished: all_unfinished.clone(),
            unfinished: None,
        }
    }

    /// Tells whether the session reads from now on. If not, the message
    /// deadline starts over, and no input is returned.
    pub(super) fn set_reading(&mut self, listening: bool) {
        self.reading = listening;
        if !listening {
            self.deadline = None;
        }
    }

    fn poll_received(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        if let Some(message) = &mut self.unfinished
            && message.poll_cut(cx).is_ready()
        {
            return Poll::Ready(Received::Close(CloseReason::Unfinished));
        }
        if !self.reading {
            return Poll::Pending;
        }
        if let Poll::Ready(message) = self.poll_next(cx) {
            let received = received(message);
            if let Received::Text(_) = received {
                self.finish_message();
            }
            return Poll::Ready(received);
        }
        let Stage::Decoding(stream) = &self.stage else {
            self.finish_message();
            return Poll::Pending;
        };
        let boundary = &stream.get_ref().boundary;
        let message = self
            .unfinished
            .get_or_insert_with(|| Box::new(self.all_unfinished.begin()));
        message.set(boundary.open_bytes().saturating_add(DECODER_BYTES));
        if boundary.has_extra() {
            return Poll::Ready(Received::Fragments);
        }
        if message.poll_cut(cx).is_ready() {
            return Poll::Ready(Received::Close(CloseReason::Unfinished));
        }
        let begun = || Box::pin(sleep(MESSAGE_DEADLINE));
        let deadline = self.deadline.get_or_insert_with(begun);
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Received::Close(CloseReason::Unfinished))
    }

    /// Forgets the limits of a message that ended.
    fn finish_message(&mut self) {
        self.deadline = None;
        self.unfinished = None;
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        if let Stage::Discarding(read, left) = &mut self.stage {
            return poll_end(read, left, cx).map(|()| None);
        }
        if let Stage::Silent(half) = &mut self.stage {
            let mut buffer = [MaybeUninit::uninit(); FIRST_READ];
            let mut buffer = ReadBuf::uninit(&mut buffer);
            ready!(Pin::new(&mut half.read).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(None);
            }
            half.early = Bytes::copy_from_slice(buffer.filled());
            if let Stage::Silent(half) = std::mem::replace(&mut self.stage, Stage::Switching) {
                self.stage = decoding(half, self.limits);
            }
        }
        let Stage::Decoding(stream) = &mut self.stage else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(message) = stream.poll_next_unpin(cx) {
            return Poll::Ready(message);
        }
        // The decoder waits in a read, which wakes this task in either stage.
        if stream.get_ref().boundary.is_here()
            && let Stage::Decoding(stream) = std::mem::replace(&mut self.stage, Stage::Switching)
        {
            self.stage = Stage::Silent(stream.into_inner());
        }
        Poll::Pending
    }

    fn half(&mut self) -> Option<&mut ReadHalf<R>> {
        match &mut self.stage {
            Stage::Silent(half) => Some(half),
            Stage::Decoding(stream) => Some(stream.get_mut()),
            Stage::Discarding(..) | Stage::Switching => None,
        }
    }

    /// Takes the number of control frames and fragments that arrived since the
    /// last call.
    pub(super) fn take_extra(&mut self) -> u32 {
        self.half().map_or(0, |half| half.boundary.take_extra())
    }

    /// Returns the next input to act on. Cancel-safe.
    pub(super) fn next(&mut self) -> impl Future<Output = Received> {
        poll_fn(|cx| self.poll_received(cx))
    }

    /// Whether any byte arrived since the last call. Within a long message a
    /// peer cannot answer a ping.
    pub(super) fn take_heard(&mut self) -> bool {
        self.half()
            .is_some_and(|half| std::mem::take(&mut half.heard))
    }

    /// Reads and drops input until the end, at most `left` bytes.
    pub(super) async fn ignore_rest(self, mut left: usize) {
        // The memory of an unfinished message is freed first.
        let mut read = match self.stage {
            Stage::Silent(half) => half.read,
            Stage::Decoding(stream) => stream.into_inner().read,
            Stage::Discarding(read, _) => read,
            Stage::Switching => return,
        };
        drop(self.unfinished);
        poll_fn(|cx| poll_end(&mut read, &mut left, cx)).await;
    }
}

/// Reads and drops input until the end, or until no bytes are `left` to read.
fn poll_end<R: AsyncRead + Unpin>(
    read: &mut R,
    left: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let mut scrap = [MaybeUninit::uninit(); FIRST_READ];
    loop {
        let most = FIRST_READ.min(*left);
        let mut scrap = ReadBuf::uninit(&mut scrap[..most]);
        let read = ready!(Pin::new(&mut *read).poll_read(cx, &mut scrap));
        if read.is_err() || scrap.filled().is_empty() {
            return Poll::Ready(());
        }
        *left -= scrap.filled().len();
    }
}

fn decoding<R: AsyncRead + Unpin>(half: ReadHalf<R>, limits: tokio_websockets::Limits) -> Stage<R> {
    Stage::Decoding(Box::new(ServerBuilder::new().limits(limits).serve(half)))
}

fn received(message: Option<Result<Message, Error>>) -> Received {
    match message {
        None => Received::Ended,
        Some(Ok(message)) => {
            if message.is_text() {
                text(&message)
            } else if message.is_ping() {
                Received::Ping(message.into_payload().into())
            } else if message.is_pong() {
                Received::Pong
            } else if let Some((code, _)) = message.as_close() {
                Received::Close(CloseReason::echoing(code.into()))
            } else {
                Received::Close(CloseReason::Binary)
            }
        }
        Some(Err(error)) => match error {
            Error::Protocol(ProtocolError::InvalidUtf8) => Received::Close(CloseReason::NotUtf8),
            Error::PayloadTooLong { .. } => Received::Close(CloseReason::TooBig),
            Error::Protocol(_) => Received::Close(CloseReason::Protocol),
            _ => Received::Ended,
        },
    }
}

/// Returns the text of a message after a second UTF-8 check.
///
/// The library does not feed empty frames to its own check (0.13.3). A text
/// with an empty last fragment may end within a character, and `as_text` would
/// still return it as a `str`.
fn text(message: &Message) -> Received {
    match str::from_utf8(message.as_payload()) {
        Ok(text) => Received::Text(text.to_owned()),
        Err(_) => Received::Close(CloseReason::NotUtf8),
    }
}

/// The stream given to the library; its writing half discards everything.
///
/// The library answers pings and closes by itself: in a queue without a bound
/// or a deadline, and for some errors not at all. The session sends these
/// frames instead, through the only writer of the socket.
struct ReadHalf<R> {
    read: R,
    /// Bytes that arrived before this stream was made.
    early: Bytes,
    heard: bool,
    /// The frame position after the bytes passed on so far.
    boundary: Boundary,
}

impl<R: AsyncRead + Unpin> AsyncRead for ReadHalf<R> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let half = self.get_mut();
        let before = buf.filled().len();
        if half.early.is_empty() {
            ready!(Pin::new(&mut half.read).poll_read(cx, buf))?;
        } else {
            let count = half.early.len().min(buf.remaining());
            buf.put_slice(&half.early.split_to(count));
        }
        let new = &buf.filled()[before..];
        half.heard |= !new.is_empty();
        half.boundary.pass(new);
        Poll::Ready(Ok(()))
    }
}

impl<R: Unpin> AsyncWrite for ReadHalf<R> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
