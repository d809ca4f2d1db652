//! A server that stops when it is dropped, and peers that speak raw RFC 6455:
//! nothing here is shared with the code under test.

use std::{
    cell::Cell,
    net::SocketAddr,
    ops::{Deref, DerefMut},
    path::Path,
    time::Duration,
};

use broadcast_chat::{
    fanout::Socket,
    history::{self, Keep, Storage},
    http::{self, Site, Trust},
    hub::{self, Hub, Publisher},
    protocol::{Limits, Start, format::Format, name::RoomName},
    server::{self, Options},
    session::{self, Connection, Visit},
};
use bytes::Bytes;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long anything expected may take before the test fails. Nothing waits for
/// it in a run that passes. (Longer than any deadline of the server's, which a
/// paused clock passes in no time.)
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

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

/// What holds for a hub without a server.
pub(crate) const HUB: hub::Options = hub::Options {
    shards: 1,
    name_expiry: Duration::from_secs(90 * 24 * 60 * 60),
};

/// What tests of the server change of its options.
pub(crate) fn options() -> Options {
    Options {
        max_connections: 10_000,
        max_per_address: None,
        hub: hub::Options { shards: 2, ..HUB },
        keep: Keep::default(),
        trust: Trust {
            loopback: true,
            ..Trust::default()
        },
        session: session::Options {
            limits: Limits::default(),
            rates: None,
            searches: session::Searches::default(),
            ping: Duration::from_secs(25),
            motd: None,
            operator: None,
        },
    }
}

impl TestServer {
    /// A server that keeps its history in memory.
    pub(crate) async fn start() -> Self {
        Self::with(&Storage::Memory, options()).await
    }

    /// One that lets pages of another origin in.
    pub(crate) async fn trusting(origin: &str) -> Self {
        let mut options = options();
        options.trust.loopback = true;
        options.trust.origins = vec![origin.to_owned()];
        Self::with(&Storage::Memory, options).await
    }

    /// A server on a folder.
    pub(crate) async fn on(folder: &Path) -> Self {
        Self::with(&Storage::Folder(folder.to_owned()), options()).await
    }

    /// One where another was before.
    pub(crate) async fn at(addr: SocketAddr) -> Self {
        let listener = TcpListener::bind(addr).await.expect("a free port");
        Self::listening(listener, &Storage::Memory, options())
    }

    pub(crate) async fn with(storage: &Storage, options: Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Self::listening(listener, storage, options)
    }

    fn listening(listener: TcpListener, storage: &Storage, options: Options) -> Self {
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
        upgraded(self.addr, target, headers).await
    }

    /// A reader of a room by server-sent events, after the head of the answer.
    pub(crate) async fn follow(&self, target: &str, headers: &str) -> Peer {
        let mut peer = Peer::connect(self.addr).await;
        peer.write(follow(target, headers).as_bytes()).await;
        let head = peer.head().await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        peer
    }

    /// Sees that programs are told that a room may be answered so.
    pub(crate) async fn assert_described(&self, method: &str, status: u16) {
        let request = b"GET /-/openapi.json HTTP/1.0\r\nHost: localhost\r\n\r\n";
        let answer = self.request(request).await;
        let (_, body) = answer.split_once("\r\n\r\n").expect("an answer");
        let description: Value = serde_json::from_str(body).expect("JSON");
        let answers = &description["paths"]["/{room}"][method]["responses"];
        let described = answers.get(status.to_string());
        assert!(described.is_some(), "{method} {status}: {answers}");
    }

