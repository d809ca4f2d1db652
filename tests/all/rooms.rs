use serde_json::json;
use tempfile::tempdir;

use crate::support::TestServer;

#[tokio::test]
async fn rooms_are_listed_by_number_of_members() {
    let server = TestServer::start().await;
    let mut plain = server.plain("/_hidden").await;
    let nobody = "* No listed room has people in it.";
    assert_eq!(plain.text_after("/rooms").await, nobody);
    let mut peers = Vec::new();
    let ana = [("Authorization", "Bearer the-secret-of-ana")];
    for (room, proof) in [
        ("/tea", &[][..]),
        ("/lobby", &[]),
        ("/tea?name=ana", &ana),
        ("/tea?name=ana", &ana),
        ("/ops", &[]),
    ] {
        let mut peer = server.peer(room, proof).await;
        assert_eq!(peer.text().await, "Welcome to chat! Type a message");
        peers.push(peer);
    }
    let (mut json, _) = server.json("/tea").await;
    json.event_of("live").await;
    let answer = peers[0].text_after("/topic  five o'clock ").await;
    let tag = peers[0].tag();
    assert_eq!(answer, format!("* The topic of tea: five o'clock ({tag})"));

    let rooms = json.event_after(&json!({"type": "rooms"})).await;
    // The event of the new topic may come before the answer.
    let rooms = match rooms["type"].as_str() {
        Some("topic") => json.event().await,
        _ => rooms,
    };
    let expected = json!({"type": "rooms", "total": 3, "rooms": [
        {"room": "tea", "members": 3, "topic": "five o'clock"},
        {"room": "lobby", "members": 1},
        {"room": "ops", "members": 1},
    ]});
    assert_eq!(rooms, expected);
    let line = "* Rooms with people in them:\n  tea (3): five o'clock\n  lobby (1)\n  ops (1)";
    assert_eq!(plain.text_after("/rooms").await, line);
    drop(peers);
}

#[tokio::test]
async fn rooms_that_nobody_is_in_are_listed() {
    let server = TestServer::start().await;
    let ana = [("Authorization", "Bearer the-secret-of-ana")];
    let mut peer = server.peer("/plans?name=ana", &ana).await;
    assert_eq!(peer.text().await, "Welcome to chat! Type a message");
    assert!(peer.text_after("/private").await.contains("is private"));
    for room in ["plans", "tea", "ops", "tea"] {
        peer.text_after(&format!("/join {room}")).await;
        assert_eq!(peer.text_after("hi").await, "ana: hi");
    }
    peer.text_after("/join #lobby").await;
    // Its place in the list would tell when its members speak.
    let (mut stranger, _) = server.json("/").await;
    stranger.event_of("live").await;
    let beyond = json!({"type": "rooms", "after": "plans"});
    assert_eq!(stranger.event_after(&beyond).await["type"], "refused");
    drop(stranger);
    // The list of another person lacks the private room.
    for (name, proof, expected) in [
        ("eve", &[][..], &[("tea", 0), ("ops", 0), ("lobby", 2)][..]),
        (
            "ana",
            &ana,
            &[("tea", 0), ("ops", 0), ("plans", 0), ("lobby", 1)],
        ),
    ] {
        let headers = [&[("Sec-WebSocket-Protocol", "chat.v1")], proof].concat();
        let mut json = server.peer(&format!("/?name={name}"), &headers).await;
        json.event_of("live").await;
        let rooms = json.event_after(&json!({"type": "rooms"})).await;
        let listed: Vec<_> = rooms["rooms"]
            .as_array()
            .expect("rooms")
            .iter()
            .map(|info| {
                (
                    info["room"].as_str().expect("a room"),
                    info["members"].as_u64(),
                )
            })
            .collect();
        let expected: Vec<_> = expected.iter().map(|(room, n)| (*room, Some(*n))).collect();
        assert_eq!(listed, expected, "{rooms}");
        assert_eq!(rooms["total"], expected.len());
        let last = &rooms["rooms"][0]["last"];
        assert!(last["seq"].is_u64() && last["at"].is_string(), "{rooms}");
        let after = json!({"type": "rooms", "after": "#ops"});
        let rest = json.event_after(&after).await;
        assert_eq!(
            rest["rooms"].as_array().expect("rooms").len(),
            expected.len() - 2
        );
    }
}

