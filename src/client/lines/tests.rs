//! Tests of whole conversations with a scripted server.

mod delivery;
mod reconnecting;

use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::join;
use tokio_websockets::Message;

use super::*;
use crate::client::{
    Outbox,
    scripted::{Host, ScriptedServer, host, message, welcome},
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
                welcome: true,
                times: None,
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
    async fn run(self, script: impl AsyncFnOnce(&mut ScriptedServer)) -> RunResult {
        let paper = SharedOutput::default();
        let printer = Printer::start(paper.clone()).expect("a thread");
        let mut left = self.run_on(printer, script).await;
        left.printed = paper.read();
        left
    }

    async fn run_on(
        self,
        printer: Printer,
        script: impl AsyncFnOnce(&mut ScriptedServer),
    ) -> RunResult {
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
        "/name ana\n/dance\n//a\n/me sits\n123456789\n{}\n/help\n",
        "x".repeat(1000)
    ))
    .run(async |server| {
        let named = server.hear().await;
        assert_eq!(named, json!({"type": "name", "name": "ana"}));
        // The next messages must have the new name, so they wait for it.
        server.hear_nothing().await;
        server.say(json!({"type": "name", "name": "ana"})).await;
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
        "* No such command: /dance. Did you mean /name? /help lists them, and //TEXT says a text that begins with a slash.",
        "* The text has 9 bytes; at most 8 are taken.",
        "* The line is too long and was not sent: at most 8 bytes of text are taken.",
        "  /join ROOM           go to another room",
        "* You are now ana.",
        "ana: /a",
        "* Not now.",
    ] {
        let mut lines = left.printed.lines();
        assert!(lines.any(|printed| printed == line), "{}", left.printed);
    }
    assert_eq!(left.complaints.matches("missing").count(), 0);
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

/// The welcome, a page and live messages.
#[tokio::test]
async fn words_of_an_ignored_name_are_for_programs_only() {
    for is_json in [false, true] {
        let (_open, input) = mpsc::channel(1);
        let mut setting = TestRun::new(Source::Terminal, input);
        setting.options.json = is_json;
        let left = setting
            .run_again(async |host: &mut Host| {
                let (mut server, _) = host.accept().await;
                let mut first = welcome(0);
                first["ignored"] = json!(["Ana"]);
                server.say(first).await;
                server.say(message(1, "one", "a-1")).await;
                let found =
                    json!({"type": "page", "messages": [message(1, "one", "a-1")], "more": false});
                server.say(found).await;
                server.say(json!({"type": "ignored", "names": []})).await;
                server.say(message(2, "two", "a-2")).await;
                server
                    .say(json!({"type": "ignored", "names": ["b0b", "ana"]}))
                    .await;
                server.say(message(3, "three", "a-3")).await;
                server.close(1000, "").await;
            })
            .await;
        let shown = |text: &str| left.printed.contains(text);
        assert_eq!(["one", "two", "three"].map(shown), [is_json, true, is_json]);
        assert_eq!(
            left.complaints.matches("missing").count(),
            0,
            "{}",
            left.complaints
        );
    }
}

#[tokio::test]
async fn quotes_and_corrections_of_an_ignored_name_have_no_words() {
    let (_open, input) = mpsc::channel(1);
    let setting = TestRun::new(Source::Terminal, input);
    let left = setting
        .run_again(async |host: &mut Host| {
            let (mut server, _) = host.accept().await;
            let mut first = welcome(0);
            first["ignored"] = json!(["eve"]);
            server.say(first).await;
            let eve = json!({"name": "eve", "addr": "127.0.0.1:5009"});
            let mut reply = message(1, "yes", "a-1");
            reply["about"] = json!(0);
            reply["quote"] = json!({"from": eve, "text": "one"});
            server.say(reply.clone()).await;
            reply["seq"] = json!(2);
            let found = json!({"type": "page", "messages": [reply], "more": false});
            server.say(found).await;
            let mut change = message(2, "two", "e-1");
            change["type"] = json!("changed");
            change["kind"] = json!("edit");
            change["about"] = json!(0);
            change["from"] = eve;
            server.say(change).await;
            server.close(1000, "").await;
        })
        .await;
    let count = |text: &str| left.printed.matches(text).count();
    assert_eq!(["> eve: ignored", "one", "two"].map(count), [2, 0, 0]);
    assert_eq!(left.complaints.matches("missing").count(), 0);
}
