//! A stream that suppresses hyper's bare error responses, and has a write
//! deadline.

use std::{
    io,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// How long a peer may take no byte of the response.
pub(super) const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// A stream that suppresses hyper's bare error responses.
///
/// hyper answers a head it cannot read with a bare status, and has no setting
/// for that. Suppressing it lets the server send a response with a sentence
/// instead.
pub(super) struct ErrorFilter<'a, S> {
    pub(super) stream: S,
    /// Whether a request was read. Until then, all output is hyper's own.
    request_read: &'a AtomicBool,
    /// While the peer takes nothing: when the connection is cut.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<'a, S> ErrorFilter<'a, S> {
    pub(super) fn new(stream: S, request_read: &'a AtomicBool) -> Self {
        ErrorFilter {
            stream,
            request_read,
            stalled: None,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ErrorFilter<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ErrorFilter<'_, S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.request_read.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(buf.len()));
        }
        if let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write(cx, buf) {
            self.stalled = None;
            return Poll::Ready(written);
        }
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(ANSWER_DEADLINE)));
        stalled
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
