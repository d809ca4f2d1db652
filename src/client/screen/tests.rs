//! Compares drawings with a terminal emulator that reads the painter's bytes.

mod about;
mod people;
mod places;
mod private;
mod rooms;

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

fn private(seq: u64, from: &str, to: &str, text: &str) -> Value {
    json!({
        "type": "private", "seq": seq, "prev": seq - 1, "at": "2026-11-22T14:02:00.000Z", "to": to,
        "from": {"addr": "127.0.0.1:5001", "name": from}, "text": text,
        "sent": from == "ana",
    })
}

fn state_line(scene: &mut Scene) -> String {
    let seen = scene.seen();
    let rows: Vec<_> = seen.lines().collect();
    rows[rows.len() - 2].to_owned()
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
