//! Properties of a connection: its first bytes, and those after the upgrade.

use broadcast_chat::{
    fanout::Socket,
    http::{self, Upgraded},
    log,
    protocol::{ConnectionId, Seq, format::Format, json, name::RoomName},
    session::{self, Transport},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};

use super::chat::in_a_chat;

/// The first bytes of a connection are a request, and the response is HTTP.
pub(crate) fn requests(bytes: &[u8]) {
    in_a_chat(async |chat| {
        let (mut near, far) = duplex(64 << 10);
        let asked = async {
            // The server may answer and close before it has read everything.
            let _ = near.write_all(bytes).await;
            let _ = near.shutdown().await;
            let mut answer = Vec::new();
            let _ = near.read_to_end(&mut answer).await;
            answer
        };
        let registration = chat.register();
        let served = async {
            let Upgraded {
                stream,
                early,
                request: visit,
            } = http::serve(far, &registration, &chat.site, &chat.drain).await?;
            let format = visit.format;
            if format == Format::EventStream {
                let (read, write) = split(stream);
                let write = Socket::Other(Box::new(write));
                let connection = Transport { read, early, write };
                chat.run(connection, visit, &registration).await;
            }
            Some(format)
        };
        let (answer, format) = tokio::join!(asked, served);
        let status = answer.get(..12).unwrap_or_default();
        let upgraded = format.is_some_and(|format| format != Format::EventStream);
        assert_eq!(status == b"HTTP/1.1 101", upgraded);
        if format == Some(Format::EventStream) {
            assert_eq!(status, b"HTTP/1.1 200");
            are_events(&answer);
        }
        if !answer.is_empty() {
            assert!(
                matches!(
                    status,
                    [
                        b'H',
                        b'T',
                        b'T',
                        b'P',
                        b'/',
                        b'1',
                        b'.',
                        b'0' | b'1',
                        b' ',
                        b'1'..=b'5',
                        _,
                        _
                    ]
                ),
                "{:?}",
                String::from_utf8_lossy(&answer)
            );
        }
    });
}

/// Asserts that a response's body consists of whole events.
fn are_events(answer: &[u8]) {
    let answer = str::from_utf8(answer).expect("UTF-8");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(body.is_empty() || body.ends_with("\n\n"), "{body}");
    for line in body.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        match field {
            "" => {}
            "id" | "retry" => assert!(value.trim().parse::<u64>().is_ok(), "{line}"),
            "event" => assert!(value.trim().bytes().all(|b| b.is_ascii_lowercase())),
            "data" => assert!(json::parse_event(value).is_ok(), "{line}"),
            _ => panic!("{line}"),
        }
    }
}

/// Bytes after the upgrade store the same messages, however they are cut.
pub(crate) fn frames(bytes: &[u8]) {
    let whole = stored(bytes, bytes.len().max(1));
    assert_eq!(stored(bytes, 1), whole, "byte by byte");
    assert_eq!(stored(bytes, 5), whole, "five by five");
}

/// The stored texts, if the bytes arrive in pieces of this size.
fn stored(bytes: &[u8], piece: usize) -> Vec<String> {
    in_a_chat(async |chat| {
        let (near, far) = duplex(1 << 20);
        let (read, write) = split(far);
        let connection = Transport {
            read,
            early: bytes::Bytes::new(),
            write: Socket::Other(Box::new(write)),
        };
        let visit = session::SessionRequest {
            room: RoomName::lobby(),
            name: None,
            secret: None,
            proved: None,
            is_linked: false,
            base: "http://127.0.0.1:2000".into(),
            format: Format::Json,
            start: broadcast_chat::protocol::Start::default(),
            echo: true,
        };
        let spoken = speak(near, bytes, piece);
        let registration = chat.register();
        let listened = chat.run(connection, visit, &registration);
        tokio::join!(spoken, listened);
        // The writer may still be storing messages. This entry is applied after
        // all of them.
        let kick = log::Action::Kick(log::AuditRecord {
            operator: String::new(),
            act: String::new(),
            target: String::new(),
            reason: String::new(),
        });
        let made = chat.site.hub.act(ConnectionId::SERVER, kick).await;
        made.expect("a writer");
        let (history, room) = (chat.site.hub.history(), RoomName::lobby());
        let page = history.after(&room, Seq::START).await.expect("a page");
        let messages = page.room_batches.iter().flat_map(|run| run.messages());
        messages.map(|message| message.text.to_string()).collect()
    })
}

/// Writes the pieces one by one; asserts that the server sends whole frames.
async fn speak(mut near: DuplexStream, bytes: &[u8], piece: usize) {
    for piece in bytes.chunks(piece) {
        if near.write_all(piece).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let _ = near.shutdown().await;
    let mut answer = Vec::new();
    let _ = near.read_to_end(&mut answer).await;
    let mut rest = &answer[..];
    while let [first, second, after @ ..] = rest {
        assert_eq!(first & 0xf0, 0x80, "final, and no extension");
        let (length, body) = match (second, after) {
            (126, [a, b, body @ ..]) => (usize::from(u16::from_be_bytes([*a, *b])), body),
            (length @ 0..126, body) => (usize::from(*length), body),
            _ => panic!("a longer frame than any answer, or a masked one"),
        };
        rest = &body[length..];
    }
    assert!(rest.is_empty(), "whole frames");
}
