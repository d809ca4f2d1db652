//! Attacks, each from an address of its own, until a deadline. An attacker that
//! is refused or closed comes back.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, sink},
    net::{TcpSocket, TcpStream},
    time::{Duration, sleep},
};

use crate::support::{CLOSE, CONTINUATION, FIN, LENGTH_16, MASKED, PING, TEXT, frame, upgrade};

/// How long an attacker waits before it connects again, and between two writes.
/// The attackers run on the server's cores. Without pauses they alone would
/// fill them, and the test would measure that.
const PAUSE: Duration = Duration::from_millis(20);
const PACE: Duration = Duration::from_millis(1);

/// The longest text that the server takes.
const LONGEST: usize = 8192;

/// All attacks: a name, and the attack itself.
pub(super) const ATTACKS: [(&str, Attack); 15] = [
    ("wrong JSON", Attack::Frames(wrong_json)),
    ("taken ids", Attack::Frames(taken_ids)),
    ("long texts", Attack::Frames(long_texts)),
    ("searches", Attack::Frames(searches)),
    ("topics", Attack::Frames(topics)),
    ("operator secrets", Attack::Frames(operator_secrets)),
    ("private messages", Attack::Frames(private_messages)),
    ("pings", Attack::Frames(pings)),
    ("empty fragments", Attack::Frames(empty_fragments)),
    ("bytes after a close", Attack::Frames(bytes_after_close)),
    ("names", Attack::Requests(names)),
    ("posts", Attack::Requests(posts)),
    ("heads", Attack::Requests(heads)),
    ("unfinished frames", Attack::Silent(unfinished_frame)),
    ("readers that do not read", Attack::Silent(nothing)),
];

/// An attack. The number counts what the attacker sent before.
#[derive(Clone, Copy)]
pub(super) enum Attack {
    /// Bytes that follow one another on one upgraded connection.
    Frames(fn(u64) -> Vec<u8>),
    /// Requests, each on a connection of its own.
    Requests(fn(SocketAddr, u64) -> Vec<u8>),
    /// Connections that send these bytes, and then neither send nor read.
    Silent(fn(u64) -> Vec<u8>),
}

impl Attack {
    /// Attacks a server from an address, without end.
    pub(super) async fn run(self, source: IpAddr, server: SocketAddr) {
        /// How many silent connections one attacker holds.
        const HELD: usize = 64;
        let mut held = Vec::new();
        for n in 0.. {
            let Some(stream) = connect(source, server).await else {
                sleep(PAUSE).await;
                continue;
            };
            match self {
                Attack::Frames(bytes) => pour(stream, server, n * 1_000_000, bytes).await,
                Attack::Requests(request) => ask(stream, &request(server, n)).await,
                Attack::Silent(bytes) => {
                    if held.len() == HELD {
                        held.remove(0);
                    }
                    held.extend(leave(stream, server, &bytes(n)).await);
                }
            }
            sleep(PAUSE).await;
        }
    }
}

/// Connects from an address; `None` if the server or the machine refuses.
async fn connect(source: IpAddr, server: SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind((source, 0).into()).ok()?;
    socket.connect(server).await.ok()
}

/// Upgrades a connection, then writes until the server closes it; reads all
/// answers.
async fn pour(stream: TcpStream, server: SocketAddr, first: u64, bytes: fn(u64) -> Vec<u8>) {
    let (mut reading, mut writing) = stream.into_split();
    let write = async {
        let head = upgrade(
            server,
            "/tea",
            &[("Sec-WebSocket-Protocol", "chat.v1.json")],
        );
        writing.write_all(head.as_bytes()).await?;
        for n in first.. {
            writing.write_all(&bytes(n)).await?;
            sleep(PACE).await;
        }
        Ok::<_, std::io::Error>(())
    };
    let read = async { tokio::io::copy(&mut reading, &mut sink()).await };
    // The server has closed the connection when either ends.
    tokio::select! {
        _ = write => {}
        _ = read => {}
    }
}

/// Sends one request and reads the whole answer.
async fn ask(mut stream: TcpStream, request: &[u8]) {
    if stream.write_all(request).await.is_ok() {
        // A response without an end is an upgrade; its head is enough.
        let _ = stream.read(&mut [0; 1024]).await;
    }
}

