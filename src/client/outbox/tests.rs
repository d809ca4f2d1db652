//! Tests of the order in which commands leave an outbox, and of its file.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use super::*;
use crate::{
    client::scripted::target,
    protocol::{Epoch, PublishKind, Seq},
};

fn folder() -> (TempDir, std::path::PathBuf) {
    let folder = tempdir().expect("a folder");
    let path = folder.path().join("outbox");
    (folder, path)
}

fn open(path: &Path) -> Outbox {
    Outbox::open(path, &target("")).expect("an outbox")
}

/// Waits until all records are written.
fn settle(outbox: &mut Outbox) {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let settled = runtime.expect("a runtime").block_on(outbox.settle());
    settled.expect("written");
}

fn publish(n: usize, text: &str) -> Command {
    Command::Publish {
        text: text.to_owned(),
        id: format!("i-{n}").parse().ok(),
        kind: PublishKind::Said,
        about: None,
        follows: None,
    }
}

fn id(n: usize) -> MessageId {
    format!("i-{n}").parse().expect("an id")
}

/// The texts of all messages that may be sent now.
fn texts(outbox: &mut Outbox) -> Vec<String> {
    std::iter::from_fn(|| outbox.next_to_send())
        .map(|command| match json::parse(&command).command {
            Ok(Command::Publish { text, .. }) => text,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn commands_leave_as_in_the_shared_vectors() {
    let vectors = include_str!("../../../tests/vectors/outbox.json");
    let vectors: Vec<Value> = serde_json::from_str(vectors).expect("vectors");
    let begin = Instant::now();
    for vector in vectors {
        let mut outbox = Outbox::in_memory();
        for step in vector["steps"].as_array().expect("steps") {
            take(&mut outbox, step, begin);
        }
    }
}

/// Takes one step of a vector, whose times count from `begin`.
fn take(outbox: &mut Outbox, step: &Value, begin: Instant) {
    let mut step = step.as_object().expect("a step").clone();
    let was = step.remove("was");
    let until = step.remove("until").and_then(|until| until.as_u64());
    let (what, value) = step.iter().next().expect("a step");
    let text = value.as_str();
    let id = || -> MessageId { text.expect("an id").parse().expect("an id") };
    let at = |ms| begin + Duration::from_millis(ms);
    match what.as_str() {
        "push" => outbox.push(Command::Publish {
            text: text.expect("a text").to_owned(),
            id: Some(id()),
            kind: PublishKind::Said,
            about: None,
            follows: None,
        }),
        "name" => outbox.push(Command::Name {
            name: text.expect("a name").parse().expect("a name"),
            secret: None,
        }),
        "next" => {
            let handed = std::iter::from_fn(|| outbox.next_to_send());
            let handed: Vec<_> = handed.map(|command| short(&command)).collect();
            assert_eq!(json!(handed), *value);
        }
        "confirm" => assert_eq!(Some(json!(outbox.confirm(&id()))), was, "{value}"),
        "refuse" => assert_eq!(Some(json!(outbox.refuse(&id()))), was, "{value}"),
        "hold" => {
            let held = outbox.hold(&id(), at(until.expect("a time")));
            assert_eq!(Some(json!(held)), was, "{value}");
        }
        "held until" => assert_eq!(outbox.held_until(), value.as_u64().map(at)),
        "release" => outbox.release(),
        "start over" => outbox.start_over(),
        "unconfirmed" => assert_eq!(json!(outbox.unconfirmed()), *value),
        "changed" => {
            let changed = outbox.take_change().map(|command| match command {
                Command::Name { name, .. } => name,
                other => panic!("{other:?}"),
            });
            assert_eq!(json!(changed), *value);
        }
        _ => panic!("{what}"),
    }
}

/// A command as the vectors write it: `a`, `a>b` if b follows a, or `name ana`.
fn short(command: &str) -> String {
    match json::parse(command).command {
        Ok(Command::Publish { text, follows, .. }) => match follows {
            Some(before) => format!("{before}>{text}"),
            None => text,
        },
        Ok(Command::Name { name, .. }) => format!("name {name}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_keeps_unconfirmed_messages_and_the_position() {
    let (_folder, path) = folder();
    let mut outbox = open(&path);
    for n in 1..=4 {
        outbox.push(publish(n, &n.to_string()));
    }
    outbox.push(publish(2, "the same"));
    assert!(outbox.confirm(&id(2)));
    assert!(texts(&mut outbox).is_empty(), "none is on disk");
    settle(&mut outbox);
    assert_eq!(texts(&mut outbox), ["1", "3", "4"]);
    assert!(outbox.refuse(&id(3)));
    let position = Position {
        room: RoomName::lobby(),
        epoch: Epoch("e".into()),
        seq: Seq(7),
        inbox: None,
    };
    outbox.remember(&position);
    settle(&mut outbox);
    drop(outbox);
    let mode = fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut outbox = open(&path);
    assert_eq!(outbox.position(), Some(&position));
    outbox.push(publish(5, "5"));
    assert_eq!(outbox.unconfirmed(), 3);
    assert_eq!(texts(&mut outbox), ["1", "4"]);
    settle(&mut outbox);
    assert_eq!(texts(&mut outbox), ["5"]);
}

#[test]
fn a_torn_last_line_is_dropped() {
    let (_folder, path) = folder();
    let mut outbox = open(&path);
    outbox.push(publish(1, "one"));
    settle(&mut outbox);
    let whole = fs::read(&path).expect("a file");
    outbox.push(publish(2, "two"));
    settle(&mut outbox);
    drop(outbox);
    let more = fs::read(&path).expect("a file");
    for length in whole.len()..more.len() {
        fs::write(&path, &more[..length]).expect("written");
        let mut outbox = open(&path);
        assert_eq!(texts(&mut outbox), ["one"]);
        outbox.push(publish(3, "three"));
        settle(&mut outbox);
        drop(outbox);
        assert_eq!(texts(&mut open(&path)), ["one", "three"]);
    }
}

#[test]
fn a_file_that_is_no_outbox_stays_unchanged() {
    let (folder, path) = folder();
    drop(open(&path));
    let head = fs::read_to_string(&path).expect("a file");
    let refused = |path: &Path, room: &str| {
        Outbox::open(path, &target(room))
            .expect_err("not to be used")
            .to_string()
    };
    for (content, why) in [
        (
            "dear diary\n".to_owned(),
            "is no outbox and is left as it is",
        ),
        ("{}\n".to_owned(), "is no outbox and is left as it is"),
        (
            format!("{head}{{\"done\":1}}\nwhat\n"),
            "is damaged at line 3 and is left as it is",
        ),
        (head.replace(":2,", ":3,"), "is an outbox of version 3"),
    ] {
        fs::write(&path, &content).expect("written");
        let said = refused(&path, "");
        assert!(said.contains(why), "{said}");
        assert_eq!(fs::read_to_string(&path).expect("a file"), content);
    }
    fs::write(&path, &head).expect("written");
    let said = refused(&path, "tea");
    assert!(
        said.contains("is the outbox for ws://test:1/lobby, not for ws://test:1/tea"),
        "{said}"
    );
    let holder = open(&path);
    assert!(refused(&path, "").contains("is in use by another client"));
    drop(holder);
    assert!(refused(Path::new("/dev/null"), "").contains("is no outbox"));
    assert!(refused(folder.path(), "").contains("cannot be the outbox"));
    // An empty file becomes a new outbox.
    fs::write(&path, "").expect("written");
    open(&path);
    assert_eq!(fs::read_to_string(&path).expect("a file"), head);
}

#[test]
fn a_file_does_not_grow_for_ever() {
    let (folder, path) = folder();
    let mut outbox = open(&path);
    let text = "x".repeat(1000);
    let mut largest = 0;
    for n in 1..20_000 {
        outbox.push(publish(n, &text));
        if n > 3 {
            assert!(outbox.confirm(&id(n - 3)));
        }
        if n % 10 == 0 {
            settle(&mut outbox);
            assert_eq!(texts(&mut outbox).len(), 3);
        }
        largest = largest.max(fs::metadata(&path).expect("a file").len());
        if n == 10_000 {
            // The rewritten file is still locked by this client.
            assert!(Outbox::open(&path, &target("")).is_err());
        }
    }
    settle(&mut outbox);
    assert!(largest < 3 << 20, "{largest}");
    drop(outbox);
    let outbox = open(&path);
    assert_eq!(outbox.unconfirmed(), 3);
    assert!(outbox.ids.contains_key(&id(19_999)));
    let names = fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(names, 1, "no temporary file is left");
}

// Verified to fail when the file keeps the old id.
#[test]
fn a_file_keeps_the_new_id_of_a_message() {
    let (_folder, path) = folder();
    let mut outbox = open(&path);
    for n in 1..=3 {
        outbox.push(publish(n, &n.to_string()));
    }
    settle(&mut outbox);
    assert_eq!(texts(&mut outbox), ["1", "2", "3"]);
    assert!(outbox.confirm(&id(1)));
    assert!(outbox.renew(&id(2), id(7)));
    assert!(!outbox.renew(&id(2), id(8)), "no message has this id now");
    assert!(outbox.hold(&id(3), Instant::now()));
    outbox.release();
    assert_eq!(texts(&mut outbox), [""; 0], "the new id is not on disk");
    settle(&mut outbox);
    assert_eq!(texts(&mut outbox), ["2"]);
    drop(outbox);
    let mut outbox = open(&path);
    assert_eq!(texts(&mut outbox), ["2", "3"]);
    assert!(outbox.confirm(&id(7)) && outbox.confirm(&id(3)));
    assert_eq!(outbox.unconfirmed(), 0);
}

// Verified to fail when the file does not say who sent its messages.
#[test]
fn only_the_speaker_of_a_file_sends_it_again() {
    let (folder, path) = folder();
    let of = |name: &str| Outbox::open(&path, &target(&format!("?name={name}")));
    let speak = |outbox: &mut Outbox, name: Option<&str>| {
        let name = name.map(|name| name.parse().expect("a name"));
        outbox.send_as(name.as_ref());
    };
    let mut outbox = open(&path);
    // Nothing of the file was sent yet.
    outbox.push(publish(1, "1"));
    settle(&mut outbox);
    drop(outbox);
    let mut outbox = of("ana").expect("free");
    speak(&mut outbox, Some("ana"));
    assert_eq!(texts(&mut outbox), [""; 0], "the name is not on disk");
    settle(&mut outbox);
    assert_eq!(texts(&mut outbox), ["1"]);
    drop(outbox);
    let said = of("bob").expect_err("another name").to_string();
    assert!(
        said.contains("sent as ana: start the client with --name ana"),
        "{said}"
    );
    assert!(Outbox::open(&path, &target("")).is_err());
    let mut outbox = of("Ana").expect("the same person");
    outbox.confirm(&id(1));
    settle(&mut outbox);
    drop(outbox);
    let mut outbox = open(&path);
    speak(&mut outbox, None);
    outbox.push(publish(2, "2"));
    settle(&mut outbox);
    drop(outbox);
    let said = of("ana").expect_err("no name").to_string();
    assert!(said.contains("start the client without --name"), "{said}");
    drop(folder);
}

#[test]
fn an_outbox_is_full_by_messages_or_bytes() {
    let mut outbox = Outbox::in_memory();
    for n in 0..WINDOW {
        assert!(outbox.has_room());
        outbox.push(publish(n, "x"));
    }
    assert!(!outbox.has_room());
    outbox.confirm(&id(0));
    assert!(outbox.has_room());
    outbox.push(publish(WINDOW, &"x".repeat(WINDOW_BYTES)));
    outbox.confirm(&id(1));
    assert!(!outbox.has_room());
}

#[test]
fn each_client_has_its_own_file_in_a_folder() {
    let (folder, _) = folder();
    let open = || Outbox::in_folder(folder.path(), &target("")).expect("an outbox");
    let files = || fs::read_dir(folder.path()).expect("a folder").count();
    let (first, mut second) = (open(), open());
    second.push(publish(1, "unsent"));
    settle(&mut second);
    assert_eq!(files(), 2);
    // One client ends in order; the other crashes.
    first.end();
    drop(second);
    assert_eq!(files(), 1);
    let mut heir = open();
    assert_eq!(texts(&mut heir), ["unsent"]);
    heir.end();
    assert_eq!(files(), 1, "the message is still unsent");
    let mut heir = open();
    assert!(heir.confirm(&id(1)));
    settle(&mut heir);
    heir.end();
    assert_eq!(files(), 0);
}
