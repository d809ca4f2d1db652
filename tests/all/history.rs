use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{TestServer, soon};

#[tokio::test]
async fn a_restart_keeps_messages_ids_and_numbers() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("deep/chat-data");
    let server = TestServer::start_in(&data).await;
    let mode = std::fs::metadata(&data)
        .expect("created")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
    let (mut ana, before) = server.json("/?name=ana").await;
    ana.say(r#"{"type":"publish","text":"one","id":"a"}"#).await;
    ana.say(r#"{"type":"publish","text":"two","kind":"me"}"#)
        .await;
    let one = ana.event_of("message").await;
    let two = ana.event_of("message").await;
    drop(ana);
    server.stop().await;

    let server = TestServer::start_in(&data).await;
    let (mut bob, after) = server.json("/?after=0").await;
    assert_eq!(after["epoch"], before["epoch"]);
    assert_eq!(after["head"], 2);
    assert_eq!(bob.event().await, one);
    assert_eq!(bob.event().await, two);
    assert_eq!(bob.event().await, json!({"type": "live", "seq": 2}));
    // The same id is the same message, and numbers continue.
    bob.say(r#"{"type":"publish","text":"one","id":"a"}"#).await;
    let receipt = json!({"type": "accepted", "id": "a", "seq": 1, "duplicate": true});
    assert_eq!(bob.event().await, receipt);
    bob.say(r#"{"type":"publish","text":"three"}"#).await;
    let three = bob.event().await;
    assert_eq!((&three["seq"], &three["prev"]), (&json!(3), &json!(2)));
    // In another room the id can be used again.
    bob.say(r#"{"type":"join","room":"tea"}"#).await;
    bob.event_of("live").await;
    bob.say(r#"{"type":"publish","text":"one","id":"a"}"#).await;
    assert_eq!(bob.event().await["seq"], 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_under_load_keeps_echoed_messages_and_closes_clients() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start_in(folder.path()).await;
    let mut publishers = JoinSet::new();
    for p in 0..8 {
        let (mut sending, mut echo) = server.plain(&format!("/?name=p{p}")).await.split();
        publishers.spawn(async move {
            let sender = tokio::spawn(async move {
                // Until the server reads no more.
                for n in 0.. {
                    if !sending.try_say(&n.to_string()).await {
                        break;
                    }
                }
            });
            let mut seen = Vec::new();
            let end = loop {
                let frame = echo.next().await.expect("a close frame before the end");
                match frame.opcode {
                    1 => seen.push(String::from_utf8(frame.payload).expect("UTF-8")),
                    8 => break frame.payload,
                    _ => {}
                }
            };
            sender.abort();
            assert_eq!(end[..2], 1001_u16.to_be_bytes());
            seen
        });
    }
    let mut watching = server.plain("/").await;
    for _ in 0..500 {
        watching.text().await;
    }
    drop(watching);
    soon("the end", server.stop()).await;
    let mut seen = soon("goodbye", publishers.join_all()).await;

    let server = TestServer::start_in(folder.path()).await;
    let mut reader = server.plain("/?after=0").await;
    let longest = seen
        .iter()
        .max_by_key(|lines| lines.len())
        .expect("one")
        .clone();
    for line in &longest {
        assert_eq!(reader.text().await, *line);
    }
    reader.say("that was all").await;
    assert!(
        reader.text().await.ends_with("that was all"),
        "every stored message was echoed"
    );
    for lines in &mut seen {
        assert!(
            longest.ends_with(lines),
            "every publisher saw all messages since its join"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_under_load_sends_every_receipt() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start_in(folder.path()).await;
    let mut publishers = JoinSet::new();
    for p in 0..8 {
        let (peer, _) = server.json(&format!("/?name=p{p}&echo=0")).await;
        let (mut sending, mut reading) = peer.split();
        publishers.spawn(async move {
            let sender = tokio::spawn(async move {
                while sending.try_say(r#"{"type":"publish","text":"x"}"#).await {}
                sending
            });
            let mut accepted = 0;
            while let Some(frame) = reading.next().await {
                let event = String::from_utf8_lossy(&frame.payload).into_owned();
                accepted += usize::from(event.contains(r#""type":"accepted""#));
            }
            sender.abort();
            accepted
        });
    }
    let mut watching = server.plain("/").await;
    for _ in 0..500 {
        watching.text().await;
    }
    drop(watching);
    soon("the end", server.stop()).await;
    let accepted: usize = soon("goodbye", publishers.join_all())
        .await
        .into_iter()
        .sum();
    let database =
        rusqlite::Connection::open(folder.path().join("chat.sqlite")).expect("the store");
    let stored: isize = database
        .query_row("SELECT count(*) FROM messages", [], |row| row.get(0))
        .expect("a count");
    assert_eq!(accepted.cast_signed(), stored);
}

#[tokio::test]
async fn a_store_that_cannot_write_refuses_and_recovers() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start_in(folder.path()).await;
    let (mut ana, _) = server.json("/?name=ana").await;
    ana.event_of("live").await;
    let mut bob = server.plain("/?name=bob").await;
    bob.say("before").await;
    assert_eq!(bob.text().await, "bob: before");
    assert_eq!(ana.event().await["seq"], 1);

    let fault = rusqlite::Connection::open(folder.path().join("chat.sqlite")).expect("the store");
    let fail = "CREATE TRIGGER fault BEFORE INSERT ON messages \
                BEGIN SELECT RAISE(ABORT, 'the disk is full'); END";
    fault.execute_batch(fail).expect("a fault");
    ana.say(r#"{"type":"publish","text":"lost","id":"a"}"#)
        .await;
    let refused = ana.event().await;
    assert_eq!(
        (&refused["code"], &refused["id"]),
        (&json!("busy"), &json!("a"))
    );
    assert!(
        refused["retry_ms"].as_u64().is_some_and(|ms| ms > 0),
        "{refused}"
    );
    bob.say("lost").await;
    assert!(
        bob.text()
            .await
            .starts_with("* The message could not be stored")
    );
    let post = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx";
    assert!(server.request(post).await.starts_with("HTTP/1.1 503 "));

    fault.execute_batch("DROP TRIGGER fault").expect("mended");
    // A repeat under the same id is stored, and the numbers have no hole.
    ana.say(r#"{"type":"publish","text":"found","id":"a"}"#)
        .await;
    let message = ana.event().await;
    assert_eq!((&message["seq"], &message["prev"]), (&json!(2), &json!(1)));
    assert_eq!(bob.text().await, "ana: found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_history_is_replayed_completely() {
    const COUNT: u64 = 20_000;
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start_in(folder.path()).await;
    let (mut sending, mut echo) = server.plain("/?seq=1&name=ana").await.split();
    let sender = tokio::spawn(async move {
        for n in 1..=COUNT {
            sending.say(&n.to_string()).await;
        }
        sending
    });
    for n in 1..=COUNT {
        assert_eq!(echo.text().await, format!("{n} ana: {n}"));
    }
    drop(sender.await);
    server.stop().await;
    // After the restart no message is in memory.
    let server = TestServer::start_in(folder.path()).await;
    let mut reader = server.plain("/?seq=1&after=100").await;
    for n in 101..=COUNT {
        assert_eq!(reader.text().await, format!("{n} ana: {n}"));
    }
    let mut reader = server.plain("/?seq=1&backlog=1000").await;
    for n in COUNT - 999..=COUNT {
        assert_eq!(reader.text().await, format!("{n} ana: {n}"));
    }
}
