use broadcast_chat::store::Storage;
use serde_json::json;

use crate::support::{CLOSE, FIN, MemoryChat, PING, PONG, TEXT, TestServer, options, soon};

/// The value of a metric in the text of `/-/metrics`.
fn figure(text: &str, name: &str) -> Option<f64> {
    let line = text
        .lines()
        .find(|line| line.split(' ').next() == Some(name))?;
    line.split(' ').nth(1)?.parse().ok()
}

async fn metrics(server: &TestServer) -> String {
    let request = b"GET /-/metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    server.request(request).await
}

/// Waits until a metric has a value. Some are counted only after peers see the
/// effect.
async fn until(server: &TestServer, name: &str, value: f64) {
    soon(name, async {
        while figure(&metrics(server).await, name) != Some(value) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn metrics_count_messages_refusals_and_connections() {
    let server = TestServer::start().await;
    let (mut ana, _) = server.json("/ops").await;
    let mut bob = server.plain("/ops").await;
    for (text, id, answer) in [
        ("one", "a", "message"),
        ("two", "b", "message"),
        ("two", "b", "accepted"),
    ] {
        let publish = json!({"type": "publish", "text": text, "id": id});
        ana.send(FIN | TEXT, publish.to_string().as_bytes()).await;
        ana.event_of(answer).await;
    }
    for _ in 0..2 {
        bob.text().await;
    }
    // The last messages are in memory: no page is read from the store.
    let mut back = server.plain("/ops?after=0").await;
    for _ in 0..2 {
        back.text().await;
    }
    ana.send(FIN | TEXT, b"no JSON").await;
    ana.event_of("refused").await;
    ana.send(FIN | CLOSE, &1000_u16.to_be_bytes()).await;
    ana.closed().await;
    drop(ana);

    for (name, value) in [
        ("chat_messages_stored_total", 2.0),
        ("chat_messages_duplicate_total", 1.0),
        ("chat_stored_bytes_total", 6.0),
        ("chat_messages_delivered_total", 6.0),
        ("chat_pages_read_total", 0.0),
        ("chat_batch_messages_sum", 3.0),
        (r#"chat_refusals_total{code="bad_json"}"#, 1.0),
        (r#"chat_closes_total{code="1000"}"#, 1.0),
        ("chat_rooms", 1.0),
        // Bob's, the one that resumed, and the one that asks for metrics.
        ("chat_connections", 3.0),
        ("chat_subscribers_catching_up", 0.0),
        ("chat_unsent_bytes", 0.0),
        ("chat_unindexed_messages", 0.0),
        ("chat_oldest_seq", 1.0),
    ] {
        until(&server, name, value).await;
    }
    let answer = metrics(&server).await;
    assert!(answer.contains("\r\ncontent-type: application/openmetrics-text; version=1.0.0;"));
    assert!(figure(&answer, "chat_commit_seconds_sum") > Some(0.0));
    assert!(figure(&answer, "chat_delivery_seconds_count") >= Some(1.0));
    assert!(figure(&answer, "chat_delivered_bytes_total") > Some(100.0));
    assert!(answer.ends_with("# EOF\n"));
    drop((bob, back));
    server.stop().await;
}

/// Unreadable requests and refused connections count too.
#[tokio::test]
async fn metrics_count_every_http_response() {
    let mut options = options();
    options.hub.capacity.connections = 2;
    let server = TestServer::start_with(&Storage::Memory, options).await;
    let first = server.plain("/").await;
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(10_000));
    for request in [
        "GET\r\n\r\n",
        &long,
        "GET /-/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    ] {
        server.request(request.as_bytes()).await;
    }
    let second = server.plain("/").await;
    let full = server.request(b"").await;
    assert!(full.starts_with("HTTP/1.1 503 "), "{full}");
    drop((first, second));
    for (status, count) in [(101, 2.0), (400, 1.0), (404, 1.0), (431, 1.0), (503, 1.0)] {
        let name = format!(r#"chat_http_answers_total{{status="{status}"}}"#);
        until(&server, &name, count).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn metrics_show_a_reader_that_is_behind() {
    let chat = MemoryChat::start();
    let (mut slow, _) = chat.join("slow", 64);
    let (mut ana, _) = chat.join("ana", 1 << 16);
    ana.text().await;
    for n in 0..20 {
        ana.say(&n.to_string()).await;
        ana.text().await;
    }
    let behind = |text: &str| {
        (
            figure(text, "chat_subscribers_catching_up"),
            figure(text, "chat_behind_messages"),
        )
    };
    let (count, messages) = behind(&chat.hub.openmetrics());
    assert_eq!(count, Some(1.0));
    assert!(messages > Some(10.0), "{messages:?}");
    let other = |name: &str| figure(&chat.hub.openmetrics(), name);
    // This chat runs no indexer.
    assert_eq!(other("chat_unindexed_messages"), Some(20.0));
    // At most the rest of one frame, `ana: 19` at the longest.
    let rest = other("chat_unsent_bytes").expect("a figure");
    assert!(rest < 9.0, "{rest}");
    slow.send(FIN | PING, b"here?").await;
    soon("the pong waits", async {
        while other("chat_unsent_bytes") != Some(rest + 7.0) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let (mut said, mut pongs) = (Vec::new(), 0);
    while said.len() < 21 {
        let frame = slow.next().await.expect("a frame");
        match frame.opcode {
            PONG => pongs += 1,
            _ => said.push(String::from_utf8(frame.payload).expect("UTF-8")),
        }
    }
    assert_eq!(pongs, 1);
    for (n, text) in said[1..].iter().enumerate() {
        assert_eq!(*text, format!("ana: {n}"));
    }
    assert_eq!(other("chat_unsent_bytes"), Some(0.0));
    soon("it is live again", async {
        while behind(&chat.hub.openmetrics()) != (Some(0.0), Some(0.0)) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_hub_is_ready_until_it_drains() {
    let mut chat = MemoryChat::start();
    assert!(chat.hub.is_ready());
    chat.end().await;
    assert!(!chat.hub.is_ready());
}
