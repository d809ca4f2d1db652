mod invalid;

use broadcast_chat::protocol::Limits;

use crate::support::{
    BINARY, CLOSE, CONTINUATION, FIN, Frame, MemoryChat, PING, PONG, TEXT, TestServer, frame,
    others_chat_on, soon,
};

/// Sends bytes to the server; returns the code of its close frame, which must
/// have a reason.
async fn closed_for(server: &TestServer, what: &str, bytes: &[u8]) -> u16 {
    let mut peer = server.plain("/").await;
    // The server may close before it has read everything.
    peer.sending.try_write(bytes).await;
    let (code, reason) = peer.closed().await;
    assert!(!reason.is_empty(), "{what}");
    code
}

#[tokio::test]
async fn a_close_frame_is_answered_with_its_code() {
    let server = TestServer::start().await;
    others_chat_on(&server, async {
        for code in [
            1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999,
            4000, 4999_u16,
        ] {
            for reason in ["", "bye", &"é".repeat(61)] {
                let payload = [&code.to_be_bytes()[..], reason.as_bytes()].concat();
                let close = frame(FIN | CLOSE, &payload);
                assert_eq!(closed_for(&server, "a close", &close).await, code);
                // The server ignores bytes after a close frame.
                let more = [close, frame(FIN | BINARY, b"x"), vec![0xff; 64]].concat();
                assert_eq!(closed_for(&server, "a close and more", &more).await, code);
            }
        }
        let close = frame(FIN | CLOSE, b"");
        assert_eq!(closed_for(&server, "an empty close", &close).await, 1000);
        let within = [frame(TEXT, b"half a mess"), close].concat();
        assert_eq!(
            closed_for(&server, "a close within", &within).await,
            1000,
            "a close may come between fragments"
        );
        for code in [
            0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535_u16,
        ] {
            let close = frame(FIN | CLOSE, &code.to_be_bytes());
            assert_eq!(
                closed_for(&server, "a close code", &close).await,
                1002,
                "{code}"
            );
        }
        let close = frame(FIN | CLOSE, b"\x03");
        assert_eq!(closed_for(&server, "half a close code", &close).await, 1002);
        for reason in [&b"\xff"[..], b"\xe2\x82", b"ok \xed\xa0\x80"] {
            let close = frame(FIN | CLOSE, &[b"\x03\xe8", reason].concat());
            assert_eq!(closed_for(&server, "a reason", &close).await, 1007);
        }
    })
    .await;
}

#[tokio::test]
async fn a_connection_cut_within_a_frame_affects_no_other() {
    let server = TestServer::start().await;
    let whole = frame(FIN | TEXT, b"hello");
    others_chat_on(&server, async {
        for cut in 0..whole.len() {
            let mut peer = server.plain("/elsewhere").await;
            peer.write(&whole[..cut]).await;
            drop(peer);
        }
        let mut peer = server.plain("/elsewhere").await;
        peer.write(&frame(TEXT, b"half")).await;
        drop(peer);
    })
    .await;
    let mut last = server.plain("/elsewhere").await;
    let tag = last.tag();
    soon("the members' leaving", async {
        loop {
            last.say("/members").await;
            if last.text().await == format!("* 1 here: {tag}") {
                break;
            }
        }
    })
    .await;
}

/// Cuts a text into two fragments at every byte: as they are, and with empty
/// fragments between them and at both ends.
fn cuts(text: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..=text.len()).flat_map(move |cut| {
        let (start, end) = text.split_at(cut);
        [
            [frame(TEXT, start), frame(FIN | CONTINUATION, end)].concat(),
            [
                frame(TEXT, b""),
                frame(CONTINUATION, start),
                frame(CONTINUATION, b""),
                frame(CONTINUATION, end),
                frame(FIN | CONTINUATION, b""),
            ]
            .concat(),
        ]
    })
}

