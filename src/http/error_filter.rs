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

    /// Ends a wait for the peer that takes too long.
    fn bounded<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(ANSWER_DEADLINE)));
        stalled
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
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
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.bounded(written, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.bounded(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::AsyncWriteExt,
        time::{Instant, timeout},
    };

    use super::*;

    /// A TLS connection whose peer reads nothing: it takes bytes, and cannot
    /// send them.
    struct Unread;

    impl AsyncWrite for Unread {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_no_peer_takes_is_cut() {
        let request_read = AtomicBool::new(true);
        let mut filter = ErrorFilter::new(Unread, &request_read);
        filter.write_all(b"an answer").await.expect("it is taken");
        let begun = Instant::now();
        let flushed = timeout(2 * ANSWER_DEADLINE, filter.flush()).await;
        let error = flushed.expect("an end").expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed(), ANSWER_DEADLINE);
    }
}
