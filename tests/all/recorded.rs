//! Recorded conversations: the server must send the same bytes as recorded.
//!
//! Each file of `tests/recorded` is a script with its recording. An unindented
//! line is a step; the indented lines below it are the bytes that the server
//! sent. `RECORD=1 cargo test --test all recorded` records the present build
//! instead.
//!
//! | step | effect |
//! |---|---|
//! | `server starts FLAGS` | runs the server in the conversation's folder |
//! | `server drains`, `server ends` | sends SIGTERM; records the exit code |
//! | `ana opens json TARGET \| HEADER` | upgrades to the format `json` or `plain`; records the head |
//! | `ana says TEXT`, `ana sends 89 TEXT` | sends a text frame, or a frame with this first byte |
//! | `ana writes BYTES` | sends raw bytes, which need not be a whole frame |
//! | `ana hears 2` | records this many frames or server-sent events |
//! | `ana hears until TEXT`, `ana hears end` | records up to the first with this text, or up to the end |
//! | `ana repeats TEXT until MARK` | sends a text again and again until the answer contains the mark; records that answer |
//! | `ana leaves`, `ana drops` | closes with 1000 and records the rest; cuts the connection |
//! | `ana requests REQUEST` | connects, sends a request and records the whole response |
//! | `ana follows REQUEST` | connects, sends a request and records the head; server-sent events follow |
//!
//! In a request ` | ` ends a line and ` ||` ends the head. Steps and recordings
//! use Rust's escapes, and `<x*100>` for a long run. A frame is recorded as its
//! first byte, the bits of its length and its payload. A close frame has its
//! code in decimal. A value that differs between runs is replaced by a label
//! ([`Labels`]); in a step a label stands for its value.
//!
//! Activity in other places comes by a timer and is not recorded.
//!
//! The order is deterministic: a step begins after the frames of the step
//! before were read. At the end the server must answer a ping on each
//! WebSocket, with no unread frame before the pong.

mod labels;

use std::{
    fmt::Write, fs, net::SocketAddr, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration,
};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::{
    programs::{self, Program},
    support::{CLOSE, FIN, PING, PONG, Peer, TEXT, upgrade},
};

use self::labels::{Labels, answer, escaped, lines};

/// How long a step may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// The operators' secret, in the file `secret` of the server's folder.
const OPERATORS: &str = "of-the-operators";

macro_rules! conversations {
    ($($name:ident),+ $(,)?) => {
        $(#[tokio::test]
        async fn $name() {
            replay(stringify!($name)).await;
        })+

        #[test]
        fn every_recording_is_replayed() {
            let mut files: Vec<_> = fs::read_dir(folder())
                .expect("a folder")
                .map(|file| file.expect("a file").path())
                .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
                .collect();
            files.sort();
            let mut replayed = [$(stringify!($name)),+];
            replayed.sort_unstable();
            assert_eq!(files, replayed);
        }
    };
}

conversations!(
    about, drain, erasing, events, frames, full, history, json, names, numbered, operators, page,
    pages, people, plain, posts, private, rates, refused, requests, resume, retention, rooms,
);

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "recorded"]
        .iter()
        .collect()
}

/// Runs a script against the server; compares or records the bytes it sends.
async fn replay(name: &str) {
    let path = folder().join(name).with_extension("txt");
    let script = fs::read_to_string(&path).expect("a script");
    let recording = std::env::var_os("RECORD").is_some();
    let mut stage = Stage::new();
    let mut written = String::new();
    let mut lines = script.lines().enumerate().peekable();
    while let Some((number, step)) = lines.next() {
        let mut recorded = Vec::new();
        while let Some((_, line)) = lines.next_if(|(_, line)| line.starts_with("    ")) {
            recorded.push(&line[4..]);
        }
        let mut sent = Vec::new();
        let place = format!("{name}.txt:{}: {step}", number + 1);
        #[allow(clippy::print_stdout, reason = "a failure names the last step")]
        {
            println!("{place}");
        }
        let done = timeout(PATIENCE, stage.act(step, &mut sent)).await;
        let same = done.is_ok() && sent == recorded;
        assert!(
            same || done.is_ok() && recording,
            "{place} (ended: {})\n{}",
            done.is_ok(),
            difference(&recorded, &sent),
        );
        let _ = writeln!(written, "{step}");
        for line in sent {
            let _ = writeln!(written, "    {line}");
        }
    }
    stage.assert_all_heard().await;
    if recording {
        fs::write(path, written).expect("written");
    }
}

