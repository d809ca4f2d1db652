//! Encodes the frames that the server sends: RFC 6455 §5.2, final, unmasked,
//! with no extension.
//!
//! `tokio-websockets` decodes the frames that arrive. The server encodes its
//! own, because a fan-out writes many ready frames to a socket at once.

use super::close::CloseReason;

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// The longest payload of a control frame, in bytes (RFC 6455 §5.5).
const MAX_CONTROL: usize = 125;

/// Appends a text frame.
pub fn put_text(out: &mut Vec<u8>, payload: &[u8]) {
    put(out, TEXT, payload);
}

/// Encodes a close frame.
pub fn close(reason: &CloseReason) -> Vec<u8> {
    let mut payload = reason.code().to_be_bytes().to_vec();
    payload.extend_from_slice(reason.reason().as_bytes());
    control(CLOSE, &payload)
}

/// Encodes an empty ping.
pub fn ping() -> Vec<u8> {
    control(PING, b"")
}

/// Encodes the answer to a ping, with the ping's payload.
pub fn pong(payload: &[u8]) -> Vec<u8> {
    control(PONG, payload)
}

fn control(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(2 + payload.len());
    put(
        &mut frame,
        opcode,
        &payload[..payload.len().min(MAX_CONTROL)],
    );
    frame
}

#[allow(clippy::cast_possible_truncation)] // each arm's range fits its width
fn put(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(opcode);
    match payload.len() {
        length @ 0..=125 => out.push(length as u8),
        length @ 126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_takes_its_shortest_form() {
        for (length, header) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 255, 255]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut frame = Vec::new();
            put_text(&mut frame, &vec![b'x'; length]);
            assert_eq!(frame[..header.len()], header);
            assert_eq!(frame.len(), header.len() + length);
        }
    }

    #[test]
    fn a_close_frame_holds_code_and_reason() {
        let frame = close(&CloseReason::TooBig);
        assert_eq!(frame[..4], [0x88, 2 + 22, 0x03, 0xf1]);
        assert_eq!(&frame[4..], b"the message is too big");
    }
}
