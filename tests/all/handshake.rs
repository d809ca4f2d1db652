mod invalid;
mod no_upgrade;

use crate::support::{
    CLOSE, FIN, PING, PONG, Peer, TEXT, TestServer, frame, options, others_chat_on, soon,
};
use broadcast_chat::store::Storage;

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
const ASKED: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n";

/// A valid request for a WebSocket.
fn good(server: &TestServer) -> String {
    let host = server.addr;
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n{ASKED}{VERSION}{KEY}\r\n")
}

/// A response, after which the server ends the connection.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn has(&self, header: &str) -> bool {
        self.head
            .lines()
            .any(|line| line.eq_ignore_ascii_case(header))
    }
}

async fn ask(server: &TestServer, request: impl AsRef<[u8]>) -> Answer {
    let answer = server.request(request.as_ref()).await;
    let shown = String::from_utf8_lossy(request.as_ref()).into_owned();
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer to {shown:?}: {answer:?}"));
    assert!(head.starts_with("HTTP/1."), "{head}");
    Answer {
        status: head[9..12].parse().expect("a status"),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// Asserts that a request is refused with this status and a sentence.
async fn refused(server: &TestServer, request: impl AsRef<[u8]>, status: u16) -> Answer {
    let shown = String::from_utf8_lossy(request.as_ref()).into_owned();
    let answer = ask(server, request).await;
    let Answer { head, body, .. } = &answer;
    assert_eq!(answer.status, status, "{shown:?}: {head}\n{body}");
    assert!(
        answer.has("content-type: text/plain; charset=utf-8"),
        "{head}"
    );
    assert!(
        answer.has(&format!("content-length: {}", body.len())),
        "{head}"
    );
    assert!(answer.has("connection: close"), "{shown:?}: {head}");
    assert!(
        body.len() > 10 && body.ends_with(".\n"),
        "{shown:?}: {body:?}"
    );
    answer
}

#[tokio::test]
async fn valid_handshakes_are_accepted() {
    let server = TestServer::start().await;
    let good = good(&server);
    let host = format!("Host: {}\r\n", server.addr);
    let port = server.addr.port();
    for (part, instead) in [
        (&*host, host.clone()),
        (&host, format!("hOsT:{}\r\n", server.addr)),
        (&host, format!("Host: localhost:{port}\r\n")),
        (&host, format!("Host: LOCALHOST:{port}\r\n")),
        (&host, "Host: localhost\r\n".into()),
        (&host, "Host: [::1]\r\n".into()),
        (&host, "Host: 192.168.0.1\r\n".into()),
        (&host, format!("{host}Origin: http://127.0.0.1:{port}\r\n")),
        (
            "Upgrade: websocket\r\n",
            "upgrade: h2c, WebSocket\r\n".into(),
        ),
        (
            "Upgrade: websocket\r\n",
            "Upgrade: h2c\r\nUpgrade: websocket\r\n".into(),
        ),
        (
            "Connection: Upgrade\r\n",
            "connection: keep-alive,\tUPGRADE\r\n".into(),
        ),
        ("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n".into()),
        ("\r\n\r\n", "\r\nX-Other: \u{e9}\r\n\r\n".into()),
        (
            "\r\n\r\n",
            "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n".into(),
        ),
        (
            "\r\n\r\n",
            "\r\nSec-WebSocket-Protocol: other, CHAT.V1\r\n\r\n".into(),
        ),
        (
            "GET / ",
            format!("GET /?after={}&backlog=4294967295 ", u64::MAX),
        ),
        ("GET / ", "GET /Room_1.x-Y?unknown=%ff&name= ".into()),
        ("GET / ", format!("GET /{} ", "x".repeat(64))),
        ("GET / ", format!("GET http://localhost:{port}/ ")),
        // A recipient may accept bare newlines, and should ignore an empty line
        // before the request (RFC 9112 §2.2).
        ("\r\n", "\n".into()),
        ("GET / ", "\r\nGET / ".into()),
    ] {
        let request = good.replace(part, &instead);
        let mut peer = Peer::connect(server.addr).await;
        peer.write(request.as_bytes()).await;
        let head = peer.head().await;
        let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        assert!(head.contains(accept), "{head}");
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 101 "), "{request}{head}");
        for line in ["upgrade: websocket\r\n", "connection: upgrade\r\n"] {
            assert!(head.contains(line), "{head}");
        }
        for line in ["sec-websocket-extensions", "sec-websocket-protocol"] {
            assert!(!head.contains(line), "{head}");
        }
        assert_eq!(peer.text().await, "Welcome to chat! Type a message");
    }
}

#[tokio::test]
async fn a_request_head_beyond_the_limit_is_refused() {
    let server = TestServer::start().await;
    let good = good(&server);
    others_chat_on(&server, async {
        let filled = |size: usize| {
            let line = format!("X: {}\r\n\r\n", "x".repeat(size - good.len() - 5));
            format!("{}{line}", &good[..good.len() - 2])
        };
        let mut peer = Peer::connect(server.addr).await;
        let head = filled(8 << 10);
        assert_eq!(head.len(), 8 << 10);
        peer.write(head.as_bytes()).await;
        let answer = peer.head().await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        for size in [(8 << 10) + 1, 10_000, 100_000] {
            refused(&server, filled(size), 431).await;
        }
        let endless = format!("GET /{}", "x".repeat(1 << 20));
        refused(&server, endless, 431).await;

        let lines = |count: usize| {
            let more = "X: y\r\n".repeat(count - 5);
            format!("{}{more}\r\n", &good[..good.len() - 2])
        };
        let mut peer = Peer::connect(server.addr).await;
        peer.write(lines(64).as_bytes()).await;
        let answer = peer.head().await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        for count in [65, 1000] {
            refused(&server, lines(count), 431).await;
        }
    })
    .await;
}

#[tokio::test]
async fn frames_sent_with_the_request_head_are_read() {
    let server = TestServer::start().await;
    others_chat_on(&server, async {
        let head = good(&server).replace("GET /", "GET /elsewhere?name=eve");
        let frames = [
            frame(FIN | TEXT, b"first"),
            frame(FIN | PING, b"there?"),
            frame(FIN | TEXT, b"/members"),
        ]
        .concat();
        let whole = [head.as_bytes(), &frames].concat();
        for cut in head.len() - 2..=whole.len() {
            let mut peer = Peer::connect(server.addr).await;
            peer.write(&whole[..cut]).await;
            if cut >= head.len() {
                assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
                peer.write(&whole[cut..]).await;
            } else {
                peer.write(&whole[cut..]).await;
                assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
            }
            let mut told = Vec::new();
            while told.len() < 4 {
                let frame = peer.next().await.expect("a frame");
                told.push((
                    frame.opcode,
                    String::from_utf8(frame.payload).expect("UTF-8"),
                ));
            }
            assert_eq!(told[0], (TEXT, "Welcome to chat! Type a message".into()));
            assert!(told.contains(&(TEXT, "eve: first".into())), "{told:?}");
            assert!(told.contains(&(PONG, "there?".into())), "{told:?}");
            assert!(
                told[3].1.starts_with("* ") || told[2].1.starts_with("* "),
                "{told:?}"
            );
        }
        // More bytes than a request head may have.
        let mut much = head.into_bytes();
        for n in 0..2000 {
            much.extend(frame(FIN | TEXT, format!("number {n}").as_bytes()));
        }
        let mut peer = Peer::connect(server.addr).await;
        peer.write(&much).await;
        assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
        assert_eq!(peer.text().await, "Welcome to chat! Type a message");
        for n in 0..2000 {
            assert_eq!(peer.text().await, format!("eve: number {n}"));
        }
        // The client sends the request and a close frame in one write, and ends
        // its side.
        let all = [good(&server).as_bytes(), &frame(FIN | CLOSE, b"\x03\xe8")].concat();
        let mut peer = Peer::connect(server.addr).await;
        peer.write(&all).await;
        peer.finish().await;
        assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
        assert_eq!(peer.closed().await.0, 1000);
    })
    .await;
}

#[tokio::test]
async fn a_connection_cut_within_the_head_affects_no_other() {
    let server = TestServer::start().await;
    let good = good(&server);
    others_chat_on(&server, async {
        for cut in (0..good.len()).step_by(7) {
            let mut peer = Peer::connect(server.addr).await;
            peer.write(&good.as_bytes()[..cut]).await;
            drop(peer);
            // The same from a peer that still reads.
            let mut peer = Peer::connect(server.addr).await;
            peer.write(&good.as_bytes()[..cut]).await;
            peer.finish().await;
            let answer = peer.rest().await;
            assert!(
                answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
                "{answer}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_refused() {
    let mut options = options();
    options.hub.capacity.connections = 2;
    let server = TestServer::start_with(&Storage::Memory, options).await;
    let mut ana = server.plain("/?name=ana").await;
    let bob = server.plain("/?name=bob").await;
    let request = good(&server);
    for _ in 0..100 {
        refused(&server, &request, 503).await;
    }
    drop(bob);
    let mut next = soon("a place", async {
        loop {
            let mut peer = Peer::connect(server.addr).await;
            peer.write(request.as_bytes()).await;
            if peer.head().await.starts_with("HTTP/1.1 101 ") {
                break peer;
            }
        }
    })
    .await;
    assert_eq!(next.text().await, "Welcome to chat! Type a message");
    ana.say("welcome").await;
    assert_eq!(next.text().await, "ana: welcome");
    refused(&server, &request, 503).await;
}
