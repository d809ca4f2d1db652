//! The client on a pseudo-terminal. A terminal emulator reads the screen.

mod pty;
mod terminal;
mod tmux;

use broadcast_chat::client::screen::terminal::RawMode;
use rustix::process::Signal;

use self::terminal::{CTRL_C, CTRL_D, CTRL_Z, Terminal};
use crate::{
    disk::faulty::{ControlField, Disk},
    programs::{CLIENT, SERVER, folder, server, server_again},
    support::{TestServer, soon, upgraded},
};

#[tokio::test]
async fn messages_and_typing_do_not_disturb_each_other() {
    let server = TestServer::start().await;
    let folder = folder();
    let address = server.addr.to_string();
    let mut ana = Terminal::client(&address, folder.path(), &["--name", "ana"]);
    ana.shows("lobby · 1 here · ana · connected").await;
    assert!(!ana.is_cooked());
    let mut bob = Terminal::client(&address, folder.path(), &["--name", "bob"]);
    ana.shows("→ bob is here (2 here)").await;
    // A message that arrives leaves the input line intact.
    bob.shows("lobby · 2 here · bob").await;
    bob.press("half 日本");
    bob.shows_typed("half 日本").await;
    ana.press("hello\r");
    bob.shows(" ana: hello").await;
    bob.shows_typed("half 日本").await;
    bob.press("\u{7f}本 of it\r");
    ana.shows(" bob: half 日本 of it").await;
    // A letter of many code points is edited as one, even if the terminal takes
    // it to be wider.
    ana.press("a👨‍👩‍👧b👍🏽");
    ana.shows_typed("a👨‍👩‍👧b👍🏽").await;
    ana.press("\u{7f}\u{1b}[D\u{7f}c");
    ana.shows_typed("acb").await;
    ana.press("\u{15}bo\t日本語é\r");
    bob.shows("ana: bob: 日本語é").await;
    // Pasted lines are one message.
    ana.press("\u{15}\u{1b}k\u{1b}[200~one\rtwo\u{1b}[201~");
    ana.shows("  two").await;
    ana.press("\r");
    bob.shows("ana: one").await;
    bob.press(CTRL_D);
    let left = bob.ends(0).await;
    assert!(left.iter().all(|row| !row.starts_with('>')), "{left:#?}");
    assert!(
        left.iter().any(|row| row.ends_with("ana: hello")),
        "{left:#?}"
    );
    ana.press(CTRL_C);
    ana.shows("Ctrl-C again leaves").await;
    ana.press(CTRL_C);
    ana.ends(0).await;
}

#[tokio::test]
async fn resizes_keep_one_footer_and_the_input() {
    let server = TestServer::start().await;
    let folder = folder();
    let mut ana = Terminal::client(&server.addr.to_string(), folder.path(), &["--name", "ana"]);
    ana.shows("lobby · 1 here").await;
    ana.press("a line that is quite a bit longer than thirty-four columns\r");
    ana.shows("ana: a line").await;
    ana.press("typed");
    ana.shows_typed("typed").await;
    for (columns, rows) in [(34, 12), (80, 20), (34, 20), (60, 20)] {
        ana.resize(columns, rows);
        ana.press("!\u{7f}");
        ana.shows_typed("typed").await;
        let shown = ana.rows();
        let states = shown.iter().filter(|row| row.starts_with("lobby ·"));
        assert_eq!(states.count(), 1, "{shown:#?}");
    }
    ana.resize(20, 6);
    ana.press(" 日本語日本語日本語");
    ana.until("wrapped", |ana| {
        ana.rows().iter().any(|row| row == "  語日本語")
    })
    .await;
    ana.press("\u{15}\u{4}");
    ana.ends(0).await;
}

