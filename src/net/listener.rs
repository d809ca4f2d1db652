//! Listeners: where connections come from.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, UnixListener};

use super::stream::Stream;

/// A bound listener.
#[derive(Debug)]
pub enum Listener {
    /// It takes TCP connections.
    Tcp(TcpListener),
    /// It takes connections through a Unix socket.
    Unix(UnixListener),
}

impl Listener {
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
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), None))
            }
        }
    }
}
