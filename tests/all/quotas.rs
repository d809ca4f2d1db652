//! Quotas: new names, stored bytes and topics of one address.

use std::num::{NonZeroU32, NonZeroU64};

use broadcast_chat::{hub::QuotaLimits, store::Storage};
use serde_json::json;

use crate::support::{TestServer, options, upgraded};

async fn server(quotas: QuotaLimits) -> TestServer {
    let mut options = options();
    options.hub.capacity.per_prefix.quotas = quotas;
    TestServer::start_with(&Storage::Memory, options).await
}

/// The status of an answer, and whether it says when to come back.
fn told(answer: &str) -> (&str, bool) {
    let status = answer.split(' ').nth(1).expect("a status");
    let head = answer.to_lowercase();
    (status, head.contains("\r\nretry-after: "))
}

#[tokio::test]
async fn new_names_of_one_address_are_limited() {
    let server = server(QuotaLimits {
        new_names: NonZeroU32::new(20),
        ..QuotaLimits::UNLIMITED
    })
    .await;
    let secret = "Authorization: Bearer the-secret-of-eve-and-her\r\n";
    let post = async |name: &str| {
        let target = format!("/?name={name}");
        server.post(&target, secret, b"hi").await
    };
    for n in 0..2 {
        assert_eq!(told(&post(&format!("eve-{n}x")).await), ("200", false));
    }
    let protocol = ("Sec-WebSocket-Protocol", "chat.v1");
    let bearer = ("Authorization", "Bearer the-secret-of-eve-and-her");
    for n in 2..4 {
        let target = format!("/?name=eve-{n}x");
        let mut eve = upgraded(server.addr, &target, &[protocol, bearer]).await;
        assert_eq!(eve.event().await["you"]["name"], format!("eve-{n}x"));
    }
    let (mut eve, _) = server.json("/").await;
    eve.say(r#"{"type":"name","name":"eve-4x"}"#).await;
    assert_eq!(eve.event_of("name").await["name"], "eve-4x");
    // The sixth name is refused on every way.
    eve.say(r#"{"type":"name","name":"eve-5x"}"#).await;
    let refused = eve.event_of("refused").await;
    assert_eq!(refused["code"], "rate");
    let wait = refused["retry_ms"].as_u64().expect("a time");
    assert!((1..=4_320_000).contains(&wait), "{refused}");
    let answer = post("eve-5x").await;
    assert_eq!(told(&answer), ("429", true));
    assert!(answer.contains("as many new names"), "{answer}");
    server.assert_described("post", 429).await;
    let mut eve = upgraded(server.addr, "/?name=eve-5x", &[protocol, bearer]).await;
    assert_eq!(eve.event().await["you"].get("name"), None);
    assert_eq!(eve.event_of("refused").await["code"], "rate");
    // A name that is owned already costs nothing, and a lease neither.
    assert_eq!(told(&post("eve-0x").await), ("200", false));
    let (_, welcome) = server.json("/?name=bob").await;
    assert_eq!(welcome["you"]["name"], "bob");
}

#[tokio::test]
async fn stored_bytes_of_one_address_are_limited() {
    let server = server(QuotaLimits {
        daily_bytes: NonZeroU64::new(10_000),
        ..QuotaLimits::UNLIMITED
    })
    .await;
    let (mut eve, _) = server.json("/").await;
    let (mut reader, _) = server.json("/").await;
    let publish = |n: u64| {
        let follows = (n > 1).then(|| format!("m-{}", n - 1));
        let text = "x".repeat(2000);
        let id = format!("m-{n}");
        json!({"type": "publish", "text": text, "id": id, "follows": follows}).to_string()
    };
    // Another connection of the address has the same quota.
    for n in 1..=4 {
        eve.say(&publish(n)).await;
        assert_eq!(eve.event_of("message").await["seq"], n);
    }
    assert_eq!(
        told(&server.post("/", "", &[b'x'; 2000]).await),
        ("200", false)
    );
    eve.say(&publish(5)).await;
    let refused = eve.event_of("refused").await;
    assert_eq!(
        (&refused["code"], &refused["id"]),
        (&json!("rate"), &json!("m-5"))
    );
    assert!(
        refused["text"]
            .as_str()
            .is_some_and(|text| text.contains("10000 bytes a day"))
    );
    // A short message would fit soon. It waits for the one that it follows.
    let follower = json!({"type": "publish", "text": "hi", "id": "m-6", "follows": "m-5"});
    eve.say(&follower.to_string()).await;
    let refused = eve.event_of("refused").await;
    assert_eq!(
        (&refused["code"], &refused["id"]),
        (&json!("rate"), &json!("m-6"))
    );
    let answer = server.post("/", "", &[b'x'; 2000]).await;
    assert_eq!(told(&answer), ("429", true));
    for n in 1..=5 {
        assert_eq!(reader.event_of("message").await["seq"], n);
    }
    // Reading is not limited.
    let head = server.json("/").await.1["head"].clone();
    assert_eq!(head, 5);
}

#[tokio::test]
async fn topics_of_one_address_are_limited() {
    let server = server(QuotaLimits {
        topics: "1:3".parse().ok(),
        ..QuotaLimits::UNLIMITED
    })
    .await;
    let (mut one, _) = server.json("/tea").await;
    let (mut other, _) = server.json("/ops").await;
    for n in 0..2 {
        one.say(&json!({"type": "topic", "text": format!("{n}")}).to_string())
            .await;
        assert_eq!(one.event_of("topic").await["text"], format!("{n}"));
    }
    // The budget gains one a second: a slow machine needs more than two here.
    let refused = loop {
        other.say(r#"{"type":"topic","text":"x","ref":"t"}"#).await;
        let answer = loop {
            let event = other.event().await;
            if event["ref"] == "t" {
                break event;
            }
        };
        if answer["type"] == "refused" {
            break answer;
        }
    };
    assert_eq!(refused["code"], "rate");
    // Reading a topic is free.
    other.say(r#"{"type":"topic","ref":"r"}"#).await;
    assert_ne!(other.event_of("topic").await["text"], json!(null));
}

// Verified to fail when the quota of direct connections decides.
#[tokio::test]
async fn new_names_of_forwarded_visitors_are_limited() {
    let mut options = options();
    options.hub.capacity.forwarded.quotas.new_names = NonZeroU32::new(4);
    let server = TestServer::start_with(&Storage::Memory, options).await;
    let headers =
        "Authorization: Bearer the-secret-of-eve-and-her\r\nX-Forwarded-For: 192.0.2.1\r\n";
    let first = server.post("/?name=eve-0x", headers, b"hi").await;
    assert_eq!(told(&first), ("200", false));
    let second = server.post("/?name=eve-1x", headers, b"hi").await;
    assert_eq!(told(&second), ("429", true));
}