#[tokio::test]
async fn keys_and_messages_do_not_wait_for_the_disk() {
    let server = TestServer::start().await;
    let disk = Disk::new();
    let environment = disk.environment();
    let variables = environment.each_ref().map(|(name, path)| {
        let path = path.to_str().expect("UTF-8");
        (*name, path)
    });
    let address = server.addr.to_string();
    let args = [CLIENT, &address, "--name", "ana"];
    let mut ana = Terminal::start_with(&args, &disk.data(), &variables);
    ana.shows("lobby · 1 here").await;
    let (mut bob, _) = server.json("/?name=bob").await;
    // The sync takes an hour, unless the delay is reset.
    let syncs = disk.get(ControlField::Syncs);
    disk.set(ControlField::Delay, 3_600_000_000);
    ana.press("kept first\r");
    disk.wait_for_sync(syncs).await;
    ana.press("half");
    ana.shows_typed("half").await;
    ana.shows("sending: kept first").await;
    bob.say(r#"{"type":"publish","text":"meanwhile"}"#).await;
    ana.shows("bob: meanwhile").await;
    // This message waits for the next sync: at most one runs at a time.
    ana.press(" done\r");
    ana.shows("sending: half done").await;
    assert_eq!(disk.get(ControlField::Syncs), syncs + 1);
    // The client sent no message before it was on the disk.
    disk.set(ControlField::Delay, 0);
    for text in ["meanwhile", "kept first", "half done"] {
        assert_eq!(bob.event_of("message").await["text"], text);
    }
    ana.shows("ana: half done").await;
    ana.press(CTRL_D);
    ana.ends(0).await;
}

#[tokio::test]
async fn unsent_messages_are_sent_when_the_server_returns() {
    let folder = folder();
    let (mut first, addr) = server(folder.path(), &[]).await;
    let state = folder.path().join("state");
    let mut ana = Terminal::client(&addr.to_string(), &state, &["--name", "ana"]);
    ana.shows("lobby · 1 here").await;
    ana.press("stored\r");
    ana.shows("ana: stored").await;
    first.child.kill().await.expect("killed");
    ana.shows("offline").await;
    ana.press("unsent\rhalf");
    ana.shows("sending: unsent").await;
    ana.shows("offline, 1 unsent · reconnecting").await;
    let _second = server_again(folder.path(), addr).await;
    ana.shows(" ana: unsent").await;
    ana.shows("ana · connected").await;
    ana.shows_typed("half").await;
    let said = ana.scrollback();
    let count = |what: &str| said.iter().filter(|row| row.ends_with(what)).count();
    assert_eq!(
        (count("ana: stored"), count("ana: unsent")),
        (1, 1),
        "{said:#?}"
    );
    ana.press("\u{15}/quit\r");
    ana.ends(0).await;
}

#[tokio::test]
async fn signals_end_the_client_and_restore_the_terminal() {
    let server = TestServer::start().await;
    let folder = folder();
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let address = server.addr.to_string();
        let mut ana = Terminal::client(&address, folder.path(), &[]);
        ana.shows("connected").await;
        ana.press("half");
        ana.shows_typed("half").await;
        ana.signal(signal);
        let left = ana.ends(0).await;
        assert!(left.iter().all(|row| !row.contains("half")), "{left:#?}");
    }
}

#[tokio::test]
async fn the_client_continues_after_ctrl_z_and_fg() {
    let server = TestServer::start().await;
    let folder = folder();
    let address = server.addr.to_string();
    let shell = ["bash", "--norc", "--noprofile", "-i"];
    let mut shell = Terminal::start(&shell, folder.path());
    shell.press("PS1='sh$ '\r");
    shell.shows("sh$").await;
    shell.press(&format!("clear; {CLIENT} {address} --name ana\r"));
    shell.shows("connected").await;
    shell.press("half");
    shell.shows_typed("half").await;
    shell.press(CTRL_Z);
    shell
        .until("the shell", |shell| {
            shell.rows().iter().any(|row| row == "sh$")
        })
        .await;
    let rows = shell.rows();
    assert!(rows.iter().all(|row| !row.contains("half")), "{rows:#?}");
    let mut bob = Terminal::client(&address, folder.path(), &["--name", "bob"]);
    bob.shows("connected").await;
    bob.press("meanwhile\r");
    bob.shows("bob: meanwhile").await;
    shell.press("fg\r");
    shell.shows("bob: meanwhile").await;
    shell.shows_typed("half").await;
    shell.press("\u{15}/quit\r");
    shell
        .until("the shell again", |shell| {
            let at = shell.screen().screen().cursor_position().0;
            shell.rows()[usize::from(at)] == "sh$"
        })
        .await;
    shell.press("exit\r");
    shell.ends(0).await;
}

/// Not a test by itself: the next test runs it on a terminal.
#[test]
#[ignore = "panics; another test checks the terminal afterwards"]
fn panics_on_a_terminal() {
    let _borrowed = RawMode::enter().expect("a terminal");
    println!("borrowed");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("a key");
    panic!("as it may happen");
}