    /// Sends a request as it stands, and reads the answer to its end.
    pub(crate) async fn request(&self, raw: &[u8]) -> String {
        let mut peer = Peer::connect(self.addr).await;
        // The server may answer, and rightly, before it was told everything.
        peer.sending.try_write(raw).await;
        peer.rest().await
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// A peer of any server, after its upgrade.
pub(crate) async fn upgraded(addr: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Peer {
    let mut peer = Peer::connect(addr).await;
    peer.write(upgrade(addr, target, headers).as_bytes()).await;
    let answer = peer.head().await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    peer
}

/// A request for server-sent events.
pub(crate) fn follow(target: &str, headers: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{headers}\r\n"
    )
}

/// A request for a WebSocket.
pub(crate) fn upgrade(addr: SocketAddr, target: &str, headers: &[(&str, &str)]) -> String {
    let mut head = format!(
        "GET {target} HTTP/1.1\r\nHost: {addr}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    );
    for (name, value) in headers {
        head.extend([*name, ": ", *value, "\r\n"]);
    }
    head + "\r\n"
}

/// Sessions without a server: the other end of each is in memory, so that the
/// test decides how much it holds and, with the clock paused, how time passes.
///
/// The writer's thread is not seen by a paused clock: what is published must
/// have come back before time may pass.
pub(crate) struct Chat {
    pub(crate) hub: Hub,
    /// What holds for its sessions.
    pub(crate) session: session::Options,
    drain: CancellationToken,
    tasks: TaskTracker,
    /// The chat goes on while somebody might publish.
    publisher: Option<Publisher>,
}

impl Chat {
    pub(crate) fn start() -> Self {
        let (writer, history) = history::open(&Storage::Memory, "a test").expect("a log");
        let tasks = TaskTracker::new();
        let (hub, publisher) = Hub::start(writer, history, &HUB, &tasks).expect("a hub");
        Chat {
            hub,
            session: options().session,
            drain: CancellationToken::new(),
            tasks,
            publisher: Some(publisher),
        }
    }

    /// Goes away: returns when everything accepted is committed.
    pub(crate) async fn end(&mut self) {
        self.publisher = None;
        self.drain.cancel();
        soon("the writer's end", self.hub.finished()).await;
    }

    /// What HTTP is served from.
    pub(crate) fn site(&self) -> Site {
        site(&self.hub)
    }

    /// A connection in memory, served as the server serves one from the network.
    pub(crate) fn connect(&self, buffer: usize) -> DuplexStream {
        let (near, far) = tokio::io::duplex(buffer);
        let peer = ([127, 0, 0, 1], 5000).into();
        let session = self.session.clone();
        self.tasks
            .spawn(serve(far, peer, self.site(), session, self.drain.clone()));
        near
    }

    /// A session in the lobby, in the plain format, under a name and over a
    /// stream that holds `buffer` bytes each way; it has not been read from.
    pub(crate) fn join(&self, name: &str, buffer: usize) -> (MemoryPeer, JoinHandle<()>) {
        let (near, far) = tokio::io::duplex(buffer);
        let visit = Visit {
            addr: ([127, 0, 0, 1], 5000).into(),
            room: RoomName::lobby(),
            name: Some(name.parse().expect("a name")),
            secret: None,
            format: Format::Plain,
            start: Start::default(),
            echo: true,
        };
        let (hub, drain) = (self.hub.clone(), self.drain.clone());
        let session = self.session.clone();
        let ended = self.tasks.spawn(async move {
            let (read, write) = tokio::io::split(far);
            let connection = Connection {
                read,
                early: Bytes::new(),
                write: Socket::Other(Box::new(write)),
            };
            session::run(connection, visit, &hub, &session, &drain).await;
        });
        (Peer::over(near), ended)
    }
}

/// What HTTP is served from.
pub(crate) fn site(hub: &Hub) -> Site {
    Site {
        hub: hub.clone(),
        trust: options().trust,
        limits: Limits::default(),
        rates: None,
    }
}

/// Serves a connection in memory from its first byte on.
pub(crate) async fn serve(
    stream: DuplexStream,
    peer: SocketAddr,
    site: Site,
    session: session::Options,
    drain: CancellationToken,
) {
    let Some(upgraded) = http::serve(stream, peer, &site, &drain).await else {
        return;
    };
    let (read, write) = tokio::io::split(upgraded.stream);
    let connection = Connection {
        read,
        early: upgraded.early,
        write: Socket::Other(Box::new(write)),
    };
    session::run(connection, upgraded.visit, &site.hub, &session, &drain).await;
}

/// Does something while two others talk in the lobby, and sees that neither
/// they nor anyone who comes afterwards take any harm.
pub(crate) async fn others_chat_on<T>(
    server: &TestServer,
    something: impl Future<Output = T>,
) -> T {
    let mut others = [
        server.plain("/?name=ana").await,
        server.plain("/?name=bob").await,
    ];
    let over = Cell::new(false);
    let something = async {
        let result = something.await;
        over.set(true);
        result
    };
    let talk = async {
        for n in 0.. {
            let last = over.get();
            for (speaker, name) in ["ana", "bob"].into_iter().enumerate() {
                others[speaker].say(&n.to_string()).await;
                for listener in &mut others {
                    assert_eq!(known(listener).await, format!("{name}: {n}"));
                }
            }
            if last {
                break;
            }
        }
    };
    let (result, ()) = tokio::join!(something, talk);
    let mut newcomer = server.plain("/?name=eve").await;
    newcomer.say("hello").await;
    for peer in others.iter_mut().chain([&mut newcomer]) {
        assert_eq!(known(peer).await, "eve: hello");
    }
    result
}

/// The next line of somebody with a name; strangers are passed over.
async fn known(peer: &mut Peer) -> String {
    loop {
        let line = peer.text().await;
        if !line.starts_with("127.0.0.1:") {
            return line;
        }
    }
}

/// The bit of a frame's first byte that ends the message.
pub(crate) const FIN: u8 = 0x80;

/// The mask bit of its second byte, and with it a length in 16 and in 64 bits.
pub(crate) const MASKED: u8 = 0x80;
pub(crate) const LENGTH_16: u8 = 0xfe;
pub(crate) const LENGTH_64: u8 = 0xff;

pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
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
        length @ 0..=125 => frame.push(MASKED | u8::try_from(length).expect("small")),
        length @ 126..=0xffff => {
            frame.push(LENGTH_16);
            frame.extend(u16::try_from(length).expect("small").to_be_bytes());
        }
        length => {
            frame.push(LENGTH_64);
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

/// A server-sent event, as the fields it came in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) comment: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) event: Option<String>,
    pub(crate) data: Option<String>,
    pub(crate) retry: Option<String>,
}

impl Told {
    /// What it says.
    pub(crate) fn json(&self) -> Value {
        let data = self.data.as_deref().expect("data");
        serde_json::from_str(data).expect("JSON")
    }
}

/// One end of a connection: reads as [`Reading`] does, sends as [`Sending`].
pub(crate) struct Peer<R = OwnedReadHalf, W = OwnedWriteHalf> {
    reading: Reading<R>,
    pub(crate) sending: Sending<W>,
}

/// One end of a stream in memory.
pub(crate) type MemoryPeer = Peer<ReadHalf<DuplexStream>, WriteHalf<DuplexStream>>;

/// The receiving half of a peer.
pub(crate) struct Reading<R = OwnedReadHalf> {
    stream: R,
    /// What was read and not yet used.
    read: Vec<u8>,
    used: usize,
}

/// The sending half of a peer.
pub(crate) struct Sending<W = OwnedWriteHalf>(pub(crate) W);

impl Peer {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.expect("a connection");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let (read, write) = stream.into_split();
        let mut peer = Peer::of(read, write);
        // Left to itself it reads little more at a time than what it waits for.
        peer.reading.read.reserve(16 << 10);
        peer
    }

    /// A peer after its upgrade, where there is a place for it.
    pub(crate) async fn try_upgrade(addr: SocketAddr, target: &str) -> Option<Self> {
        let mut peer = Peer::connect(addr).await;
        let head = upgrade(addr, target, &[]);
        if !peer.sending.try_write(head.as_bytes()).await {
            return None;
        }
        // Whoever is turned away without a word is not answered at all.
        let start = peer.take(13).await?;
        if start != b"HTTP/1.1 101 " {
            return None;
        }
        peer.head().await;
        Some(peer)
    }

    /// What is answered to a text.
    pub(crate) async fn text_after(&mut self, text: &str) -> String {
        self.say(text).await;
        self.text().await
    }

    /// How this end is tagged.
    pub(crate) fn tag(&self) -> String {
        self.sending.tag()
    }
}

impl MemoryPeer {
    pub(crate) fn over(stream: DuplexStream) -> Self {
        let (read, write) = tokio::io::split(stream);
        Peer::of(read, write)
    }
}

impl<R, W: AsyncWrite + Unpin> Peer<R, W> {
    fn of(stream: R, sending: W) -> Self {
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
    pub(crate) fn split(self) -> (Sending<W>, Reading<R>) {
        (self.sending, self.reading)
    }

    /// Writes bytes as they are.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.sending.write(bytes).await;
    }

    /// Writes a frame: the first byte as it stands, the payload masked.
    pub(crate) async fn send(&mut self, first: u8, payload: &[u8]) {
        self.write(&frame(first, payload)).await;
    }

    /// Writes a whole message.
    pub(crate) async fn say(&mut self, text: &str) {
        self.sending.say(text).await;
    }

    /// Ends the sending direction.
    pub(crate) async fn finish(&mut self) {
        let finished = soon("ending", self.sending.0.shutdown()).await;
        finished.expect("a connection");
    }
}

impl<R, W> Deref for Peer<R, W> {
    type Target = Reading<R>;
    fn deref(&self) -> &Reading<R> {
        &self.reading
    }
}

impl<R, W> DerefMut for Peer<R, W> {
    fn deref_mut(&mut self) -> &mut Reading<R> {
        &mut self.reading
    }
}

impl Sending {
    /// How this end is tagged.
    pub(crate) fn tag(&self) -> String {
        self.0.local_addr().expect("an address").to_string()
    }
}

impl<W: AsyncWrite + Unpin> Sending<W> {
    /// Writes bytes as they are.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        assert!(self.try_write(bytes).await, "a connection that takes bytes");
    }

    /// Writes bytes; false where nobody takes them any more.
    pub(crate) async fn try_write(&mut self, bytes: &[u8]) -> bool {
        soon("writing", self.0.write_all(bytes)).await.is_ok()
    }

    /// Writes a whole message.
    pub(crate) async fn say(&mut self, text: &str) {
        assert!(self.try_say(text).await, "a connection that takes messages");
    }

    /// Writes a whole message; false where nobody takes it any more.
    pub(crate) async fn try_say(&mut self, text: &str) -> bool {
        self.try_write(&frame(FIN | TEXT, text.as_bytes())).await
    }
}

impl<R: AsyncRead + Unpin> Reading<R> {
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
    pub(crate) async fn any_event(&mut self) -> Value {
        serde_json::from_str(&self.text().await).expect("JSON")
    }