#[tokio::test]
async fn at_most_200_rooms_are_listed() {
    let server = TestServer::start().await;
    let mut peers = Vec::new();
    for n in 0..201 {
        peers.push(server.plain(&format!("/r{n}")).await);
    }
    let (mut json, _) = server.json("/r7").await;
    json.event_of("live").await;
    let rooms = json.event_after(&json!({"type": "rooms"})).await;
    assert_eq!(rooms["total"], 201);
    let named = rooms["rooms"].as_array().expect("rooms");
    assert_eq!(named.len(), 200);
    assert_eq!(named[0], json!({"room": "r7", "members": 2}));
    let line = peers[0].text_after("/rooms").await;
    assert!(line.ends_with("\n  and 1 more"), "{line}");
}

#[tokio::test]
async fn a_topic_is_announced_stored_and_cleared() {
    let folder = tempdir().expect("a folder");
    let server = TestServer::start_in(folder.path()).await;
    let (mut ana, welcome) = server.json("/tea?name=ana").await;
    assert!(welcome["topic"].is_null(), "{welcome}");
    ana.event_of("live").await;
    let (mut bob, _) = server.json("/tea?name=bob").await;
    bob.event_of("live").await;
    let mut plain = server.plain("/tea").await;
    let none = json!({"type": "topic", "room": "tea", "text": ""});
    assert_eq!(ana.event_after(&json!({"type": "topic"})).await, none);

    let mut told = ana
        .event_after(&json!({"type": "topic", "text": "biscuits\u{1b}"}))
        .await;
    assert_eq!(bob.event().await, told);
    let at = told["at"].take();
    assert!(at.as_str().is_some_and(|at| at.ends_with('Z')), "{at}");
    let expected = json!({
        "type": "topic", "room": "tea", "text": "biscuits\u{fffd}", "by": "ana", "at": null,
    });
    assert_eq!(told, expected);
    // The plain format shows a topic only on request and at a join.
    let line = "* The topic of tea: biscuits\u{fffd} (ana)";
    assert_eq!(plain.text_after("/topic").await, line);
    assert_eq!(
        plain.text_after("/join lobby").await,
        "* You are now in lobby."
    );
    let line = "* You are now in tea. The topic: biscuits\u{fffd}";
    assert_eq!(plain.text_after("/join tea").await, line);

    for (text, code) in [("a\nb", "bad_field"), (&*"x".repeat(301), "too_long")] {
        let refused = bob
            .event_after(&json!({"type": "topic", "text": text}))
            .await;
        assert_eq!(refused["code"], code, "{refused}");
    }
    let refused = bob.event_after(&json!({"type": "topic", "text": 7})).await;
    assert_eq!(refused["code"], "bad_field");

    // The topic outlives the room's members and the server process.
    drop((ana, bob, plain));
    server.stop().await;
    let server = TestServer::start_in(folder.path()).await;
    let (mut eve, welcome) = server.json("/tea").await;
    assert_eq!(welcome["topic"], "biscuits\u{fffd}");
    eve.event_of("live").await;
    assert_eq!(
        eve.event_after(&json!({"type": "topic"})).await["by"],
        "ana"
    );
    assert_eq!(
        eve.event_after(&json!({"type": "topic", "text": ""})).await,
        none
    );
    let (_, welcome) = server.json("/tea").await;
    assert!(welcome["topic"].is_null(), "{welcome}");
    server.stop().await;
}

#[tokio::test]
async fn a_reader_that_is_joining_receives_a_new_topic() {
    let server = TestServer::start().await;
    let mut setter = server.plain("/tea?name=bob").await;
    for n in 0..20 {
        let mut peer = server
            .peer("/tea", &[("Sec-WebSocket-Protocol", "chat.v1")])
            .await;
        let topic = format!("t{n}");
        setter.text_after(&format!("/topic {topic}")).await;
        // The topic comes in the welcome or in an event.
        loop {
            let event = peer.any_event().await;
            let told = match event["type"].as_str() {
                Some("welcome") => &event["topic"],
                Some("topic") => &event["text"],
                _ => continue,
            };
            if *told == topic.as_str() {
                break;
            }
        }
    }
}
