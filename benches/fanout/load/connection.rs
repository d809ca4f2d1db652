//! One connection of a load.

use std::{
    io::{ErrorKind, Write},
    net::TcpStream,
};

use anyhow::ensure;

use crate::wire;

/// The mask of every frame: unmasking costs the server the same for any mask.
pub(super) const MASK: [u8; 4] = [0x3a, 0xc5, 0x91, 0x6e];

pub(super) struct Connection {
    pub(super) stream: TcpStream,
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
