//! Replies, corrections, reactions, and the erasure of one's own messages.

use std::time::Duration;

use broadcast_chat::store::Storage;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::{
    metrics::{figure, metrics},
    operators::assert_sound,
    redaction::holding,
    support::{Peer, TestServer, options},
};

/// Something about message `seq`.
fn about(seq: u64, kind: &str, text: &str) -> Value {
    json!({"type": "publish", "about": seq, "kind": kind, "text": text})
}

fn said(text: &str) -> Value {
    json!({"type": "publish", "text": text})
}

/// A live peer in the JSON format.
async fn live(server: &TestServer, target: &str) -> Peer {
    let (mut peer, _) = server.json(target).await;
    peer.event_of("live").await;
    peer
}

/// A live peer that owns its name.
async fn owner(server: &TestServer, name: &str) -> Peer {
    let (mut peer, _) = server.owner(name, "").await;
    peer.event_of("live").await;
    peer
}

/// Publishes something that is shown as a change; returns its event.
async fn change(peer: &mut Peer, change: &Value) -> Value {
    peer.say(&change.to_string()).await;
    peer.event_of("changed").await
}

/// An event without the fields that differ from run to run.
fn brief(event: &Value) -> Value {
    let mut event = event.clone();
    let fields = event.as_object_mut().expect("an object");
    for field in ["type", "room", "at", "from", "edited_at", "prev"] {
        fields.remove(field);
    }
    event
}

/// The messages of a page, in brief.
async fn page(server: &TestServer, target: &str) -> Value {
    let page = server.page(target).await;
    let messages = page["messages"].as_array().expect("a list");
    messages.iter().map(brief).collect()
}

