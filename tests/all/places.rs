//! Places: each owner of a name follows rooms, the server keeps its read
//! positions, and tells it of what is said where it is not.

use broadcast_chat::store::Storage;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{Peer, TestServer, options, soon};

fn publish(text: &str) -> String {
    json!({"type": "publish", "text": text}).to_string()
}

fn private(to: &str, text: &str) -> String {
    json!({"type": "private", "to": to, "text": text}).to_string()
}

/// Joins a room, and reads up to the end of its replay.
async fn join(peer: &mut Peer, room: &str) -> Value {
    peer.say(&json!({"type": "join", "room": room}).to_string())
        .await;
    let welcome = peer.event_of("welcome").await;
    peer.event_of("live").await;
    welcome
}

/// Sends a command, and reads its answer.
async fn ask(peer: &mut Peer, mut command: Value) -> Value {
    command["ref"] = json!("asked");
    peer.say(&command.to_string()).await;
    loop {
        let event = peer.any_event().await;
        if event["ref"] == "asked" {
            return event;
        }
    }
}

/// Waits for this activity; earlier events of the same place may differ.
async fn told(peer: &mut Peer, expected: Value) {
    let mut expected = expected;
    expected["type"] = json!("activity");
    let heard = async { while peer.event_of("activity").await != expected {} };
    soon(&expected.to_string(), heard).await;
}

/// Connects again until the welcome lists this as the only place, or the first.
async fn listed(server: &TestServer, name: &str, expected: Value) {
    let seen = async {
        loop {
            let (_, welcome) = server.owner(name, "").await;
            if welcome["following"] == expected {
                return;
            }
        }
    };
    soon(&expected.to_string(), seen).await;
}

// Verified to fail when a join does not follow, and when `read` is not stored.
#[tokio::test]
async fn what_was_read_on_one_device_is_read_on_another() {
    let folder = tempdir().expect("a folder");
    let storage = Storage::Folder(folder.path().to_owned());
    let server = TestServer::start_with(&storage, options()).await;
    let (mut bob, _) = server.json("/tea").await;
    bob.event_of("live").await;
    let (mut phone, welcome) = server.owner("ana", "").await;
    let level = "all";
    let lobby = json!({"room": "lobby", "read": 0, "last": 0, "unread": 0, "mentions": 0,
        "level": level});
    assert_eq!(welcome["following"], json!([lobby]));
    phone.event_of("live").await;
    assert_eq!(join(&mut phone, "tea").await["following"], Value::Null);
    for text in ["one", "two ana", "three"] {
        bob.say(&publish(text)).await;
        phone.event_of("message").await;
    }
    join(&mut phone, "lobby").await;
    let (mut desk, welcome) = server.owner("ana", "").await;
    let tea = json!({"room": "tea", "read": 0, "last": 3, "unread": 3, "mentions": 1,
        "level": level});
    assert_eq!(welcome["following"], json!([lobby, tea]));
    desk.event_of("live").await;
    let read = |seq| json!({"type": "read", "room": "tea", "seq": seq}).to_string();
    phone.say(&read(2)).await;
    told(
        &mut desk,
        json!({"room": "tea", "last": 3, "unread": 1, "mentions": 0}),
    )
    .await;
    // The next position waits, but every new connection knows it.
    phone.say(&read(3)).await;
    phone.say(&read(1)).await;
    let tea = json!({"room": "tea", "read": 3, "last": 3, "unread": 0, "mentions": 0,
        "level": level});
    listed(&server, "ana", json!([lobby, tea])).await;
    server.stop().await;
    // It is stored even if the server stops before its time.
    let server = TestServer::start_with(&storage, options()).await;
    listed(&server, "ana", json!([lobby, tea])).await;
    let report = broadcast_chat::store::check(folder.path()).expect("readable");
    assert_eq!(report.faults.len(), 0, "{:?}", report.faults);
}