#[tokio::test]
async fn a_panic_restores_the_terminal() {
    let folder = folder();
    let program = std::env::current_exe().expect("this one");
    let program = program.to_str().expect("UTF-8");
    let name = "screen::panics_on_a_terminal";
    let args = [program, "--exact", name, "--ignored", "--nocapture"];
    let mut terminal = Terminal::start(&args, folder.path());
    terminal.shows("borrowed").await;
    assert!(!terminal.is_cooked());
    terminal.press("\n");
    terminal.shows("test result: FAILED").await;
    // The panic starts a row: the terminal's mode was restored before it.
    let said = terminal.scrollback();
    assert!(
        said.iter().any(|row| row.starts_with("thread ")),
        "{said:#?}"
    );
    assert!(
        said.iter().any(|row| row == "as it may happen"),
        "{said:#?}"
    );
    terminal.ends(101).await;
}

#[tokio::test]
async fn terminals_without_colours_or_cursor_control_work() {
    let server = TestServer::start().await;
    let folder = folder();
    let address = server.addr.to_string();
    let bob = |variables: &[(&str, &str)]| {
        let args = [CLIENT, &address, "--name", "bob"];
        Terminal::start_with(&args, folder.path(), variables)
    };
    // `NO_COLOR` turns colours off.
    let mut ana = bob(&[("NO_COLOR", "1")]);
    ana.shows("bob · connected").await;
    ana.press("hello\r");
    ana.shows("bob: hello").await;
    {
        let shown = ana.screen();
        let cells = (0..12).flat_map(|row| (0..60).map(move |column| (row, column)));
        let mut cells = cells.filter_map(|(row, column)| shown.screen().cell(row, column));
        assert!(cells.all(|cell| cell.fgcolor() == vt100::Color::Default));
    }
    // On a dumb terminal the client reads and prints lines.
    let mut dumb = bob(&[("TERM", "dumb")]);
    dumb.shows("Welcome to chat! Type a message").await;
    assert!(dumb.is_cooked());
    dumb.press("plainly\n");
    ana.shows("bob: plainly").await;
    dumb.shows("bob: plainly").await;
    dumb.press(CTRL_D);
    dumb.ends(0).await;
    ana.press(CTRL_D);
    ana.ends(0).await;
}

#[tokio::test]
async fn preferences_and_earlier_input_are_kept() {
    let server = TestServer::start().await;
    let folder = folder();
    let address = server.addr.to_string();
    let file = folder.path().join("broadcast-chat/preferences.toml");
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
    std::fs::write(&file, "name = 7\n\nbel = true\n").expect("written");
    let mut wrong = Terminal::client(&address, folder.path(), &[]);
    let said = |terminal: &Terminal, what: &str| {
        // The terminal may wrap the text anywhere.
        let rows = terminal.rows().concat().replace(' ', "");
        rows.contains(what)
    };
    let all = ["toml:line1:name:", "toml:line3:thereisno\"bel\""];
    let told = |terminal: &Terminal| all.iter().all(|what| said(terminal, what));
    wrong.until("both mistakes", told).await;
    wrong.ends(2).await;
    std::fs::write(&file, "name = \"eve\"\nbell = false\n").expect("written");
    let mut eve = Terminal::client(&address, folder.path(), &[]);
    eve.shows("eve · connected").await;
    eve.press("typed once\r");
    eve.shows("eve: typed once").await;
    eve.press(CTRL_D);
    eve.ends(0).await;
    // A flag overrides the preferences.
    let mut ana = Terminal::client(&address, folder.path(), &["--name", "ana"]);
    ana.shows("ana · connected").await;
    ana.press("\u{1b}[A");
    ana.shows_typed("typed once").await;
    ana.press("\u{15}/join tea\rhalf");
    ana.shows("2 tea · 1 lobby · 1 here").await;
    ana.press("\u{15}/join lob\t\r");
    ana.shows_typed("").await;
    ana.shows("1 lobby · 2 tea · 1 here").await;
    ana.press("\u{15}/quit\r");
    ana.ends(0).await;
}

