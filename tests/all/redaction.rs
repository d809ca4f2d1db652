use std::{fs, path::Path};

use broadcast_chat::store::Storage;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::{
    operators::{SECRET, assert_sound, audit, with_operators},
    programs::Program,
    support::{Peer, TestServer},
};

async fn server(folder: &Path) -> TestServer {
    let storage = Storage::Folder(folder.to_owned());
    TestServer::start_with(&storage, with_operators()).await
}

/// A live peer in the JSON format that has proved to be an operator.
async fn operator(server: &TestServer, target: &str) -> Peer {
    let (mut peer, _) = server.json(target).await;
    peer.event_of("live").await;
    let proved = peer
        .event_after(&json!({"type": "operator", "secret": SECRET}))
        .await;
    assert_eq!(proved["type"], "notice", "{proved}");
    peer
}

fn erase(seq: u64) -> Value {
    json!({"type": "erase", "seq": seq})
}

/// Redacts a message; asserts the event and the notice that the operator
/// receives.
async fn redact(operator: &mut Peer, seq: u64) {
    operator.say(&erase(seq).to_string()).await;
    assert_eq!(
        operator.event().await,
        json!({"type": "erased", "seq": seq})
    );
    let told = json!({"type": "notice", "text": format!("Number {seq} is erased.")});
    assert_eq!(operator.event().await, told);
}

/// The files of a folder that hold a text.
pub(crate) fn holding(folder: &Path, text: &str) -> Vec<String> {
    let mut holding = Vec::new();
    for file in fs::read_dir(folder).expect("a folder") {
        let path = file.expect("a file").path();
        let bytes = fs::read(&path).expect("readable");
        if bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
        {
            holding.push(path.display().to_string());
        }
    }
    holding
}

#[tokio::test]
async fn redacted_words_are_in_no_file() {
    let folder = tempdir().expect("a folder");
    let server = server(folder.path()).await;
    let mut ana = operator(&server, "/?name=ana").await;
    // Texts that fit into a page of the database, and one that fills several.
    let texts = [20, 300, 8000].map(|length| {
        let word = format!("xyzzy{length}q");
        format!("{word} {} {word}", "plugh ".repeat((length - 20) / 6))
    });
    let mut seqs = Vec::new();
    for text in &texts {
        for said in ["before", text, "after"] {
            let publish = json!({"type": "publish", "text": said});
            let echo = ana.event_after(&publish).await;
            if said == text {
                seqs.push(echo["seq"].as_u64().expect("a number"));
            }
        }
    }
    // The texts are indexed before the redaction, and searched for after it.
    let search = json!({"type": "search", "query": "xyzzy"});
    let found = ana.event_after(&search).await;
    assert_eq!(
        found["messages"].as_array().map(Vec::len),
        Some(3),
        "{found}"
    );
    for (text, seq) in texts.iter().zip(seqs) {
        let word = text.split(' ').next().expect("a word");
        assert!(!holding(folder.path(), word).is_empty());
        redact(&mut ana, seq).await;
        assert_eq!(holding(folder.path(), word), [""; 0]);
        let found = ana
            .event_after(&json!({"type": "search", "query": word}))
            .await;
        assert_eq!(found["messages"], json!([]));
    }
    ana.event_after(&json!({"type": "publish", "text": "more"}))
        .await;
    ana.event_after(&search).await;
    assert_eq!(holding(folder.path(), "xyzzy"), [""; 0]);
    drop(ana);
    server.stop().await;
    assert_eq!(holding(folder.path(), "xyzzy"), [""; 0]);
    assert_sound(folder.path());
    let whole: Vec<_> = audit(folder.path()).concat();
    let done = ["ana", "erase 2", "ana", "", "ana", "erase 5", "ana", ""];
    assert_eq!(whole[..8], done);
}

