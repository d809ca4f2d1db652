//! The two halves of a TLS connection, which share one session.

use std::{
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use rustls::ServerConnection;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use tokio_rustls::server::TlsStream;

/// A TLS session. Reading and writing both change it.
struct Session(Mutex<ServerConnection>);

impl Session {
    fn lock(&self) -> MutexGuard<'_, ServerConnection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reading half of a TLS connection.
pub struct TlsReadHalf {
    session: Arc<Session>,
    tcp: OwnedReadHalf,
}

/// The writing half of a TLS connection.
pub struct TlsWriteHalf {
    session: Arc<Session>,
    tcp: OwnedWriteHalf,
    /// About how many bytes the session holds for a full socket; 0 if none.
    unsent: usize,
}

/// Splits a connection after its handshake.
pub fn split(stream: TlsStream<TcpStream>) -> (TlsReadHalf, TlsWriteHalf) {
    let (tcp, session) = stream.into_inner();
    let unsent = usize::from(session.wants_write());
    let session = Arc::new(Session(Mutex::new(session)));
    let (read, write) = tcp.into_split();
    let reading = TlsReadHalf {
        session: Arc::clone(&session),
        tcp: read,
    };
    let writing = TlsWriteHalf {
        session,
        tcp: write,
        unsent,
    };
    (reading, writing)
}

impl AsyncRead for TlsReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // With no room for a byte, a session without bytes would have this wait.
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            match put_chunk(&mut self.session.lock(), buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                put => return Poll::Ready(put),
            }
            ready!(self.tcp.as_ref().poll_read_ready(cx))?;
            let mut session = self.session.lock();
            match session.read_tls(&mut Tcp(self.tcp.as_ref())) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                read => read?,
            };
            if let Err(error) = session.process_new_packets() {
                // The peer is told why, if its socket takes the alert at once.
                let _ = session.write_tls(&mut Tcp(self.tcp.as_ref()));
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
            }
        }
    }
}

/// Takes decrypted bytes out of a session; none at the end.
fn put_chunk(session: &mut ServerConnection, buf: &mut ReadBuf<'_>) -> io::Result<()> {
    let chunk = session.reader().into_first_chunk()?;
    let count = chunk.len().min(buf.remaining());
    buf.put_slice(&chunk[..count]);
    io::BufRead::consume(&mut session.reader(), count);
    Ok(())
}

impl TlsWriteHalf {
    /// Writes the bytes that the socket takes at once, and at most one record
    /// more, which the session holds. No task is woken when the socket takes
    /// more.
    ///
    /// # Errors
    /// Fails with [`io::ErrorKind::WouldBlock`] if nothing was taken, and with
    /// another error if the connection is broken.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.try_write_slices(&mut [io::IoSlice::new(bytes)])
    }

    fn try_write_slices(&mut self, mut rest: &mut [io::IoSlice<'_>]) -> io::Result<usize> {
        let mut session = self.session.lock();
        let mut taken = 0;
        while try_send(&mut session, &self.tcp, &mut self.unsent)? && !rest.is_empty() {
            let record = io::Write::write_vectored(&mut session.writer(), rest)?;
            if record == 0 {
                break;
            }
            io::IoSlice::advance_slices(&mut rest, record);
            taken += record;
            self.unsent = record;
        }
        if taken == 0 && self.unsent > 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(taken)
    }

    /// About how many bytes the session holds for a full socket; 0 if none.
    pub fn unsent(&self) -> usize {
        self.unsent
    }

    /// Waits until the socket takes bytes.
    ///
    /// # Errors
    /// Fails if the connection is broken.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp.as_ref().poll_write_ready(cx)
    }
}

/// Sends what a session holds, and counts it down; false if the socket is full
/// before.
fn try_send(
    session: &mut ServerConnection,
    tcp: &OwnedWriteHalf,
    unsent: &mut usize,
) -> io::Result<bool> {
    while session.wants_write() {
        match session.write_tls(&mut Tcp(tcp.as_ref())) {
            // At least one byte may be left.
            Ok(sent) => *unsent = unsent.saturating_sub(sent).max(1),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    *unsent = 0;
    Ok(true)
}

impl AsyncWrite for TlsWriteHalf {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.try_write_slices(&mut slices.to_vec()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.poll_ready(cx))?;
                }
                written => return Poll::Ready(written),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let half = &mut *self;
        while !try_send(&mut half.session.lock(), &half.tcp, &mut half.unsent)? {
            ready!(half.poll_ready(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.lock().send_close_notify();
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// A TCP socket as the standard library's traits want it. It never waits, and
/// tokio notices when it is full or empty.
struct Tcp<'a>(&'a TcpStream);

impl io::Read for Tcp<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buf)
    }
}

impl io::Write for Tcp<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match slices {
            [one] => self.0.try_write(one),
            many => self.0.try_write_vectored(many),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for TlsReadHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsReadHalf").finish_non_exhaustive()
    }
}

impl fmt::Debug for TlsWriteHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsWriteHalf").finish_non_exhaustive()
    }
}
