//! The faces made of lines: a pipe whose lines are delivered, and a plain
//! terminal where lines are typed. Both print what is said meanwhile.

use std::{
    borrow::Cow,
    fmt,
    io::{self, Write},
    pin::pin,
    time::Duration,
    vec,
};

use tokio::{
    select,
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Client, End, Frame, Happened, ids::Ids, input::Input, one_line, output::Printer};
use crate::protocol::{
    Command, Event, Kind, Limits, Refusal, RefusalCode, json, plain,
    text::{Text, clean},
};

/// How long receipts are still waited for after an interruption.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the input is still counted after the server has gone.
const COUNTING: Duration = Duration::from_secs(1);

/// For how long the input may pause before what it gave is all there is for
/// now.
const PAUSE: Duration = Duration::from_millis(100);

/// How long the output may take before the end is reported regardless.
const SHOWING: Duration = Duration::from_secs(1);

/// The longest word of a command with the blanks after it, in bytes, and then
/// some.
const COMMAND: usize = 256;

/// Where lines come from, which decides what they mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A program or a file: every line is said as it stands.
    Pipe,
    /// A person: lines that begin with a slash are commands.
    Terminal,
}

impl Source {
    /// The longest line worth reading, in bytes: what is typed may begin with
    /// the word of a command, which does not count.
    pub fn longest_line(self, limits: Limits) -> usize {
        match self {
            Source::Pipe => limits.text_bytes,
            Source::Terminal => limits.text_bytes + COMMAND,
        }
    }
}

/// How the conversation is held.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where lines come from.
    pub source: Source,
    /// Print events as JSON, as received.
    pub json: bool,
    /// Print nothing of the chat.
    pub quiet: bool,
    /// The ids of the lines.
    pub ids: Ids,
}

/// Holds the conversation: sends what the input gives and prints what the
/// server tells, until the input is over and everything is stored, the server
/// goes, or `stop` is cancelled.
///
/// What goes wrong with a single line is said on `complaints` at once.
pub async fn run(
    client: Client,
    input: mpsc::Receiver<Vec<Input>>,
    printer: &mut Printer,
    complaints: &mut impl Write,
    options: Options,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let mut lines = Lines {
        client,
        options,
        printer,
        complaints,
        live: false,
        lost: 0,
        unreadable: None,
    };
    let mut input = Incoming {
        batches: input,
        waiting: Vec::new().into_iter(),
        over: false,
    };
    let over = lines.hold(&mut input, stop).await;
    let outcome = lines.outcome(over, input).await;
    lines.client.close().await;
    if outcome.is_err() {
        // What was said before the end is better read before it; but an output
        // nobody reads does not keep the end a secret.
        let _ = timeout(SHOWING, printer.finish()).await;
    }
    outcome
}

/// Why the conversation is over.
enum Over {
    /// Nothing is left to do.
    Done,
    /// The server went.
    Gone(End),
    /// It was interrupted.
    Interrupted,
}

/// The lines that have come and were not sent.
struct Incoming {
    batches: mpsc::Receiver<Vec<Input>>,
    waiting: vec::IntoIter<Input>,
    over: bool,
}

impl Incoming {
    /// Whether a line waits that could be sent.
    fn is_waiting(&self) -> bool {
        self.waiting.len() > 0
    }

    /// Counts what was read and will not be sent.
    fn count_read(&mut self) -> u64 {
        let mut lines = count(self.waiting.as_slice());
        while let Ok(batch) = self.batches.try_recv() {
            lines += count(&batch);
        }
        lines
    }

    /// Counts what will not be sent, up to the end of the input or its next
    /// pause; with it, whether there was no end of it.
    async fn count_all(&mut self) -> (u64, bool) {
        let enough = Instant::now() + COUNTING;
        let mut lines = count(self.waiting.as_slice());
        while let Ok(Some(batch)) = timeout(PAUSE, self.batches.recv()).await {
            lines += count(&batch);
            if Instant::now() > enough {
                return (lines, true);
            }
        }
        (lines, false)
    }
}

fn count(input: &[Input]) -> u64 {
    let lines = input
        .iter()
        .filter(|input| !matches!(input, Input::Failed(_)));
    lines.count() as u64
}

struct Lines<'a, W> {
    client: Client,
    options: Options,
    printer: &'a mut Printer,
    complaints: &'a mut W,
    /// The replay is over.
    live: bool,
    /// Lines that will never be stored.
    lost: u64,
    unreadable: Option<io::Error>,
}

