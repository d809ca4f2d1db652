//! Inboxes: how much waits for an absent reader, and how a reader is shown it.

use broadcast_chat::{log::UnreadLimit, server::ServerOptions, store::Storage};
use serde_json::{Value, json};

use crate::support::{Peer, TestServer, options, soon};

async fn live(server: &TestServer, name: &str) -> Peer {
    let (mut peer, _) = server.owner(name, "").await;
    peer.event_of("live").await;
    peer
}

fn limited(of_sender: u32, of_all: u32) -> ServerOptions {
    let mut options = options();
    options.hub.capacity.unread = Some(UnreadLimit { of_sender, of_all });
    options
}

/// Sends a private message to bob; returns the answer.
async fn tell_bob(peer: &mut Peer, n: usize) -> Value {
    let text = n.to_string();
    let said = json!({"type": "private", "to": "bob", "text": text, "id": format!("m-{n}")});
    peer.event_after(&said).await
}

/// Closes the connection, and waits until the server has seen that bob left.
async fn leave(server: &TestServer, mut bob: Peer) {
    bob.send(0x88, &1000_u16.to_be_bytes()).await;
    assert_eq!(bob.closed().await.0, 1000);
    let mut other = server.plain("/").await;
    let gone = async { while other.text_after("/members").await.contains("bob") {} };
    soon("bob gone", gone).await;
}

/// Reads up to `live`; returns the texts of the private messages and of the
/// notices.
async fn replayed(peer: &mut Peer) -> (Vec<String>, Vec<String>) {
    let (mut private, mut notices) = (Vec::new(), Vec::new());
    loop {
        let event = peer.event().await;
        let text = event["text"].as_str().unwrap_or_default().to_owned();
        match event["type"].as_str() {
            Some("private") => private.push(text),
            Some("notice") => notices.push(text),
            Some("live") => return (private, notices),
            _ => panic!("{event}"),
        }
    }
}

fn numbers(range: std::ops::RangeInclusive<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

// Verified to fail when a repeat is refused.
#[tokio::test]
async fn an_absent_reader_has_room_for_so_many_messages() {
    let server = TestServer::start_with(&Storage::Memory, limited(3, 5)).await;
    let bob = live(&server, "bob").await;
    let (mut ana, mut carl) = (live(&server, "ana").await, live(&server, "carl").await);
    leave(&server, bob).await;
    for n in 1..=3 {
        assert_eq!(tell_bob(&mut ana, n).await["type"], "private");
    }
    let refused = tell_bob(&mut ana, 4).await;
    let told = (&refused["code"], &refused["id"], &refused["retry_ms"]);
    assert_eq!(told, (&json!("not_allowed"), &json!("m-4"), &Value::Null));
    assert_eq!(tell_bob(&mut ana, 3).await["duplicate"], true);
    for n in 4..=5 {
        assert_eq!(tell_bob(&mut carl, n).await["type"], "private");
    }
    // Carl has sent two, but five wait.
    assert_eq!(tell_bob(&mut carl, 6).await["code"], "not_allowed");
    let (mut bob, welcome) = server.owner("bob", "").await;
    assert_eq!(
        (&welcome["unread"], &welcome["inbox"]),
        (&json!(5), &json!(0))
    );
    let (private, notices) = replayed(&mut bob).await;
    assert_eq!(private, numbers(1..=5));
    let told =
        "5 private messages are unread. The inbox was full: the server refused any further ones.";
    assert_eq!(notices, [told]);
    // While the reader is here, no message waits.
    for n in 7..=12 {
        assert_eq!(tell_bob(&mut ana, n).await["type"], "private");
        assert_eq!(bob.event_of("private").await["text"], n.to_string());
    }
    leave(&server, bob).await;
    // The messages that the reader was shown have made room again.
    let room = async { while tell_bob(&mut carl, 13).await["type"] == "refused" {} };
    soon("room in the inbox", room).await;
}

// Verified to fail when everything unread follows.
#[tokio::test]
async fn a_returning_reader_gets_a_count_and_the_last_messages() {
    let server = TestServer::start().await;
    leave(&server, live(&server, "bob").await).await;
    let mut ana = live(&server, "ana").await;
    for n in 1..=60 {
        assert_eq!(tell_bob(&mut ana, n).await["type"], "private");
    }
    let (mut bob, welcome) = server.owner("bob", "").await;
    assert_eq!(
        (&welcome["unread"], &welcome["inbox"]),
        (&json!(60), &json!(21))
    );
    let (private, notices) = replayed(&mut bob).await;
    assert_eq!(private, numbers(11..=60));
    let told =
        "60 private messages are unread. Only the last ones follow; /inbox shows earlier ones.";
    assert_eq!(notices, [told]);
    // The earlier ones are there on request.
    let asked = json!({"type": "inbox", "before": 22, "ref": "r"});
    let page = bob.event_after(&asked).await;
    let texts = page["messages"].as_array().expect("messages").iter();
    let texts: Vec<_> = texts
        .map(|it| it["text"].as_str().expect("a text"))
        .collect();
    assert_eq!(texts, numbers(1..=10));
    assert_eq!((&page["more"], &page["ref"]), (&json!(false), &json!("r")));
    // A client that gives a position misses nothing and gets nothing twice.
    for (query, first) in [
        ("&after=0", 1),
        ("&inbox=0", 1),
        ("&after=20", 11),
        ("&inbox=100", 51),
    ] {
        let (mut again, welcome) = server.owner("bob", query).await;
        assert_eq!(welcome["unread"], Value::Null, "{query}");
        assert_eq!(replayed(&mut again).await.0, numbers(first..=60), "{query}");
    }
    // A name taken later, in plain lines.
    let mut late = server.plain("/").await;
    late.say("/name bob the-secret-of-bob").await;
    let notice = late.text().await;
    assert!(notice.starts_with("* 60 private messages"), "{notice}");
    assert_eq!(late.text().await, "* You are now bob.");
    assert_eq!(late.text().await, "* ana to you: 11");
    let mut late = server.plain("/").await;
    assert!(
        late.text_after("/inbox")
            .await
            .starts_with("* Own a name first")
    );
}