/// The lines from the first difference on, after the last equal line.
fn difference(recorded: &[&str], sent: &[String]) -> String {
    let same = recorded
        .iter()
        .zip(sent)
        .take_while(|(a, b)| a == b)
        .count();
    let mut out = String::new();
    for line in &recorded[same.saturating_sub(1)..same] {
        let _ = writeln!(out, "  {line}");
    }
    for line in &recorded[same..] {
        let _ = writeln!(out, "- {line}");
    }
    for line in &sent[same..] {
        let _ = writeln!(out, "+ {line}");
    }
    out
}

/// A server and its connections, by the names that steps use.
struct Stage {
    folder: TempDir,
    server: Option<(Program, SocketAddr)>,
    labels: Labels,
    peers: Vec<(String, Peer, Reads)>,
}

/// How the bytes of a connection are split.
#[derive(Clone, Copy, PartialEq)]
enum Reads {
    Frames,
    Events,
}

impl Stage {
    fn new() -> Self {
        let folder = programs::folder();
        let secret = folder.path().join("secret");
        fs::write(&secret, OPERATORS).expect("written");
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("its mode");
        fs::write(folder.path().join("motd"), "Be kind.\nAnd brief.\n").expect("written");
        Stage {
            folder,
            server: None,
            labels: Labels::default(),
            peers: Vec::new(),
        }
    }

