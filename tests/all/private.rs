//! Private messages: both persons receive each once and in order, in any room.
//! No other client does.

use broadcast_chat::{
    protocol::{OwnerNumber, name::RoomName},
    store::Storage,
};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{Peer, TestServer, options, soon};

fn private(to: &str, text: &str, id: &str) -> String {
    json!({"type": "private", "to": to, "text": text, "id": id}).to_string()
}

/// Reads up to `live`; returns the texts of the private messages, and the
/// number in `live`.
async fn replayed(peer: &mut Peer) -> (Vec<String>, u64) {
    let mut texts = Vec::new();
    loop {
        let event = peer.event().await;
        match event["type"].as_str() {
            Some("private") => texts.push(event["text"].as_str().expect("a text").to_owned()),
            Some("live") => return (texts, event["seq"].as_u64().expect("a number")),
            _ => panic!("{event}"),
        }
    }
}

/// Closes the connection with code 1000.
async fn leave(mut peer: Peer) {
    peer.send(0x88, &1000_u16.to_be_bytes()).await;
    assert_eq!(peer.closed().await.0, 1000);
}

// Verified to fail when the recipient's copy is not stored, and when live
// readers are not made to read it from the log.
#[tokio::test]
async fn both_persons_receive_a_private_message_in_any_room() {
    let server = TestServer::start().await;
    let (mut ana, _) = server.owner("ana", "").await;
    let (mut bob, _) = server.owner("bob", "").await;
    let mut elsewhere = server.plain("/tea").await;
    let owned = elsewhere.text_after("/name carl").await;
    assert!(owned.starts_with("* You are now carl"), "{owned}");
    let (mut eve, _) = server.json("/?name=eve").await;
    for peer in [&mut ana, &mut bob, &mut eve] {
        peer.event_of("live").await;
    }
    ana.say(&private("bob", "over there?\n* x", "a-1")).await;
    ana.say(r#"{"type":"publish","text":"to all"}"#).await;
    let sent = ana.event().await;
    let at = sent["at"].clone();
    let from = json!({"name": "ana", "addr": ana.tag()});
    assert_eq!(
        sent,
        json!({
            "type": "private", "seq": 1, "prev": 0, "at": at, "from": from, "to": "bob",
            "text": "over there?\n* x", "id": "a-1", "sent": true,
        })
    );
    assert_eq!(ana.event().await["text"], "to all");
    assert_eq!(
        bob.event().await,
        json!({
            "type": "private", "seq": 2, "prev": 0, "at": at, "from": from, "to": "bob",
            "text": "over there?\n* x",
        })
    );
    assert_eq!(bob.event().await["text"], "to all");
    assert_eq!(eve.event().await["text"], "to all", "and nothing before");
    // In the plain format, and to another spelling of the name.
    elsewhere.say("/msg Ana  hi there").await;
    assert_eq!(elsewhere.text().await, "* you to Ana: hi there");
    let heard = ana.event().await;
    assert_eq!(
        (&heard["text"], &heard["to"], &heard["sent"]),
        (&"hi there".into(), &"Ana".into(), &Value::Null)
    );
    ana.say(&private("carl", "one\ntwo", "a-2")).await;
    assert_eq!(elsewhere.text().await, "* ana to you: one\n  two");
    ana.event_of("private").await;
    // A message to oneself has a single copy.
    ana.say(&private("ana", "a note", "a-3")).await;
    ana.say(r#"{"type":"publish","text":"the end"}"#).await;
    assert_eq!(ana.event().await["text"], "a note");
    assert_eq!(ana.event().await["text"], "the end");
}

// Verified to fail when an inbox is a room whose name a client can ask for.
#[tokio::test]
async fn no_other_client_can_read_a_private_message() {
    let server = TestServer::start().await;
    let (mut ana, _) = server.owner("ana", "").await;
    ana.event_of("live").await;
    ana.say(&private("ana", "zanzibar", "a-1")).await;
    ana.say(r#"{"type":"publish","text":"tangier"}"#).await;
    for _ in 0..2 {
        ana.event().await;
    }
    let (mut eve, _) = server.json("/?after=0").await;
    assert_eq!(eve.event().await["text"], "tangier");
    eve.event_of("live").await;
    eve.say(r#"{"type":"history"}"#).await;
    let page = eve.event_of("page").await;
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(1));
    let find = async |peer: &mut Peer, query: &str| {
        let indexed = async {
            loop {
                let search = json!({"type": "search", "query": query});
                peer.say(&search.to_string()).await;
                let page = peer.event_of("page").await;
                // The index may lag behind.
                if page["indexed"] == 2 {
                    return page["messages"].as_array().map(Vec::len);
                }
            }
        };
        soon("all indexed", indexed).await
    };
    assert_eq!(find(&mut eve, "tangier").await, Some(1));
    assert_eq!(find(&mut eve, "zanzibar").await, Some(0));
    assert_eq!(find(&mut ana, "zanzibar").await, Some(0));
    let inbox = format!("/{}?after=0", RoomName::inbox(OwnerNumber(1)));
    for (accept, path) in [
        ("text/plain", "/?after=0"),
        ("application/json", "/?after=0"),
        ("text/plain", &*inbox),
        ("application/json", &inbox),
        ("application/json", "/%40ana"),
    ] {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
        );
        let answer = server.request(head.as_bytes()).await;
        assert!(!answer.contains("zanzibar"), "{answer}");
        let found = answer.starts_with("HTTP/1.1 200 ");
        assert_eq!(found, path == "/?after=0", "{path}: {answer}");
    }
    let mut told = server.follow("/?after=0", "").await;
    loop {
        let told = told.sse_event().await.expect("an event");
        let data = told.data.unwrap_or_default();
        assert!(!data.contains("zanzibar"));
        if data.contains("\"live\"") {
            break;
        }
    }
    for room in ["@1", "@ana", "@"] {
        eve.say(&json!({"type": "join", "room": room}).to_string())
            .await;
        assert_eq!(eve.event().await["code"], "bad_field", "{room}");
    }
    eve.say(r#"{"type":"rooms"}"#).await;
    assert_eq!(eve.event().await["total"], 1);
}

// Verified to fail when the delivered position is not stored, and when every
// message to the name is replayed.
#[tokio::test]
async fn an_absent_owner_receives_its_inbox_on_return() {
    let folder = tempdir().expect("a folder");
    let storage = Storage::Folder(folder.path().to_owned());
    let server = TestServer::start_with(&storage, options()).await;
    let (mut bob, _) = server.owner("bob", "").await;
    bob.event_of("live").await;
    leave(bob).await;
    let (mut ana, _) = server.owner("ana", "").await;
    ana.event_of("live").await;
    for (text, id) in [("one", "a-1"), ("two", "a-2")] {
        ana.say(&private("bob", text, id)).await;
        assert_eq!(ana.event().await["text"], text);
    }
    ana.say(&private("bob", "two", "a-2")).await;
    let again = json!({"type": "accepted", "id": "a-2", "seq": 3, "duplicate": true});
    assert_eq!(ana.event().await, again);
    server.stop().await;

    let server = TestServer::start_with(&storage, options()).await;
    // A client may not have read a connection to its end when it was cut.
    for _ in 0..2 {
        let (mut bob, welcome) = server.owner("bob", "&backlog=10").await;
        assert_eq!(
            (&welcome["inbox"], &welcome["head"]),
            (&json!(0), &json!(4))
        );
        assert_eq!(
            replayed(&mut bob).await,
            (vec!["one".into(), "two".into()], 4)
        );
    }
    let (mut bob, _) = server.owner("bob", "").await;
    assert_eq!(replayed(&mut bob).await.0, ["one", "two"]);
    leave(bob).await;
    // The delivered position is stored after the connection has ended.
    let noted = async {
        loop {
            let (mut bob, welcome) = server.owner("bob", "").await;
            let (texts, _) = replayed(&mut bob).await;
            if welcome["inbox"] != 0 {
                assert_eq!(texts, [""; 0], "{welcome}");
                break bob;
            }
        }
    };
    let mut bob = soon("the delivered position", noted).await;
    let (mut ana, _) = server.owner("ana", "&after=4").await;
    ana.event_of("live").await;
    ana.say(&private("bob", "three", "a-3")).await;
    assert_eq!(bob.event().await["text"], "three");
    // A client that gives its position receives the messages after it.
    for (query, texts) in [
        ("&after=2", &["two", "three"][..]),
        ("&after=4", &["three"]),
        ("&after=6", &[]),
        ("&after=6&inbox=4", &["three"]),
        ("&inbox=0", &["one", "two", "three"]),
    ] {
        let (mut again, _) = server.owner("bob", query).await;
        assert_eq!(replayed(&mut again).await.0, texts, "{query}");
    }
    let report = broadcast_chat::store::check(folder.path()).expect("readable");
    assert_eq!(report.faults.len(), 0, "{:?}", report.faults);
}

// Verified to fail when all owners of a name share one inbox, and when they
// share the mark of what was delivered.
#[tokio::test]
async fn the_next_owner_of_a_name_gets_another_inbox() {
    let mut options = options();
    // A name is free as soon as nobody uses it.
    options.hub.name_expiry = std::time::Duration::ZERO;
    let server = TestServer::start_with(&Storage::Memory, options).await;
    let (mut ana, _) = server.owner("ana", "").await;
    let (mut bob, _) = server.owner("bob", "").await;
    for peer in [&mut ana, &mut bob] {
        peer.event_of("live").await;
    }
    ana.say(&private("bob", "for the first", "a-1")).await;
    assert_eq!(bob.event().await["text"], "for the first");
    ana.event_of("private").await;
    leave(bob).await;
    let claimed = async {
        loop {
            let query = "&after=0&inbox=0";
            let (next, welcome) = server.asking("bob", "the-secret-of-another", query).await;
            if welcome["you"]["name"] == "bob" {
                break next;
            }
        }
    };
    let mut next = soon("the name free", claimed).await;
    assert_eq!(replayed(&mut next).await.0, [""; 0]);
    ana.say(&private("bob", "for the second", "a-2")).await;
    assert_eq!(next.event().await["text"], "for the second");
    ana.event_of("private").await;
    // Another name has another inbox.
    ana.say(r#"{"type":"name","name":"carl"}"#).await;
    ana.event_of("name").await;
    let (mut next_ana, _) = server.owner("ana", "").await;
    next_ana.event_of("live").await;
    next.say(&private("ana", "for the next ana", "b-1")).await;
    next.say(&private("carl", "for carl", "b-2")).await;
    assert_eq!(ana.event_of("private").await["text"], "for carl");
    assert_eq!(
        next_ana.event_of("private").await["text"],
        "for the next ana"
    );
}

// Verified to fail when a leased name has an inbox.
#[tokio::test]
async fn a_leased_name_gets_and_sends_no_private_message() {
    let server = TestServer::start().await;
    let (mut ana, _) = server.owner("ana", "").await;
    let (mut bob, welcome) = server.json("/?name=bob").await;
    assert_eq!(
        (&welcome["you"]["name"], &welcome["inbox"]),
        (&"bob".into(), &Value::Null)
    );
    for peer in [&mut ana, &mut bob] {
        peer.event_of("live").await;
    }
    ana.say(&private("bob", "hi", "a-1")).await;
    let refused = ana.event_of("refused").await;
    assert_eq!(
        (&refused["code"], &refused["id"]),
        (&"not_here".into(), &"a-1".into())
    );
    bob.say(&private("ana", "hi", "b-1")).await;
    let refused_too = bob.event_of("refused").await;
    assert_eq!(
        (&refused_too["code"], &refused_too["id"]),
        (&"not_allowed".into(), &"b-1".into())
    );
    for refusal in [refused, refused_too] {
        let text = refusal["text"].as_str().expect("a sentence");
        assert!(text.contains("/name "), "{text}");
    }
    // Both own their names now.
    bob.say(r#"{"type":"name","name":"bob"}"#).await;
    bob.event_of("name").await;
    ana.say(&private("bob", "one", "a-1")).await;
    assert_eq!(bob.event_of("private").await["text"], "one");
    bob.say(&private("ana", "two", "b-1")).await;
    assert_eq!(bob.event_of("private").await["text"], "two");
}

#[tokio::test]
async fn an_invalid_private_message_is_refused() {
    let server = TestServer::start().await;
    let (mut nobody, _) = server.json("/").await;
    nobody.event_of("live").await;
    nobody.say(&private("bob", "hi", "n-1")).await;
    let refused = nobody.event().await;
    assert_eq!(
        (&refused["code"], &refused["id"]),
        (&"not_allowed".into(), &"n-1".into())
    );
    let (mut ana, _) = server.owner("ana", "").await;
    ana.event_of("live").await;
    let long = "x".repeat(8193);
    for (to, text, code) in [
        ("bob", "hi", "not_here"),
        ("ana", "", "empty"),
        ("ana", &long, "too_long"),
        ("a b", "hi", "bad_name"),
    ] {
        ana.say(&private(to, text, "a-1")).await;
        let refused = ana.event().await;
        assert_eq!(
            (&refused["code"], &refused["id"]),
            (&code.into(), &"a-1".into()),
            "{refused}"
        );
    }
    let mut plain = server.plain("/").await;
    plain.text_after("/name dora").await;
    for (line, told) in [
        ("/msg", "* Usage: /msg NAME TEXT"),
        ("/msg ana", "* Usage: /msg NAME TEXT"),
        ("/msg : hi", "* /msg NAME TEXT: a name is"),
        ("/msg bob hi", "* Nobody owns the name bob"),
    ] {
        let answer = plain.text_after(line).await;
        assert!(answer.starts_with(told), "{line}: {answer}");
    }
    // Nothing was stored: the first valid message has the number 1.
    ana.say(&private("dora", "hi", "a-1")).await;
    assert_eq!(ana.event().await["seq"], 1);
}

#[tokio::test]
async fn a_sender_learns_that_the_recipient_is_away() {
    let server = TestServer::start().await;
    let (mut ana, _) = server.owner("ana", "").await;
    let (mut silent, _) = server.owner("ana", "&echo=0").await;
    let (bob, _) = server.owner("bob", "").await;
    let mut carl = server.plain("/tea").await;
    carl.text_after("/name carl").await;
    for peer in [&mut ana, &mut silent] {
        peer.event_of("live").await;
    }
    let asking = |text: &str, id: &str| {
        let mut command: Value = serde_json::from_str(&private("bob", text, id)).expect("JSON");
        command["ref"] = json!("p-1");
        command.to_string()
    };
    ana.say(&asking("here", "a-0")).await;
    assert_eq!(ana.event_of("private").await["text"], "here");
    leave(bob).await;
    for peer in [&mut ana, &mut silent] {
        peer.event_of("left").await;
    }
    // Neither of a person who is here, nor without a ref.
    ana.say(&private("bob", "unasked", "a-1")).await;
    assert_eq!(ana.event().await["text"], "unasked");
    let away = json!({
        "type": "away", "with": "bob", "text": "bob is away and will see it when back.",
        "ref": "p-1",
    });
    for (text, id) in [("one", "a-2"), ("two", "a-3")] {
        ana.say(&asking(text, id)).await;
        assert_eq!(ana.event().await["text"], text);
        assert_eq!(ana.event().await, away);
    }
    // Repeated, it has its receipt only.
    ana.say(&asking("two", "a-3")).await;
    assert_eq!(ana.event().await["duplicate"], true);
    silent.event_of("private").await;
    silent.say(&asking("three", "a-4")).await;
    assert_eq!(silent.event_of("accepted").await["id"], "a-4");
    assert_eq!(silent.event().await, away);
    for (text, told) in [("one", true), ("two", false)] {
        let echo = carl.text_after(&format!("/msg bob {text}")).await;
        assert_eq!(echo, format!("* you to bob: {text}"));
        if told {
            let away = "* bob is away and will see it when back.";
            assert_eq!(carl.text().await, away);
        }
    }
    assert_eq!(carl.text_after("/topic").await, "* tea has no topic.");
    // A stranger to bob does not learn it by asking.
    let history = json!({"type": "history", "with": "bob"}).to_string();
    ana.event_of("private").await;
    ana.say(&history).await;
    assert_eq!(ana.event_of("page").await["away"], true);
    let (mut eve, _) = server.owner("eve", "").await;
    eve.say(&history).await;
    assert_eq!(eve.event_of("page").await["away"], Value::Null);
}
