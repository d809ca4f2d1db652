use std::{collections::BTreeSet, num::NonZeroU32};

use broadcast_chat::{hub::Rate, store::Storage};
use serde_json::{Value, json};

use crate::{
    operators::{SECRET, with_operators},
    support::{Peer, TestServer, options},
};

/// Sends a command with a ref; returns the next event.
async fn ask(peer: &mut Peer, mut command: Value, reference: &str) -> Value {
    command["ref"] = json!(reference);
    peer.event_after(&command).await
}

#[tokio::test]
async fn every_command_is_answered_with_its_ref() {
    let server = TestServer::start_with(&Storage::Memory, with_operators()).await;
    let (mut ana, welcome) = server.json("/?name=ana&echo=0").await;
    assert_eq!(welcome["ref"], Value::Null);
    assert_eq!(ana.event().await, json!({"type": "live", "seq": 0}));
    let secret = "0123456789abcdef";
    for (place, (command, answer)) in [
        (
            json!({"type": "publish", "text": "a", "id": "i-1"}),
            "accepted",
        ),
        (
            json!({"type": "publish", "text": "a", "id": "i-1"}),
            "accepted",
        ),
        (json!({"type": "publish", "text": "b"}), "accepted"),
        (json!({"type": "publish", "text": ""}), "refused"),
        (json!({"type": "publish", "text": 7}), "refused"),
        (
            json!({"type": "name", "name": "ana", "secret": secret}),
            "name",
        ),
        (
            json!({"type": "private", "to": "ana", "text": "c"}),
            "accepted",
        ),
        (
            json!({"type": "private", "to": "eve", "text": "d"}),
            "refused",
        ),
        (json!({"type": "name", "name": "Ana"}), "name"),
        (json!({"type": "name", "name": "a b"}), "refused"),
        (json!({"type": "members"}), "members"),
        (json!({"type": "history"}), "page"),
        (json!({"type": "history", "limit": -1}), "refused"),
        (json!({"type": "search", "query": "a"}), "page"),
        (json!({"type": "search", "query": "."}), "refused"),
        (json!({"type": "rooms"}), "rooms"),
        (json!({"type": "topic"}), "topic"),
        (json!({"type": "topic", "text": "a\nb"}), "refused"),
        (json!({"type": "kick", "who": "eve"}), "refused"),
        (json!({"type": "operator", "secret": "wrong"}), "refused"),
        (json!({"type": "operator", "secret": SECRET}), "notice"),
        (json!({"type": "kick", "who": "eve"}), "notice"),
        (
            json!({"type": "kick", "who": "eve", "reason": "a\nb"}),
            "refused",
        ),
        (json!({"type": "ban", "who": "eve"}), "notice"),
        (json!({"type": "unban", "who": "eve"}), "notice"),
        (json!({"type": "mute", "who": "eve"}), "notice"),
        (json!({"type": "unmute", "who": "eve"}), "notice"),
        (json!({"type": "erase", "seq": 99}), "refused"),
        (json!({"type": "dance"}), "refused"),
        (json!({"text": "no type"}), "refused"),
    ]
    .into_iter()
    .enumerate()
    {
        let reference = format!("r_{place}-");
        let told = ask(&mut ana, command.clone(), &reference).await;
        let seen = (&told["type"], &told["ref"]);
        assert_eq!(
            seen,
            (&json!(answer), &json!(reference)),
            "{command}: {told}"
        );
    }
    let erased = ask(&mut ana, json!({"type": "erase", "seq": 1}), "e").await;
    let event = ana.event().await;
    let mut told = [&erased, &event].map(|event| (event["type"].clone(), event["ref"].clone()));
    told.sort_by_key(|(kind, _)| kind.to_string());
    assert_eq!(
        told,
        [
            (json!("erased"), Value::Null),
            (json!("notice"), json!("e"))
        ]
    );
    // The welcome answers a join; later events carry no ref.
    let welcome = ask(&mut ana, json!({"type": "join", "room": "tea"}), "j").await;
    assert_eq!(
        (&welcome["type"], &welcome["ref"]),
        (&json!("welcome"), &json!("j"))
    );
    let live = ana.event().await;
    assert_eq!(
        (&live["type"], &live["ref"]),
        (&json!("live"), &Value::Null)
    );
}

