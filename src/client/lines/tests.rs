//! Tests of whole conversations with a scripted server.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::join;
use tokio_websockets::{CloseCode, Message};

use super::*;
use crate::client::{
    Outbox,
    scripted::{Host, Server, host, welcome},
};

/// An output whose text a test can read.
#[derive(Clone, Default)]
struct SharedOutput(Arc<Mutex<Vec<u8>>>);

impl SharedOutput {
    fn read(&self) -> String {
        let written = self.0.lock().expect("no writer panicked");
        String::from_utf8(written.clone()).expect("UTF-8")
    }
}

impl Write for SharedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .map_err(|_| io::ErrorKind::Other)?
            .write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The result and the output of a conversation.
struct RunResult {
    outcome: Result<(), String>,
    printed: String,
    complaints: String,
}

/// A client to run, with its options and its input.
struct TestRun {
    options: LinesOptions,
    input: mpsc::Receiver<Vec<Input>>,
    stop: CancellationToken,
    buffer: usize,
}

impl TestRun {
    fn new(source: Source, input: mpsc::Receiver<Vec<Input>>) -> Self {
        let id = "x".parse().expect("an id");
        TestRun {
            options: LinesOptions {
                source,
                json: false,
                quiet: false,
                states: true,
                ids: Ids::given(&id),
            },
            input,
            stop: CancellationToken::new(),
            buffer: 64 * 1024,
        }
    }

    fn pipe(lines: &str) -> Self {
        Self::new(Source::Pipe, read(Source::Pipe, lines))
    }

    fn terminal(lines: &str) -> Self {
        Self::new(Source::Terminal, read(Source::Terminal, lines))
    }

    /// Runs the client against a server that has sent the welcome. The client
    /// does not reconnect.
    async fn run(self, script: impl AsyncFnOnce(&mut Server)) -> RunResult {
        let paper = SharedOutput::default();
        let printer = Printer::start(paper.clone()).expect("a thread");
        let mut left = self.run_on(printer, script).await;
        left.printed = paper.read();
        left
    }

    async fn run_on(self, printer: Printer, script: impl AsyncFnOnce(&mut Server)) -> RunResult {
        self.converse(printer, false, async |host: &mut Host| {
            let (mut server, _) = host.welcome(0).await;
            script(&mut server).await;
        })
        .await
    }

    /// Runs the client against a server; the client reconnects.
    async fn run_again(self, script: impl AsyncFnOnce(&mut Host)) -> RunResult {
        let paper = SharedOutput::default();
        let printer = Printer::start(paper.clone()).expect("a thread");
        let mut left = self.converse(printer, true, script).await;
        left.printed = paper.read();
        left
    }

    async fn converse(
        self,
        mut printer: Printer,
        reconnect: bool,
        script: impl AsyncFnOnce(&mut Host),
    ) -> RunResult {
        let (mut host, connecting) = host(self.buffer, "", Outbox::in_memory(), reconnect);
        let mut complaints = Vec::new();
        let client = async {
            let client = connecting.await.expect("a welcome");
            run(
                client,
                self.input,
                &mut printer,
                &mut complaints,
                self.options,
                &self.stop,
            )
            .await
        };
        let (outcome, ()) = join!(client, script(&mut host));
        printer.finish().await.expect("all is written");
        RunResult {
            outcome: outcome.map_err(|failure| failure.to_string()),
            printed: String::new(),
            complaints: String::from_utf8(complaints).expect("UTF-8"),
        }
    }
}

fn read(source: Source, lines: &str) -> mpsc::Receiver<Vec<Input>> {
    let limit = source.longest_line(Limits { text_bytes: 8 });
    crate::client::input::read(io::Cursor::new(lines.to_owned()), limit).expect("a thread")
}

#[tokio::test]
async fn a_pipe_waits_for_every_receipt() {
    let left = TestRun::pipe("a\n\n/name b\n")
        .run(async |server| {
            server.live().await;
            assert_eq!(server.hear_publish("a").await, "x");
            assert_eq!(server.hear_publish("/name b").await, "x-3");
            server.hear_nothing().await;
            server.store(1, "a", "x").await;
            server.hear_nothing().await;
            let accepted = json!({"type": "accepted", "id": "x-3", "seq": 9, "duplicate": true});
            server.say(accepted).await;
            server.hear_goodbye().await;
        })
        .await;
    assert_eq!(left.outcome, Ok(()));
    assert_eq!(left.printed, "Welcome to chat! Type a message\nana: a\n");
    assert_eq!(left.complaints, "");
}

#[tokio::test]
async fn an_empty_pipe_prints_the_replay() {
    let left = TestRun::pipe("")
        .run(async |server| {
            server.store(1, "a\nb", "other-1").await;
            server.hear_nothing().await;
            server.store(2, "c", "other-2").await;
            server.live().await;
            server.hear_goodbye().await;
        })
        .await;
    assert_eq!(left.outcome, Ok(()));
    let lines = "Welcome to chat! Type a message\nana: a\n  b\nana: c\n";
    assert_eq!(left.printed, lines);
}

