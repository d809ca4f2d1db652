//! A copy of the head of an HTTP answer, which the WebSocket library does not
//! pass on.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The bytes of an answer that are copied.
const MAX_HEAD: usize = 8 << 10;

/// A stream that copies its first bytes, as long as the [`RecordedHead`] lives.
pub(super) struct HeadRecorder<S> {
    stream: S,
    head: Weak<Mutex<Vec<u8>>>,
}

/// The first bytes that were read from a stream.
pub(super) struct RecordedHead(Arc<Mutex<Vec<u8>>>);

impl<S> HeadRecorder<S> {
    pub(super) fn new(stream: S) -> (Self, RecordedHead) {
        let head = Arc::default();
        let overheard = HeadRecorder {
            stream,
            head: Arc::downgrade(&head),
        };
        (overheard, RecordedHead(head))
    }
}

impl RecordedHead {
    /// `Retry-After` if it is a number of seconds. A date is ignored, because it
    /// would need two clocks that agree.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let head = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let head = String::from_utf8_lossy(&head);
        let mut lines = head.split("\r\n").take_while(|line| !line.is_empty());
        let value = lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("retry-after").then_some(value)
        })?;
        value.trim().parse().ok().map(Duration::from_secs)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadRecorder<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if let Some(head) = self.head.upgrade() {
            let mut head = head.lock().unwrap_or_else(PoisonError::into_inner);
            let new = &buf.filled()[before..];
            let room = MAX_HEAD.saturating_sub(head.len());
            head.extend_from_slice(&new[..new.len().min(room)]);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadRecorder<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
