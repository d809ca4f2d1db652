//! Delivery over TLS: whole records, slow readers, catching up, drain.

use serde_json::{Value, json};

use super::{JSON, TlsPeer, TlsServer};
use crate::support::{CLOSE, FIN, TEXT, frame};

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_tls_reader_delays_no_other_and_receives_everything() {
    // 40 MB: more than the sockets buffer.
    const COUNT: usize = 5000;
    let text = "x".repeat(8000);
    let server = TlsServer::start().await;
    let mut slow = server.plain("/").await;
    let (mut sending, mut echo) = server.plain("/?name=ana").await.split();
    let said = text.clone();
    let sender = tokio::spawn(async move {
        for n in 0..COUNT {
            sending.say(&format!("{n} {said}")).await;
        }
        sending
    });
    for n in 0..COUNT {
        assert_eq!(echo.text().await, format!("ana: {n} {text}"));
    }
    let _sending = sender.await.expect("sent");
    // Nothing more is said: the last record must not wait for a next message.
    for n in 0..COUNT {
        assert_eq!(slow.text().await, format!("ana: {n} {text}"));
    }
    slow.say("caught up").await;
    assert!(slow.text().await.ends_with(": caught up"));
}

#[tokio::test(flavor = "multi_thread")]
async fn joining_over_tls_neither_misses_nor_repeats_messages() {
    const TOTAL: u64 = 2000;
    let server = TlsServer::start().await;
    let mut talking = server.plain("/?seq=1").await;
    let mut joiners = Vec::new();
    for n in 1..=TOTAL {
        talking.say("x").await;
        if n % 100 == 0 {
            let mut joiner = server.peer("/?backlog=20", &JSON).await;
            joiners.push(tokio::spawn(async move {
                assert_eq!(joiner.event().await["type"], "welcome");
                let mut last = None;
                while last != Some(TOTAL) {
                    let event = joiner.event().await;
                    if event["type"] == "live" {
                        continue;
                    }
                    let seq = event["seq"].as_u64().expect("a number");
                    assert!(
                        last.is_none_or(|last| event["prev"] == json!(last)),
                        "{last:?}: {event}"
                    );
                    last = Some(seq);
                }
            }));
        }
    }
    for n in 1..=TOTAL {
        assert!(talking.text().await.starts_with(&format!("{n} ")));
    }
    for joiner in joiners {
        joiner.await.expect("every message");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_over_tls_delivers_every_receipt_before_it_closes() {
    let server = TlsServer::start().await;
    let mut peer = server.peer("/?name=ana", &JSON).await;
    let mut reader = server.peer("/", &JSON).await;
    assert_eq!(peer.event().await["type"], "welcome");
    let commands: Vec<u8> = (0..500)
        .flat_map(|n| {
            let command =
                json!({"type": "publish", "text": "x".repeat(4000), "id": format!("m{n}")});
            frame(FIN | TEXT, command.to_string().as_bytes())
        })
        .collect();
    peer.write(&commands).await;
    assert_eq!(peer.event_of("message").await["id"], "m0");
    assert_eq!(reader.event_of("message").await["id"], "m0");
    server.server.begin_shutdown();
    // A receipt came for each message that the reader was shown, and for no other.
    let (receipts, shown) = tokio::join!(drained(&mut peer), drained(&mut reader));
    assert_eq!(receipts, shown);
    server.server.stop().await;
}

/// Reads messages, from the second one on, to the end of the connection.
/// Returns how many there were.
async fn drained(peer: &mut TlsPeer) -> usize {
    let mut count = 1;
    loop {
        let frame = peer.next().await.expect("a close frame before the end");
        if frame.opcode == CLOSE {
            let code = [frame.payload[0], frame.payload[1]];
            assert_eq!(u16::from_be_bytes(code), 4003);
            assert_eq!(peer.next().await, None, "the end");
            return count;
        }
        let event: Value = serde_json::from_slice(&frame.payload).expect("JSON");
        if event["type"] == "message" {
            assert_eq!(event["id"], format!("m{count}"));
            count += 1;
        }
    }
}
