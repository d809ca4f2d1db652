//! Other places than the room on the screen.

use super::*;
use crate::protocol::FollowLevel;

fn followed(room: &str, unread: u64, mentions: u64) -> Value {
    json!({"room": room, "read": 0, "last": 9, "unread": unread, "mentions": mentions,
        "level": "all"})
}

fn activity(place: &str, name: &str, unread: u64, mentions: u64) -> Value {
    json!({"type": "activity", place: name, "last": 9, "unread": unread, "mentions": mentions})
}

/// A scene of an owner that follows these rooms.
fn scene(following: &[Value]) -> Scene {
    let mut scene = Scene::new(80, 10);
    scene.tell(&[json!({"type": "following", "following": following})]);
    scene
}

#[test]
fn the_state_line_lists_unread_places() {
    let mut scene = scene(&[
        followed("lobby", 0, 0),
        followed("ops", 0, 0),
        followed("tea", 2, 0),
    ]);
    let alone = state_line(&mut scene);
    assert_eq!(
        alone,
        "1 lobby · 2 ops · 3 tea 2 · 3 here · ana · connected"
    );
    scene.tell(&[
        activity("room", "ops", 12, 1),
        activity("room", "tea", 3, 0),
        activity("with", "bob", 1, 0),
    ]);
    let line = state_line(&mut scene);
    assert_eq!(
        line,
        "1 lobby · 2 ops 12! · 3 tea 3 · 4 @bob 1! · 3 here · ana · connected"
    );
    assert!(scene.model.take_bell(), "a mention elsewhere");
    let none = json!({"type": "follow", "room": "ops", "level": "none"});
    scene.tell(&[none, activity("room", "tea", 0, 0)]);
    let line = state_line(&mut scene);
    assert_eq!(
        line,
        "1 lobby · 2 ops · 3 tea · 4 @bob 1! · 3 here · ana · connected"
    );
}

#[test]
fn numbers_stay_while_places_come_and_rooms_change() {
    let mut scene = scene(&[followed("lobby", 0, 0), followed("tea", 0, 0)]);
    scene.tell(&[
        activity("room", "ops", 1, 0),
        welcome("tea", Some("ana"), 1),
        activity("room", "lobby", 2, 0),
    ]);
    let line = state_line(&mut scene);
    assert_eq!(
        line,
        "2 tea · 1 lobby 2 · 3 ops 1 · 3 here · ana · connected"
    );
    scene.tell(&[json!({"type": "follow", "room": "ops"})]);
    let line = state_line(&mut scene);
    assert_eq!(line, "2 tea · 1 lobby 2 · 3 here · ana · connected");
}

#[test]
fn a_narrow_state_line_begins_with_the_own_room() {
    let mut scene = scene(&[
        followed("lobby", 0, 0),
        followed("ops", 12, 1),
        followed("tea", 2, 0),
    ]);
    scene.resize(20);
    assert_eq!(state_line(&mut scene), "1 lobby · 2 ops 12!");
    scene.tell(&[welcome(&"x".repeat(30), Some("ana"), 1)]);
    assert_eq!(state_line(&mut scene), "4 xxxxxx… · 2 ops …");
}

