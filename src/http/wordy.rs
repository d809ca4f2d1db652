//! A stream that suppresses hyper's bare error responses, and has a write
//! deadline.

use std::{
    io,
    pin::Pin,
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
/// hyper answers a head it cannot read with a bare status. Suppressing that
/// lets the server send a response with a sentence instead.
pub(super) struct Wordy<S> {
    pub(super) stream: S,
    /// The request was read: from here on, all output is ours.
    answered: bool,
    /// Whether hyper's own response was suppressed.
    pub(super) silenced: bool,
    /// While the peer takes nothing: when the connection is cut.
    stalled: Option<Pin<Box<Sleep>>>,
}

/// A header line in hyper's bare responses and in none of ours: they have no
/// body.
const BARE: &[u8] = b"content-length: 0\r\n";

impl<S> Wordy<S> {
    pub(super) fn new(stream: S) -> Self {
        Wordy {
            stream,
            answered: false,
            silenced: false,
            stalled: None,
        }
    }

    fn is_bare(&mut self, head: &[u8]) -> bool {
        if self.answered {
            return false;
        }
        let refusal = head.starts_with(b"HTTP/1.1 4") || head.starts_with(b"HTTP/1.0 4");
        let bare = refusal && head.windows(BARE.len()).any(|part| part == BARE);
        self.answered = !bare;
        self.silenced |= bare;
        bare
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wordy<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wordy<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_bare(buf) {
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
