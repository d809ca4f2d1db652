//! A stream that holds back the bare answers of hyper, and gives up a peer that
//! takes nothing.

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

/// How long the peer may take nothing of the answer.
pub(super) const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// hyper answers a head it cannot read with a bare status. This holds that
/// answer back, so that one with a sentence can be given.
pub(super) struct Wordy<S> {
    pub(super) stream: S,
    /// The request was read: what is written now is ours.
    answered: bool,
    /// hyper's own answer was held back.
    pub(super) silenced: bool,
    /// While the peer takes nothing: when it is given up.
    stalled: Option<Pin<Box<Sleep>>>,
}

/// The mark hyper's bare answers bear and ours do not: they have no body.
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
