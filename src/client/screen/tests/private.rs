//! Private messages.

use super::*;

#[test]
fn private_and_erased_messages_are_drawn() {
    let mut scene = Scene::new(60, 14);
    scene.type_text("/msg bo\tpsst\n");
    same(&mut scene, "whispering");
    let mut echo = private(1, "ana", "bob", "psst");
    echo["id"] = json!("x");
    scene.tell(&[echo, private(2, "bob", "ana", "psst")]);
    assert!(scene.model.take_bell());
    scene.tell(&[
        message(3, "bob", "a slip"),
        json!({"type": "erased", "seq": 3}),
        json!({"type": "erased", "seq": 5, "prev": 3}),
    ]);
    same(&mut scene, "whispered, and erased");
    let last = scene.model.last_lines(20);
    assert!(last.iter().all(|line| !line.text().contains("a slip")));
}

#[test]
fn a_reply_goes_to_the_last_author() {
    let mut scene = Scene::new(60, 16);
    scene.type_text("/r yes\n");
    assert!(
        scene
            .seen()
            .contains("You have no private message to answer")
    );
    scene.tell(&[private(1, "bob", "ana", "psst")]);
    scene.type_text("/r yes\n");
    let commands = scene.commands();
    let [Command::Private { to, text, .. }] = &commands[..] else {
        panic!("{commands:?}");
    };
    assert_eq!((to.as_str(), text.as_str()), ("bob", "yes"));
}

/// An owner's scene.
fn owner() -> Scene {
    let mut scene = Scene::new(60, 16);
    let lobby = json!({"room": "lobby", "read": 0, "last": 0, "unread": 0, "mentions": 0,
        "level": "all"});
    scene.tell(&[json!({"type": "following", "following": [lobby]})]);
    scene
}

fn page(messages: &[Value], away: bool, reference: &str) -> Value {
    json!({"type": "page", "with": "bob", "messages": messages, "more": false, "away": away,
        "ref": reference})
}

fn count(scene: &mut Scene, what: &str) -> usize {
    scene.seen().matches(what).count()
}

#[test]
fn a_private_message_is_printed_once() {
    let mut scene = owner();
    let psst = private(2, "bob", "ana", "psst");
    scene.tell(std::slice::from_ref(&psst));
    scene.type_text("/msg bob\n");
    let both = [private(1, "bob", "ana", "earlier"), psst];
    let third = private(3, "bob", "ana", "here?");
    scene.tell(&[page(&both, false, "talk-1"), third]);
    let counted = |scene: &mut Scene| ["psst", "earlier", "here?"].map(|it| count(scene, it));
    assert_eq!(counted(&mut scene), [1, 1, 1]);
    scene.press(KeyCode::Esc, KeyModifiers::NONE);
    scene.type_text("/msg bob\n");
    scene.tell(&[page(&both, false, "talk-2")]);
    assert_eq!(counted(&mut scene), [1, 1, 1]);
    assert_eq!(count(&mut scene, "Nothing new; /history"), 1);
    // Asked for, they are printed again.
    scene.type_text("/history\n");
    assert!(matches!(&scene.commands()[..],
        [.., Command::History { with: Some(with), .. }] if with.as_str() == "bob"));
    scene.tell(&[page(&both, false, "asked")]);
    assert_eq!(count(&mut scene, "psst"), 2);
}

#[test]
fn a_printed_message_is_read_while_the_terminal_is_used() {
    let mut scene = owner();
    let activity = |last, unread| {
        json!({"type": "activity", "with": "bob", "last": last, "unread": unread,
            "mentions": 0})
    };
    let read = |seq| Command::Read {
        room: None,
        with: "bob".parse().ok(),
        seq: Seq(seq),
    };
    scene.tell(&[private(1, "bob", "ana", "one"), activity(1, 1)]);
    assert_eq!(scene.commands(), [read(1)]);
    assert!(!state_line(&mut scene).contains('!'));
    let focus = |scene: &mut Scene, event| {
        let action = keys::action(event).expect("a use");
        scene.model.act(action, scene.now, true);
    };
    focus(&mut scene, Key::FocusLost);
    scene.tell(&[private(2, "bob", "ana", "two"), activity(2, 1)]);
    assert_eq!(scene.commands(), []);
    assert!(state_line(&mut scene).contains("2 @bob 1!"));
    focus(&mut scene, Key::FocusGained);
    assert_eq!(scene.commands(), [read(2)]);
    // Some of them were never printed here.
    scene.tell(&[private(4, "bob", "ana", "four"), activity(4, 2)]);
    assert_eq!(scene.commands(), []);
    assert!(state_line(&mut scene).contains("2 @bob 2!"));
}

#[test]
fn an_absent_person_is_told_of_once() {
    let mut scene = owner();
    let sentence = "bob is away and will see it when back.";
    let away = || json!({"type": "away", "with": "bob", "text": sentence, "ref": "asked"});
    scene.type_text("/msg bob\n");
    let line = |company: &str| format!("2 @bob · 1 lobby · {company}ana · connected");
    assert_eq!(state_line(&mut scene), line(""));
    let bye = private(1, "bob", "ana", "bye");
    scene.tell(&[page(&[bye], true, "talk-1")]);
    assert_eq!(state_line(&mut scene), line("away · "));
    scene.tell(&[private(2, "ana", "bob", "one"), away()]);
    scene.tell(&[private(3, "ana", "bob", "two"), away()]);
    assert_eq!(count(&mut scene, sentence), 1);
    scene.tell(&[private(4, "bob", "ana", "back")]);
    assert_eq!(state_line(&mut scene), line("here · "));
    scene.tell(&[away()]);
    assert_eq!(count(&mut scene, sentence), 2);
}

#[test]
fn a_conversation_with_nobody_is_refused() {
    let mut scene = owner();
    scene.type_text("/msg nobody\nsecret");
    let refused = |code: &str, reference: &str| {
        json!({"type": "refused", "code": code, "text": "Nobody owns the name nobody.",
            "ref": reference})
    };
    scene.tell(&[refused("not_here", "talk-1")]);
    assert!(scene.seen().contains("* Nobody owns the name nobody."));
    assert_eq!(state_line(&mut scene), "lobby · 3 here · ana · connected");
    assert_eq!(scene.model.editor.text(), "/msg nobody secret");
    // The answer to an earlier question, and one for a while.
    scene.control('u');
    scene.type_text("/msg bob\n");
    scene.tell(&[refused("not_here", "talk-1"), refused("busy", "talk-2")]);
    assert!(state_line(&mut scene).starts_with("2 @bob · "));
}

#[test]
fn a_refused_line_leaves_the_input_and_can_be_fetched() {
    let mut scene = Scene::new(60, 16);
    scene.type_text("/dance\nhello");
    assert_eq!(scene.model.editor.text(), "hello");
    assert_eq!(scene.model.take_just_sent(), None, "no file keeps it");
    scene.control('u');
    scene.press(KeyCode::Up, KeyModifiers::NONE);
    assert_eq!(scene.model.editor.text(), "/dance");
}
