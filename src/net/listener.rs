//! Listeners: where connections come from.

use std::{fmt, io, net::SocketAddr};

use tokio::net::TcpListener;

use super::{stream::Stream, unix_socket::BoundUnixSocket};

/// A bound listener.
#[derive(Debug)]
pub enum Listener {
    /// It takes TCP connections.
    Tcp(TcpListener),
    /// It takes connections through a Unix socket.
    Unix(BoundUnixSocket),
}

impl Listener {
    /// The address, if it has one.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix(_) => None,
        }
    }

    /// Accepts one connection. Returns its stream, and the address of the other
    /// end if it has one.
    ///
    /// # Errors
    ///
    /// Fails as `accept(2)` does.
    pub async fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, addr) = listener.accept().await?;
                // Without this option, small frames wait up to 40 ms for the
                // acknowledgement of the frames before them. A connection that
                // refuses it is only slower.
                let _ = stream.set_nodelay(true);
                Ok((Stream::Tcp(stream), Some(addr)))
            }
            Listener::Unix(listener) => Ok((Stream::Unix(listener.accept().await?), None)),
        }
    }
}

impl fmt::Display for Listener {
    /// Writes the address or the path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listener::Tcp(listener) => match listener.local_addr() {
                Ok(address) => address.fmt(f),
                Err(_) => f.write_str("a TCP socket"),
            },
            Listener::Unix(listener) => match listener.path() {
                Some(path) => path.display().fmt(f),
                None => f.write_str("a Unix socket"),
            },
        }
    }
}