#[test]
fn a_number_leads_to_its_place() {
    let mut scene = scene(&[
        followed("lobby", 0, 0),
        followed("ops", 0, 0),
        followed("tea", 2, 0),
    ]);
    let alt = |scene: &mut Scene, n| scene.press(KeyCode::Char(n), KeyModifiers::ALT);
    let hint = |scene: &Scene| scene.model.hint.clone().unwrap_or_default();
    alt(&mut scene, '1');
    assert_eq!(scene.commands(), []);
    assert_eq!(hint(&scene), "this is lobby");
    alt(&mut scene, '3');
    let joined = |commands: &[Command]| match commands.last() {
        Some(Command::Join { room, .. }) => room.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(joined(&scene.commands()), "tea");
    alt(&mut scene, '2');
    assert_eq!(joined(&scene.commands()), "ops");
    alt(&mut scene, '4');
    assert_eq!(scene.commands(), []);
    assert_eq!(hint(&scene), "no place has the number 4");
}

#[test]
fn the_switcher_finds_a_room_by_some_of_its_letters() {
    let mut scene = scene(&[followed("lobby", 0, 0), followed("big-team", 1, 0)]);
    scene.type_text("half");
    scene.control('k');
    assert_eq!(state_line(&mut scene), "go to: _ [big-team] ops");
    scene.type_text("tm");
    assert_eq!(state_line(&mut scene), "go to: tm_ [big-team]");
    scene.type_text("\n");
    assert!(matches!(&scene.commands()[..],
        [.., Command::Join { room, .. }] if room.as_str() == "big-team"));
    assert_eq!(scene.model.editor.text(), "half", "the text waits");
    // Escape goes nowhere.
    scene.control('k');
    scene.press(KeyCode::Esc, KeyModifiers::NONE);
    assert_eq!(scene.commands(), []);
    scene.control('k');
    scene.type_text("new\n");
    assert!(matches!(&scene.commands()[..],
        [.., Command::Join { room, .. }] if room.as_str() == "new"));
}

#[test]
fn a_conversation_is_a_place() {
    let mut scene = scene(&[followed("lobby", 0, 0)]);
    scene.tell(&[activity("with", "bob", 2, 0)]);
    scene.type_text("/msg bob\n");
    let bob: Name = "bob".parse().expect("a name");
    let asked = Command::History {
        with: Some(bob.clone()),
        before: None,
        limit: Some(20),
    };
    assert_eq!(scene.model.take_questions(), [asked]);
    let read = |seq| Command::Read {
        room: None,
        with: Some(bob.clone()),
        seq: Seq(seq),
    };
    assert_eq!(scene.commands(), [read(9)]);
    let mut page = json!({"type": "page", "with": "bob", "more": false, "ref": "talk-1"});
    page["messages"] = json!([private(8, "bob", "ana", "are you there?")]);
    scene.tell(&[page, message(1, "bob", "to all")]);
    let seen = scene.seen();
    assert!(seen.contains("are you there?"), "{seen}");
    assert!(!seen.contains("to all"), "{seen}");
    assert_eq!(
        state_line(&mut scene),
        "2 @bob · 1 lobby 1 · here · ana · connected"
    );
    scene.commands();
    scene.type_text("yes\n");
    assert!(matches!(&scene.commands()[..],
        [Command::Private { to, text, .. }] if *to == bob && text == "yes"));
    // Nothing goes to the room by mistake.
    for typed in ["/me waves", "/reply yes", "/edit 1 x", "/delete 1"] {
        scene.type_text(&format!("{typed}\n"));
        assert_eq!(scene.commands(), [], "{typed}");
        assert!(scene.seen().contains("press Esc first"), "{typed}");
    }
    scene.press(KeyCode::Esc, KeyModifiers::NONE);
    assert!(scene.seen().contains("to all"));
    scene.type_text("hi\n");
    assert!(matches!(&scene.commands()[..], [Command::Publish { .. }]));
}

#[test]
fn the_desktop_is_notified_only_without_focus() {
    let mut scene = scene(&[followed("lobby", 0, 0)]);
    assert_eq!(scene.model.take_calls(), "\x1b]2;lobby\x07");
    let calls = || message(1, "bob", "ana; come\x1b]0;x");
    scene.tell(&[calls()]);
    assert_eq!(scene.model.take_calls(), "");
    let focus = |scene: &mut Scene, event| {
        let action = keys::action(event).expect("a use");
        scene.model.act(action, scene.now, true);
    };
    focus(&mut scene, Key::FocusLost);
    scene.tell(&[message(2, "bob", "ana; come\nnow")]);
    assert_eq!(
        scene.model.take_calls(),
        "\x1b]9;bob: ana  come now\x07\x1b]777;notify;chat;bob: ana  come now\x07\
         \x1b]2;(1) lobby\x07"
    );
    scene.tell(&[message(3, "bob", "nobody")]);
    assert_eq!(scene.model.take_calls(), "\x1b]2;(2) lobby\x07");
    focus(&mut scene, Key::FocusGained);
    scene.type_text("x");
    assert_eq!(scene.model.take_calls(), "\x1b]2;lobby\x07");
}

#[test]
fn the_server_is_told_how_far_a_room_was_read() {
    let mut scene = scene(&[followed("lobby", 3, 0)]);
    let position = |seq| Position {
        room: RoomName::lobby(),
        epoch: Epoch("e".into()),
        inbox: None,
        seq: Seq(seq),
    };
    let read = |seq| Command::Read {
        room: Some(RoomName::lobby()),
        with: None,
        seq: Seq(seq),
    };
    scene.model.bookmark(&position(4));
    scene.model.note_read(scene.now);
    assert_eq!(scene.commands(), [read(4)]);
    scene.model.bookmark(&position(5));
    scene.model.note_read(scene.now);
    assert_eq!(scene.commands(), []);
    scene.now.tick += Duration::from_secs(10);
    scene.model.note_read(scene.now);
    assert_eq!(scene.commands(), [read(5)]);
    scene.model.bookmark(&position(6));
    scene.type_text("/join tea\n");
    assert_eq!(scene.commands()[0], read(6));
    // A level is the server's word.
    let level = FollowLevel::Mentions;
    scene.type_text("/notify mentions\n");
    let follow = Command::Follow {
        room: None,
        level: Some(level),
    };
    assert_eq!(scene.commands(), [follow]);
}
