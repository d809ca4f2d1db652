//! Peers that speak raw RFC 6455 and HTTP. They share no code with the program
//! under test.

use std::{
    net::{IpAddr, SocketAddr},
    ops::{Deref, DerefMut},
};

use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf},
    net::{
        TcpSocket, TcpStream, UnixStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
        unix,
    },
};

use super::soon;

/// Connects and upgrades a peer to any server.
pub(crate) async fn upgraded(addr: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Peer {
    Peer::connect(addr)
        .await
        .upgrade(addr, target, headers)
        .await
}

/// A request for server-sent events.
pub(crate) fn sse_request(target: &str, headers: &str) -> String {
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

/// The bit of a frame's first byte that ends the message.
pub(crate) const FIN: u8 = 0x80;

/// The mask bit of a frame's second byte, and that byte for a length in 16 and
/// in 64 bits.
pub(crate) const MASKED: u8 = 0x80;
pub(crate) const LENGTH_16: u8 = 0xfe;
pub(crate) const LENGTH_64: u8 = 0xff;

pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// A received frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

/// Encodes a masked frame, as a client sends it.
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

/// A server-sent event by its fields.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SseEvent {
    pub(crate) comment: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) event: Option<String>,
    pub(crate) data: Option<String>,
    pub(crate) retry: Option<String>,
}

impl SseEvent {
    /// Parses the event's data as JSON.
    pub(crate) fn json(&self) -> Value {
        let data = self.data.as_deref().expect("data");
        serde_json::from_str(data).expect("JSON")
    }
}

/// One end of a connection: [`Reading`] is its receiving half, [`Sending`] its
/// sending half.
pub(crate) struct Peer<R = OwnedReadHalf, W = OwnedWriteHalf> {
    reading: Reading<R>,
    pub(crate) sending: Sending<W>,
}

/// One end of a stream in memory.
pub(crate) type MemoryPeer = Peer<ReadHalf<DuplexStream>, WriteHalf<DuplexStream>>;

/// One end of a connection through a Unix socket.
pub(crate) type UnixPeer = Peer<unix::OwnedReadHalf, unix::OwnedWriteHalf>;

/// The receiving half of a peer.
pub(crate) struct Reading<R = OwnedReadHalf> {
    stream: R,
    /// Bytes that were read; the first `used` of them are consumed.
    read: Vec<u8>,
    used: usize,
}

/// The sending half of a peer.
pub(crate) struct Sending<W = OwnedWriteHalf>(pub(crate) W);

impl Peer {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        Peer::over_tcp(TcpStream::connect(addr).await.expect("a connection"))
    }

    /// Connects from this address of the machine, and upgrades.
    pub(crate) async fn upgraded_from(
        source: IpAddr,
        addr: SocketAddr,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((source, 0).into()).expect("an address");
        let peer = Peer::over_tcp(socket.connect(addr).await.expect("a connection"));
        peer.upgrade(addr, target, headers).await
    }

    async fn upgrade(mut self, addr: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Self {
        self.write(upgrade(addr, target, headers).as_bytes()).await;
        let answer = self.head().await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        self
    }

    pub(crate) fn over_tcp(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let (read, write) = stream.into_split();
        let mut peer = Peer::of(read, write);
        // Without this, it reads little more at a time than it waits for.
        peer.reading.read.reserve(16 << 10);
        peer
    }

    /// Connects and upgrades a peer; `None` if the server refuses it.
    pub(crate) async fn try_upgrade(addr: SocketAddr, target: &str) -> Option<Self> {
        let mut peer = Peer::connect(addr).await;
        let head = upgrade(addr, target, &[]);
        if !peer.sending.try_write(head.as_bytes()).await {
            return None;
        }
        // A peer over the limits may be closed without a response.
        let start = peer.take(13).await?;
        if start != b"HTTP/1.1 101 " {
            return None;
        }
        peer.head().await;
        Some(peer)
    }

    /// Sends a command and returns the next event received.
    pub(crate) async fn event_after(&mut self, command: &Value) -> Value {
        self.say(&command.to_string()).await;
        self.event().await
    }

    /// The address tag that other members see.
    pub(crate) fn tag(&self) -> String {
        self.sending.tag()
    }
}

impl UnixPeer {
    pub(crate) fn over_unix(stream: UnixStream) -> Self {
        let (read, write) = stream.into_split();
        Peer::of(read, write)
    }
}

impl<S: AsyncRead + AsyncWrite> Peer<ReadHalf<S>, WriteHalf<S>> {
    /// One end of any stream.
    pub(crate) fn over_stream(stream: S) -> Self {
        let (read, write) = tokio::io::split(stream);
        Peer::of(read, write)
    }
}