#[tokio::test]
async fn a_quiet_pipe_waits_for_no_replay() {
    let mut setting = TestRun::pipe("a");
    setting.options.quiet = true;
    let left = setting
        .run(async |server| {
            server.hear_publish("a").await;
            server.store(1, "a", "x").await;
            server.hear_goodbye().await;
        })
        .await;
    assert_eq!(left.outcome, Ok(()));
    assert_eq!(left.printed, "");
}

#[tokio::test]
async fn lines_unconfirmed_by_a_lost_server_are_counted() {
    let left = TestRun::pipe("a\nb\nc\n")
        .run(async |server| {
            server.hear_publish("a").await;
            server.hear_publish("b").await;
            server.store(1, "a", "x").await;
            server.close(1001, "back\u{1b}soon").await;
        })
        .await;
    assert_eq!(
        left.outcome.expect_err("two are missing"),
        "2 lines were not stored: the server at test:1 went away (1001: back\u{fffd}soon)"
    );
}

#[tokio::test]
async fn a_connection_cut_off_is_a_failure() {
    let (_open, input) = mpsc::channel(1);
    let left = TestRun::new(Source::Pipe, input)
        .run(async |server| {
            server.live().await;
            server.vanish();
        })
        .await;
    assert_eq!(
        left.outcome.expect_err("it has gone"),
        "the server at test:1 went away (the connection was cut off)"
    );
}

#[tokio::test]
async fn refused_lines_are_reported_by_number() {
    let left = TestRun::pipe("a\n123456789\nb\nc")
        .run(async |server| {
            server.live().await;
            // The client has sent no message with this id yet.
            let known = json!({"type": "refused", "code": "empty", "text": "Not now.", "id": "x"});
            server.say(known).await;
            assert_eq!(server.hear_publish("a").await, "x");
            assert_eq!(server.hear_publish("b").await, "x-3");
            assert_eq!(server.hear_publish("c").await, "x-4");
            let known = json!({"type": "refused", "code": "empty", "text": "Not now.", "id": "x"});
            server.say(known).await;
            let new = json!({"type": "refused", "code": "tired", "text": "Zzz\n.", "id": "x-4"});
            server.say(new).await;
            server.store(1, "b", "x-3").await;
            server.hear_goodbye().await;
        })
        .await;
    assert_eq!(
        left.outcome.expect_err("three are missing"),
        "3 lines were not stored"
    );
    assert_eq!(
        left.complaints,
        "client: line 2 has more than 8 bytes and was not sent\n\
         client: line 1 was not stored: Not now.\n\
         client: line 4 was not stored: Zzz .\n"
    );
}

#[tokio::test]
async fn at_most_1000_messages_are_in_flight() {
    let lines: Vec<String> = (1..=1500).map(|n| n.to_string()).collect();
    let left = TestRun::pipe(&lines.join("\n"))
        .run(async |server| {
            server.live().await;
            let mut ids = Vec::new();
            for line in &lines[..1000] {
                ids.push(server.hear_publish(line).await);
            }
            server.hear_nothing().await;
            server.store(1, "1", &ids[0]).await;
            ids.push(server.hear_publish(&lines[1000]).await);
            server.hear_nothing().await;
            for (seq, id) in (1..).zip(&ids) {
                server.store(seq, "x", id).await;
            }
            for (seq, line) in (2000..).zip(&lines[1001..]) {
                let id = server.hear_publish(line).await;
                server.store(seq, line, &id).await;
            }
            server.hear_goodbye().await;
        })
        .await;
    assert_eq!(left.outcome, Ok(()));
}

#[tokio::test]
async fn neither_direction_waits_for_the_other() {
    let lines: Vec<String> = (1..=500).map(|n| n.to_string()).collect();
    let mut setting = TestRun::pipe(&lines.join("\n"));
    // The buffer is far smaller than the text of either side.
    setting.buffer = 512;
    let left = setting
        .run(async |server| {
            for seq in 1..2000 {
                server.store(seq, "noise", "other").await;
            }
            server.live().await;
            for (seq, line) in (2000..).zip(&lines) {
                let id = server.hear_publish(line).await;
                server.store(seq, line, &id).await;
            }
            server.hear_goodbye().await;
        })
        .await;
    assert_eq!(left.outcome, Ok(()));
    assert_eq!(left.printed.lines().count(), 1 + 1999 + 500);
}

#[tokio::test]
async fn an_interruption_with_everything_stored_succeeds() {
    let (_open, input) = mpsc::channel(1);
    let setting = TestRun::new(Source::Pipe, input);
    let stop = setting.stop.clone();
    let left = setting
        .run(async |server| {
            server.live().await;
            stop.cancel();
            server.hear_goodbye().await;
        })
        .await;
    assert_eq!(left.outcome, Ok(()));
}