impl<W: Write> Lines<'_, W> {
    async fn hold(&mut self, input: &mut Incoming, stop: &CancellationToken) -> Over {
        let mut stopped = pin!(stop.cancelled());
        let mut patience = pin!(sleep(PATIENCE));
        let mut interrupted = false;
        loop {
            if interrupted {
                if self.client.unconfirmed() == 0 {
                    return Over::Interrupted;
                }
            } else {
                while self.client.has_room()
                    && let Some(line) = input.waiting.next()
                {
                    self.enter(line);
                }
                if input.over
                    && !input.is_waiting()
                    && self.client.unconfirmed() == 0
                    && self.has_shown_all()
                {
                    return Over::Done;
                }
            }
            let wanted = !interrupted && !input.over && !input.is_waiting();
            let printing = self.printer.is_open();
            let printable = !self.printer.is_full();
            // In this order: what is asked of us before what we are told, and
            // printing when nothing more is told right now. None starves the
            // next: input ends with the window, and a full printer ends reading.
            select! {
                biased;
                () = &mut stopped, if !interrupted => {
                    interrupted = true;
                    patience.as_mut().reset(Instant::now() + PATIENCE);
                }
                () = &mut patience, if interrupted => return Over::Interrupted,
                batch = input.batches.recv(), if wanted => match batch {
                    Some(batch) => input.waiting = batch.into_iter(),
                    None => input.over = true,
                },
                happened = self.client.next(), if printable => {
                    if let Some(end) = self.show(happened) {
                        return Over::Gone(end);
                    }
                }
                () = self.printer.work(), if printing => {
                    if !self.printer.is_open() && self.options.source == Source::Terminal {
                        // Nobody reads along: there is nothing to wait for but
                        // what was typed so far.
                        input.over = true;
                    }
                }
            }
        }
    }

    /// A pipe that is printed shows the whole replay, however short its input.
    fn has_shown_all(&self) -> bool {
        let printing = !self.options.quiet && self.printer.is_open();
        self.live || !printing || self.options.source == Source::Terminal
    }

    /// Sends what the input gave.
    fn enter(&mut self, input: Input) {
        let limit = self.client.welcome().limits.text_bytes;
        match (self.options.source, input) {
            (Source::Pipe, Input::Line { number, text }) => match self.options.ids.of(number) {
                Ok(id) => self.client.send(&Command::Publish {
                    text,
                    id: Some(id),
                    kind: Kind::Said,
                }),
                Err(why) => self.lose(format_args!("line {number} was not sent: {why}")),
            },
            (Source::Pipe, Input::TooLong { number }) => self.lose(format_args!(
                "line {number} has more than {limit} bytes and was not sent"
            )),
            (Source::Terminal, Input::Line { number, text }) => self.typed(number, &text),
            (Source::Terminal, Input::TooLong { .. }) => {
                let why = format!(
                    "The line is too long and was not sent: at most {limit} bytes of text are taken."
                );
                self.put(&Event::Refused(Refusal::new(RefusalCode::TooLong, why)));
            }
            (_, Input::Failed(error)) => self.unreadable = Some(error),
        }
    }

    fn typed(&mut self, number: u64, line: &str) {
        let limit = self.client.welcome().limits.text_bytes;
        let command = match plain::parse(line) {
            Ok(Some(command)) => command,
            Ok(None) => return,
            Err(refusal) => return self.put(&Event::Refused(refusal)),
        };
        match command {
            Command::Help => self.put(&plain::help()),
            Command::Publish { text, kind, .. } => match Text::accept(&text, limit) {
                Ok(_) => self.client.send(&Command::Publish {
                    text,
                    id: self.options.ids.of(number).ok(),
                    kind,
                }),
                Err(refusal) => self.put(&Event::Refused(refusal)),
            },
            command => self.client.send(&command),
        }
    }

    /// Prints what happened, except the end.
    fn show(&mut self, happened: Happened) -> Option<End> {
        match happened {
            Happened::Told(frame, event) => {
                match event {
                    Event::Live { .. } => self.live = true,
                    Event::Welcome(_) => self.live = false,
                    _ => {}
                }
                self.put_told(&frame, &event);
            }
            Happened::Refused { frame, id, text } => {
                if self.options.source == Source::Pipe {
                    let line = self.options.ids.line(&id).unwrap_or_default();
                    self.lose(format_args!("line {line} was not stored: {text}"));
                }
                if self.options.json || self.options.source == Source::Terminal {
                    self.put_told(&frame, &Event::Notice { text });
                }
            }
            Happened::Unknown(frame) => {
                if self.options.json && !self.options.quiet {
                    self.printer.put(&one_line(frame.text()));
                }
            }
            Happened::Ended(end) => return Some(end),
        }
        None
    }

    /// Prints an event of the server: as received, or as the plain format has
    /// it.
    fn put_told(&mut self, frame: &Frame, event: &Event) {
        match (self.options.quiet, self.options.json) {
            (true, _) => {}
            (false, true) => self.printer.put(&one_line(frame.text())),
            (false, false) => self.put(event),
        }
    }

    /// Prints an event of our own making.
    fn put(&mut self, event: &Event) {
        if self.options.json {
            self.printer.put(&one_line(&json::event(event)));
        } else if let Some(line) = plain::event(event) {
            self.printer.put(&shown(&line));
        }
    }

    fn lose(&mut self, why: fmt::Arguments<'_>) {
        self.lost += 1;
        // Where complaints go nowhere, the exit code still tells.
        let _ = writeln!(self.complaints, "client: {}", one_line(&why.to_string()));
    }

    async fn outcome(&mut self, over: Over, mut input: Incoming) -> Result<(), Failure> {
        let pending = self.lost + self.client.unconfirmed() as u64;
        let server = self.client.server().to_owned();
        match over {
            Over::Done => match self.unreadable.take() {
                Some(error) => Err(Failure::Unreadable(error)),
                None if self.lost > 0 => Err(Failure::NotStored(Lost {
                    lines: self.lost,
                    more: false,
                })),
                None => Ok(()),
            },
            Over::Gone(end) => {
                let (unsent, more) = match self.options.source {
                    Source::Pipe => input.count_all().await,
                    Source::Terminal => (input.count_read(), false),
                };
                let lines = pending + unsent;
                Err(Failure::Gone {
                    server,
                    end,
                    lost: Lost { lines, more },
                })
            }
            Over::Interrupted => match pending + input.count_read() {
                0 => Ok(()),
                lines => Err(Failure::Interrupted {
                    server,
                    lost: Lost { lines, more: false },
                }),
            },
        }
    }
}

