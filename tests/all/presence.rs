use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, advance, pause, timeout};

use crate::support::{MemoryChat, MemoryPeer, Peer, TestServer, upgrade};

/// A live peer in the JSON format, and its welcome.
async fn live(server: &TestServer, target: &str) -> (Peer, Value) {
    let (mut peer, welcome) = server.json(target).await;
    peer.event_of("live").await;
    (peer, welcome)
}

#[tokio::test]
async fn members_receive_joins_leaves_and_renames() {
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

    // A member that changes rooms joins the other room and hears its events.
    let (mut eve, _) = live(&server, "/tea").await;
    let mut tag = eve.tag();
    bob.say(r#"{"type":"join","room":"tea"}"#).await;
    let named = json!({"type": "joined", "name": "bob", "addr": bob.tag(), "members": 2});
    assert_eq!(eve.any_event().await, named);
    assert_eq!(bob.event_of("live").await["type"], "live");
    drop(eve);
    let left = json!({"type": "left", "addr": tag, "members": 1});
    assert_eq!(bob.any_event().await, left);

    // The plain format shows no presence events.
    plain = server.plain("/").await;
    tag = server.plain("/?name=eve").await.tag();
    plain.say("hello").await;
    assert_eq!(plain.text().await, format!("{}: hello", plain.tag()));
    assert_ne!(tag, plain.tag());
}

#[tokio::test]
async fn a_quick_reconnect_causes_no_presence_events() {
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
    // Events come in order, and the next one is not about bob.
    let eve = server.plain("/?name=eve").await;
    assert_eq!(watcher.any_event().await["name"], "eve");
    drop(eve);
}

#[tokio::test]
async fn connections_without_a_name_are_separate_members() {
    let server = TestServer::start().await;
    let (mut watcher, _) = live(&server, "/").await;
    let (mut ana, _) = live(&server, "/").await;
    assert_eq!(watcher.any_event().await["type"], "joined");
    // Each connection without a name is a member, also from one address.
    ana.say(r#"{"type":"members"}"#).await;
    let members = ana.any_event().await;
    assert_eq!(members["total"], 2);
    assert_eq!(members["names"].as_array().map(Vec::len), Some(2));
}

/// A live peer in the JSON format, in memory.
async fn in_memory(chat: &MemoryChat, name: Option<&str>) -> MemoryPeer {
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
async fn a_member_has_left_after_the_grace_period() {
    let chat = MemoryChat::start();
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
async fn a_crowd_that_joins_at_once_is_announced_as_count() {
    const CROWD: usize = 500;
    let chat = MemoryChat::start();
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
    // The last of the crowd receives at most two events, and then none.
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
