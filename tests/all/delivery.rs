use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{Reading, TEXT, TestServer, frame, soon};

/// Reads `count` plain lines and asserts that they hold 0, 1, 2 and so on.
async fn expect_all(peer: &mut Reading, tag: &str, count: usize) {
    for n in 0..count {
        assert_eq!(peer.text().await, format!("{tag}: {n}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_reaches_every_reader_completely_and_in_order() {
    let server = TestServer::start().await;
    for count in [17, 1000, 100_000] {
        let sender = server.plain("/").await;
        let tag = sender.tag();
        let mut readers = JoinSet::new();
        for _ in 0..3 {
            let (mut reader, tag) = (server.plain("/").await, tag.clone());
            readers.spawn(async move {
                expect_all(&mut reader, &tag, count).await;
                reader
            });
        }
        let (mut sending, mut echo) = sender.split();
        let echoed = tokio::spawn(async move { expect_all(&mut echo, &tag, count).await });
        let burst: Vec<u8> = (0..count)
            .flat_map(|n| frame(0x80 | TEXT, n.to_string().as_bytes()))
            .collect();
        sending.write(&burst).await;
        soon("the echo", echoed).await.expect("all of it");
        let readers = soon("the burst", readers.join_all()).await;
        // The readers are still connected.
        for mut reader in readers {
            reader.say("/members").await;
            while !reader.text().await.starts_with("* ") {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_readers_see_the_same_order() {
    const PUBLISHERS: usize = 8;
    const EACH: usize = 300;
    let server = TestServer::start().await;
    let mut readers = JoinSet::new();
    for _ in 0..4 {
        let mut reader = server.plain("/?seq=1").await;
        readers.spawn(async move {
            let mut lines = Vec::new();
            for _ in 0..PUBLISHERS * EACH {
                lines.push(reader.text().await);
            }
            lines
        });
    }
    let mut publishers = JoinSet::new();
    for _ in 0..PUBLISHERS {
        let mut publisher = server.plain("/").await;
        publishers.spawn(async move {
            let tag = publisher.tag();
            for n in 0..EACH {
                publisher.say(&n.to_string()).await;
            }
            (tag, publisher)
        });
    }
    let publishers = publishers.join_all().await;
    let mut seen = readers.join_all().await;
    let first = seen.pop().expect("a reader");
    assert!(seen.iter().all(|lines| *lines == first));
    for (tag, _) in publishers {
        let said: Vec<_> = first
            .iter()
            .filter_map(|l| l.split_once(&format!(" {tag}: ")))
            .collect();
        let order: Vec<usize> = said
            .iter()
            .map(|(_, n)| n.parse().expect("a number"))
            .collect();
        assert_eq!(order, (0..EACH).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn joining_neither_misses_nor_repeats_messages() {
    const TOTAL: u64 = 4000;
    let server = TestServer::start().await;
    let mut joiners = JoinSet::new();
    let mut talking = server.plain("/?seq=1").await;
    for n in 1..=TOTAL {
        talking.say("x").await;
        if n % 50 == 0 {
            // The backlog ends where live delivery begins, at any moment.
            let (mut joiner, welcome) = server.json("/?backlog=20").await;
            joiners.spawn(async move {
                let mut last = None;
                let mut live = false;
                while last != Some(TOTAL) {
                    let event = joiner.event().await;
                    if event["type"] == "live" {
                        assert!(event["seq"].as_u64() >= welcome["head"].as_u64());
                        live = true;
                        continue;
                    }
                    let seq = event["seq"].as_u64().expect("a number");
                    assert!(
                        last.is_none_or(|last| event["prev"] == json!(last)),
                        "{last:?}: {event}"
                    );
                    last = Some(seq);
                }
                assert!(live || joiner.event().await["type"] == "live");
            });
        }
    }
    for n in 1..=TOTAL {
        assert!(talking.text().await.starts_with(&format!("{n} ")));
    }
    soon("the joiners", joiners.join_all()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_delays_no_other_and_receives_everything() {
    // 40 MB: more than the sockets buffer.
    const COUNT: usize = 5000;
    let text = "x".repeat(8000);
    let server = TestServer::start().await;
    let mut slow = server.plain("/").await;
    let (mut sending, mut echo) = server.plain("/").await.split();
    let tag = sending.tag();
    let said = text.clone();
    let sender = tokio::spawn(async move {
        for n in 0..COUNT {
            sending.say(&format!("{n} {said}")).await;
        }
        sending
    });
    for n in 0..COUNT {
        assert_eq!(echo.text().await, format!("{tag}: {n} {text}"));
    }
    // The sender has received everything. Now the slow reader reads.
    let mut sending = sender.await.expect("sent");
    sending.say("last").await;
    for n in 0..COUNT {
        assert_eq!(slow.text().await, format!("{tag}: {n} {text}"));
    }
    assert_eq!(slow.text().await, format!("{tag}: last"));
    slow.say("caught up").await;
    assert!(slow.text().await.ends_with(": caught up"));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_stay_in_their_room() {
    let server = TestServer::start().await;
    let mut rooms = Vec::new();
    for n in 0..20 {
        rooms.push((n, server.plain(&format!("/room-{n}?name=r{n}")).await));
    }
    for round in 0..20 {
        for (n, peer) in &mut rooms {
            peer.say(&format!("{n} {round}")).await;
        }
    }
    for (n, mut peer) in rooms {
        for round in 0..20 {
            assert_eq!(peer.text().await, format!("r{n}: {n} {round}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_connection_leaves_no_member() {
    let server = TestServer::start().await;
    let mut ana = server.plain("/?name=ana").await;
    for _ in 0..20 {
        // The connection ends without a close frame.
        drop(server.plain("/?name=bob").await);
    }
    soon("their leaving", async {
        loop {
            ana.say("/members").await;
            if ana.text().await == "* 1 here: ana" {
                break;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_sent_before_a_connection_reset_are_published() {
    let server = TestServer::start().await;
    let mut reader = server.plain("/").await;
    for n in 0..50 {
        let hasty = server.plain("/?name=hasty").await;
        let (mut sending, unread) = hasty.split();
        // Data that the peer leaves unread makes its end a connection reset.
        sending.say("/help").await;
        reader.say("unread").await;
        assert!(reader.text().await.ends_with(": unread"));
        for word in ["a", "b"] {
            sending.say(&format!("{word}{n}")).await;
        }
        drop((sending, unread));
        assert_eq!(reader.text().await, format!("hasty: a{n}"));
        assert_eq!(reader.text().await, format!("hasty: b{n}"));
    }
}
