//! Ids of messages: a repeat is stored once, and no client silences another by
//! its id.

use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{Peer, TestServer, upgraded};

/// A live connection, and with a secret the owner of its name.
async fn connected(server: &TestServer, name: &str, secret: Option<&str>) -> Peer {
    let proof = secret.map(|secret| format!("Bearer {secret}"));
    let mut headers = vec![("Sec-WebSocket-Protocol", "chat.v1")];
    headers.extend(proof.as_deref().map(|proof| ("Authorization", proof)));
    let mut peer = upgraded(server.addr, &format!("/?name={name}"), &headers).await;
    peer.event_of("live").await;
    peer
}

fn publish(text: &str, id: &str, follows: Option<&str>) -> String {
    let mut command = json!({"type": "publish", "text": text, "id": id});
    if let Some(follows) = follows {
        command["follows"] = follows.into();
    }
    command.to_string()
}

fn outcome(event: &Value) -> (&Value, &Value, &Value) {
    (&event["type"], &event["id"], &event["code"])
}

// Verified to fail when a repeat is known by its id alone, and when all authors
// share one scope.
#[tokio::test]
async fn an_id_with_another_text_is_refused() {
    let server = TestServer::start().await;
    let mut ana = connected(&server, "ana", Some("the-secret-of-ana")).await;
    let mut eve = connected(&server, "", None).await;
    let mut bob = connected(&server, "bob", None).await;
    eve.say(&publish("nothing", "job-1", None)).await;
    assert_eq!(eve.event_of("message").await["seq"], 1);
    for peer in [&mut ana, &mut bob] {
        peer.event_of("message").await;
    }
    // An owner has a scope of its own.
    ana.say(&publish("the disk is full", "job-1", None)).await;
    assert_eq!(ana.event_of("message").await["seq"], 2);
    bob.event_of("message").await;
    // All authors without an owned name share one.
    bob.say(&publish("the disk is full", "job-1", None)).await;
    let refused = bob.event().await;
    assert_eq!(
        outcome(&refused),
        (&json!("refused"), &json!("job-1"), &json!("id_taken"))
    );
    assert_eq!(refused["retry_ms"], Value::Null);
    bob.say(&publish("nothing", "job-1", None)).await;
    let repeat = json!({"type": "accepted", "id": "job-1", "seq": 1, "duplicate": true});
    assert_eq!(bob.event().await, repeat);
    // The server compares the safe text.
    ana.say(&publish("the disk is full\u{7}", "job-2", None))
        .await;
    assert_eq!(ana.event_of("message").await["seq"], 3);
    ana.say(&publish("the disk is full\u{fffd}", "job-2", None))
        .await;
    assert_eq!(ana.event_of("accepted").await["seq"], 3);
    let kind = json!({"type": "publish", "text": "nothing", "id": "job-1", "kind": "me"});
    eve.say(&kind.to_string()).await;
    assert_eq!(eve.event_of("refused").await["code"], "id_taken");
}

#[tokio::test]
async fn a_post_under_a_taken_key_gets_422() {
    let server = TestServer::start().await;
    let post = async |text: &str| {
        let length = text.len();
        let request = format!(
            "POST /ops HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: k\r\n\
             Connection: close\r\nContent-Length: {length}\r\n\r\n{text}"
        );
        server.request(request.as_bytes()).await
    };
    assert!(post("one").await.starts_with("HTTP/1.1 200 "));
    let refused = post("two").await;
    assert!(refused.starts_with("HTTP/1.1 422 "), "{refused}");
    assert!(refused.contains("under a new id"), "{refused}");
    let repeat = post("one").await;
    assert!(
        repeat.ends_with("{\"seq\":1,\"duplicate\":true}\n"),
        "{repeat}"
    );
}

// Verified to fail when what follows a taken id is stored.
#[tokio::test]
async fn what_follows_a_taken_id_waits_for_it() {
    let server = TestServer::start().await;
    let mut eve = connected(&server, "", None).await;
    let mut bob = connected(&server, "bob", None).await;
    eve.say(&publish("nothing", "b-1", None)).await;
    bob.event_of("message").await;
    for (text, id, follows) in [
        ("one", "b-1", None),
        ("two", "b-2", Some("b-1")),
        ("three", "b-3", Some("b-2")),
    ] {
        bob.say(&publish(text, id, follows)).await;
    }
    for (id, code) in [("b-1", "id_taken"), ("b-2", "busy"), ("b-3", "busy")] {
        let refused = bob.event().await;
        assert_eq!(
            outcome(&refused),
            (&json!("refused"), &json!(id), &json!(code))
        );
    }
    for (text, id, follows) in [
        ("one", "b-1-again", None),
        ("two", "b-2", Some("b-1-again")),
        ("three", "b-3", Some("b-2")),
    ] {
        bob.say(&publish(text, id, follows)).await;
    }
    for (seq, text) in [(2, "one"), (3, "two"), (4, "three")] {
        let message = bob.event().await;
        assert_eq!(
            (&message["seq"], &message["text"]),
            (&json!(seq), &json!(text))
        );
    }
    // A client may also give the message up: the next one is refused only once.
    bob.say(&publish("four", "b-1", None)).await;
    assert_eq!(bob.event().await["code"], "id_taken");
    bob.say(&publish("five", "b-5", Some("b-1"))).await;
    assert_eq!(bob.event().await["code"], "busy");
    bob.say(&publish("five", "b-5", Some("b-1"))).await;
    assert_eq!(bob.event().await["seq"], 5);
}

fn change(folder: &Path, sql: &str) {
    let db = Connection::open(folder.join("chat.sqlite")).expect("the store");
    db.execute_batch(sql).expect("changed");
}

// Verified to fail when the refusal is told without a receipt.
#[tokio::test]
async fn what_follows_a_deferred_private_message_waits_for_it() {
    let folder = tempdir().expect("a folder");
    let server = TestServer::start_in(folder.path()).await;
    let mut ana = connected(&server, "ana", Some("the-secret-of-ana")).await;
    let private = json!({"type": "private", "to": "ana", "text": "one", "id": "a-1"}).to_string();
    change(folder.path(), "ALTER TABLE names RENAME TO hidden");
    ana.say(&private).await;
    ana.say(&publish("two", "a-2", Some("a-1"))).await;
    for id in ["a-1", "a-2"] {
        let refused = ana.event().await;
        assert_eq!(
            outcome(&refused),
            (&json!("refused"), &json!(id), &json!("busy"))
        );
    }
    change(folder.path(), "ALTER TABLE hidden RENAME TO names");
    ana.say(&private).await;
    ana.say(&publish("two", "a-2", Some("a-1"))).await;
    for (seq, text) in [(1, "one"), (2, "two")] {
        let message = ana.event().await;
        assert_eq!(
            (&message["seq"], &message["text"]),
            (&json!(seq), &json!(text))
        );
    }
}