    async fn act(&mut self, step: &str, sent: &mut Vec<String>) {
        if step.is_empty() || step.starts_with('#') {
            return;
        }
        let (who, rest) = step.split_once(' ').expect("a step");
        let (verb, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let rest = self.labels.values(rest);
        match (who, verb) {
            ("server", "starts") => {
                let flags: Vec<_> = rest.split_whitespace().collect();
                let (server, addr) = programs::server(self.folder.path(), &flags).await;
                self.server = Some((server, addr));
            }
            ("server", "drains") => self.server().signal(Signal::TERM),
            ("server", "ends") => sent.push(format!("exit {}", self.server().exit().await)),
            (_, "opens") => {
                let (format, rest) = rest.split_once(' ').expect("a format and a target");
                let mut parts = rest.split(" | ");
                let target = parts.next().unwrap_or_default();
                let mut headers: Vec<_> = parts.filter_map(|part| part.split_once(": ")).collect();
                if format == "json" {
                    headers.push(("Sec-WebSocket-Protocol", "chat.v1"));
                }
                let request = upgrade(self.addr(), target, &headers);
                self.connect(who, request.as_bytes(), Reads::Frames).await;
                let head = self.peer(who).0.head().await;
                sent.push(escaped(&self.labels.label(&head)));
            }
            (_, "requests") => {
                self.connect(who, &request(&rest), Reads::Events).await;
                let whole = self.peer(who).0.rest().await;
                self.peers.pop();
                answer(&self.labels.label(&whole), sent);
            }
            (_, "follows") => {
                self.connect(who, &request(&rest), Reads::Events).await;
                let head = self.peer(who).0.head().await;
                lines(&self.labels.label(&head), sent);
            }
            (_, "drops") => self.peers.retain(|(name, ..)| name != who),
            (_, "says") => self.send(who, FIN | TEXT, &rest).await,
            (_, "sends") => {
                let (first, rest) = rest.split_once(' ').unwrap_or((&rest, ""));
                let first = u8::from_str_radix(first, 16).expect("a byte");
                self.send(who, first, rest).await;
            }
            (_, "writes") => self.peer(who).0.write(&bytes(&rest)).await,
            (_, "leaves") => {
                self.send(who, FIN | CLOSE, "\\x03\\xe8").await;
                self.hear(who, "end", sent).await;
            }
            (_, "hears") => self.hear(who, &rest, sent).await,
            (_, "repeats") => {
                let (text, mark) = rest.split_once(" until ").expect("a mark");
                while !sent.last().is_some_and(|line| line.contains(mark)) {
                    sent.clear();
                    self.send(who, FIN | TEXT, text).await;
                    self.hear(who, "1", sent).await;
                }
            }
            _ => panic!("no such step"),
        }
    }

    fn server(&mut self) -> &mut Program {
        &mut self.server.as_mut().expect("a server").0
    }

    fn addr(&self) -> SocketAddr {
        self.server.as_ref().expect("a server").1
    }

    fn peer(&mut self, who: &str) -> (&mut Peer, Reads) {
        let found = self.peers.iter_mut().find(|(name, ..)| name == who);
        let (_, peer, reads) = found.expect("a peer");
        (peer, *reads)
    }

    async fn connect(&mut self, who: &str, request: &[u8], reads: Reads) {
        let mut peer = Peer::connect(self.addr()).await;
        // A reused port would get two labels.
        while self.labels.knows(&peer.tag()) {
            peer = Peer::connect(self.addr()).await;
        }
        self.labels.add(peer.tag(), who);
        // The server may answer before it has read the whole request.
        peer.sending.try_write(request).await;
        self.peers.push((who.to_owned(), peer, reads));
    }

    async fn send(&mut self, who: &str, first: u8, payload: &str) {
        self.peer(who).0.send(first, &bytes(payload)).await;
    }

    async fn hear(&mut self, who: &str, what: &str, sent: &mut Vec<String>) {
        let mark = what.strip_prefix("until ");
        let count = what.parse().unwrap_or(usize::MAX);
        for _ in 0..count {
            let (peer, reads) = self.peer(who);
            let next = match reads {
                Reads::Frames => frame(peer).await,
                Reads::Events => event(peer).await,
            };
            let Some(next) = next else {
                sent.push("(end)".to_owned());
                self.peers.retain(|(name, ..)| name != who);
                return;
            };
            let told = self.labels.label(&next);
            lines(&told, sent);
            if mark.is_some_and(|mark| told.contains(mark)) {
                return;
            }
        }
    }

    /// Fails if a WebSocket received anything that no step heard.
    async fn assert_all_heard(&mut self) {
        for (who, peer, reads) in &mut self.peers {
            if *reads == Reads::Frames {
                peer.send(FIN | PING, b"the end").await;
                let next = frame(peer).await;
                let pong = format!("{:02x}/7 the end", FIN | PONG);
                assert_eq!(
                    next,
                    Some(pong),
                    "{who} was sent a frame that no step heard"
                );
            }
        }
    }
}

/// Reads the next frame, as it is recorded; `None` at the end of the
/// connection. Activity in other places is skipped.
async fn frame(peer: &mut Peer) -> Option<String> {
    loop {
        let frame = any_frame(peer).await?;
        if !frame.contains(r#"{"type":"activity","#) {
            return Some(frame);
        }
    }
}

async fn any_frame(peer: &mut Peer) -> Option<String> {
    let head = peer.take(2).await?;
    let (bits, length) = match head[1] {
        126 => (16, peer.take(2).await?),
        127 => (64, peer.take(8).await?),
        short => (7, vec![short]),
    };
    let length = length.iter().fold(0, |n, byte| n << 8 | usize::from(*byte));
    let payload = peer.take(length).await?;
    let (code, text) = match &payload[..] {
        [high, low, reason @ ..] if head[0] == FIN | CLOSE => {
            (format!("{} ", u16::from_be_bytes([*high, *low])), reason)
        }
        text => (String::new(), text),
    };
    let text = str::from_utf8(text).expect("UTF-8");
    let space = if payload.is_empty() { "" } else { " " };
    Some(format!("{:02x}/{bits}{space}{code}{text}", head[0]))
}

/// Reads the next server-sent event with its empty line; `None` at the end of
/// the connection.
async fn event(peer: &mut Peer) -> Option<String> {
    let mut event = Vec::new();
    while !event.ends_with(b"\n\n") {
        event.extend(peer.take(1).await?);
    }
    Some(String::from_utf8(event).expect("UTF-8"))
}

/// Expands a step's request to bytes.
fn request(step: &str) -> Vec<u8> {
    let (head, body) = step.split_once(" ||").unwrap_or((step, ""));
    let ends = if head.len() < step.len() {
        "\\r\\n\\r\\n"
    } else {
        ""
    };
    let head = head.replace(" | ", "\\r\\n");
    bytes(&[&head, ends, body.trim_start()].concat())
}

/// Expands the escapes and runs of a step to bytes.
fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        let run = (c == '<').then(|| rest.split_once('>')).flatten();
        if let Some((run, behind)) = run
            && let Some((what, count)) = run.split_once('*')
            && let Ok(count) = count.parse()
        {
            out.extend(what.repeat(count).bytes());
            rest = behind;
        } else if c != '\\' {
            out.extend(c.encode_utf8(&mut [0; 4]).bytes());
        } else if let Some(code) = rest.strip_prefix('x') {
            out.push(u8::from_str_radix(&code[..2], 16).expect("a byte"));
            rest = &code[2..];
        } else {
            let escape = rest.chars().next().expect("an escape");
            rest = &rest[1..];
            out.push(match escape {
                'n' => b'\n',
                'r' => b'\r',
                '\\' => b'\\',
                _ => panic!("no such escape: {escape}"),
            });
        }
    }
    out
}
