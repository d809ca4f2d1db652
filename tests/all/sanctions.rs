use serde_json::{Value, json};

use crate::{
    operators::SECRET,
    support::{MemoryChat, MemoryPeer, peer_at, upgrade},
};

/// Sends a request from an address; returns the response.
async fn request(chat: &MemoryChat, from: &str, request: &str) -> String {
    let mut peer = MemoryPeer::over(chat.connect_as(peer_at(from), 1 << 16));
    peer.write(request.as_bytes()).await;
    peer.rest().await
}

/// A live peer in the JSON format at an address.
async fn live(chat: &MemoryChat, from: &str, target: &str) -> MemoryPeer {
    let mut peer = MemoryPeer::over(chat.connect_as(peer_at(from), 1 << 16));
    let json = [("Sec-WebSocket-Protocol", "chat.v1")];
    let head = upgrade(([127, 0, 0, 1], 2000).into(), target, &json);
    peer.write(head.as_bytes()).await;
    assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
    peer.event_of("live").await;
    peer
}

/// The answer to a command, whatever else happens meanwhile.
async fn ask(peer: &mut MemoryPeer, mut command: Value) -> Value {
    command["ref"] = "asked".into();
    peer.say(&command.to_string()).await;
    loop {
        let mut event = peer.any_event().await;
        if event["ref"] == "asked" {
            event.as_object_mut().expect("an event").remove("ref");
            return event;
        }
    }
}

async fn operator(chat: &MemoryChat, from: &str) -> MemoryPeer {
    let mut operator = live(chat, from, "/?name=op").await;
    let proved = ask(&mut operator, json!({"type": "operator", "secret": SECRET})).await;
    assert_eq!(proved["type"], "notice", "{proved}");
    operator
}

fn get(accept: &str, query: &str) -> String {
    format!("GET /tea{query} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n")
}

// Verified to fail when GET does not look for bans.
#[tokio::test]
async fn a_banned_prefix_reads_and_says_nothing() {
    let chat = MemoryChat::with_operators(SECRET);
    let mut op = operator(&chat, "198.51.100.1").await;
    let mut inside = live(&chat, "203.0.113.200", "/tea").await;
    let mut outside = live(&chat, "203.0.114.1", "/tea").await;
    let ban = json!({"type": "ban", "who": "203.0.113.9/24", "reason": "spam"});
    let text = "203.0.113.0/24 is banned.";
    assert_eq!(
        ask(&mut op, ban).await,
        json!({"type": "notice", "text": text})
    );
    assert_eq!(inside.closed().await, (4502, "spam".into()));

    let addr = ([127, 0, 0, 1], 2000).into();
    let post = "POST /tea HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi";
    for asked in [
        get("*/*", ""),
        get("*/*", "?after=0"),
        get("*/*", "?limit=3"),
        get("application/json", ""),
        get("text/event-stream", ""),
        upgrade(addr, "/tea", &[]),
        post.to_owned(),
    ] {
        let refused = request(&chat, "203.0.113.7", &asked).await;
        assert!(refused.starts_with("HTTP/1.1 403 "), "{asked} {refused}");
        assert!(
            refused.ends_with("\r\n\r\nAn operator has banned you: spam.\n"),
            "{refused}"
        );
    }
    let page = request(&chat, "203.0.113.7", &get("text/html", "")).await;
    assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
    let read = request(&chat, "203.0.114.7", &get("*/*", "")).await;
    assert!(read.starts_with("HTTP/1.1 200 "), "{read}");
    let members = ask(&mut outside, json!({"type": "members"})).await;
    assert_eq!(members["total"], 1);

    // A part of the prefix cannot be let in alone.
    for (who, told) in [
        (
            "203.0.113.7",
            "203.0.113.7 is still banned, with 203.0.113.0/24.",
        ),
        ("203.0.113.0/24", "203.0.113.0/24 is not banned."),
    ] {
        let lifted = ask(&mut op, json!({"type": "unban", "who": who})).await;
        assert_eq!(lifted["text"], told);
    }
    let read = request(&chat, "203.0.113.7", &get("*/*", "")).await;
    assert!(read.starts_with("HTTP/1.1 200 "), "{read}");
}

#[tokio::test]
async fn an_ipv6_address_means_its_prefix_of_64_bits() {
    let chat = MemoryChat::with_operators(SECRET);
    let mut op = operator(&chat, "2001:db8:0:1::1").await;
    let mut eve = live(&chat, "2001:db8:0:2::1", "/").await;
    let kicked = ask(&mut op, json!({"type": "kick", "who": "2001:db8:0:2::77"})).await;
    assert_eq!(kicked["text"], "2001:db8:0:2::/64 was kicked.");
    assert_eq!(eve.closed().await.0, 4501);
    let banned = ask(&mut op, json!({"type": "ban", "who": "2001:db8:0:2::77"})).await;
    assert_eq!(banned["text"], "2001:db8:0:2::/64 is banned.");
    let refused = request(&chat, "2001:db8:0:2:ffff::1", &get("*/*", "")).await;
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    let read = request(&chat, "2001:db8:0:3::1", &get("*/*", "")).await;
    assert!(read.starts_with("HTTP/1.1 200 "), "{read}");
}