/// Asserts what later readers see: of `messages`, and of the changes between
/// them, each as it is now.
async fn assert_shown(server: &TestServer, messages: &[Value], changes: &[Value]) {
    for target in ["/", "/?after=0", "/?before=99"] {
        assert_eq!(page(server, target).await, json!(messages), "{target}");
    }
    let (mut reader, _) = server.json("/?after=0").await;
    let (mut shown, mut others, mut last) = (Vec::new(), Vec::new(), json!(0));
    loop {
        let event = reader.event().await;
        if event["type"] == "live" {
            break;
        }
        assert_eq!(event["prev"], last, "{event}");
        last = event["seq"].clone();
        match event["type"].as_str() {
            Some("changed") => others.push(brief(&event)),
            _ => shown.push(brief(&event)),
        }
    }
    assert_eq!((&shown[..], &others[..]), (messages, changes));
    reader.say(r#"{"type":"history"}"#).await;
    let history = reader.event().await;
    let history = history["messages"].as_array().expect("a list");
    assert_eq!(history.iter().map(brief).collect::<Vec<_>>(), messages);
}

// Verified to fail when the tail is not revised, and when pages show changes.
#[tokio::test]
async fn a_message_is_shown_in_its_present_state() {
    let folder = tempdir().expect("a folder");
    let storage = Storage::Folder(folder.path().to_owned());
    let server = TestServer::start_with(&storage, options()).await;
    let mut ana = owner(&server, "ana").await;
    let mut bob = owner(&server, "bob").await;
    let mut plain = server.plain("/?seq=1").await;
    let mut events = server.follow("/", "").await;
    for _ in ["welcome", "live"] {
        events.sse_event().await.expect("told");
    }
    ana.event_after(&said("tea at vife")).await;
    bob.say(&about(1, "reply", "at five?").to_string()).await;
    let reply = ana.event_of("message").await;
    let from = &reply["quote"]["from"];
    assert_eq!(from["name"], "ana");
    assert_eq!(reply["quote"]["text"], "tea at vife");
    assert_eq!((&reply["about"], &reply["kind"]), (&json!(1), &Value::Null));

    let edited = change(&mut ana, &about(1, "edit", "tea at five")).await;
    assert_eq!(edited["from"], *from);
    let edited = brief(&edited);
    let edit = json!({"seq": 3, "about": 1, "kind": "edit", "text": "tea at five"});
    assert_eq!(edited, edit);
    let reacted = change(&mut ana, &about(1, "react", "+1")).await;
    let reactions = json!([{"text": "+1", "count": 1, "names": ["ana"]}]);
    assert_eq!(reacted["reactions"], reactions);
    bob.event_of("changed").await;
    bob.event_of("changed").await;
    let reacted = change(&mut bob, &about(1, "react", "+1")).await;
    let reactions = json!([{"text": "+1", "count": 2, "names": ["ana", "bob"]}]);
    assert_eq!(
        (&reacted["reactions"], &reacted["prev"]),
        (&reactions, &json!(4))
    );

    // A plain reader sees the reply and the correction, but no reaction.
    assert_eq!(plain.text().await, "1 ana: tea at vife");
    assert_eq!(plain.text().await, "2 bob: > ana: tea at vife\n  at five?");
    assert_eq!(plain.text().await, "3 * ana corrected: tea at five");
    bob.event_after(&said("good")).await;
    assert_eq!(plain.text().await, "6 bob: good");
    for (id, kind) in [
        ("1", None),
        ("2", None),
        ("3", Some("changed")),
        ("4", Some("changed")),
    ] {
        let told = events.sse_event().await.expect("told");
        assert_eq!(
            (told.id.as_deref(), told.event.as_deref()),
            (Some(id), kind)
        );
    }

    let messages = [
        json!({"seq": 1, "text": "tea at five", "edited": true, "reactions": reactions}),
        json!({"seq": 2, "text": "at five?", "about": 1,
               "quote": {"from": from, "text": "tea at five"}}),
        json!({"seq": 6, "text": "good"}),
    ];
    let react = |seq: u64| json!({"seq": seq, "about": 1, "kind": "react", "text": "+1"});
    let present = |seq: u64| {
        let mut react = react(seq);
        react["reactions"] = reactions.clone();
        react
    };
    let mut first = react(4);
    first["reactions"] = json!([{"text": "+1", "count": 1, "names": ["ana"]}]);
    let changes = [edit.clone(), first, present(5)];
    assert_shown(&server, &messages, &changes).await;
    let lines = "ana: tea at five\nbob: > ana: tea at five\n  at five?\nbob: good\n";
    assert_eq!(server.get("/", "*/*").await, lines);
    let search = json!({"type": "search", "query": "vife"});
    assert_eq!(find(&mut bob, &search).await, json!([]));
    let search = json!({"type": "search", "query": "tea five"});
    assert_eq!(find(&mut bob, &search).await, json!([messages[0]]));
    drop((ana, bob, plain, events));
    server.stop().await;

    // From the file.
    let server = TestServer::start_with(&storage, options()).await;
    assert_shown(&server, &messages, &[edit, present(4), present(5)]).await;
    let mut bob = owner(&server, "bob").await;
    let ended = change(&mut bob, &about(1, "unreact", "+1")).await;
    assert_eq!(
        ended["reactions"],
        json!([{"text": "+1", "count": 1, "names": ["ana"]}])
    );
    drop(bob);
    server.stop().await;
    assert_sound(folder.path());
}

/// The messages that a search finds, in brief.
async fn find(peer: &mut Peer, search: &Value) -> Value {
    let found = peer.event_after(search).await;
    let found = found["messages"].as_array().expect("a list");
    found.iter().map(brief).collect()
}

// Verified to fail when authorship is not checked.
#[tokio::test]
async fn only_the_author_changes_a_message() {
    let server = TestServer::start().await;
    let mut ana = owner(&server, "ana").await;
    let mut guest = live(&server, "/").await;
    ana.event_after(&said("hello")).await;
    guest.event_of("message").await;
    guest.event_after(&said("hi")).await;
    guest.event_after(&said("hi again")).await;
    for (change, code) in [
        (about(1, "edit", "x"), "not_allowed"),
        (json!({"type": "erase", "seq": 1}), "not_allowed"),
        (about(9, "edit", "x"), "not_here"),
        (about(9, "reply", "x"), "not_here"),
        (about(1, "react", "+1"), "not_allowed"),
        (
            json!({"type": "publish", "kind": "edit", "text": "x"}),
            "bad_field",
        ),
    ] {
        let refused = guest.event_after(&change).await;
        assert_eq!(
            (&refused["type"], &refused["code"]),
            (&json!("refused"), &json!(code))
        );
    }
    // The same connection is the author of what it said without a name.
    assert_eq!(
        change(&mut guest, &about(3, "edit", "hi, all")).await["seq"],
        4
    );
    // Nothing is about a change.
    let refused = guest.event_after(&about(4, "reply", "x")).await;
    assert_eq!(refused["code"], "not_here");
    drop(guest);
    let mut again = live(&server, "/").await;
    let refused = again.event_after(&about(3, "edit", "mine?")).await;
    assert_eq!(refused["code"], "not_allowed");
    // An owner is the author on every connection.
    drop(ana);
    let mut ana = owner(&server, "ana").await;
    assert_eq!(
        change(&mut ana, &about(1, "edit", "hello!")).await["seq"],
        5
    );
    let refused = ana.event_after(&about(1, "react", "two words")).await;
    assert_eq!(refused["code"], "bad_field");
}

// Verified to fail when any way to publish checks no correction.
#[tokio::test]
async fn a_strangers_correction_is_no_entry() {
    let server = TestServer::start().await;
    let mut ana = owner(&server, "ana").await;
    ana.event_after(&said("hello")).await;
    let mut guest = live(&server, "/").await;
    let mut plain = server.plain("/").await;
    let batches = async || figure(&metrics(&server).await, "chat_batch_messages_count");
    let before = batches().await.expect("a metric");
    let mut edit = about(1, "edit", "bye");
    edit["id"] = json!("e");
    let refused = guest.event_after(&edit).await;
    let (code, id) = (&refused["code"], &refused["id"]);
    assert_eq!((code, id), (&json!("not_allowed"), &json!("e")));
    let only = "Only its author may change a message.";
    assert_eq!(plain.text_after("/edit 1 bye").await, format!("* {only}"));
    let posted = server.post("/?about=1&kind=edit", "", b"bye").await;
    assert!(posted.contains(only), "{posted}");
    assert_eq!(batches().await, Some(before));
}

// Verified to fail when the window is not checked.
#[tokio::test]
async fn a_message_can_be_changed_for_a_while() {
    for (window, allowed) in [(Duration::ZERO, false), (Duration::from_secs(60), true)] {
        let mut options = options();
        options.hub.edit_window = window;
        let server = TestServer::start_with(&Storage::Memory, options).await;
        let mut guest = live(&server, "/").await;
        guest.event_after(&said("one")).await;
        let edited = guest.event_after(&about(1, "edit", "two")).await;
        let erased = guest.event_after(&json!({"type": "erase", "seq": 1})).await;
        let kinds = if allowed {
            ["changed", "erased"]
        } else {
            ["refused"; 2]
        };
        assert_eq!([&edited["type"], &erased["type"]], kinds);
    }
}

#[tokio::test]
async fn what_is_about_a_message_is_stored_once() {
    let server = TestServer::start().await;
    let mut ana = owner(&server, "ana").await;
    ana.event_after(&said("one")).await;
    for (seq, kind, text, id) in [
        (2, "edit", "two", "e"),
        (3, "react", "+1", "r"),
        (4, "unreact", "+1", "u"),
        (5, "reply", "why?", "p"),
    ] {
        let mut publish = about(1, kind, text);
        publish["id"] = json!(id);
        let stored = ana.event_after(&publish).await;
        assert_eq!((&stored["seq"], &stored["id"]), (&json!(seq), &json!(id)));
        let repeat = ana.event_after(&publish).await;
        let accepted = json!({"type": "accepted", "id": id, "seq": seq, "duplicate": true});
        assert_eq!(repeat, accepted);
        publish["about"] = json!(5);
        let taken = ana.event_after(&publish).await;
        assert_eq!(taken["code"], "id_taken", "{taken}");
    }
    // A reaction counts once for each person; to end none is no mistake.
    assert_eq!(change(&mut ana, &about(1, "react", "yes")).await["seq"], 6);
    let again = ana.event_after(&about(1, "react", "yes")).await;
    assert_eq!(
        again,
        json!({"type": "accepted", "seq": 6, "duplicate": true})
    );
    let none = ana.event_after(&about(1, "unreact", "no")).await;
    assert_eq!(
        none,
        json!({"type": "accepted", "seq": 1, "duplicate": true})
    );
    let reactions = json!([{"text": "yes", "count": 1, "names": ["ana"]}]);
    assert_eq!(page(&server, "/").await[0]["reactions"], reactions);
    // A repeat is a repeat, though the message is gone.
    ana.say(r#"{"type":"erase","seq":1}"#).await;
    ana.event_of("notice").await;
    let mut edit = about(1, "edit", "two");
    edit["id"] = json!("e");
    let repeat = ana.event_after(&edit).await;
    assert_eq!(
        (&repeat["seq"], &repeat["duplicate"]),
        (&json!(2), &json!(true))
    );
    let gone = ana.event_after(&about(1, "edit", "three")).await;
    assert_eq!(gone["code"], "not_here");
}

// Verified to fail when changes count.
#[tokio::test]
async fn changes_do_not_count_as_messages() {
    let server = TestServer::start().await;
    let mut ana = owner(&server, "ana").await;
    for text in ["one", "two", "three"] {
        ana.event_after(&said(text)).await;
    }
    for word in ["a", "b", "c"] {
        change(&mut ana, &about(1, "react", word)).await;
    }
    let (mut reader, _) = server.json("/?backlog=2").await;
    assert_eq!(reader.event().await["seq"], 2);
    let seqs = |page: Value| {
        let page = page.as_array().expect("a list").clone();
        page.iter()
            .map(|message| message["seq"].clone())
            .collect::<Value>()
    };
    assert_eq!(seqs(page(&server, "/?limit=2").await), json!([2, 3]));
    assert_eq!(seqs(page(&server, "/?before=3&limit=1").await), json!([2]));
    assert_eq!(server.page("/?after=3").await["messages"], json!([]));
    let rooms = ana.event_after(&json!({"type": "rooms"})).await;
    assert_eq!(rooms["rooms"][0]["last"]["seq"], 3);
}

#[tokio::test]
async fn posts_may_be_about_a_message() {
    let server = TestServer::start().await;
    for (target, body, answer) in [
        ("/", "tea?", r#"{"seq":1}"#),
        ("/?about=1&kind=reply", "yes", r#"{"seq":2}"#),
        ("/?about=1&kind=react&name=bob", "+1", r#"{"seq":3}"#),
        ("/?about=1&kind=edit", "no", "Only its author"),
        ("/?about=9", "no", "Number 9 is no message of lobby"),
        ("/?kind=reply", "x", r#"give its number in "about""#),
        ("/?about=1&kind=shout", "x", "kind is one of said, me"),
    ] {
        let told = server.post(target, "", body.as_bytes()).await;
        assert!(told.contains(answer), "{target}: {told}");
    }
    let lines = server.get("/", "*/*").await;
    assert!(lines.ends_with(": tea?\n  yes\n"), "{lines}");
}

// Verified to fail when the quotes of a message stay in memory.
#[tokio::test]
async fn erased_words_are_in_no_quote_and_no_correction() {
    let folder = tempdir().expect("a folder");
    let storage = Storage::Folder(folder.path().to_owned());
    let server = TestServer::start_with(&storage, options()).await;
    let mut ana = owner(&server, "ana").await;
    let mut bob = owner(&server, "bob").await;
    ana.event_after(&said("xyzzy one")).await;
    bob.event_of("message").await;
    bob.event_after(&about(1, "reply", "really?")).await;
    let search = json!({"type": "search", "query": "xyzzy"});
    assert_eq!(find(&mut bob, &search).await[0]["seq"], 1);
    for text in ["xyzzy two", "xyzzy three"] {
        ana.say(&about(1, "edit", text).to_string()).await;
        ana.event_of("changed").await;
        bob.event_of("changed").await;
    }
    bob.event_after(&about(1, "reply", "hm")).await;
    ana.event_of("message").await;
    // Both the words of now, and those of before.
    for (words, found) in [("xyzzy", 1), ("one", 0), ("two", 0), ("three", 1)] {
        let search = json!({"type": "search", "query": words});
        let search = find(&mut bob, &search).await;
        assert_eq!(search.as_array().map(Vec::len), Some(found), "{words}");
    }
    assert!(!holding(folder.path(), "xyzzy").is_empty());

    ana.say(r#"{"type":"delete","seq":1}"#).await;
    assert_eq!(ana.event_of("refused").await["code"], "unknown_type");
    ana.say(r#"{"type":"erase","seq":1}"#).await;
    assert_eq!(
        ana.event_of("erased").await,
        json!({"type": "erased", "seq": 1})
    );
    assert_eq!(ana.event_of("notice").await["text"], "Number 1 is erased.");
    assert_eq!(bob.event_of("erased").await["seq"], 1);
    let messages = [
        json!({"seq": 1}),
        json!({"seq": 2, "text": "really?", "about": 1}),
        json!({"seq": 5, "text": "hm", "about": 1}),
    ];
    let changes = [3, 4].map(|seq| json!({"seq": seq, "about": 1, "kind": "edit"}));
    assert_shown(&server, &messages, &changes).await;
    assert_eq!(holding(folder.path(), "xyzzy"), [""; 0]);
    drop((ana, bob));
    server.stop().await;
    assert_eq!(holding(folder.path(), "xyzzy"), [""; 0]);
    assert_sound(folder.path());
    let server = TestServer::start_with(&storage, options()).await;
    assert_shown(&server, &messages, &changes).await;
    server.stop().await;
}

#[tokio::test]
async fn a_plain_person_types_what_is_about_a_message() {
    let server = TestServer::start().await;
    let mut bob = server.plain("/?name=bob").await;
    let mut ana = server.plain("/?name=ana").await;
    bob.text_after("tea?").await;
    assert_eq!(ana.text().await, "bob: tea?");
    assert_eq!(
        ana.text_after("/reply yes").await,
        "ana: > bob: tea?\n  yes"
    );
    assert_eq!(
        ana.text_after("/reply 1 please").await,
        "ana: > bob: tea?\n  please"
    );
    ana.say("/react +1").await;
    assert_eq!(
        ana.text_after("/edit pleese").await,
        "* ana corrected: pleese"
    );
    assert_eq!(
        ana.text_after("/edit 1 coffee!").await,
        "* Only its author may change a message."
    );
    assert_eq!(ana.text_after("/delete").await, "* Number 3 is erased.");
    let usage = ana.text_after("/edit").await;
    assert!(usage.starts_with("* Usage: /edit [N] TEXT"), "{usage}");
    let refused = ana.text_after("/delete 1").await;
    assert_eq!(refused, "* Only its author may change a message.");
}

// Verified to fail when the quote of a live message is not looked at.
#[tokio::test]
async fn a_quote_shows_no_address_that_is_hidden_now() {
    let folder = tempdir().expect("a folder");
    let storage = Storage::Folder(folder.path().to_owned());
    let server = TestServer::start_with(&storage, options()).await;
    let mut guest = live(&server, "/").await;
    let shown = guest.event_after(&said("hi")).await;
    assert!(
        shown["from"]["addr"]
            .as_str()
            .expect("a tag")
            .starts_with("127.0.0.1:")
    );
    drop(guest);
    server.stop().await;
    let mut options = options();
    options.hub.hides_addresses = true;
    let server = TestServer::start_with(&storage, options).await;
    let mut guest = live(&server, "/").await;
    let reply = guest.event_after(&about(1, "reply", "hello")).await;
    let tag = reply["quote"]["from"]["addr"].as_str().expect("a tag");
    assert!(tag.starts_with("guest-"), "{reply}");
}

// Verified to fail when the number of reactions has no bound.
#[tokio::test]
async fn a_message_takes_so_many_different_reactions() {
    let server = TestServer::start().await;
    let mut ana = owner(&server, "ana").await;
    ana.event_after(&said("one")).await;
    for number in 0..20 {
        change(&mut ana, &about(1, "react", &number.to_string())).await;
    }
    let refused = ana.event_after(&about(1, "react", "20")).await;
    assert_eq!(refused["code"], "not_allowed");
    change(&mut ana, &about(1, "unreact", "7")).await;
    change(&mut ana, &about(1, "react", "20")).await;
    // Another person may join in.
    let mut bob = owner(&server, "bob").await;
    let joined = change(&mut bob, &about(1, "react", "20")).await;
    assert_eq!(joined["reactions"].as_array().map(Vec::len), Some(20));
}
