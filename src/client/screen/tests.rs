//! Compares drawings with a terminal emulator that reads the painter's bytes.

mod places;

use std::num::NonZeroU16;

use crossterm::event::{Event as Key, KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};
use tokio_websockets::Message;

use super::*;
use crate::{
    client::{ConnectionState, Frame},
    protocol::{Command, Epoch, Event, PublishKind, Seq, Start, json::parse_event, name::RoomName},
};

/// A model and the terminal it is drawn on.
struct Scene {
    model: Model,
    painter: Painter,
    terminal: vt100::Parser,
    columns: u16,
    rows: u16,
    now: Now,
}

fn welcome(room: &str, name: Option<&str>, head: u64) -> Value {
    let you = match name {
        Some(name) => json!({"addr": "127.0.0.1:5000", "name": name}),
        None => json!({"addr": "127.0.0.1:5000"}),
    };
    json!({
        "type": "welcome", "room": room, "you": you, "epoch": "e", "head": head,
        "members": 3, "server": "test", "limits": {"text_bytes": 100},
    })
}

fn message(seq: u64, from: &str, text: &str) -> Value {
    json!({
        "type": "message", "seq": seq, "prev": seq - 1, "room": "lobby",
        "at": "2026-11-22T14:02:00.000Z", "text": text,
        "from": {"addr": "127.0.0.1:5001", "name": from},
    })
}

impl Scene {
    /// A scene just after the welcome of ana, at two o'clock.
    fn new(columns: u16, rows: u16) -> Self {
        Self::of(columns, rows, Some("ana"))
    }

    fn of(columns: u16, rows: u16, name: Option<&str>) -> Self {
        let told = welcome("lobby", name, 0);
        let Ok(Event::Welcome(first)) = parse_event(&told.to_string()) else {
            panic!("a welcome");
        };
        let now = Now {
            wall: "2026-11-22T14:00:00Z".parse().expect("a time"),
            tick: Instant::now(),
        };
        let manner = ModelOptions {
            zone: TimeZone::UTC,
            ids: Ids::given(&"x".parse().expect("an id")),
            bell: true,
            joins: true,
        };
        let size = |n| NonZeroU16::new(n).expect("some");
        let mut scene = Scene {
            model: Model::new(&first, manner, now),
            painter: Painter::new(ColourDepth::Many),
            terminal: vt100::Parser::new(size(rows), size(columns), 100),
            columns,
            rows,
            now,
        };
        scene.tell(&[told, json!({"type": "live", "seq": 0})]);
        // The screen asks for the members and the rooms by itself.
        assert_eq!(
            scene.model.take_questions(),
            [Command::Members, Command::Rooms { after: None }]
        );
        scene.tell(&[
            json!({"type": "members", "names": ["ana", "anton", "bob"], "total": 3, "ref": SCREEN_REF}),
            json!({"type": "rooms", "rooms": [{"room": "ops", "members": 1}], "total": 1, "ref": SCREEN_REF}),
        ]);
        scene
    }

    fn tell(&mut self, events: &[Value]) {
        for event in events {
            let text = event.to_string();
            let event = parse_event(&text).expect("an event");
            let told = ClientEvent::Event(Frame(Message::text(text)), event);
            self.model.follow(told, self.now);
        }
    }

    fn state(&mut self, state: ConnectionState) {
        self.model.follow(ClientEvent::State(state), self.now);
    }

    fn press(&mut self, code: KeyCode, modifiers: KeyModifiers) -> Option<Effect> {
        let action = keys::action(Key::Key(KeyEvent::new(code, modifiers))).expect("a use");
        self.model.act(action, self.now, true)
    }

    fn control(&mut self, c: char) -> Option<Effect> {
        self.press(KeyCode::Char(c), KeyModifiers::CONTROL)
    }

    /// Types a text: a newline is Enter, a tab is Tab.
    fn type_text(&mut self, text: &str) {
        for c in text.chars() {
            let code = match c {
                '\n' => KeyCode::Enter,
                '\t' => KeyCode::Tab,
                c => KeyCode::Char(c),
            };
            self.press(code, KeyModifiers::NONE);
        }
    }

    fn commands(&mut self) -> Vec<Command> {
        self.model.take_commands()
    }

    fn paint(&mut self) {
        let columns = usize::from(self.columns);
        let footer = footer(&self.model, self.now, columns, usize::from(self.rows));
        let lines = self.model.take_lines();
        let bytes = self.painter.paint(&lines, &footer, columns);
        self.terminal.process(bytes.as_bytes());
    }

    fn resize(&mut self, columns: u16) {
        self.columns = columns;
        let size = |n| NonZeroU16::new(n).expect("some");
        let (rows, columns) = (size(self.rows), size(columns));
        self.terminal.screen_mut().set_size(rows, columns);
    }