// Verified to fail when the screen notes neither names nor positions.
#[tokio::test]
async fn a_returning_user_has_the_same_name_and_a_mark() {
    let server = TestServer::start().await;
    let folder = folder();
    let address = server.addr.to_string();
    let mut bob = server.plain("/?name=bob").await;
    let mut ana = Terminal::client(&address, folder.path(), &["--name", "ana"]);
    ana.shows("ana · connected").await;
    ana.press("hello\r");
    ana.shows("ana: hello").await;
    ana.press(CTRL_D);
    ana.ends(0).await;
    assert_eq!(bob.text().await, "ana: hello");
    for text in ["one", "two"] {
        bob.text_after(text).await;
    }
    let mut ana = Terminal::client(&address, folder.path(), &[]);
    ana.shows("ana · connected").await;
    ana.shows("bob: two").await;
    let shown = ana.scrollback();
    let place = |what: &str| shown.iter().position(|row| row.contains(what)).expect(what);
    let mark = place("2 new since ");
    assert!(
        place("ana: hello") < mark && mark < place("bob: one"),
        "{shown:#?}"
    );
    ana.press(CTRL_D);
    ana.ends(0).await;
}

#[tokio::test]
async fn a_server_on_a_terminal_prints_addresses_and_messages() {
    let folder = folder();
    let args = [SERVER, "--port", "0", "--ephemeral"];
    let mut server = Terminal::start(&args, folder.path());
    server.shows("in a browser").await;
    let rows = server.rows();
    let addr = rows[0].strip_prefix("listening on ").expect(&rows[0]);
    let addr = addr.parse().expect("an address");
    let mut peer = upgraded(addr, "/", &[]).await;
    peer.text().await;
    peer.say("hi").await;
    let tag = peer.tag();
    server.shows(&format!("New connection from {tag}")).await;
    server.shows(&format!("From client {tag} \"hi\"")).await;
}

// Verified to fail when the client does not show the activity.
#[tokio::test]
async fn another_place_is_seen_and_reached() {
    let server = TestServer::start().await;
    let folder = folder();
    let address = server.addr.to_string();
    let (mut bob, _) = server.owner("bob", "").await;
    bob.event_of("live").await;
    let mut ana = Terminal::client(&address, folder.path(), &["--name", "ana"]);
    ana.shows("lobby · ").await;
    ana.press("/name ana\r");
    ana.shows("You are now ana").await;
    ana.press("/join tea\r");
    ana.shows("── tea").await;
    for text in ["one", "two", "ana?"] {
        bob.say(&format!(r#"{{"type":"publish","text":"{text}"}}"#))
            .await;
    }
    ana.shows("2 tea · 1 lobby 3! · ").await;
    // The missed messages stand below the name of the room.
    ana.press("\u{1b}1");
    ana.shows("── lobby").await;
    ana.shows("bob: ana?").await;
    ana.press("\u{b}t\r");
    ana.shows("2 tea · 1 lobby · 1 here").await;
    bob.say(r#"{"type":"private","to":"ana","text":"psst"}"#)
        .await;
    ana.shows("bob to you: psst").await;
    ana.shows("2 tea · 1 lobby · 3 @bob · ").await;
    ana.press("/msg bob\r");
    ana.shows("── @bob").await;
    ana.press("yes?\r");
    assert_eq!(bob.event_of("private").await["text"], "psst");
    assert_eq!(bob.event_of("private").await["text"], "yes?");
    ana.shows("3 @bob · 1 lobby · 2 tea · here · ").await;
    let mut carl = server.plain("/").await;
    drop(bob);
    // The name is free of its owner when the server has noticed the end.
    let gone = async { while carl.text_after("/members").await.contains("bob") {} };
    soon("bob gone", gone).await;
    ana.press("gone?\r");
    ana.shows("* bob is away and will see it when back.").await;
    ana.shows("3 @bob · 1 lobby · 2 tea · away · ").await;
    ana.press("/msg nobody\r");
    ana.shows("Nobody owns the name nobody").await;
    ana.shows("2 tea · 1 lobby · 3 @bob · ").await;
    ana.press(CTRL_D);
    ana.ends(0).await;
}

// Verified to fail when the text of the editor is not taken.
#[tokio::test]
async fn a_text_is_written_in_the_users_editor() {
    let server = TestServer::start().await;
    let folder = folder();
    let editor = "sed -i s/draft/letter/";
    let address = server.addr.to_string();
    let args = [CLIENT, &address, "--name", "ana"];
    let variables = [("EDITOR", editor), ("VISUAL", "")];
    let mut ana = Terminal::start_with(&args, folder.path(), &variables);
    ana.shows("lobby · 1 here").await;
    ana.press("a draft");
    ana.shows_typed("a draft").await;
    ana.press("\u{1b}e");
    ana.shows_typed("a letter").await;
    ana.press("\r");
    ana.shows("ana: a letter").await;
    ana.press(CTRL_D);
    ana.ends(0).await;
}