/// A plain line with whatever a server may have put into it made safe: what
/// still begins a new line is set in, so that it cannot fake another's.
fn shown(line: &str) -> Cow<'_, str> {
    match clean(line) {
        Cow::Borrowed(line) => line.into(),
        Cow::Owned(line) => {
            let mut safe = String::with_capacity(line.len());
            for (n, part) in line.split('\n').enumerate() {
                safe.push_str(match n {
                    0 => "",
                    _ if part.starts_with("  ") => "\n",
                    _ => "\n  ",
                });
                safe.push_str(part);
            }
            safe.into()
        }
    }
}

/// How many lines were not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Those that were counted.
    lines: u64,
    /// The input had not ended when counting did.
    more: bool,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let least = if self.more { "at least " } else { "" };
        match self.lines {
            1 => write!(f, "{least}1 line was not stored"),
            lines => write!(f, "{least}{lines} lines were not stored"),
        }
    }
}

/// Why the conversation failed. Its text is one sentence.
#[derive(Debug)]
pub enum Failure {
    /// The server went.
    Gone {
        /// `host:port`.
        server: String,
        /// What it said about it.
        end: End,
        /// What it had not confirmed.
        lost: Lost,
    },
    /// It was interrupted with lines left.
    Interrupted {
        /// `host:port`.
        server: String,
        /// What was not confirmed.
        lost: Lost,
    },
    /// The server, or its limits, refused some lines.
    NotStored(Lost),
    /// The input could not be read on.
    Unreadable(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Gone { server, end, lost } => {
                if lost.lines > 0 {
                    write!(f, "{lost}: ")?;
                }
                let end = one_line(&end.to_string());
                write!(f, "the server at {server} went away ({end})")
            }
            Failure::Interrupted { server, lost } => write!(
                f,
                "{lost}: interrupted before the server at {server} had confirmed them"
            ),
            Failure::NotStored(lost) => lost.fmt(f),
            Failure::Unreadable(error) => {
                write!(f, "standard input cannot be read on: {error}")
            }
        }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures_util::{SinkExt, StreamExt};
    use serde_json::{Value, json};
    use tokio::{
        io::{DuplexStream, duplex},
        join,
    };
    use tokio_websockets::{CloseCode, Message, ServerBuilder, WebSocketStream};

    use super::*;
    use crate::client::over;

    /// The other end: says and hears what a test scripts.
    struct Server(WebSocketStream<DuplexStream>);

    impl Server {
        async fn say(&mut self, event: Value) {
            self.send(Message::text(event.to_string())).await;
        }

        async fn send(&mut self, frame: Message) {
            self.0.send(frame).await.expect("the client reads");
        }

