//! Servers scripted by a test, over streams in memory.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::mpsc,
    time::Instant,
};
use tokio_websockets::{CloseCode, Message, ServerBuilder, WebSocketStream};

use super::{
    Client, ClientOptions, ConnectError, Keyring, Outbox,
    address::{AddressOptions, Target},
};

/// The place that a client connects to: it accepts or refuses each attempt.
pub(super) struct Host {
    arrivals: mpsc::Receiver<(Instant, DuplexStream)>,
    refusals_left: Arc<AtomicUsize>,
    /// The time of each attempt to connect.
    pub(super) attempts: Vec<Instant>,
}

/// A host at `test:1`, and a client that connects to it when polled. Each
/// stream holds `buffer` bytes in each direction.
pub(super) fn host(
    buffer: usize,
    query: &str,
    outbox: Outbox,
    reconnect: bool,
) -> (
    Host,
    impl Future<Output = Result<Client, ConnectError>> + use<>,
) {
    let (arriving, arrivals) = mpsc::channel(64);
    let refusals_left = Arc::new(AtomicUsize::new(0));
    let refusals = Arc::clone(&refusals_left);
    let open = move || {
        let (ours, theirs) = duplex(buffer);
        let refused = refusals.load(Ordering::Relaxed) > 0;
        if refused {
            refusals.fetch_sub(1, Ordering::Relaxed);
        }
        let sent = arriving.try_send((Instant::now(), theirs));
        async move {
            match sent {
                Ok(()) if !refused => Ok(ours),
                _ => Err(io::ErrorKind::ConnectionRefused.into()),
            }
        }
    };
    let target = target(query);
    let options = ClientOptions {
        reconnect,
        seed: 7,
        outbox,
        keyring: Keyring::none(),
    };
    let host = Host {
        arrivals,
        refusals_left,
        attempts: Vec::new(),
    };
    (
        host,
        async move { Client::over(open, &target, options).await },
    )
}

pub(super) fn target(query: &str) -> Target {
    Target::new(&AddressOptions {
        address: Some(format!("ws://test:1/{query}")),
        ..AddressOptions::default()
    })
    .expect("an address")
}

impl Host {
    /// Makes the next `attempts` attempts to connect fail.
    pub(super) fn refuse_next(&mut self, attempts: usize) {
        self.refusals_left.store(attempts, Ordering::Relaxed);
    }

    async fn arrival(&mut self) -> DuplexStream {
        let (at, stream) = self.arrivals.recv().await.expect("the client lives");
        self.attempts.push(at);
        stream
    }

    /// Answers the next request with a status.
    pub(super) async fn answer(&mut self, status: u16) {
        self.answer_with(status, "").await;
    }

    /// Answers the next request with a status and these header lines.
    pub(super) async fn answer_with(&mut self, status: u16, lines: &str) {
        let mut stream = self.arrival().await;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a whole head"));
        }
        let answer = format!("HTTP/1.1 {status} No\r\n{lines}\r\n");
        stream.write_all(answer.as_bytes()).await.expect("read");
    }

    /// Upgrades the next connection; returns it with its request's URI.
    pub(super) async fn accept(&mut self) -> (ScriptedServer, String) {
        loop {
            let stream = self.arrival().await;
            let accepted = ServerBuilder::new()
                .add_header(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("chat.v1"))
                .expect("a header")
                .accept(stream)
                .await;
            // An attempt that was refused sends nothing.
            if let Ok((request, socket)) = accepted {
                return (ScriptedServer(socket), request.uri().to_string());
            }
        }
    }

    /// Upgrades the next connection and sends it a welcome with this head.
    pub(super) async fn welcome(&mut self, head: u64) -> (ScriptedServer, String) {
        let (mut server, asked) = self.accept().await;
        let mut welcome = welcome(head);
        if let Some((_, name)) = asked.split_once("name=") {
            welcome["you"]["name"] = name.split('&').next().into();
        }
        server.say(welcome).await;
        (server, asked)
    }
}

/// The server's end of a connection.
pub(super) struct ScriptedServer(pub(super) WebSocketStream<DuplexStream>);

impl ScriptedServer {
    pub(super) async fn say(&mut self, event: Value) {
        self.send(Message::text(event.to_string())).await;
    }

    pub(super) async fn send(&mut self, frame: Message) {
        self.0.send(frame).await.expect("the client reads");
    }

    pub(super) async fn frame(&mut self) -> Message {
        let frame = self.0.next().await.expect("a frame");
        frame.expect("the client keeps to the protocol")
    }

    pub(super) async fn hear(&mut self) -> Value {
        let frame = self.frame().await;
        let text = frame.as_text().expect("a text frame");
        serde_json::from_str(text).expect("JSON")
    }

    /// Reads the next command, which must publish `text`; returns its id.
    pub(super) async fn hear_publish(&mut self, text: &str) -> String {
        let command = self.hear().await;
        assert_eq!(command["type"], "publish");
        assert_eq!(command["text"], text);
        command["id"].as_str().expect("an id").to_owned()
    }

    /// Reads the next command, which must publish `text`, and stores it; returns
    /// its id.
    pub(super) async fn take(&mut self, seq: u64, text: &str) -> String {
        let id = self.hear_publish(text).await;
        self.store(seq, text, &id).await;
        id
    }

    pub(super) async fn refuse(&mut self, code: &str, id: &str, retry_ms: u64) {
        let refused = json!({
            "type": "refused", "code": code, "text": "Not now.", "id": id, "retry_ms": retry_ms,
        });
        self.say(refused).await;
    }

    /// Checks that the client sends no command before its next two pongs.
    pub(super) async fn hear_nothing(&mut self) {
        for _ in 0..2 {
            self.send(Message::ping("still there?")).await;
            assert!(self.frame().await.is_pong());
        }
    }

    pub(super) async fn hear_goodbye(&mut self) {
        let frame = self.frame().await;
        let (code, _) = frame.as_close().expect("a close frame");
        assert_eq!(code, CloseCode::NORMAL_CLOSURE);
        assert!(self.0.next().await.is_none());
    }

    /// Drops the connection without a close frame.
    pub(super) fn vanish(&mut self) {
        let (other, _) = duplex(1);
        self.0 = ServerBuilder::new().serve(other);
    }

    pub(super) async fn live(&mut self) {
        self.say(json!({"type": "live", "seq": 0})).await;
    }

    pub(super) async fn store(&mut self, seq: u64, text: &str, id: &str) {
        self.say(message(seq, text, id)).await;
    }

    pub(super) async fn close(&mut self, code: u16, reason: &str) {
        let code = CloseCode::try_from(code).expect("a close code");
        self.send(Message::close(Some(code), reason)).await;
        while let Some(Ok(_)) = self.0.next().await {}
    }
}

pub(super) fn message(seq: u64, text: &str, id: &str) -> Value {
    json!({
        "type": "message", "seq": seq, "prev": seq - 1, "room": "lobby",
        "at": "2026-01-01T00:00:00.000Z", "text": text, "id": id,
        "from": {"name": "ana", "addr": "127.0.0.1:5000"},
    })
}

pub(super) fn welcome(head: u64) -> Value {
    json!({
        "type": "welcome", "room": "lobby", "you": {"addr": "127.0.0.1:5000"},
        "epoch": "e", "head": head, "members": 1, "server": "test",
        "limits": {"text_bytes": 8},
    })
}