#[tokio::test]
async fn an_interruption_counts_the_lines_left() {
    let lines = "x\n".repeat(1500);
    let setting = TestRun::pipe(&lines);
    let stop = setting.stop.clone();
    let left = setting
        .run(async |server| {
            let mut ids = Vec::new();
            for _ in 0..1000 {
                ids.push(server.hear_publish("x").await);
            }
            stop.cancel();
            for (seq, id) in (1..).zip(&ids) {
                server.store(seq, "x", id).await;
            }
            server.hear_goodbye().await;
        })
        .await;
    assert_eq!(
        left.outcome.expect_err("500 are missing"),
        "500 lines were not stored: interrupted before the server at test:1 had confirmed them"
    );
}

/// An input whose lines are ready at once. Reading needs no thread, so a paused
/// clock does not move meanwhile.
fn at_once(lines: &str) -> mpsc::Receiver<Vec<Input>> {
    let (sender, receiver) = mpsc::channel(1);
    let lines = (1..).zip(lines.lines());
    let batch = lines.map(|(number, text)| Input::Line {
        number,
        text: text.to_owned(),
    });
    sender.try_send(batch.collect()).expect("there is room");
    receiver
}

#[tokio::test(start_paused = true)]
async fn a_pipe_continues_after_a_reconnect() {
    let left = TestRun::new(Source::Pipe, at_once("a\nb\nc"))
        .run_again(async |host| {
            let (mut server, _) = host.welcome(0).await;
            server.live().await;
            server.take(1, "a").await;
            server.hear_publish("b").await;
            server.hear_publish("c").await;
            host.refuse_next(3);
            server.vanish();
            let (mut server, asked) = host.welcome(2).await;
            assert!(asked.contains("after=1&"), "{asked}");
            server.hear_publish("b").await;
            server.store(2, "b", "x-2").await;
            server.live().await;
            server.take(3, "c").await;
            server.hear_goodbye().await;
        })
        .await;
    assert_eq!(left.outcome, Ok(()));
    assert_eq!(
        left.printed,
        "Welcome to chat! Type a message\nana: a\nana: b\nana: c\n"
    );
    assert_eq!(
        left.complaints,
        "client: offline (the connection was cut off), 2 unsent; trying again\n\
         client: connected again\n\
         client: caught up\n"
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_waits_30_s_after_its_input_ends() {
    let began = Instant::now();
    let (input, receiver) = mpsc::channel(1);
    let left = TestRun::new(Source::Pipe, receiver)
        .run_again(async |host| {
            let (mut server, _) = host.welcome(0).await;
            server.live().await;
            host.refuse_next(usize::MAX);
            server.vanish();
            sleep(Duration::from_secs(3600)).await;
            let line = Input::Line {
                number: 1,
                text: "a".to_owned(),
            };
            input.send(vec![line]).await.expect("it goes on");
            drop(input);
        })
        .await;
    let waited = began.elapsed().as_secs();
    assert!((3629..3632).contains(&waited), "{waited}");
    assert_eq!(
        left.outcome.expect_err("it never came back"),
        "1 line was not stored: the server at test:1 went away (the connection was cut off)"
    );
    assert_eq!(
        left.complaints,
        "client: offline (the connection was cut off), 0 unsent; trying again\n"
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_does_not_wait_after_a_final_refusal() {
    let left = TestRun::new(Source::Pipe, at_once("a"))
        .run_again(async |host| {
            let (mut server, _) = host.welcome(0).await;
            server.hear_publish("a").await;
            server.vanish();
            host.answer(403).await;
        })
        .await;
    assert_eq!(
        left.outcome.expect_err("it is unsent"),
        "1 line was not stored: test:1 answers HTTP 403: it does not let this client in (DidNotSwitchProtocols(403))"
    );
}

#[tokio::test(start_paused = true)]
async fn a_normal_close_with_nothing_unsent_is_no_failure() {
    let (_open, input) = mpsc::channel(1);
    let left = TestRun::new(Source::Pipe, input)
        .run_again(async |host| {
            let (mut server, _) = host.welcome(0).await;
            server.close(1000, "the room is closed").await;
        })
        .await;
    assert_eq!(left.outcome, Ok(()));
    assert_eq!(
        left.complaints,
        "client: the server at test:1 went away (the room is closed)\n"
    );
}

#[tokio::test(start_paused = true)]
async fn a_hole_is_reported() {
    let left = TestRun::new(Source::Pipe, at_once("a"))
        .run_again(async |host| {
            let (mut server, _) = host.welcome(0).await;
            server.live().await;
            let id = server.hear_publish("a").await;
            server.store(7, "a", &id).await;
            server.hear_goodbye().await;
        })
        .await;
    assert_eq!(left.outcome, Ok(()));
    assert_eq!(
        left.complaints,
        "client: messages between 0 and 7 are missing, and the server does not say why\n"
    );
}

/// An output whose reader has gone.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_pipe_delivers_without_a_reader_of_its_output() {
    let printer = Printer::start(Closed).expect("a thread");
    let left = TestRun::pipe("a")
        .run_on(printer, async |server| {
            let id = server.hear_publish("a").await;
            server.store(1, "a", &id).await;
            server.hear_goodbye().await;
        })
        .await;
    assert_eq!(left.outcome, Ok(()));
}

#[tokio::test]
async fn a_terminal_ends_without_a_reader_of_its_output() {
    let (_open, input) = mpsc::channel(1);
    let printer = Printer::start(Closed).expect("a thread");
    let left = TestRun::new(Source::Terminal, input)
        .run_on(printer, async |server| server.hear_goodbye().await)
        .await;
    assert_eq!(left.outcome, Ok(()));
}

#[tokio::test]
async fn typed_lines_may_be_commands() {
    let left = TestRun::terminal(&format!(
        "/name bob\n/dance\n//a\n/me sits\n123456789\n{}\n/help\n",
        "x".repeat(1000)
    ))
    .run(async |server| {
        let named = server.hear().await;
        assert_eq!(named, json!({"type": "name", "name": "bob"}));
        // The next messages must have the new name, so they wait for it.
        server.hear_nothing().await;
        server.say(json!({"type": "name", "name": "bob"})).await;
        assert_eq!(server.hear_publish("/a").await, "x-3");
        let me = server.hear().await;
        let expected =
            json!({"type": "publish", "text": "sits", "kind": "me", "id": "x-4", "follows": "x-3"});
        assert_eq!(me, expected);
        server.store(1, "/a", "x-3").await;
        let refused = json!({"type": "refused", "code": "empty", "text": "Not now.", "id": "x-4"});
        server.say(refused).await;
        server.hear_goodbye().await;
    })
    .await;
    assert_eq!(left.outcome, Ok(()));
    for line in [
        "* No such command: /help lists them, and //TEXT says a text that begins with a slash.",
        "* The text has 9 bytes; at most 8 are taken.",
        "* The line is too long and was not sent: at most 8 bytes of text are taken.",
        "  /join ROOM     go to another room",
        "* You are now bob.",
        "ana: /a",
        "* Not now.",
    ] {
        let mut lines = left.printed.lines();
        assert!(lines.any(|printed| printed == line), "{}", left.printed);
    }
    assert_eq!(left.complaints, "");
}

#[tokio::test]
async fn json_is_printed_as_received() {
    let mut setting = TestRun::pipe("");
    setting.options.json = true;
    let left = setting
        .run(async |server| {
            let pretty = Message::text("{\"type\":\"news\",\n\"x\":\"\u{9b}2J\"}");
            server.send(pretty).await;
            server.live().await;
            server.hear_goodbye().await;
        })
        .await;
    assert_eq!(left.outcome, Ok(()));
    let lines: Vec<&str> = left.printed.lines().collect();
    assert_eq!(lines[0], welcome(0).to_string());
    assert_eq!(lines[1], "{\"type\":\"news\", \"x\":\"\u{fffd}2J\"}");
    assert_eq!(lines[2], r#"{"seq":0,"type":"live"}"#);
}

#[test]
fn a_line_cannot_control_the_terminal_or_fake_another() {
    for (line, safe) in [
        ("ana: a\n  b", "ana: a\n  b"),
        ("* \u{1b}[2Ja", "* \u{fffd}[2Ja"),
        ("* a\rbob: b", "* a\n  bob: b"),
        ("* a\n  b\u{2028}bob: c", "* a\n  b\n  bob: c"),
    ] {
        assert_eq!(safe_line(line), safe);
    }
}

#[tokio::test]
async fn a_server_without_a_welcome_is_an_error() {
    for (first, why) in [
        (
            Message::text("Welcome to chat! Type a message"),
            "test:1 is a WebSocket server, but not this chat: it did not begin with a welcome",
        ),
        (
            Message::binary("welcome"),
            "test:1 is a WebSocket server, but not this chat: it began with a binary message",
        ),
        (
            Message::close(CloseCode::try_from(4502).ok(), "banned"),
            "the server at test:1 went away before it said welcome (4502: banned)",
        ),
    ] {
        let (mut host, connecting) = host(1024, "", Outbox::in_memory(), true);
        let (client, _server) = join!(connecting, async {
            let (mut server, _) = host.accept().await;
            server.send(first).await;
            server
        });
        let Err(error) = client else {
            panic!("this is no welcome");
        };
        assert_eq!(error.to_string(), why);
    }
}
