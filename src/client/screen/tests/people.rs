//! Joins and leaves, and the answers of the server.

use super::*;

#[test]
fn joins_leaves_and_server_sentences_are_drawn() {
    let mut scene = Scene::of(60, 16, None);
    let who = |name: &str, kind: &str, members: u32| json!({"type": kind, "name": name, "addr": "127.0.0.1:5001", "members": members});
    scene.tell(&[
        who("eve", "joined", 4),
        json!({"type": "renamed", "from": "eve", "to": "eva"}),
        who("eva", "left", 3),
    ]);
    scene.type_text("/joins\n");
    scene.tell(&[who("eve", "joined", 4)]);
    scene.type_text("/members\n");
    let members = json!({"type": "members", "names": ["ana", "eve"], "total": 4});
    let mut me = message(1, "bob", "waves");
    me["kind"] = json!("me");
    let mut yesterday = message(2, "bob", "\u{1b}[2Jlate");
    yesterday["at"] = json!("2026-11-23T00:01:00.000Z");
    scene.tell(&[
        members,
        json!({"type": "name", "name": "ana"}),
        me,
        yesterday,
        json!({"type": "refused", "code": "bad_field", "text": "Not so."}),
        json!({"type": "gap", "after": 2, "next": 9, "reason": "erased"}),
    ]);
    scene.type_text("/dance\n");
    same(&mut scene, "words of the server");
}

#[test]
fn people_without_a_name_come_and_go_unseen() {
    let mut scene = Scene::new(60, 16);
    let who = |kind: &str| json!({"type": kind, "addr": "127.0.0.1:5001", "members": 4});
    scene.tell(&[
        who("joined"),
        json!({"type": "renamed", "from": "127.0.0.1:5001", "to": "eve"}),
        who("left"),
    ]);
    let seen = scene.seen();
    assert!(
        seen.contains("→ eve is here") && !seen.contains("127"),
        "{seen}"
    );
}

#[test]
fn answers_to_the_screens_own_questions_are_hidden() {
    let mut scene = Scene::new(60, 14);
    let own = |mut told: Value| {
        told["ref"] = json!(SCREEN_REF);
        told
    };
    let members = |name: &str| json!({"type": "members", "names": [name], "total": 1});
    let refused = |text: &str| json!({"type": "refused", "code": "rate", "text": text});
    let mut asked = members("bob");
    asked["ref"] = json!("asked");
    // A crowded room gets its member count unasked: it answers no question.
    scene.tell(&[
        json!({"type": "members", "total": 400}),
        own(refused("Not the screen.")),
        asked,
        own(members("anton")),
        own(json!({"type": "rooms", "rooms": [], "total": 0})),
        refused("Not you."),
    ]);
    let seen = scene.seen();
    for (text, shown) in [
        ("1 here: bob", true),
        ("Not you.", true),
        ("400", false),
        ("Not the screen.", false),
        ("anton", false),
        ("No listed room has", false),
    ] {
        assert_eq!(seen.contains(text), shown, "{text}: {seen}");
    }
}