    /// The next event but for the comings and goings of others.
    pub(crate) async fn event(&mut self) -> Value {
        loop {
            let event = self.any_event().await;
            let others = match event["type"].as_str() {
                Some("joined" | "left" | "renamed") => true,
                Some("members") => event["names"].is_null(),
                _ => false,
            };
            if !others {
                return event;
            }
        }
    }

    /// The next event of a type; others before it are passed over.
    pub(crate) async fn event_of(&mut self, kind: &str) -> Value {
        loop {
            let event = self.any_event().await;
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
        let head = self.until("\r\n\r\n").await;
        head.expect("an HTTP head before the end")
    }

    /// What comes next as a server-sent event, comments included; `None` at the
    /// end of the connection.
    pub(crate) async fn told(&mut self) -> Option<Told> {
        let lines = self.until("\n\n").await?;
        let mut told = Told::default();
        for line in lines.trim_end().split('\n') {
            let (field, value) = line.split_once(':').expect(line);
            let value = value.strip_prefix(' ').unwrap_or(value);
            let place = match field {
                "" => &mut told.comment,
                "id" => &mut told.id,
                "event" => &mut told.event,
                "data" => &mut told.data,
                "retry" => &mut told.retry,
                _ => panic!("{line}"),
            };
            assert_eq!(place.replace(value.to_owned()), None, "once each");
        }
        Some(told)
    }

    /// Everything up to and with the next such end.
    async fn until(&mut self, end: &str) -> Option<String> {
        let mut length = 0;
        loop {
            let unused = &self.read[self.used..];
            let found = unused
                .windows(end.len())
                .position(|part| part == end.as_bytes());
            if let Some(found) = found {
                let taken = self.take(found + end.len()).await.expect("it is there");
                return Some(String::from_utf8(taken).expect("UTF-8"));
            }
            length = length.max(unused.len()) + 1;
            if !self.fill(length).await {
                return None;
            }
        }
    }

    /// Everything up to the end of the connection.
    pub(crate) async fn rest(&mut self) -> String {
        while self.fill(self.read.len() - self.used + 1).await {}
        String::from_utf8_lossy(&self.read[self.used..]).into_owned()
    }
}