// Verified to fail when the room that the connection is in is not left out, and
// when the level is not looked at.
#[tokio::test]
async fn a_follower_is_told_what_is_said_elsewhere() {
    let server = TestServer::start().await;
    let (mut bob, _) = server.json("/tea").await;
    let (mut carl, _) = server.json("/zoo").await;
    let (mut ana, _) = server.owner("ana", "").await;
    for peer in [&mut bob, &mut carl, &mut ana] {
        peer.event_of("live").await;
    }
    ask(&mut ana, json!({"type": "follow", "room": "zoo"})).await;
    let follow = |level: &str| json!({"type": "follow", "room": "#tea", "level": level});
    let answer = ask(&mut ana, follow("mentions")).await;
    assert_eq!(
        answer,
        json!({"type": "follow", "room": "tea", "level": "mentions", "ref": "asked"})
    );
    bob.say(&publish("nobody")).await;
    bob.event_of("message").await;
    // The activity of one round is told by the names of the rooms.
    let zoo = async |carl: &mut Peer, ana: &mut Peer| {
        carl.say(&publish("roar")).await;
        assert_eq!(ana.event_of("activity").await["room"], "zoo");
    };
    zoo(&mut carl, &mut ana).await;
    bob.say(&publish("ANA, come")).await;
    let activity = ana.event_of("activity").await;
    assert_eq!(
        activity,
        json!({"type": "activity", "room": "tea", "last": 3, "unread": 2, "mentions": 1})
    );
    ask(&mut ana, follow("all")).await;
    bob.say(&publish("more")).await;
    let expected = json!({"room": "tea", "last": 4, "unread": 3, "mentions": 1});
    told(&mut ana, expected).await;
    ask(&mut ana, follow("none")).await;
    bob.say(&publish("ana?")).await;
    bob.event_of("message").await;
    zoo(&mut carl, &mut ana).await;
    // In the room itself she is told nothing; elsewhere again.
    ask(&mut ana, follow("all")).await;
    join(&mut ana, "tea").await;
    bob.say(&publish("here")).await;
    assert_eq!(ana.any_event().await["text"], "here");
    zoo(&mut carl, &mut ana).await;
    join(&mut ana, "lobby").await;
    bob.say(&publish("there")).await;
    let expected = json!({"room": "tea", "last": 9, "unread": 6, "mentions": 1});
    told(&mut ana, expected).await;
    let answer = ask(&mut ana, json!({"type": "unfollow", "room": "tea"})).await;
    assert_eq!(
        answer,
        json!({"type": "follow", "room": "tea", "ref": "asked"})
    );
    let (_, welcome) = server.owner("ana", "").await;
    assert_eq!(welcome["following"].as_array().map(Vec::len), Some(2));
}

