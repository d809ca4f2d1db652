//! A server that stops when it is dropped, and peers that speak raw RFC 6455:
//! nothing here is shared with the code under test.

use std::{
    net::SocketAddr,
    ops::{Deref, DerefMut},
    path::Path,
    time::Duration,
};

use broadcast_chat::{
    history::{self, Storage},
    http::Trust,
    protocol::Limits,
    server::{self, Options},
    session,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// How long anything expected may take before the test fails. Nothing waits for
/// it in a run that passes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Awaits what must happen.
pub(crate) async fn soon<T>(what: &str, happens: impl Future<Output = T>) -> T {
    timeout(PATIENCE, happens)
        .await
        .unwrap_or_else(|_| panic!("{what} did not happen"))
}

pub(crate) struct TestServer {
    pub(crate) addr: SocketAddr,
    shutdown: CancellationToken,
    running: JoinHandle<std::io::Result<()>>,
}

/// What tests of the server change of its options.
pub(crate) fn options() -> Options {
    Options {
        max_connections: 10_000,
        shards: 2,
        trust: Trust {
            loopback: true,
            ..Trust::default()
        },
        session: session::Options {
            limits: Limits::default(),
            ping: Duration::from_secs(25),
        },
    }
}

impl TestServer {
    /// A server that keeps its history in memory.
    pub(crate) async fn start() -> Self {
        Self::with(&Storage::Memory, options()).await
    }

    /// A server on a folder.
    pub(crate) async fn on(folder: &Path) -> Self {
        Self::with(&Storage::Folder(folder.to_owned()), options()).await
    }

    pub(crate) async fn with(storage: &Storage, options: Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("its address");
        let log = history::open(storage, "a test").expect("a log");
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(server::run(listener, log, options, shutdown.clone()));
        TestServer {
            addr,
            shutdown,
            running,
        }
    }

    /// Begins the end: what SIGTERM does.
    pub(crate) fn begin_shutdown(&self) {
        self.shutdown.cancel();
    }

    /// Ends, and waits for the end.
    pub(crate) async fn stop(mut self) {
        self.begin_shutdown();
        soon("the end of the server", &mut self.running)
            .await
            .expect("no panic")
            .expect("no error");
    }

    /// A peer in the plain format that has been welcomed.
    pub(crate) async fn plain(&self, target: &str) -> Peer {
        let mut peer = self.peer(target, &[]).await;
        assert_eq!(peer.text().await, "Welcome to chat! Type a message");
        peer
    }

    /// A peer in the JSON format, and its welcome.
    pub(crate) async fn json(&self, target: &str) -> (Peer, Value) {
        let mut peer = self
            .peer(target, &[("Sec-WebSocket-Protocol", "chat.v1")])
            .await;
        let welcome = peer.event().await;
        assert_eq!(welcome["type"], "welcome");
        (peer, welcome)
    }

    /// A peer after its upgrade.
    pub(crate) async fn peer(&self, target: &str, headers: &[(&str, &str)]) -> Peer {
        let mut head = format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            self.addr
        );
        for (name, value) in headers {
            head.extend([*name, ": ", *value, "\r\n"]);
        }
        let mut peer = Peer::connect(self.addr).await;
        peer.write(format!("{head}\r\n").as_bytes()).await;
        let answer = peer.head().await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        peer
    }

    /// Sends a request as it stands, and reads the answer to its end.
    pub(crate) async fn request(&self, raw: &[u8]) -> String {
        let mut peer = Peer::connect(self.addr).await;
        peer.write(raw).await;
        peer.rest().await
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// A frame as it arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

/// A masked frame as a client sends it.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | u8::try_from(length).expect("small")),
        length @ 126..=0xffff => {
            frame.push(0xfe);
            frame.extend(u16::try_from(length).expect("small").to_be_bytes());
        }
        length => {
            frame.push(0xff);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}

/// One end of a connection: reads as [`Reading`] does, sends as [`Sending`].
pub(crate) struct Peer {
    reading: Reading,
    sending: Sending,
}

/// The receiving half of a peer.
pub(crate) struct Reading {
    stream: OwnedReadHalf,
    /// What was read and not yet used.
    read: Vec<u8>,
    used: usize,
}

/// The sending half of a peer.
pub(crate) struct Sending(OwnedWriteHalf);

impl Peer {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.expect("a connection");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let (stream, sending) = stream.into_split();
        let reading = Reading {
            stream,
            read: Vec::new(),
            used: 0,
        };
        Peer {
            reading,
            sending: Sending(sending),
        }
    }

    /// The two directions, for a peer that does both at the same time.
    pub(crate) fn split(self) -> (Sending, Reading) {
        (self.sending, self.reading)
    }

    /// How this end is tagged.
    pub(crate) fn tag(&self) -> String {
        self.sending.tag()
    }

    /// Writes bytes as they are.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.sending.write(bytes).await;
    }

    /// Writes a whole message.
    pub(crate) async fn say(&mut self, text: &str) {
        self.sending.say(text).await;
    }
}

