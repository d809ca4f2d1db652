//! Changes of room, and the return to one.

use super::*;

#[test]
fn a_room_keeps_its_draft_and_resumes_on_return() {
    let mut scene = Scene::new(60, 16);
    scene.tell(&[message(1, "bob", "in the lobby")]);
    scene.model.bookmark(&Position {
        room: RoomName::lobby(),
        epoch: Epoch("e".into()),
        seq: Seq(1),
        inbox: None,
    });
    scene.type_text("/join o\t\nhalf a th");
    same(&mut scene, "joining");
    let joins = |scene: &mut Scene, room: &str, start| {
        let room = room.parse().expect("a room");
        let join = Command::Join { room, start };
        assert_eq!(scene.commands().last(), Some(&join));
    };
    let newcomer = Start {
        backlog: Some(20),
        ..Start::default()
    };
    joins(&mut scene, "ops", newcomer);
    scene.tell(&[welcome("ops", Some("ana"), 1)]);
    scene.commands();
    scene.type_text("for ops");
    same(&mut scene, "ops");
    scene.press(KeyCode::Char('u'), KeyModifiers::CONTROL);
    scene.type_text("/join lobby\nleft in ops");
    // On return to a room, the client asks only for newer messages.
    let back = Start {
        after: Some(Seq(1)),
        epoch: Some(Epoch("e".into())),
        ..Start::default()
    };
    joins(&mut scene, "lobby", back);
    scene.tell(&[welcome("lobby", Some("ana"), 1)]);
    same(&mut scene, "lobby");
}

#[test]
fn arriving_in_a_room_ends_the_hint() {
    let mut scene = Scene::new(60, 16);
    scene.type_text("/join ops\n");
    assert!(scene.seen().contains("joining ops"));
    scene.tell(&[welcome("ops", Some("ana"), 1)]);
    let seen = scene.seen();
    assert!(!seen.contains("joining"), "{seen}");
}

#[test]
fn a_returning_user_sees_what_is_new() {
    let mut scene = Scene::new(60, 16);
    let visit = |seq, epoch: &str| LastVisit {
        position: Position {
            room: RoomName::lobby(),
            epoch: Epoch(epoch.into()),
            seq: Seq(seq),
            inbox: None,
        },
        at: serde_json::from_value(json!("2026-11-21T18:04:00Z")).expect("a time"),
    };
    let live = json!({"type": "live", "seq": 3});
    let mut back = |visit, messages: &[Value]| {
        scene.model.return_from(visit);
        scene.tell(messages);
        scene.tell(std::slice::from_ref(&live));
        scene.seen()
    };
    let seen = back(
        visit(1, "e"),
        &[
            message(1, "bob", "old"),
            message(2, "bob", "new"),
            message(3, "bob", "newer"),
        ],
    );
    let mark = "14:02 bob: old\n── 2 new since yesterday 18:04\n14:02 bob: new\n14:02 bob: newer";
    assert!(seen.contains(mark), "{seen}");
    let seen = back(visit(7, "e"), &[message(10, "bob", "far")]);
    assert!(
        seen.contains("── 1 and more new since yesterday 18:04\n14:02 bob: far"),
        "{seen}"
    );
    // Another log has other numbers.
    let seen = back(visit(1, "other"), &[message(11, "bob", "elsewhere")]);
    assert!(seen.contains("far\n14:02 bob: elsewhere"), "{seen}");
}