    /// The text on the terminal, with a bar at the cursor.
    fn seen(&mut self) -> String {
        self.paint();
        let screen = self.terminal.screen();
        let mut rows: Vec<String> = screen.rows(0, self.columns).collect();
        let (row, column) = screen.cursor_position();
        let filled = (0..column).rev().find(|&column| {
            let cell = screen.cell(row, column);
            cell.is_some_and(|cell| cell.has_contents() || cell.is_wide_continuation())
        });
        let blank = column - filled.map_or(0, |filled| filled + 1);
        let here = &mut rows[usize::from(row)];
        let before = screen.rows(0, column).nth(row.into()).expect("a row");
        let after = here.split_off(before.len().min(here.len()));
        *here = format!("{before}{}|{after}", " ".repeat(blank.into()));
        let rows: Vec<&str> = rows.iter().map(|row| row.trim_end()).collect();
        rows.join("\n").trim_end().to_owned()
    }
}

/// Asserts that the terminal shows the drawing of this name and width.
fn same(scene: &mut Scene, name: &str) {
    let head = format!("=== {name}, {} columns\n", scene.columns);
    let drawings = include_str!("drawings.txt");
    let found = drawings.split_once(&head).map(|(_, rest)| rest);
    let drawing = found.map(|rest| rest.split("===").next().unwrap_or_default().trim_end());
    let seen = scene.seen();
    assert_eq!(
        drawing,
        Some(seen.as_str()),
        "{name}, {} columns",
        scene.columns
    );
}

#[test]
fn messages_and_typed_text_are_drawn() {
    for columns in [20, 40, 80] {
        let mut scene = Scene::new(columns, 14);
        scene.tell(&[
            message(1, "bob", "hello 日本語 👩‍🚀"),
            message(2, "bob", "two\nlines, and this one is longer"),
        ]);
        scene.type_text("hi there\nan\tx 日本語日本語日本語");
        same(&mut scene, "sending");
        let mut echo = message(3, "ana", "hi there");
        echo["id"] = json!("x");
        scene.tell(&[
            echo,
            message(4, "bob", "waves"),
            message(5, "anton", "ana: there?"),
        ]);
        same(&mut scene, "stored");
    }
}

#[test]
fn connection_states_are_drawn() {
    for columns in [20, 40, 80] {
        let mut scene = Scene::new(columns, 6);
        let why = End::Lost("it is gone".to_owned());
        let again = scene.now.tick + Duration::from_millis(2500);
        scene.type_text("one\ntwo\n");
        scene.state(ConnectionState::Offline {
            why,
            unsent: 2,
            again,
        });
        same(&mut scene, "offline");
        scene.now.tick = again;
        same(&mut scene, "reconnecting");
        scene.state(ConnectionState::Connected);
        scene.tell(&[welcome("lobby", Some("ana"), 1000)]);
        scene.state(ConnectionState::CatchingUp {
            at: Seq(0),
            head: Seq(1000),
        });
        scene.tell(&[message(500, "bob", "missed")]);
        same(&mut scene, "behind");
        scene.tell(&[message(1000, "bob", "missed too")]);
        scene.state(ConnectionState::CaughtUp);
        same(&mut scene, "caught up");
        scene.type_text("x");
        same(&mut scene, "seen");
    }
}

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
fn long_pasted_and_edited_text_is_drawn() {
    for columns in [20, 40] {
        let mut scene = Scene::new(columns, 10);
        let paste = Key::Paste("first\r\nsecond is longer than twenty columns\n".to_owned());
        let paste = keys::action(paste).expect("a use");
        scene.model.act(paste, scene.now, true);
        scene.press(KeyCode::Enter, KeyModifiers::ALT);
        scene.type_text("👨‍👩‍👧e\u{301}🇩🇪日");
        same(&mut scene, "pasted");
        scene.press(KeyCode::Backspace, KeyModifiers::NONE);
        scene.press(KeyCode::Backspace, KeyModifiers::NONE);
        scene.press(KeyCode::Left, KeyModifiers::NONE);
        same(&mut scene, "edited");
        scene.control('7');
        scene.type_text("/quiet of it all, and so on and on and on");
        same(&mut scene, "too long");
    }
}

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

