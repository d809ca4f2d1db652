//! Messages about messages, and pages of them.

use super::*;

fn change(seq: u64, about: u64, kind: &str, text: &str) -> Value {
    let mut change = message(seq, "bob", text);
    for (field, value) in [
        ("type", json!("changed")),
        ("about", json!(about)),
        ("kind", json!(kind)),
    ] {
        change[field] = value;
    }
    change
}

// Verified to fail when the picked message is not the one meant, and when
// corrections are not shown.
#[test]
fn a_picked_message_is_answered_and_corrected() {
    let mut scene = Scene::new(60, 18);
    scene.tell(&[
        message(1, "bob", "tea?"),
        message(2, "ana", "yes"),
        message(3, "bob", "now?"),
    ]);
    scene.press(KeyCode::Up, KeyModifiers::ALT);
    scene.press(KeyCode::Up, KeyModifiers::ALT);
    let seen = scene.seen();
    for row in ["  1 bob: tea?", "▸ 2 ana: yes", "  3 bob: now?"] {
        assert!(seen.lines().any(|line| line == row), "{seen}");
    }
    let mut said = |text: &str| {
        scene.type_text(text);
        match &scene.commands()[..] {
            [
                Command::Publish {
                    text,
                    kind,
                    about,
                    id: Some(_),
                    ..
                },
            ] => (text.clone(), *kind, about.map(|about| about.0)),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        said("/reply ok\n"),
        ("ok".to_owned(), PublishKind::Reply, Some(2))
    );
    assert_eq!(
        said("/react 1 +1\n"),
        ("+1".to_owned(), PublishKind::React, Some(1))
    );
    // Without a picked message, the last one is meant; to correct, the last own.
    assert_eq!(
        said("/reply no\n"),
        ("no".to_owned(), PublishKind::Reply, Some(3))
    );
    assert_eq!(
        said("/edit\n please\n"),
        ("yes please".to_owned(), PublishKind::Edit, Some(2))
    );
    scene.type_text("/delete\n");
    assert_eq!(scene.commands(), [Command::Erase { seq: Seq(2) }]);

    let mut reply = message(4, "anton", "gladly");
    reply["about"] = json!(1);
    reply["quote"] = json!({"from": {"name": "bob", "addr": "127.0.0.1:5001"}, "text": "tea?"});
    scene.tell(&[
        reply,
        change(5, 1, "edit", "coffee?"),
        change(6, 2, "react", "+1"),
    ]);
    let seen = scene.seen();
    for part in [
        "anton: > bob: tea?\n  gladly",
        "bob corrected: coffee?",
        "bob reacted +1 to: yes",
    ] {
        assert!(seen.contains(part), "{part}\n{seen}");
    }
    // Back in the room, an erased message is in no quote.
    scene.tell(&[json!({"type": "erased", "seq": 1})]);
    let kept: String = scene
        .model
        .last_lines(50)
        .iter()
        .map(|line| line.text() + "\n")
        .collect();
    assert!(kept.contains("gladly") && !kept.contains("tea?"), "{kept}");
}

#[test]
fn history_and_search_show_numbers_and_the_place() {
    let mut scene = Scene::new(60, 16);
    let page = |search: bool| {
        let mut page =
            json!({"type": "page", "messages": [message(7, "bob", "green tea")], "more": false});
        if search {
            page["query"] = json!("tea");
            page["indexed"] = json!(7);
        }
        page
    };
    scene.tell(&[page(false)]);
    assert!(scene.seen().contains("* 7 22 Nov 14:02 bob: green tea"));
    scene.tell(&[page(true)]);
    let seen = scene.seen();
    assert!(seen.contains("* 1 found in this room."), "{seen}");
    // Only the found word is marked.
    let screen = scene.terminal.screen();
    let hits = screen.rows(0, 60).enumerate().filter_map(|(row, line)| {
        let column = line.find("green tea")?;
        let place = |n| u16::try_from(n).expect("small");
        let marked = |at| {
            let cell = screen.cell(place(row), place(column + at));
            cell.expect("a cell").inverse()
        };
        Some((marked(0), marked("green ".len())))
    });
    assert_eq!(hits.collect::<Vec<_>>(), [(false, false), (false, true)]);
}

#[test]
fn reactions_are_shown_dimly() {
    let mut scene = Scene::new(80, 16);
    let long = "word ".repeat(15);
    scene.tell(&[message(1, "bob", &long), change(2, 1, "react", "👍")]);
    let seen = scene.seen();
    let row = seen.lines().find(|row| row.contains("reacted 👍 to:"));
    let row = row.expect("a line");
    let begin = "14:02 * bob reacted 👍 to: word word";
    assert!(row.starts_with(begin) && row.ends_with('…'), "{row}");
    assert!(text_width(row) <= 79, "{row}");
    scene.tell(&[change(3, 1, "unreact", "👍"), change(4, 0, "react", "+1")]);
    let seen = scene.seen();
    for part in [
        "bob took back 👍 to: word",
        "bob reacted +1 to an earlier message",
    ] {
        assert!(seen.contains(part), "{part}\n{seen}");
    }
    // A replayed message has its reactions; one shown before has not.
    scene.model.bookmark(&Position {
        room: RoomName::lobby(),
        epoch: Epoch("e".into()),
        seq: Seq(4),
        inbox: None,
    });
    scene.state(ConnectionState::Connected);
    let mut popular = message(5, "bob", "tea?");
    popular["reactions"] = json!([{"text": "yes", "count": 2, "names": ["bob", "eve"]}]);
    scene.tell(&[
        welcome("lobby", Some("ana"), 7),
        popular,
        change(6, 5, "react", "yes"),
        change(7, 1, "react", "hm"),
    ]);
    let seen = scene.seen();
    assert!(seen.contains("bob: tea?  yes 2"), "{seen}");
    assert!(!seen.contains("reacted yes"), "{seen}");
    assert!(seen.contains("reacted hm to: word"), "{seen}");
}

#[test]
fn a_change_of_an_ignored_author_counts_unseen() {
    let mut scene = Scene::new(60, 16);
    scene.tell(&[message(1, "bob", "tea?")]);
    let text = change(2, 1, "edit", "coffee?").to_string();
    let event = parse_event(&text).expect("an event");
    let hidden = ClientEvent::Hidden(Frame(Message::text(text)), event);
    scene.model.follow(hidden, scene.now);
    assert!(!scene.seen().contains("coffee"));
    scene.press(KeyCode::Up, KeyModifiers::ALT);
    assert!(scene.seen().contains("▸ 1 bob: coffee?"));
}