#[tokio::test]
async fn an_event_that_answers_no_command_has_no_ref() {
    let server = TestServer::start().await;
    let (mut ana, _) = server.json("/?name=ana").await;
    ana.say(r#"{"type":"name","name":"ana"}"#).await;
    ana.event_of("name").await;
    let (mut bob, _) = server.json("/?name=bob").await;
    bob.say(r#"{"type":"name","name":"bob"}"#).await;
    bob.event_of("name").await;
    // Only the sender of a command receives its ref.
    for command in [
        json!({"type": "publish", "text": "hi", "id": "i-1"}),
        json!({"type": "private", "to": "ana", "text": "hi"}),
        json!({"type": "name", "name": "rob"}),
        json!({"type": "topic", "text": "tea"}),
        json!({"type": "join", "room": "tea"}),
    ] {
        let told = ask(&mut bob, command.clone(), "r").await;
        let echo = told["type"] == "message" || told["type"] == "private";
        let expected = if echo { Value::Null } else { json!("r") };
        assert_eq!(told["ref"], expected, "{command}: {told}");
    }
    // Joins and leaves have no place in the order of the log.
    let mut kinds = BTreeSet::from(["joined", "message", "private", "renamed", "topic", "left"]);
    while !kinds.is_empty() {
        let told = ana.any_event().await;
        assert_eq!(told["ref"], Value::Null, "{told}");
        if told["type"] == "activity" {
            continue;
        }
        let kind = told["type"].as_str().expect("a type");
        assert!(kinds.remove(kind), "{told}");
    }
    // The answer to a command without a ref has no field `ref`.
    ana.say(r#"{"type":"members"}"#).await;
    assert_eq!(
        ana.text().await,
        r#"{"type":"members","names":["ana"],"total":1}"#
    );
}

#[tokio::test]
async fn an_invalid_ref_is_refused() {
    let server = TestServer::start().await;
    let (mut ana, _) = server.json("/").await;
    ana.event_of("live").await;
    let longest = "r".repeat(64);
    assert_eq!(
        ask(&mut ana, json!({"type": "rooms"}), &longest).await["ref"],
        json!(longest)
    );
    for wrong in [
        json!(""),
        json!("a b"),
        json!("é"),
        json!("r".repeat(65)),
        json!(7),
        json!([]),
    ] {
        let command = json!({"type": "publish", "text": "hi", "id": "i-1", "ref": wrong});
        ana.say(&command.to_string()).await;
        let told = ana.event().await;
        let seen = (&told["code"], &told["id"], &told["ref"]);
        assert_eq!(
            seen,
            (&json!("bad_field"), &json!("i-1"), &Value::Null),
            "{told}"
        );
        let text = told["text"].as_str().expect("a sentence");
        assert!(text.starts_with("invalid value for \"ref\""), "{text}");
    }
}

#[tokio::test]
async fn a_refusal_for_the_rate_has_the_ref() {
    let mut options = options();
    let one = NonZeroU32::MIN;
    let rate = Rate {
        per_second: one,
        burst: one,
    };
    options.hub.capacity.per_prefix.rate = Some(rate);
    let server = TestServer::start_with(&Storage::Memory, options).await;
    let (mut ana, _) = server.json("/?echo=0").await;
    ana.event_of("live").await;
    let say = |id: &str| json!({"type": "publish", "text": "hi", "id": id});
    assert_eq!(ask(&mut ana, say("i-1"), "a").await["ref"], "a");
    let refused = ask(&mut ana, say("i-2"), "b").await;
    let seen = (&refused["code"], &refused["id"], &refused["ref"]);
    assert_eq!(seen, (&json!("rate"), &json!("i-2"), &json!("b")));
}
