//! The write half of a connection.

use std::{
    fmt, io,
    os::fd::AsFd,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use rustix::{
    io::{Errno, retry_on_intr},
    net::{SendFlags, send},
};
use tokio::{
    io::AsyncWrite,
    net::{TcpStream, UnixStream},
};

use crate::net::WriteHalf;

/// The write half of a connection, over a socket of the system or any other
/// stream.
pub enum Socket {
    /// A socket of the system.
    System(WriteHalf),
    /// Any other stream.
    ///
    /// It keeps back no bytes for a flush.
    Other(Box<dyn AsyncWrite + Send + Unpin>),
}

impl Socket {
    /// Writes the bytes that the socket takes at once; see also
    /// [`Socket::unsent`]. No task is woken when the socket takes more.
    ///
    /// # Errors
    /// Fails with [`io::ErrorKind::WouldBlock`] if the socket takes nothing
    /// now, and with another error if the connection is broken.
    pub(super) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::System(WriteHalf::Tcp(half)) => {
                send_now(AsRef::<TcpStream>::as_ref(half), bytes)
            }
            Socket::System(WriteHalf::Unix(half)) => {
                send_now(AsRef::<UnixStream>::as_ref(half), bytes)
            }
            Socket::System(WriteHalf::Tls(half)) => half.try_write(bytes),
            Socket::Other(stream) => {
                let mut cx = Context::from_waker(Waker::noop());
                match Pin::new(stream).poll_write(&mut cx, bytes) {
                    Poll::Ready(written) => written,
                    Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
                }
            }
        }
    }

    /// About how many bytes that were written wait inside for a full socket;
    /// 0 if none. A flush sends them.
    pub(super) fn unsent(&self) -> usize {
        match self {
            Socket::System(WriteHalf::Tls(half)) => half.unsent(),
            Socket::System(WriteHalf::Tcp(_) | WriteHalf::Unix(_)) | Socket::Other(_) => 0,
        }
    }

    /// Waits until the socket takes bytes. A stream that is no socket of the
    /// system always counts as ready: only a write can tell.
    pub(super) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Socket::System(WriteHalf::Tcp(half)) => half.as_ref().poll_write_ready(cx),
            Socket::System(WriteHalf::Tls(half)) => half.poll_ready(cx),
            Socket::System(WriteHalf::Unix(half)) => half.as_ref().poll_write_ready(cx),
            Socket::Other(_) => Poll::Ready(Ok(())),
        }
    }

    fn stream(&mut self) -> Pin<&mut (dyn AsyncWrite + Send + Unpin)> {
        match self {
            Socket::System(WriteHalf::Tcp(half)) => Pin::new(half),
            Socket::System(WriteHalf::Tls(half)) => Pin::new(half),
            Socket::System(WriteHalf::Unix(half)) => Pin::new(half),
            Socket::Other(stream) => Pin::new(stream),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(cx, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}

impl From<WriteHalf> for Socket {
    fn from(half: WriteHalf) -> Self {
        Socket::System(half)
    }
}

/// Sends with a direct system call, as the bookkeeping of tokio and of the C
/// library takes a twentieth of a delivery. By itself tokio notices a full
/// socket when a task waits for it.
fn send_now(socket: impl AsFd + Copy, bytes: &[u8]) -> io::Result<usize> {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let sent = retry_on_intr(|| send(socket, bytes, flags));
    sent.map_err(|error: Errno| error.into())
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").finish_non_exhaustive()
    }
}