#[test]
fn private_and_erased_messages_are_drawn() {
    let mut scene = Scene::new(60, 14);
    let private = |seq: u64, from: &str, to: &str, sent: bool| {
        json!({
            "type": "private", "seq": seq, "prev": seq - 1, "at": "2026-11-22T14:03:00.000Z",
            "from": {"addr": "127.0.0.1:5001", "name": from}, "to": to, "text": "psst",
            "id": "x", "sent": sent,
        })
    };
    scene.type_text("/msg bo\tpsst\n");
    same(&mut scene, "whispering");
    scene.tell(&[
        private(1, "ana", "bob", true),
        private(2, "bob", "ana", false),
    ]);
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
fn a_mention_rings_the_bell_and_is_highlighted() {
    let mut scene = Scene::new(40, 12);
    scene.tell(&[message(1, "bob", "hello all")]);
    assert!(!scene.model.take_bell());
    scene.tell(&[message(2, "bob", "Ana: hello")]);
    assert!(scene.model.take_bell());
    scene.paint();
    let inverse = |text: &str| {
        let screen = scene.terminal.screen();
        let row = screen.rows(0, 40).position(|row| row.ends_with(text));
        let row = u16::try_from(row.expect("it is shown")).expect("small");
        screen.cell(row, 11).is_some_and(vt100::Cell::inverse)
    };
    assert!(inverse("Ana: hello") && !inverse("hello all"));
}

#[test]
fn markup_is_drawn_with_attributes() {
    let mut scene = Scene::new(60, 16);
    let code = "look:\n```rust\nfn a() {\n\tb();\tc\n}\n```\n> said\n> so\n- *one*\n  - `two`";
    scene.tell(&[
        message(1, "bob", code),
        message(2, "bob", "**bold**, snake_case and `x`"),
        message(3, "bob", "ana: **come**"),
    ]);
    same(&mut scene, "markup");
    let screen = scene.terminal.screen();
    let cell = |text: &str| {
        let place = |(row, line): (usize, String)| Some((row, line.find(text)?));
        let (row, column) = screen.rows(0, 60).enumerate().find_map(place).expect(text);
        let place = |n| u16::try_from(n).expect("small");
        screen.cell(place(row), place(column)).expect("a cell")
    };
    let cyan = vt100::Color::Idx(6);
    assert!(cell("bold,").bold() && !cell("snake").bold());
    assert!(cell("one").italic() && cell("two").fgcolor() == cyan);
    assert!(cell("b();").fgcolor() == cyan && cell("> so").dim());
    assert!(cell("come").inverse());
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

#[test]
fn a_reply_goes_to_the_last_author() {
    let mut scene = Scene::new(60, 16);
    scene.type_text("/r yes\n");
    assert!(
        scene
            .seen()
            .contains("You have no private message to answer")
    );
    scene.tell(&[json!({
        "type": "private", "seq": 1, "prev": 0, "at": "2026-11-22T14:03:00.000Z",
        "from": {"addr": "127.0.0.1:5001", "name": "bob"}, "to": "ana", "text": "psst",
    })]);
    scene.control('u');
    scene.type_text("/r yes\n");
    let commands = scene.commands();
    let [Command::Private { to, text, .. }] = &commands[..] else {
        panic!("{commands:?}");
    };
    assert_eq!((to.as_str(), text.as_str()), ("bob", "yes"));
}

#[test]
fn earlier_output_survives_resizes_and_leaving() {
    let mut scene = Scene::new(40, 12);
    scene.terminal.process(b"$ client\r\n");
    scene.tell(&[message(1, "bob", "hello")]);
    for columns in [60, 34, 50, 40] {
        scene.resize(columns);
        scene.seen();
    }
    same(&mut scene, "after resizes");
    scene.resize(40);
    let bytes = scene.painter.leave(&[], 40);
    scene.terminal.process(bytes.as_bytes());
    let left = scene.terminal.screen().contents();
    assert!(left.starts_with("$ client\n"), "{left}");
    assert!(left.ends_with("bob: hello"), "{left}");
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

    let change = |seq: u64, about: u64, kind: &str, text: &str| {
        let mut change = message(seq, "bob", text);
        for (field, value) in [
            ("type", json!("changed")),
            ("about", json!(about)),
            ("kind", json!(kind)),
        ] {
            change[field] = value;
        }
        change
    };
    let mut reply = message(4, "anton", "gladly");
    reply["about"] = json!(1);
    reply["quote"] = json!({"from": {"name": "bob", "addr": "127.0.0.1:5001"}, "text": "tea?"});
    scene.tell(&[
        reply,
        change(5, 1, "edit", "coffee?"),
        change(6, 2, "react", "+1"),
        change(7, 1, "react", "+1"),
    ]);
    let seen = scene.seen();
    for part in [
        "anton: > bob: tea?\n  gladly",
        "bob corrected: coffee?",
        "bob reacts +1: yes",
    ] {
        assert!(seen.contains(part), "{part}\n{seen}");
    }
    assert!(!seen.contains("reacts +1: coffee"), "{seen}");
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