        async fn frame(&mut self) -> Message {
            let frame = self.0.next().await.expect("a frame");
            frame.expect("the client keeps to the protocol")
        }

        async fn hear(&mut self) -> Value {
            let frame = self.frame().await;
            let text = frame.as_text().expect("a text frame");
            serde_json::from_str(text).expect("JSON")
        }

        /// The id of the next message published, which says `text`.
        async fn hear_publish(&mut self, text: &str) -> String {
            let command = self.hear().await;
            assert_eq!(command["type"], "publish");
            assert_eq!(command["text"], text);
            command["id"].as_str().expect("an id").to_owned()
        }

        /// Whatever the client still had to say, it has said before its pong.
        async fn hear_nothing(&mut self) {
            for _ in 0..2 {
                self.send(Message::ping("still there?")).await;
                assert!(self.frame().await.is_pong());
            }
        }

        async fn hear_goodbye(&mut self) {
            let frame = self.frame().await;
            let (code, _) = frame.as_close().expect("a close frame");
            assert_eq!(code, CloseCode::NORMAL_CLOSURE);
            assert!(self.0.next().await.is_none());
        }

        async fn live(&mut self) {
            self.say(json!({"type": "live", "seq": 0})).await;
        }

        async fn store(&mut self, seq: u64, text: &str, id: &str) {
            self.say(message(seq, text, id)).await;
        }

        async fn close(&mut self, code: u16, reason: &str) {
            let code = CloseCode::try_from(code).expect("a close code");
            self.send(Message::close(Some(code), reason)).await;
            while let Some(Ok(_)) = self.0.next().await {}
        }
    }

    fn message(seq: u64, text: &str, id: &str) -> Value {
        json!({
            "type": "message", "seq": seq, "prev": seq - 1, "room": "lobby",
            "at": "2026-01-01T00:00:00.000Z", "text": text, "id": id,
            "from": {"name": "ana", "addr": "127.0.0.1:5000"},
        })
    }

    fn welcome() -> Value {
        json!({
            "type": "welcome", "room": "lobby", "you": {"addr": "127.0.0.1:5000"},
            "epoch": "e", "head": 0, "members": 1, "server": "test",
            "limits": {"text_bytes": 8},
        })
    }

    /// An output that can be looked at.
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Paper {
        fn read(&self) -> String {
            let written = self.0.lock().expect("no writer panicked");
            String::from_utf8(written.clone()).expect("UTF-8")
        }
    }

    impl Write for Paper {
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

    /// What a conversation left behind.
    struct Left {
        outcome: Result<(), String>,
        printed: String,
        complaints: String,
    }

    /// A client to be run, and what it is given.
    struct Setting {
        options: Options,
        input: mpsc::Receiver<Vec<Input>>,
        stop: CancellationToken,
        buffer: usize,
    }