#[tokio::test]
async fn a_text_may_be_fragmented_at_any_byte() {
    let server = TestServer::start().await;
    others_chat_on(&server, async {
        let mut peer = server.plain("/elsewhere?name=eve").await;
        let text = "aé€\u{7ff}\u{800}\u{d7ff}\u{e000}\u{fffd}\u{10000}😀\u{10ffff}z";
        let line = format!("eve: {text}");
        for bytes in cuts(text.as_bytes()) {
            peer.write(&bytes).await;
            assert_eq!(peer.text().await, line);
        }
        let mut single = Vec::new();
        for (index, byte) in text.bytes().enumerate() {
            let opcode = if index == 0 { TEXT } else { CONTINUATION };
            single.extend(frame(opcode, &[byte]));
            single.extend(frame(FIN | PONG, b"unasked"));
        }
        single.extend(frame(FIN | CONTINUATION, b""));
        peer.write(&single).await;
        assert_eq!(peer.text().await, line);
    })
    .await;
}

#[tokio::test]
async fn invalid_utf8_closes_the_connection() {
    let server = TestServer::start().await;
    others_chat_on(&server, async {
        for bad in [
            &b"\x80"[..],
            b"\xbf",
            b"\xfe",
            b"\xff",
            b"\xc0\x80",
            b"\xc1\xbf",
            b"\xe0\x80\x80",
            b"\xe0\x9f\xbf",
            b"\xf0\x80\x80\x80",
            b"\xf0\x8f\xbf\xbf",
            b"\xed\xa0\x80",
            b"\xed\xbf\xbf",
            b"\xed\xa0\xbd\xed\xb8\x80",
            b"\xf4\x90\x80\x80",
            b"\xf5\x80\x80\x80",
            b"\xf8\x88\x80\x80\x80",
            b"\xfc\x84\x80\x80\x80\x80",
            b"\xe2\x28\xa1",
            b"\xc3",
            b"\xe2\x82",
            b"\xf0\x9f\x98",
        ] {
            for (before, after) in [("", ""), ("ok ", ""), ("", "\n")] {
                let text = [before.as_bytes(), bad, after.as_bytes()].concat();
                let whole = frame(FIN | TEXT, &text);
                for bytes in cuts(&text).chain([whole]) {
                    let code = closed_for(&server, "bad UTF-8", &bytes).await;
                    assert_eq!(code, 1007, "{text:02x?} in {bytes:02x?}");
                }
            }
        }
        // The server closes at invalid bytes before the message ends.
        let early = frame(TEXT, b"\xed\xa0");
        assert_eq!(closed_for(&server, "a surrogate", &early).await, 1007);
    })
    .await;
}

#[tokio::test]
async fn pings_are_answered_between_fragments_and_in_floods() {
    let server = TestServer::start().await;
    others_chat_on(&server, async {
        let mut peer = server.plain("/elsewhere?name=eve").await;
        for payload in [vec![], vec![0xff; 1], (0..125).collect::<Vec<u8>>()] {
            peer.send(FIN | PING, &payload).await;
            let pong = Frame {
                opcode: PONG,
                payload: payload.clone(),
            };
            assert_eq!(peer.next().await, Some(pong));
            // Between fragments the pong comes at once too.
            peer.send(TEXT, b"one ").await;
            peer.send(FIN | PING, &payload).await;
            let pong = Frame {
                opcode: PONG,
                payload,
            };
            assert_eq!(peer.next().await, Some(pong));
            peer.send(FIN | CONTINUATION, b"message").await;
            assert_eq!(peer.text().await, "eve: one message");
        }
        // A peer that reads late receives one pong for each ping.
        let pings: Vec<u8> = (0..10_000_u32)
            .flat_map(|n| frame(FIN | PING, &n.to_be_bytes()))
            .collect();
        peer.write(&pings).await;
        for n in 0..10_000_u32 {
            let pong = peer.next().await.expect("a pong");
            assert_eq!((pong.opcode, pong.payload), (PONG, n.to_be_bytes().into()));
        }
        peer.say("still here").await;
        assert_eq!(peer.text().await, "eve: still here");
    })
    .await;
}

