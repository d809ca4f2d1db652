//! The WebSocket frames of the floor and the load (RFC 6455 §5.2). This does
//! not use the product's encodings, so that a mistake in them shows.

use std::net::{Ipv4Addr, TcpListener};

pub const TEXT: u8 = 1;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// Listens on a free loopback port, and prints the address as the product does.
///
/// # Errors
/// Fails if the port cannot be opened.
pub fn listen() -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    // The standard library queues only 128 connections to be accepted.
    rustix::net::listen(&listener, 4096)?;
    println!("listening on {}", listener.local_addr()?);
    Ok(listener)
}

/// The length of an HTTP head, if it is complete.
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|part| part == b"\r\n\r\n")?;
    Some(end + 4)
}

pub struct Frame<'a> {
    pub opcode: u8,
    pub payload: &'a [u8],
    /// The frame's length, head included.
    pub whole: usize,
}

/// Reads the head of a frame: the length of the payload, and the length of the
/// head without the mask.
fn head(bytes: &[u8]) -> Option<(usize, usize)> {
    match *bytes.get(1)? & 0x7f {
        126 => {
            let length = bytes.get(2..4)?.try_into().ok()?;
            Some((u16::from_be_bytes(length).into(), 4))
        }
        127 => {
            let length = bytes.get(2..10)?.try_into().ok()?;
            Some((usize::try_from(u64::from_be_bytes(length)).ok()?, 10))
        }
        length => Some((length.into(), 2)),
    }
}

/// The server's frame at the start of these bytes, if it is complete.
pub fn frame(bytes: &[u8]) -> Option<Frame<'_>> {
    let (length, start) = head(bytes)?;
    let whole = start + length;
    Some(Frame {
        opcode: bytes[0] & 0x0f,
        payload: bytes.get(start..whole)?,
        whole,
    })
}

/// The client's frame at the start of these bytes, unmasked, if it is complete.
pub fn masked_frame(bytes: &mut [u8]) -> Option<Frame<'_>> {
    let (length, start) = head(bytes)?;
    let mask: [u8; 4] = bytes.get(start..start + 4)?.try_into().ok()?;
    let start = start + 4;
    let whole = start + length;
    let opcode = bytes[0] & 0x0f;
    let payload = bytes.get_mut(start..whole)?;
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Some(Frame {
        opcode,
        payload,
        whole,
    })
}

/// Appends the head of a text frame, masked or not.
pub fn put_head(out: &mut Vec<u8>, length: usize, mask: Option<[u8; 4]>) {
    let masked = if mask.is_some() { 128 } else { 0 };
    out.push(0x80 | TEXT);
    if let Ok(length @ 0..=125) = u8::try_from(length) {
        out.push(masked + length);
    } else if let Ok(length) = u16::try_from(length) {
        out.push(masked + 126);
        out.extend_from_slice(&length.to_be_bytes());
    } else {
        out.push(masked + 127);
        out.extend_from_slice(&(length as u64).to_be_bytes());
    }
    out.extend(mask.into_iter().flatten());
}

/// Appends a masked control frame.
pub fn put_control(out: &mut Vec<u8>, opcode: u8, payload: &[u8], mask: [u8; 4]) {
    // A control frame's payload has at most 125 bytes (RFC 6455 §5.5).
    let length = u8::try_from(payload.len().min(125)).unwrap_or(125);
    out.extend_from_slice(&[0x80 | opcode, 0x80 | length]);
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
}