impl MemoryPeer {
    pub(crate) fn over(stream: DuplexStream) -> Self {
        Peer::over_stream(stream)
    }
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Peer<R, W> {
    /// Sends a text and returns the next text received.
    pub(crate) async fn text_after(&mut self, text: &str) -> String {
        self.say(text).await;
        self.text().await
    }
}

impl<R, W: AsyncWrite + Unpin> Peer<R, W> {
    pub(crate) fn of(stream: R, sending: W) -> Self {
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

    /// Splits the peer into its halves, to use both at the same time.
    pub(crate) fn split(self) -> (Sending<W>, Reading<R>) {
        (self.sending, self.reading)
    }

    /// Writes raw bytes.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.sending.write(bytes).await;
    }

    /// Writes a frame with this first byte and a masked payload.
    pub(crate) async fn send(&mut self, first: u8, payload: &[u8]) {
        self.write(&frame(first, payload)).await;
    }

    /// Sends a text message.
    pub(crate) async fn say(&mut self, text: &str) {
        self.sending.say(text).await;
    }

    /// Closes the sending half.
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
    /// The address tag that other members see.
    pub(crate) fn tag(&self) -> String {
        self.0.local_addr().expect("an address").to_string()
    }
}

impl<W: AsyncWrite + Unpin> Sending<W> {
    /// Writes raw bytes.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        assert!(self.try_write(bytes).await, "a connection that takes bytes");
    }

    /// Writes raw bytes; false if the connection takes no more.
    pub(crate) async fn try_write(&mut self, bytes: &[u8]) -> bool {
        let written = async {
            self.0.write_all(bytes).await?;
            // TLS may hold bytes back.
            self.0.flush().await
        };
        soon("writing", written).await.is_ok()
    }

    /// Sends a text message.
    pub(crate) async fn say(&mut self, text: &str) {
        assert!(self.try_say(text).await, "a connection that takes messages");
    }

    /// Sends a text message; false if the connection takes no more.
    pub(crate) async fn try_say(&mut self, text: &str) -> bool {
        self.try_write(&frame(FIN | TEXT, text.as_bytes())).await
    }
}

impl<R: AsyncRead + Unpin> Reading<R> {
    /// Reads until at least `count` unused bytes are available; false at the
    /// end.
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

    /// Takes `count` bytes; `None` if the connection ends before.
    pub(crate) async fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        if !self.fill(count).await {
            return None;
        }
        let taken = self.read[self.used..self.used + count].to_vec();
        self.used += count;
        Some(taken)
    }

    /// Reads the next frame; `None` at the end of the connection.
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

    /// Reads the next text; pings before it are left unanswered.
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

    /// Reads the next event of the JSON format.
    pub(crate) async fn any_event(&mut self) -> Value {
        serde_json::from_str(&self.text().await).expect("JSON")
    }

    /// Reads the next event, without other members' presence events and the
    /// activity in other places.
    pub(crate) async fn event(&mut self) -> Value {
        loop {
            let event = self.any_event().await;
            let others = match event["type"].as_str() {
                Some("joined" | "left" | "renamed" | "activity") => true,
                Some("members") => event["names"].is_null(),
                _ => false,
            };
            if !others {
                return event;
            }
        }
    }

    /// Reads the next event of a type; other events are skipped.
    pub(crate) async fn event_of(&mut self, kind: &str) -> Value {
        loop {
            let event = self.any_event().await;
            if event["type"] == kind {
                return event;
            }
        }
    }

    /// Reads to the close frame; returns its code and reason. Asserts that the
    /// connection ends after it.
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

    /// Reads an HTTP head with its empty line.
    pub(crate) async fn head(&mut self) -> String {
        let head = self.until("\r\n\r\n").await;
        head.expect("an HTTP head before the end")
    }

    /// Reads the next server-sent event or comment; `None` at the end of the
    /// connection.
    pub(crate) async fn sse_event(&mut self) -> Option<SseEvent> {
        let lines = self.until("\n\n").await?;
        let mut event = SseEvent::default();
        for line in lines.trim_end().split('\n') {
            let (field, value) = line.split_once(':').expect(line);
            let value = value.strip_prefix(' ').unwrap_or(value);
            let place = match field {
                "" => &mut event.comment,
                "id" => &mut event.id,
                "event" => &mut event.event,
                "data" => &mut event.data,
                "retry" => &mut event.retry,
                _ => panic!("{line}"),
            };
            assert_eq!(place.replace(value.to_owned()), None, "once each");
        }
        Some(event)
    }

    /// Reads up to and including the next `end`.
    pub(crate) async fn until(&mut self, end: &str) -> Option<String> {
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

    /// Reads everything up to the end of the connection.
    pub(crate) async fn rest(&mut self) -> String {
        while self.fill(self.read.len() - self.used + 1).await {}
        String::from_utf8_lossy(&self.read[self.used..]).into_owned()
    }
}