/// Upgrades a connection, writes these bytes, and returns it open.
async fn leave(mut stream: TcpStream, server: SocketAddr, bytes: &[u8]) -> Option<TcpStream> {
    let head = upgrade(server, "/tea", &[]);
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(bytes).await.ok()?;
    Some(stream)
}

fn text(text: &str) -> Vec<u8> {
    frame(FIN | TEXT, text.as_bytes())
}

fn command(command: &Value) -> Vec<u8> {
    text(&command.to_string())
}

/// A command that names every known field with a value of a wrong type.
fn wrong_json(_: u64) -> Vec<u8> {
    let wrong = json!([{}, [[[]]], 1.5e300]);
    let fields = [
        "id", "text", "room", "name", "to", "from", "kind", "after", "before", "backlog", "limit",
        "query", "secret", "topic", "seq", "for", "reason", "follows", "ref", "with",
    ];
    let all = fields.map(|field| format!("\"{field}\":{wrong}")).join(",");
    let mut object = format!("{{\"type\":\"publish\",{all}");
    while object.len() + all.len() + 2 < LONGEST {
        object = format!("{object},{all}");
    }
    text(&(object + "}"))
}

/// The ids that a client would use that counts up.
fn taken_ids(n: u64) -> Vec<u8> {
    command(&json!({"type": "publish", "id": format!("speaker-{}", n % 10_000), "text": "mine"}))
}

fn long_texts(n: u64) -> Vec<u8> {
    command(&json!({"type": "publish", "text": format!("{n} ").repeat(LONGEST / 20)}))
}

fn searches(n: u64) -> Vec<u8> {
    let words: Vec<String> = (0..16).map(|word| format!("w{}", n * word)).collect();
    command(&json!({"type": "search", "query": words.join(" ")}))
}

fn topics(n: u64) -> Vec<u8> {
    command(&json!({"type": "topic", "text": format!("topic {n}")}))
}

fn operator_secrets(n: u64) -> Vec<u8> {
    command(&json!({"type": "operator", "secret": format!("a guess: {n}")}))
}

fn private_messages(n: u64) -> Vec<u8> {
    command(&json!({"type": "private", "to": "reader", "text": format!("number {n}")}))
}

fn pings(_: u64) -> Vec<u8> {
    frame(FIN | PING, &[b'x'; 125]).repeat(100)
}

fn empty_fragments(n: u64) -> Vec<u8> {
    let first = if n.is_multiple_of(1_000_000) {
        frame(TEXT, b"a")
    } else {
        Vec::new()
    };
    [first, frame(CONTINUATION, b"").repeat(100)].concat()
}

fn bytes_after_close(n: u64) -> Vec<u8> {
    if n.is_multiple_of(1_000_000) {
        frame(FIN | CLOSE, &1000_u16.to_be_bytes())
    } else {
        vec![0; 64 << 10]
    }
}

/// An upgrade that makes a new name owned.
fn names(server: SocketAddr, n: u64) -> Vec<u8> {
    let secret = format!("Bearer the-secret-of-nobody-{n}");
    let target = format!("/r{n}?name=nobody{n}");
    upgrade(server, &target, &[("Authorization", &secret)]).into_bytes()
}

fn posts(server: SocketAddr, n: u64) -> Vec<u8> {
    let body = format!("{n} ").repeat(LONGEST / 20);
    let length = body.len();
    format!(
        "POST /posts HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Heads that are wrong in different ways.
fn heads(server: SocketAddr, n: u64) -> Vec<u8> {
    let wrong = match n % 4 {
        0 => "GET / HTTP/1.1\r\n\r\n".to_owned(),
        1 => format!("GET /{} HTTP/1.1\r\n", "x".repeat(9000)),
        2 => format!("GET / HTTP/1.1\r\nHost: {server}\r\nHost: other\r\n\r\n"),
        _ => "\0\0\0\0".repeat(1000),
    };
    wrong.into_bytes()
}

/// All but the last byte of a long frame.
fn unfinished_frame(_: u64) -> Vec<u8> {
    let mut bytes = vec![FIN | TEXT, MASKED | LENGTH_16];
    bytes.extend(8000_u16.to_be_bytes());
    bytes.extend([0; 4 + 7999]);
    bytes
}

/// No bytes: a reader that reads nothing.
fn nothing(_: u64) -> Vec<u8> {
    Vec::new()
}
