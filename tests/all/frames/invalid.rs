//! Breaches of RFC 6455: each closes the connection with its code.

use broadcast_chat::protocol::Limits;

use super::closed_for;
use crate::support::{
    BINARY, CLOSE, CONTINUATION, FIN, LENGTH_16, LENGTH_64, PING, PONG, TEXT, TestServer, frame,
    others_chat_on,
};

/// A frame with this header, masked with zeros.
fn raw(header: &[u8], payload: &[u8]) -> Vec<u8> {
    [header, &[0; 4], payload].concat()
}

/// Frames with invalid bits, opcodes or masks, and invalid control frames.
fn bad_headers(breach: &mut impl FnMut(&'static str, Vec<u8>, u16)) {
    for rsv in [0x40, 0x20, 0x10, 0x70] {
        for opcode in [TEXT, BINARY, CONTINUATION, PING, CLOSE] {
            breach("a reserved bit", frame(FIN | rsv | opcode, b""), 1002);
        }
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        breach("a reserved opcode", frame(FIN | opcode, b"x"), 1002);
        breach("a reserved opcode, fragmented", frame(opcode, b"x"), 1002);
    }
    for opcode in [TEXT, BINARY, PING, PONG, CLOSE] {
        breach("no mask", vec![FIN | opcode, 2, 0x03, 0xe8], 1002);
    }
    for opcode in [PING, PONG, CLOSE] {
        breach("a fragmented control frame", frame(opcode, b""), 1002);
        let long = frame(FIN | opcode, &[b'x'; 126]);
        breach("a long control frame", long, 1002);
        let header = [
            &[FIN | opcode, LENGTH_64][..],
            &5_000_000_000_u64.to_be_bytes(),
        ]
        .concat();
        breach("a huge control frame", header, 1002);
    }
}

/// Lengths that are encoded too long, and lengths beyond the limit.
fn bad_lengths(breach: &mut impl FnMut(&'static str, Vec<u8>, u16)) {
    let most = Limits::default().payload_bytes();
    for length in [0, 1, 125] {
        let header = [&[FIN | TEXT, LENGTH_16][..], &[0, length]].concat();
        let payload = vec![b'x'; length.into()];
        breach("a short length in 16 bits", raw(&header, &payload), 1002);
    }
    for length in [0_u64, 125, 126, 65_535] {
        let header = [&[FIN | TEXT, LENGTH_64][..], &length.to_be_bytes()].concat();
        breach("a short length in 64 bits", raw(&header, b""), 1002);
    }
    // Only the length is sent: the server does not wait for the payload, and
    // allocates nothing for it.
    for length in [
        most as u64 + 1,
        1 << 30,
        1 << 32,
        i64::MAX as u64,
        1 << 63,
        u64::MAX,
    ] {
        for opcode in [FIN | TEXT, TEXT, FIN | BINARY] {
            let length = length.max(65_536);
            let header = [&[opcode, LENGTH_64][..], &length.to_be_bytes()].concat();
            breach("a length beyond the limit", header, 1009);
        }
    }
    breach(
        "a length beyond the limit in 16 bits",
        vec![FIN | TEXT, LENGTH_16, 0xff, 0xff],
        1009,
    );
}

/// Messages beyond the size limit.
fn bad_sizes(breach: &mut impl FnMut(&'static str, Vec<u8>, u16)) {
    let most = Limits::default().payload_bytes();
    breach(
        "a payload beyond the limit",
        frame(FIN | TEXT, &vec![b'x'; most + 1]),
        1009,
    );
    let half = vec![b'x'; most / 2 + 1];
    breach(
        "fragments beyond the limit",
        [frame(TEXT, &half), frame(CONTINUATION, &half)].concat(),
        1009,
    );
    let mut small = frame(TEXT, b"");
    for _ in 0..=most / 100 {
        small.extend(frame(CONTINUATION, &[b'x'; 100]));
    }
    breach("small fragments beyond the limit", small, 1009);
}

/// Valid frames at a wrong place, and binary messages.
fn bad_order(breach: &mut impl FnMut(&'static str, Vec<u8>, u16)) {
    for first in [CONTINUATION, FIN | CONTINUATION] {
        breach("a continuation of nothing", frame(first, b"x"), 1002);
        breach(
            "a continuation of a complete message",
            [
                frame(TEXT, b"a"),
                frame(FIN | CONTINUATION, b"b"),
                frame(first, b"x"),
            ]
            .concat(),
            1002,
        );
    }
    for second in [FIN | TEXT, TEXT, FIN | BINARY, BINARY] {
        breach(
            "a message within another",
            [frame(TEXT, b"a"), frame(second, b"b")].concat(),
            1002,
        );
    }
    breach("binary", frame(FIN | BINARY, b"hi"), 1003);
    breach("empty binary", frame(FIN | BINARY, b""), 1003);
    breach(
        "fragmented binary",
        [frame(BINARY, b"\xff"), frame(FIN | CONTINUATION, b"\xff")].concat(),
        1003,
    );
}

#[tokio::test]
async fn breaches_of_the_rfc_close_the_connection() {
    let mut breaches = Vec::new();
    let mut breach = |what, bytes, code| breaches.push((what, bytes, code));
    bad_headers(&mut breach);
    bad_lengths(&mut breach);
    bad_sizes(&mut breach);
    bad_order(&mut breach);
    let server = TestServer::start().await;
    others_chat_on(&server, async {
        for (what, bytes, code) in &breaches {
            let start = &bytes[..bytes.len().min(16)];
            let told = closed_for(&server, what, bytes).await;
            assert_eq!(told, *code, "{what}: {start:02x?}");
        }
    })
    .await;
}
