//! What arrives: frames decoded, breaches named.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_websockets::{Error, Message, ServerBuilder, WebSocketStream, proto::ProtocolError};

use crate::protocol::{Limits, close::CloseReason};

/// What arrived.
pub(super) enum Received {
    /// A text message.
    Text(String),
    /// A ping, with its payload.
    Ping(Bytes),
    /// A sign of life.
    Pong,
    /// Something to close for.
    Bad(CloseReason),
    /// The end.
    Gone,
}

/// The reading side of a WebSocket connection.
pub(super) struct Inbound<R> {
    stream: WebSocketStream<ReadHalf<R>>,
}

impl<R: AsyncRead + Unpin> Inbound<R> {
    pub(super) fn new(read: R, limits: Limits) -> Self {
        let limits =
            tokio_websockets::Limits::default().max_payload_len(Some(limits.payload_bytes()));
        Inbound {
            stream: ServerBuilder::new()
                .limits(limits)
                .serve(ReadHalf { read, heard: false }),
        }
    }

    /// The next thing to act on. Safe to drop and call again.
    pub(super) async fn next(&mut self) -> Received {
        match self.stream.next().await {
            None => Received::Gone,
            Some(Ok(message)) => {
                if message.is_text() {
                    text(&message)
                } else if message.is_ping() {
                    Received::Ping(message.into_payload().into())
                } else if message.is_pong() {
                    Received::Pong
                } else if let Some((code, _)) = message.as_close() {
                    Received::Bad(CloseReason::answering(code.into()))
                } else {
                    Received::Bad(CloseReason::Binary)
                }
            }
            Some(Err(error)) => match error {
                Error::Protocol(ProtocolError::InvalidUtf8) => Received::Bad(CloseReason::NotUtf8),
                Error::PayloadTooLong { .. } => Received::Bad(CloseReason::TooBig),
                Error::Protocol(_) => Received::Bad(CloseReason::Protocol),
                _ => Received::Gone,
            },
        }
    }

    /// Whether any byte came since the last time this was asked. Within a long
    /// message a peer cannot answer a ping.
    pub(super) fn heard(&mut self) -> bool {
        std::mem::take(&mut self.stream.get_mut().heard)
    }

    /// The bytes that follow, undecoded.
    pub(super) fn into_reader(self) -> R {
        self.stream.into_inner().read
    }
}

/// The text of a message, looked at once more.
///
/// The library does not feed empty frames to its check: a text whose last
/// fragment is empty may end within a character, and `as_text` would pass it
/// off as a `str` all the same (0.13.3).
fn text(message: &Message) -> Received {
    match str::from_utf8(message.as_payload()) {
        Ok(text) => Received::Text(text.to_owned()),
        Err(_) => Received::Bad(CloseReason::NotUtf8),
    }
}

/// Gives the library a stream to read whose writing side leads nowhere.
///
/// The library answers pings and closes by itself, in a queue without a bound
/// and without a deadline, and for some errors not at all. The session says
/// these things instead, through the one place that writes to the socket.
struct ReadHalf<R> {
    read: R,
    heard: bool,
}

impl<R: AsyncRead + Unpin> AsyncRead for ReadHalf<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.read).poll_read(cx, buf);
        self.heard |= buf.filled().len() > before;
        read
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