// Verified to fail when a conversation is read by the inbox alone.
#[tokio::test]
async fn a_private_conversation_is_a_place() {
    let server = TestServer::start().await;
    let (mut ana, _) = server.owner("ana", "").await;
    let (mut bob, _) = server.owner("bob", "").await;
    let (mut carl, _) = server.owner("carl", "").await;
    for peer in [&mut ana, &mut bob, &mut carl] {
        peer.event_of("live").await;
    }
    for (from, text) in [(&mut bob, "one"), (&mut carl, "two")] {
        from.say(&private("ana", text)).await;
        from.event_of("private").await;
    }
    ana.say(&private("bob", "three")).await;
    bob.event_of("private").await;
    bob.say(&private("ana", "four")).await;
    let activity = json!({"with": "bob", "last": 8, "unread": 2, "mentions": 0});
    told(&mut ana, activity).await;
    let history = |limit| json!({"type": "history", "with": "bob", "limit": limit});
    let page = ask(&mut ana, history(2)).await;
    let texts = |page: &Value| {
        let messages = page["messages"].as_array().expect("messages");
        let text = |it: &Value| format!("{} {}", it["from"]["name"], it["text"]);
        messages.iter().map(text).collect::<Vec<_>>()
    };
    assert_eq!(texts(&page), [r#""ana" "three""#, r#""bob" "four""#]);
    assert_eq!(
        (&page["type"], &page["with"], &page["more"]),
        (&json!("page"), &json!("bob"), &json!(true))
    );
    assert_eq!(texts(&ask(&mut ana, history(9)).await).len(), 3);
    let read = json!({"type": "read", "with": "bob", "seq": 2});
    ana.say(&read.to_string()).await;
    let activity = json!({"with": "bob", "last": 8, "unread": 1, "mentions": 0});
    told(&mut ana, activity).await;
    let (_, welcome) = server.owner("ana", "").await;
    let following = welcome["following"].as_array().expect("places");
    let with: Vec<_> = following.iter().map(|it| it["with"].clone()).collect();
    assert_eq!(with, [Value::Null, json!("bob"), json!("carl")]);
    let refused = ask(&mut ana, json!({"type": "history", "with": "nobody"})).await;
    assert_eq!(refused["code"], "not_here");
}

// Verified to fail when the private room is not asked for.
#[tokio::test]
async fn a_nameless_reader_watches_public_rooms() {
    let server = TestServer::start().await;
    let (mut ana, _) = server.owner("ana", "").await;
    let (mut guest, _) = server.json("/").await;
    for peer in [&mut ana, &mut guest] {
        peer.event_of("live").await;
    }
    join(&mut ana, "plans").await;
    ask(&mut ana, json!({"type": "access", "private": true})).await;
    join(&mut ana, "tea").await;
    for text in ["one", "two"] {
        ana.say(&publish(text)).await;
        ana.event_of("message").await;
    }
    let watch = |rooms: Value| json!({"type": "watch", "rooms": rooms});
    for (asked, code) in [
        (watch(json!({"plans": 0})), "not_allowed"),
        (watch(json!({})), "bad_field"),
        (watch(json!({"tea": "x"})), "bad_field"),
        (json!({"type": "read", "seq": 7}), "not_allowed"),
        (json!({"type": "follow", "room": "tea"}), "not_allowed"),
    ] {
        let refused = ask(&mut guest, asked.clone()).await;
        assert_eq!(refused["code"], code, "{asked}: {refused}");
    }
    guest.say(&watch(json!({"#Tea": 1})).to_string()).await;
    let tea = |last, unread| json!({"room": "tea", "last": last, "unread": unread, "mentions": 0});
    told(&mut guest, tea(2, 1)).await;
    ana.say(&publish("three")).await;
    told(&mut guest, tea(3, 2)).await;
    guest.say(&watch(json!({"tea": 3})).to_string()).await;
    told(&mut guest, tea(3, 0)).await;
    // Too many rooms are refused, and the watched ones stay.
    for first in (0..1000).step_by(50) {
        let rooms = (first..first + 50).map(|n| (format!("r{n}"), json!(0)));
        let rooms = watch(Value::Object(rooms.collect()));
        guest.say(&rooms.to_string()).await;
    }
    let refused = guest.event_of("refused").await;
    assert_eq!(refused["code"], "not_allowed");
    ana.say(&publish("four")).await;
    told(&mut guest, tea(4, 1)).await;
}

// Verified to fail when a removed member keeps the place.
#[tokio::test]
async fn a_removed_member_is_told_nothing_more() {
    let server = TestServer::start().await;
    let (mut ana, _) = server.owner("ana", "").await;
    let (mut bob, _) = server.owner("bob", "").await;
    for peer in [&mut ana, &mut bob] {
        peer.event_of("live").await;
    }
    join(&mut ana, "plans").await;
    ask(&mut ana, json!({"type": "access", "private": true})).await;
    let invite = ask(&mut ana, json!({"type": "invite"})).await;
    let url = invite["url"].as_str().expect("a URL");
    let (_, token) = url.rsplit_once('=').expect("a token");
    ask(&mut bob, json!({"type": "invite", "token": token})).await;
    ask(&mut bob, json!({"type": "follow", "room": "plans"})).await;
    ana.say(&publish("bob?")).await;
    let activity = json!({"room": "plans", "last": 1, "unread": 1, "mentions": 1});
    told(&mut bob, activity).await;
    ask(&mut ana, json!({"type": "remove", "name": "bob"})).await;
    ana.say(&publish("bob is gone")).await;
    ana.event_of("message").await;
    let (mut again, welcome) = server.owner("bob", "").await;
    assert_eq!(welcome["following"].as_array().map(Vec::len), Some(1));
    again.event_of("live").await;
    let refused = ask(
        &mut again,
        json!({"type": "read", "room": "plans", "seq": 1}),
    )
    .await;
    assert_eq!(refused["code"], "not_here");
}