/// Asserts what later readers see of three messages. The second one is
/// redacted.
async fn assert_shown_without(server: &TestServer, one: &Value, three: &Value) {
    let two = json!({"type": "erased", "seq": 2, "prev": 1, "id": "b"});
    let (mut reader, _) = server.json("/?after=0").await;
    for shown in [one, &two, three] {
        assert_eq!(reader.event().await, *shown);
    }
    assert_eq!(reader.event().await["type"], "live");
    for (start, first) in [("after=1", &two), ("after=2", three), ("backlog=2", &two)] {
        let (mut reader, _) = server.json(&format!("/?{start}")).await;
        assert_eq!(reader.event().await, *first, "{start}");
    }
    let mut events = server.follow("/?after=1", "").await;
    assert_eq!(
        events.sse_event().await.expect("told").event.as_deref(),
        Some("welcome")
    );
    let told = events.sse_event().await.expect("told");
    assert_eq!(
        (told.id.as_deref(), told.event.as_deref()),
        (Some("2"), Some("erased"))
    );
    assert_eq!(told.json(), two);
    assert_eq!(events.sse_event().await.expect("told").json(), *three);

    // A page lists messages without `type`: all of them are messages.
    let [one, three] = [one, three].map(|message| {
        let mut message = message.clone();
        message.as_object_mut().expect("an object").remove("type");
        message
    });
    assert_eq!(
        server.page("/?after=0").await["messages"],
        json!([one, two, three])
    );
    assert_eq!(server.page("/").await["messages"], json!([one, two, three]));
    assert_eq!(
        server.page("/?after=1&limit=1").await["messages"],
        json!([two])
    );
    assert_eq!(
        server.page("/?before=3&limit=1").await["messages"],
        json!([two])
    );
    reader.say(r#"{"type":"history"}"#).await;
    assert_eq!(reader.event().await["messages"], json!([one, two, three]));

    let lines = "bob: one\nbob: * three\n";
    for target in ["/", "/?after=0", "/?limit=9", "/?after=0&limit=9"] {
        assert_eq!(server.get(target, "*/*").await, lines, "{target}");
    }
    assert_eq!(server.get("/?after=1&limit=1", "*/*").await, "");
    let numbered = server.get("/?after=1&seq=1", "*/*").await;
    assert_eq!(numbered, "3 bob: * three\n");
    let mut plain = server.plain("/?backlog=3").await;
    assert_eq!(plain.text().await, "bob: one");
    assert_eq!(plain.text().await, "bob: * three");
    assert_eq!(
        plain.text_after("/history").await,
        "* bob: one\n* bob: * three"
    );
    assert_eq!(plain.text_after("/search two").await, "* Nothing found.");
    reader.say(r#"{"type":"search","query":"two"}"#).await;
    let found = reader.event().await;
    assert_eq!(found["messages"], json!([]));
    assert_eq!(found["indexed"], 3);
}

#[tokio::test]
async fn a_redaction_reaches_live_readers_and_hides_the_words() {
    let folder = tempdir().expect("a folder");
    let server = server(folder.path()).await;
    let mut ana = operator(&server, "/?name=ana").await;
    let (mut bob, _) = server.json("/?name=bob").await;
    bob.event_of("live").await;
    let mut said = Vec::new();
    for message in [
        json!({"type": "publish", "text": "one"}),
        json!({"type": "publish", "text": "two", "id": "b"}),
        json!({"type": "publish", "text": "three", "kind": "me"}),
    ] {
        said.push(bob.event_after(&message).await);
        ana.event_of("message").await;
    }
    let mut events = server.follow("/", "").await;
    for kind in ["welcome", "live"] {
        let told = events.sse_event().await.expect("told");
        assert_eq!(told.event.as_deref(), Some(kind));
    }
    let mut plain = server.plain("/").await;
    let (mut elsewhere, _) = server.json("/tea").await;
    elsewhere.event_of("live").await;

    redact(&mut ana, 2).await;
    assert_eq!(bob.event().await, json!({"type": "erased", "seq": 2}));
    let told = events.sse_event().await.expect("told");
    // The event has no id, so the position to resume from stays.
    assert_eq!(
        (told.id.as_deref(), told.event.as_deref()),
        (None, Some("erased"))
    );
    assert_eq!(told.json(), json!({"type": "erased", "seq": 2}));
    assert_shown_without(&server, &said[0], &said[2]).await;

    // A second redaction changes nothing. A repeat of the message's id is
    // acknowledged as stored.
    let again = ana.event_after(&erase(2)).await;
    assert_eq!(again["text"], "Number 2 is erased.");
    let stored = json!({"type": "accepted", "id": "b", "seq": 2, "duplicate": true});
    let publish = json!({"type": "publish", "text": "two", "id": "b"});
    assert_eq!(bob.event_after(&publish).await, stored);
    drop((ana, bob, events));
    server.stop().await;

    let server = self::server(folder.path()).await;
    assert_shown_without(&server, &said[0], &said[2]).await;
    let mut ana = operator(&server, "/?name=ana").await;
    assert_eq!(ana.event_after(&publish).await, stored);
    let again = ana.event_after(&erase(2)).await;
    assert_eq!(again["text"], "Number 2 is erased.");
    let four = ana
        .event_after(&json!({"type": "publish", "text": "four"}))
        .await;
    assert_eq!((&four["seq"], &four["prev"]), (&json!(4), &json!(3)));
    drop(ana);
    // The other peers received nothing before their close frame.
    assert_eq!(plain.next().await.map(|frame| frame.opcode), Some(8));
    assert_eq!(elsewhere.next().await.map(|frame| frame.opcode), Some(8));
    server.stop().await;
    assert_eq!(audit(folder.path()), [["ana", "erase 2", "bob", ""]]);
    assert_sound(folder.path());
}

#[tokio::test]
async fn an_invalid_redaction_is_refused_with_a_reason() {
    let folder = tempdir().expect("a folder");
    let server = server(folder.path()).await;
    let mut bob = server.plain("/tea?name=bob").await;
    bob.text_after("one").await;
    let mut eve = server.plain("/tea?name=eve").await;
    let refused = eve.text_after("/erase 1").await;
    assert_eq!(refused, "* Only its author may change a message.");
    drop(eve);
    let mut ana = operator(&server, "/").await;
    for (seq, code) in [
        (json!(1), "not_here"),
        (json!(0), "not_here"),
        (json!(2), "not_here"),
        (json!(u64::MAX), "not_here"),
        (json!(-1), "bad_field"),
        (json!("1"), "bad_field"),
        (json!(1.5), "bad_field"),
        (json!(null), "bad_field"),
    ] {
        let refused = ana.event_after(&json!({"type": "erase", "seq": seq})).await;
        assert_eq!(refused["code"], code, "{seq}: {refused}");
    }
    bob.text_after(&format!("/operator {SECRET}")).await;
    let refused = bob.text_after("/erase 2").await;
    assert!(
        refused.starts_with("* Number 2 is no message of tea: "),
        "{refused}"
    );
    let refused = bob.text_after("/erase one").await;
    assert!(refused.starts_with("* Usage: /erase NUMBER, "), "{refused}");
    assert_eq!(bob.text_after("/history").await, "* bob: one");
    assert_eq!(bob.text_after("/erase 1").await, "* Number 1 is erased.");
    assert_eq!(
        bob.text_after("/history").await,
        "* What was said here is erased."
    );
    drop((ana, bob));
    server.stop().await;
    assert_eq!(audit(folder.path()), [["bob", "erase 1", "bob", ""]]);
}

#[tokio::test]
async fn operators_cannot_redact_private_messages() {
    let folder = tempdir().expect("a folder");
    let server = server(folder.path()).await;
    let headers = [
        ("Sec-WebSocket-Protocol", "chat.v1"),
        ("Authorization", "Bearer the-secret-of-bob"),
    ];
    let mut bob = server.peer("/?name=bob", &headers).await;
    bob.event_of("live").await;
    let mut ana = operator(&server, "/").await;
    ana.event_after(&json!({"type": "name", "name": "ana"}))
        .await;
    let private = json!({"type": "private", "to": "bob", "text": "hi"});
    ana.say(&private.to_string()).await;
    let seq = bob.event_of("private").await["seq"].as_u64();
    let seq = seq.expect("a number");
    ana.event_of("private").await;
    for seq in seq.saturating_sub(1)..seq + 2 {
        let refused = ana.event_after(&erase(seq)).await;
        assert_eq!(refused["code"], "not_here", "{refused}");
    }
}

#[tokio::test]
async fn the_client_resumes_across_redacted_messages() {
    let folder = tempdir().expect("a folder");
    let server = server(folder.path()).await;
    let mut ana = operator(&server, "/?name=ana").await;
    for text in ["one", "two", "three", "four"] {
        ana.event_after(&json!({"type": "publish", "text": text}))
            .await;
    }
    for seq in [2, 4] {
        redact(&mut ana, seq).await;
    }
    for (after, left) in [
        ("0", &["ana: one", "ana: three"][..]),
        ("1", &["ana: three"]),
        ("2", &["ana: three"]),
        ("3", &[]),
        ("4", &[]),
    ] {
        let mut client = Program::client(server.addr, &["--after", after]);
        drop(client.input.take());
        let lines = client.lines().await;
        assert_eq!(lines[1..], *left, "{after}");
        assert_eq!(client.stderr_lines().await, [""; 0], "{after}");
        assert_eq!(client.exit().await, 0);
    }
    let mut client = Program::client(server.addr, &["--after", "1", "--json"]);
    drop(client.input.take());
    let lines = client.lines().await;
    assert_eq!(lines[1], r#"{"type":"erased","seq":2,"prev":1}"#);
    assert_eq!(lines[3], r#"{"type":"erased","seq":4,"prev":3}"#);
    assert_eq!(client.stderr_lines().await, [""; 0]);

    // The outbox keeps the position: the next client prints newer messages
    // only.
    let state = folder.path().join("outbox");
    let kept = ["--after", "0", "--outbox", state.to_str().expect("UTF-8")];
    let mut client = Program::client(server.addr, &kept);
    drop(client.input.take());
    assert_eq!(client.lines().await.len(), 3);
    ana.event_after(&json!({"type": "publish", "text": "five"}))
        .await;
    let mut client = Program::client(server.addr, &kept);
    drop(client.input.take());
    assert_eq!(client.lines().await[1..], ["ana: five"]);
    assert_eq!(client.stderr_lines().await, [""; 0]);
}
