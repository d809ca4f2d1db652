use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, advance, pause, timeout};

use crate::support::{Chat, MemoryPeer, Peer, TestServer, upgrade};

/// Somebody who speaks JSON and is live.
async fn live(server: &TestServer, target: &str) -> (Peer, Value) {
    let (mut peer, welcome) = server.json(target).await;
    peer.event_of("live").await;
    (peer, welcome)
}

#[tokio::test]
async fn others_hear_who_comes_and_goes() {
    let server = TestServer::start().await;
    let (mut ana, welcome) = live(&server, "/?name=ana").await;
    assert_eq!(welcome["members"], 1);
    let mut plain = server.plain("/").await;
    let joined =
        |addr: &str, members: u32| json!({"type": "joined", "addr": addr, "members": members});
    assert_eq!(ana.any_event().await, joined(&plain.tag(), 2));

    let (mut bob, welcome) = live(&server, "/").await;
    assert_eq!(welcome["members"], 3);
    assert_eq!(ana.any_event().await, joined(&bob.tag(), 3));
    bob.say(r#"{"type":"name","name":"bob"}"#).await;
    assert_eq!(bob.any_event().await["type"], "name");
    let renamed = json!({"type": "renamed", "from": bob.tag(), "to": "bob"});
    assert_eq!(ana.any_event().await, renamed);

    let tag = plain.tag();
    drop(plain);
    let left = json!({"type": "left", "addr": tag, "members": 2});
    assert_eq!(ana.any_event().await, left);
    assert_eq!(bob.any_event().await, left);

    // Who goes to another room has left this one, and hears of the other.
    let (mut eve, _) = live(&server, "/tea").await;
    let mut tag = eve.tag();
    bob.say(r#"{"type":"join","room":"tea"}"#).await;
    let named = json!({"type": "joined", "name": "bob", "addr": bob.tag(), "members": 2});
    assert_eq!(eve.any_event().await, named);
    assert_eq!(bob.event_of("live").await["type"], "live");
    drop(eve);
    let left = json!({"type": "left", "addr": tag, "members": 1});
    assert_eq!(bob.any_event().await, left);

    // In plain nobody hears of it.
    plain = server.plain("/").await;
    tag = server.plain("/?name=eve").await.tag();
    plain.say("hello").await;
    assert_eq!(plain.text().await, format!("{}: hello", plain.tag()));
    assert_ne!(tag, plain.tag());
}

#[tokio::test]
async fn a_reconnect_shows_nothing() {
    let server = TestServer::start().await;
    let (mut watcher, _) = live(&server, "/").await;
    for round in 0..5 {
        let mut bob = server.plain("/?name=bob").await;
        if round == 0 {
            assert_eq!(watcher.any_event().await["name"], "bob");
        }
        assert_eq!(bob.text_after("/members").await, {
            let mut names = ["bob".to_owned(), watcher.tag()];
            names.sort();
            format!("* 2 here: {}", names.join(", "))
        });
    }
    // It is in the order of things: what comes next is not about bob.
    let eve = server.plain("/?name=eve").await;
    assert_eq!(watcher.any_event().await["name"], "eve");
    drop(eve);
}

#[tokio::test]
async fn one_person_is_one_member_however_many_connections() {
    let server = TestServer::start().await;
    let (mut watcher, _) = live(&server, "/").await;
    let (mut ana, _) = live(&server, "/").await;
    assert_eq!(watcher.any_event().await["type"], "joined");
    // Both under one address: the second is another one without a name.
    ana.say(r#"{"type":"members"}"#).await;
    let members = ana.any_event().await;
    assert_eq!(members["total"], 2);
    assert_eq!(members["names"].as_array().map(Vec::len), Some(2));
}

/// A JSON peer in memory that is live.
async fn in_memory(chat: &Chat, name: Option<&str>) -> MemoryPeer {
    let mut peer = MemoryPeer::over(chat.connect(1 << 20));
    let query = name.map(|name| format!("?name={name}")).unwrap_or_default();
    let addr = ([127, 0, 0, 1], 2000).into();
    let head = upgrade(
        addr,
        &format!("/{query}"),
        &[("Sec-WebSocket-Protocol", "chat.v1")],
    );
    peer.write(head.as_bytes()).await;
    assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
    peer.event_of("live").await;
    peer
}

#[tokio::test]
async fn who_stays_away_has_left() {
    let chat = Chat::start();
    let mut watcher = in_memory(&chat, None).await;
    let ana = in_memory(&chat, Some("ana")).await;
    assert_eq!(watcher.any_event().await["name"], "ana");
    pause();
    let start = Instant::now();
    drop(ana);
    assert_eq!(watcher.any_event().await["type"], "left");
    let after = start.elapsed();
    assert!(after >= Duration::from_secs(4), "{after:?}");
}

#[tokio::test]
async fn a_crowd_that_comes_at_once_is_a_number() {
    const CROWD: usize = 500;
    let chat = Chat::start();
    let mut watcher = in_memory(&chat, None).await;
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        crowd.push(in_memory(&chat, None).await);
    }
    pause();
    advance(Duration::from_secs(2)).await;
    let mut heard = 0;
    let total = loop {
        let event = watcher.any_event().await;
        heard += 1;
        if event["type"] == "members" && event["total"] == CROWD + 1 {
            assert!(event["names"].is_null(), "{event}");
            break event["total"].clone();
        }
    };
    assert_eq!(total, CROWD + 1);
    assert!(heard < 40, "{heard} events for {CROWD}");
    // The others hear no more than that, and nothing for ever after.
    let last = crowd.last_mut().expect("a crowd");
    let mut heard = 0;
    while timeout(Duration::from_secs(20), last.any_event())
        .await
        .is_ok()
    {
        heard += 1;
    }
    assert!(heard <= 2, "{heard}");
}