// Verified to fail when the operator is not looked for.
#[tokio::test]
async fn a_sanction_covers_neither_operator_nor_loopback() {
    let chat = MemoryChat::with_operators(SECRET);
    let mut op = operator(&chat, "198.51.100.1").await;
    let proxy = "which everybody behind a proxy on it shares: give a name.";
    for (who, told) in [
        ("127.0.0.1", proxy),
        ("127.9.0.0/16", proxy),
        ("::1", proxy),
        ("::ffff:127.0.0.1", proxy),
        ("198.51.100.1", "198.51.100.1 covers you, too."),
        ("198.0.0.0/8", "198.0.0.0/8 covers you, too."),
        ("OP", "OP covers you, too."),
    ] {
        for kind in ["ban", "mute"] {
            let refused = ask(&mut op, json!({"type": kind, "who": who})).await;
            assert_eq!(refused["code"], "not_allowed", "{refused}");
            let text = refused["text"].as_str().expect("a text");
            assert!(text.ends_with(told), "{kind} {text}");
        }
    }
    for who in ["0.0.0.0/0", "198.0.0.0/7", "2000::/3"] {
        let refused = ask(&mut op, json!({"type": "ban", "who": who})).await;
        assert_eq!(refused["code"], "bad_field", "{refused}");
    }
    let listed = ask(&mut op, json!({"type": "bans"})).await;
    assert_eq!(listed["text"], "No ban or mute is in force.");
}

#[tokio::test]
async fn operators_see_the_sanctions_in_force() {
    let chat = MemoryChat::with_operators(SECRET);
    let mut op = operator(&chat, "198.51.100.1").await;
    let mut guest = live(&chat, "198.51.100.2", "/").await;
    for command in [
        json!({"type": "mute", "who": "Alice", "for": "7d"}),
        json!({"type": "ban", "who": "203.0.113.7", "reason": "spam"}),
        json!({"type": "ban", "who": "zoe"}),
        json!({"type": "unban", "who": "ZOE"}),
    ] {
        assert_eq!(ask(&mut op, command).await["type"], "notice");
    }
    let listed = ask(&mut op, json!({"type": "bans"})).await;
    let text = "Bans and mutes in force:\nban 203.0.113.7: spam\nmute Alice, for another 7d";
    assert_eq!(listed, json!({"type": "notice", "text": text}));
    let refused = ask(&mut guest, json!({"type": "bans"})).await;
    assert_eq!(refused["code"], "not_allowed", "{refused}");
}

// Verified to fail when a new connection may lease or claim a name.
#[tokio::test]
async fn a_muted_address_takes_no_new_name() {
    let chat = MemoryChat::with_operators(SECRET);
    let mut op = operator(&chat, "198.51.100.1").await;
    let mut own = live(&chat, "203.0.113.7", "/tea").await;
    let made = ask(&mut own, json!({"type": "name", "name": "bob"})).await;
    let secret = made["secret"].as_str().expect("a secret").to_owned();
    let muted = ask(&mut op, json!({"type": "mute", "who": "203.0.113.0/24"})).await;
    assert_eq!(muted["text"], "203.0.113.0/24 is muted.");
    let refused = ask(&mut own, json!({"type": "name", "name": "carl"})).await;
    assert_eq!(refused["text"], "An operator has muted you.");

    let bearer = format!("Authorization: Bearer {secret}");
    for (target, header, name) in [
        ("/tea?name=loud-words", "", None),
        ("/tea?name=loud-words", &*bearer, None),
        ("/tea?name=bob", &*bearer, Some("bob")),
    ] {
        let mut peer = MemoryPeer::over(chat.connect_as(peer_at("203.0.113.8"), 1 << 16));
        let mut headers = vec![("Sec-WebSocket-Protocol", "chat.v1")];
        headers.extend(header.split_once(": "));
        let head = upgrade(([127, 0, 0, 1], 2000).into(), target, &headers);
        peer.write(head.as_bytes()).await;
        assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
        let welcome = peer.any_event().await;
        assert_eq!(welcome["you"]["name"].as_str(), name, "{welcome}");
        let refused = ask(&mut peer, json!({"type": "publish", "text": "hi"})).await;
        assert_eq!(refused["text"], "An operator has muted you.");
    }
}