#[tokio::test]
async fn a_message_may_have_any_number_of_fragments() {
    let server = TestServer::start().await;
    others_chat_on(&server, async {
        let mut peer = server.plain("/elsewhere?name=eve").await;
        let nothing = frame(CONTINUATION, b"").repeat(100_000);
        peer.send(TEXT, b"much ado ").await;
        peer.write(&nothing).await;
        peer.send(FIN | CONTINUATION, b"about nothing").await;
        assert_eq!(peer.text().await, "eve: much ado about nothing");
        // Empty messages are ignored, however many messages and fragments.
        peer.write(&frame(FIN | TEXT, b"").repeat(10_000)).await;
        peer.send(TEXT, b"").await;
        peer.write(&nothing).await;
        peer.send(FIN | CONTINUATION, b"").await;
        peer.say("still here").await;
        assert_eq!(peer.text().await, "eve: still here");
    })
    .await;
}

#[tokio::test]
async fn a_text_may_be_as_long_as_the_limit() {
    let server = TestServer::start().await;
    let most = Limits::default().text_bytes;
    others_chat_on(&server, async {
        let mut peer = server.plain("/elsewhere?name=eve").await;
        for text in ["x".repeat(most), "😀".repeat(most / 4)] {
            peer.say(&text).await;
            assert_eq!(peer.text().await, format!("eve: {text}"));
            let (start, end) = text.as_bytes().split_at(most / 2 - 1);
            peer.send(TEXT, start).await;
            peer.send(FIN | CONTINUATION, end).await;
            assert_eq!(peer.text().await, format!("eve: {text}"));
        }
        // A longer text is refused, and the session goes on. Only a payload
        // longer than any encoding of a valid text closes the connection.
        for length in [most + 1, Limits::default().payload_bytes()] {
            peer.say(&"x".repeat(length)).await;
            let refused = peer.text().await;
            assert!(refused.starts_with("* "), "{refused}");
        }
        peer.say("still here").await;
        assert_eq!(peer.text().await, "eve: still here");
    })
    .await;
}

/// The stream holds one byte, so the server reads byte by byte.
#[tokio::test]
async fn frames_may_arrive_byte_by_byte() {
    let chat = MemoryChat::start();
    let (mut peer, ended) = chat.join("eve", 1);
    assert_eq!(peer.text().await, "Welcome to chat! Type a message");
    let long = "é".repeat(200);
    let bytes = [
        frame(FIN | TEXT, "aé€😀".as_bytes()),
        frame(TEXT, long.as_bytes()),
        frame(FIN | PING, b"there?"),
        frame(FIN | CONTINUATION, "€".as_bytes()),
    ]
    .concat();
    let (mut sending, mut peer) = peer.split();
    let heard = async {
        let mut pongs = 0;
        let mut texts = Vec::new();
        while texts.len() < 2 {
            let frame = peer.next().await.expect("a frame");
            match frame.opcode {
                PONG => pongs += 1,
                TEXT => texts.push(String::from_utf8(frame.payload).expect("UTF-8")),
                other => panic!("{other}"),
            }
        }
        assert_eq!(pongs, 1);
        let said = ["aé€😀".to_owned(), format!("{long}€")];
        assert_eq!(texts, said.map(|text| format!("eve: {text}")));
    };
    tokio::join!(heard, sending.write(&bytes));
    let close = frame(FIN | CLOSE, b"\x03\xe9bye");
    let ((code, _), ()) = tokio::join!(peer.closed(), sending.write(&close));
    assert_eq!(code, 1001);
    drop((peer, sending));
    soon("the end of the session", ended)
        .await
        .expect("no panic");
}

#[tokio::test]
async fn messages_before_a_close_frame_are_published() {
    let server = TestServer::start().await;
    let mut ana = server.plain("/").await;
    for _ in 0..20 {
        let mut peer = server.plain("/").await;
        let line = format!("{}: last words", peer.tag());
        let words = frame(FIN | TEXT, b"last words");
        let close = frame(FIN | CLOSE, b"\x03\xe8");
        peer.write(&[words, close].concat()).await;
        assert_eq!(peer.closed().await.0, 1000);
        assert_eq!(ana.text().await, line);
    }
}