    impl Setting {
        fn new(source: Source, input: mpsc::Receiver<Vec<Input>>) -> Self {
            let id = "x".parse().expect("an id");
            Setting {
                options: Options {
                    source,
                    json: false,
                    quiet: false,
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

        /// Runs the client against a server that has said welcome.
        async fn run(self, script: impl AsyncFnOnce(&mut Server)) -> Left {
            let paper = Paper::default();
            let printer = Printer::start(paper.clone()).expect("a thread");
            let mut left = self.run_on(printer, script).await;
            left.printed = paper.read();
            left
        }

        async fn run_on(self, mut printer: Printer, script: impl AsyncFnOnce(&mut Server)) -> Left {
            let (ours, theirs) = duplex(self.buffer);
            let mut server = Server(ServerBuilder::new().serve(theirs));
            let mut complaints = Vec::new();
            let client = async {
                let client = over(ours, "test:1").await.expect("a welcome");
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
            let (outcome, ()) = join!(client, async {
                server.say(welcome()).await;
                script(&mut server).await;
            });
            printer.finish().await.expect("all is written");
            Left {
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
        let left = Setting::pipe("a\n\n/name b\n")
            .run(async |server| {
                server.live().await;
                assert_eq!(server.hear_publish("a").await, "x");
                assert_eq!(server.hear_publish("/name b").await, "x-3");
                server.hear_nothing().await;
                server.store(1, "a", "x").await;
                server.hear_nothing().await;
                let accepted =
                    json!({"type": "accepted", "id": "x-3", "seq": 9, "duplicate": true});
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
        let left = Setting::pipe("")
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
        let mut setting = Setting::pipe("a");
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
    async fn a_server_that_goes_leaves_lines_behind() {
        let left = Setting::pipe("a\nb\nc\n")
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
    async fn a_server_that_goes_without_a_word() {
        let (_open, input) = mpsc::channel(1);
        let left = Setting::new(Source::Pipe, input)
            .run(async |server| {
                server.live().await;
                let (other, _) = duplex(1);
                server.0 = ServerBuilder::new().serve(other);
            })
            .await;
        assert_eq!(
            left.outcome.expect_err("it has gone"),
            "the server at test:1 went away (the connection was cut off)"
        );
    }

    #[tokio::test]
    async fn lines_that_are_refused_are_named() {
        let left = Setting::pipe("a\n123456789\nb\nc")
            .run(async |server| {
                server.live().await;
                let known =
                    json!({"type": "refused", "code": "busy", "text": "Not now.", "id": "x"});
                server.say(known).await;
                assert_eq!(server.hear_publish("a").await, "x");
                assert_eq!(server.hear_publish("b").await, "x-3");
                assert_eq!(server.hear_publish("c").await, "x-4");
                let known =
                    json!({"type": "refused", "code": "busy", "text": "Not now.", "id": "x"});
                server.say(known).await;
                let new =
                    json!({"type": "refused", "code": "tired", "text": "Zzz\n.", "id": "x-4"});
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
    async fn a_window_of_messages_is_in_flight() {
        let lines: Vec<String> = (1..=1500).map(|n| n.to_string()).collect();
        let left = Setting::pipe(&lines.join("\n"))
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
        let mut setting = Setting::pipe(&lines.join("\n"));
        // Far less than either side has to say.
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
    async fn interrupted_with_everything_stored() {
        let (_open, input) = mpsc::channel(1);
        let setting = Setting::new(Source::Pipe, input);
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
    async fn interrupted_with_lines_left() {
        let lines = "x\n".repeat(1500);
        let setting = Setting::pipe(&lines);
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
    async fn a_pipe_delivers_though_nobody_reads_along() {
        let printer = Printer::start(Closed).expect("a thread");
        let left = Setting::pipe("a")
            .run_on(printer, async |server| {
                let id = server.hear_publish("a").await;
                server.store(1, "a", &id).await;
                server.hear_goodbye().await;
            })
            .await;
        assert_eq!(left.outcome, Ok(()));
    }

    #[tokio::test]
    async fn a_terminal_ends_when_nobody_reads_along() {
        let (_open, input) = mpsc::channel(1);
        let printer = Printer::start(Closed).expect("a thread");
        let left = Setting::new(Source::Terminal, input)
            .run_on(printer, async |server| server.hear_goodbye().await)
            .await;
        assert_eq!(left.outcome, Ok(()));
    }

    #[tokio::test]
    async fn what_is_typed_may_be_a_command() {
        let left = Setting::terminal(&format!(
            "/name bob\n/dance\n//a\n/me sits\n123456789\n{}\n/help\n",
            "x".repeat(1000)
        ))
        .run(async |server| {
            let named = server.hear().await;
            assert_eq!(named, json!({"type": "name", "name": "bob"}));
            assert_eq!(server.hear_publish("/a").await, "x-3");
            let me = server.hear().await;
            let expected = json!({"type": "publish", "text": "sits", "kind": "me", "id": "x-4"});
            assert_eq!(me, expected);
            server.say(json!({"type": "name", "name": "bob"})).await;
            server.store(1, "/a", "x-3").await;
            let refused =
                json!({"type": "refused", "code": "busy", "text": "Not now.", "id": "x-4"});
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
        let mut setting = Setting::pipe("");
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
        assert_eq!(lines[0], welcome().to_string());
        assert_eq!(lines[1], "{\"type\":\"news\", \"x\":\"\u{fffd}2J\"}");
        assert_eq!(lines[2], r#"{"seq":0,"type":"live"}"#);
    }

    #[test]
    fn no_line_of_a_server_acts_or_fakes_another() {
        for (line, safe) in [
            ("ana: a\n  b", "ana: a\n  b"),
            ("* \u{1b}[2Ja", "* \u{fffd}[2Ja"),
            ("* a\rbob: b", "* a\n  bob: b"),
            ("* a\n  b\u{2028}bob: c", "* a\n  b\n  bob: c"),
        ] {
            assert_eq!(shown(line), safe);
        }
    }

    #[tokio::test]
    async fn another_chat_is_not_this_one() {
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
            let (ours, theirs) = duplex(1024);
            let mut server = ServerBuilder::new().serve(theirs);
            server.send(first).await.expect("a buffer");
            let Err(error) = over(ours, "test:1").await else {
                panic!("this is no welcome");
            };
            assert_eq!(error.to_string(), why);
        }
    }
}