impl Deref for Peer {
    type Target = Reading;
    fn deref(&self) -> &Reading {
        &self.reading
    }
}

impl DerefMut for Peer {
    fn deref_mut(&mut self) -> &mut Reading {
        &mut self.reading
    }
}

impl Sending {
    /// How this end is tagged.
    pub(crate) fn tag(&self) -> String {
        self.0.local_addr().expect("an address").to_string()
    }

    /// Writes bytes as they are.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        let written = soon("writing", self.0.write_all(bytes)).await;
        written.expect("a connection that takes bytes");
    }

    /// Writes a whole message.
    pub(crate) async fn say(&mut self, text: &str) {
        assert!(self.try_say(text).await, "a connection that takes messages");
    }

    /// Writes a whole message; false where nobody takes it any more.
    pub(crate) async fn try_say(&mut self, text: &str) -> bool {
        let frame = frame(0x80 | TEXT, text.as_bytes());
        soon("writing", self.0.write_all(&frame)).await.is_ok()
    }
}

impl Reading {
    /// Reads until at least `count` unused bytes are there; false at the end.
    async fn fill(&mut self, count: usize) -> bool {
        while self.read.len() - self.used < count {
            self.read.drain(..self.used);
            self.used = 0;
            let read = soon("reading", self.stream.read_buf(&mut self.read)).await;
            if !read.is_ok_and(|n| n > 0) {
                return false;
            }
        }
        true
    }

    /// So many bytes; `None` where the connection ends before.
    pub(crate) async fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        if !self.fill(count).await {
            return None;
        }
        let taken = self.read[self.used..self.used + count].to_vec();
        self.used += count;
        Some(taken)
    }

    /// The next frame; `None` at the end of the connection.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let head = self.take(2).await?;
        assert_eq!(head[0] & 0xf0, 0x80, "final, and no extension");
        assert_eq!(head[1] & 0x80, 0, "servers do not mask");
        let length = match head[1] {
            126 => u64::from(u16::from_be_bytes(
                self.take(2).await?.try_into().expect("two"),
            )),
            127 => u64::from_be_bytes(self.take(8).await?.try_into().expect("eight")),
            short => u64::from(short),
        };
        let payload = self
            .take(usize::try_from(length).expect("a length"))
            .await?;
        Some(Frame {
            opcode: head[0] & 0x0f,
            payload,
        })
    }

    /// The next text; pings in between are left unanswered.
    pub(crate) async fn text(&mut self) -> String {
        loop {
            let frame = self.next().await.expect("a frame");
            if frame.opcode == PING {
                continue;
            }
            assert_eq!(frame.opcode, TEXT, "{frame:?}");
            return String::from_utf8(frame.payload).expect("UTF-8");
        }
    }

    /// The next event of the JSON format.
    pub(crate) async fn event(&mut self) -> Value {
        serde_json::from_str(&self.text().await).expect("JSON")
    }

    /// The next event of a type; others before it are passed over.
    pub(crate) async fn event_of(&mut self, kind: &str) -> Value {
        loop {
            let event = self.event().await;
            if event["type"] == kind {
                return event;
            }
        }
    }

    /// The code and reason of the close frame that comes next, texts passed
    /// over, and after it the end of the connection.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            let frame = self.next().await.expect("a close frame before the end");
            if frame.opcode == CLOSE {
                let (code, reason) = frame.payload.split_at(2);
                let code = u16::from_be_bytes([code[0], code[1]]);
                let reason = String::from_utf8(reason.to_vec()).expect("UTF-8");
                assert_eq!(self.next().await, None, "nothing follows a close frame");
                return (code, reason);
            }
        }
    }

    /// An HTTP head, up to and with its empty line.
    pub(crate) async fn head(&mut self) -> String {
        let mut length = 0;
        loop {
            let unused = &self.read[self.used..];
            if let Some(end) = unused.windows(4).position(|part| part == b"\r\n\r\n") {
                let head = self.take(end + 4).await.expect("it is there");
                return String::from_utf8(head).expect("UTF-8");
            }
            length = length.max(unused.len()) + 1;
            assert!(self.fill(length).await, "an HTTP head before the end");
        }
    }

    /// Everything up to the end of the connection.
    pub(crate) async fn rest(&mut self) -> String {
        while self.fill(self.read.len() - self.used + 1).await {}
        String::from_utf8_lossy(&self.read[self.used..]).into_owned()
    }
}
