//! One connection of a load.

use std::{
    io::{ErrorKind, Read, Result, Write},
    net::{SocketAddr, TcpStream},
};

use anyhow::ensure;
use rustls::{ClientConnection, StreamOwned};

use crate::{tls, wire};

/// The mask of every frame: unmasking costs the server the same for any mask.
pub(super) const MASK: [u8; 4] = [0x3a, 0xc5, 0x91, 0x6e];

pub(super) struct Connection {
    pub(super) stream: Stream,
    /// Whether the upgrade, or the greeting after it, is still expected.
    pub(super) opening: bool,
    /// The received part of an incomplete frame.
    pub(super) rest: Vec<u8>,
    /// The bytes that the socket has not taken yet.
    pub(super) unsent: Vec<u8>,
    /// The number expected next from each publisher, by its place in the room.
    pub(super) next: Vec<u32>,
    pub(super) room: usize,
    /// Whether its latencies count.
    pub(super) timed: bool,
}

/// The stream of a connection, with or without TLS.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    pub(super) fn connect(address: SocketAddr, tls: bool) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(if tls {
            let (config, name) = tls::client()?;
            let session = ClientConnection::new(config, name)?;
            Stream::Tls(Box::new(StreamOwned::new(session, stream)))
        } else {
            Stream::Plain(stream)
        })
    }

    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => &stream.sock,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        match self {
            Stream::Plain(stream) => stream.read(buf),
            Stream::Tls(stream) => stream.read(buf),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match self {
            Stream::Plain(stream) => stream.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> Result<()> {
        match self {
            Stream::Plain(stream) => stream.flush(),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}

/// The length of the answer to the upgrade, with the greeting if `greeted`;
/// `None` if it is incomplete.
pub(super) fn upgraded(bytes: &[u8], greeted: bool) -> anyhow::Result<Option<usize>> {
    let Some(end) = wire::head_end(bytes) else {
        return Ok(None);
    };
    ensure!(
        bytes.starts_with(b"HTTP/1.1 101 "),
        "the upgrade was answered {:?}",
        String::from_utf8_lossy(bytes)
    );
    Ok(if greeted {
        wire::frame(&bytes[end..]).map(|greeting| end + greeting.whole)
    } else {
        Some(end)
    })
}

pub(super) fn flush(connection: &mut Connection) -> anyhow::Result<()> {
    while !connection.unsent.is_empty() {
        match connection.stream.write(&connection.unsent) {
            Ok(written) => drop(connection.unsent.drain(..written)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
