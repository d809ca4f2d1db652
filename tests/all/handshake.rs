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

/// Replaces parts of a valid request, one at a time. Asserts that each result
/// is refused with its status while other members chat. `wrong` gets the valid
/// `Host` line; each of its items is a part, the replacement and the status.
async fn refused_with(wrong: impl FnOnce(&str) -> Vec<(&str, String, u16)>) {
    let server = TestServer::start().await;
    let good = good(&server);
    let host = format!("Host: {}\r\n", server.addr);
    let wrong = wrong(&host);
    others_chat_on(&server, async {
        for (part, instead, status) in &wrong {
            assert!(good.contains(part), "{part:?}");
            refused(&server, good.replace(part, instead), *status).await;
        }
    })
    .await;
}

#[tokio::test]
async fn invalid_headers_are_refused() {
    refused_with(|host| {
        vec![
            (host, String::new(), 400),
            (host, host.repeat(2), 400),
            (host, format!("{host}Host: localhost\r\n"), 400),
            (host, "Host:\r\n".into(), 400),
            (host, "Host: a b\r\n".into(), 400),
            (host, "Host: /\r\n".into(), 400),
            (host, host.replace("127", "eve@127"), 400),
            (host, "Host: \u{e9}\r\n".into(), 400),
            (host, "Host: evil.example\r\n".into(), 421),
            (host, "Host: 192.168.0.1\r\n".into(), 421),
            (host, "Host: localhost.evil.example\r\n".into(), 421),
            ("Upgrade: websocket\r\n", String::new(), 400),
            ("Upgrade: websocket\r\n", "Upgrade: h2c\r\n".into(), 400),
            ("Connection: Upgrade\r\n", String::new(), 400),
            (
                "Connection: Upgrade\r\n",
                "Connection: keep-alive\r\n".into(),
                400,
            ),
            (VERSION, String::new(), 400),
            (VERSION, VERSION.repeat(2), 400),
            (
                VERSION,
                format!("{VERSION}Sec-WebSocket-Version: 8\r\n"),
                400,
            ),
            (KEY, String::new(), 400),
            (KEY, KEY.repeat(2), 400),
            (KEY, "Sec-WebSocket-Key:\r\n".into(), 400),
            (KEY, "Sec-WebSocket-Key: not base64, this\r\n".into(), 400),
            // 15 and 17 bytes, and 16 without their padding.
            (
                KEY,
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j\r\n".into(),
                400,
            ),
            (
                KEY,
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZTE=\r\n".into(),
                400,
            ),
            (
                KEY,
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n".into(),
                400,
            ),
        ]
    })
    .await;
}

#[tokio::test]
async fn invalid_http_versions_bodies_and_origins_are_refused() {
    refused_with(|host| {
        vec![
            ("HTTP/1.1", "HTTP/1.0".into(), 400),
            ("HTTP/1.1", "HTTP/2.0".into(), 400),
            ("HTTP/1.1", "HTTP/1.2".into(), 400),
            ("HTTP/1.1", "HTTP".into(), 400),
            (" HTTP/1.1", String::new(), 400),
            ("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nhello".into(), 400),
            (
                "\r\n\r\n",
                "\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".into(),
                400,
            ),
            (
                "\r\n\r\n",
                "\r\nOrigin: https://evil.example\r\n\r\n".into(),
                403,
            ),
            (
                "\r\n\r\n",
                "\r\nOrigin: http://127.0.0.1:1\r\n\r\n".into(),
                403,
            ),
            ("\r\n\r\n", "\r\nOrigin: null\r\n\r\n".into(), 403),
            ("\r\n\r\n", "\r\nOrigin:\r\n\r\n".into(), 403),
            (
                "\r\n\r\n",
                format!(
                    "\r\n{}\r\n",
                    host.replace("Host: ", "Origin: http://").repeat(2)
                ),
                400,
            ),
            ("\r\n\r\n", "\r\nX: a\0b\r\n\r\n".into(), 400),
            ("\r\n\r\n", "\r\nno colon\r\n\r\n".into(), 400),
            ("\r\n\r\n", "\r\nX : y\r\n\r\n".into(), 400),
            ("\r\n\r\n", "\r\nX: y\r\n folded\r\n\r\n".into(), 400),
        ]
    })
    .await;
}

#[tokio::test]
async fn invalid_rooms_and_queries_are_refused() {
    refused_with(|_| {
        vec![
            ("GET / ", "GET /a/b ".into(), 404),
            ("GET / ", "GET // ".into(), 404),
            ("GET / ", "GET /a b ".into(), 400),
            ("GET / ", "GET /%20 ".into(), 404),
            ("GET / ", "GET /%61 ".into(), 404),
            ("GET / ", "GET /.hidden ".into(), 404),
            ("GET / ", "GET /-dash ".into(), 404),
            ("GET / ", "GET /.. ".into(), 404),
            ("GET / ", "GET /-/nothing ".into(), 404),
            ("GET / ", format!("GET /{} ", "x".repeat(65)), 404),
            ("GET / ", "GET /?after=x ".into(), 400),
            ("GET / ", "GET /?after=-1 ".into(), 400),
            ("GET / ", "GET /?after=18446744073709551616 ".into(), 400),
            ("GET / ", "GET /?backlog= ".into(), 400),
            ("GET / ", "GET /?backlog=4294967296 ".into(), 400),
            ("GET / ", "GET /?seq=yes ".into(), 400),
            ("GET / ", "GET /?echo=2 ".into(), 400),
            ("GET / ", "GET /?name=a+b ".into(), 400),
            ("GET / ", "GET /?name=%1b%5b2J ".into(), 400),
            ("GET / ", "GET /?name=%ff ".into(), 400),
            ("GET / ", format!("GET /?name={} ", "x".repeat(33)), 400),
        ]
    })
    .await;
}

#[tokio::test]
async fn invalid_websocket_versions_and_methods_are_refused() {
    let server = TestServer::start().await;
    let good = good(&server);
    others_chat_on(&server, async {
        for version in ["0", "8", "12", "99", "013", "13, 8", "x"] {
            let other = format!("Sec-WebSocket-Version: {version}\r\n");
            let answer = refused(&server, good.replace(VERSION, &other), 426).await;
            assert!(
                answer.has("sec-websocket-version: 13"),
                "{version}: {}",
                answer.head
            );
        }
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get", "CHAT"] {
            let request = good.replace("GET", method);
            let answer = refused(&server, request, 405).await;
            assert!(answer.has("allow: GET"), "{method}: {}", answer.head);
        }
        let answer = ask(&server, good.replace("GET", "HEAD")).await;
        assert_eq!((answer.status, &*answer.body), (405, ""));
        assert!(answer.has("allow: GET"), "{}", answer.head);
    })
    .await;
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
async fn bytes_that_are_no_request_are_refused() {
    let server = TestServer::start().await;
    let host = server.addr;
    others_chat_on(&server, async {
        for target in [
            "?",
            "#",
            ":",
            "://",
            "//[",
            "http://",
            "http://[",
            "http://a:b/",
            "\\",
            "a b",
            "",
            "/\u{7f}",
            "/<>",
            "/\"",
            "/\0",
        ] {
            let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let answer = ask(&server, &request).await;
            assert!(
                (400..=421).contains(&answer.status),
                "{request:?}: {}",
                answer.head
            );
            assert!(answer.body.ends_with(".\n"), "{request:?}: {}", answer.body);
        }
        // The other forms of a target (RFC 9112 §3.2) name no room.
        for target in ["*", "localhost", "localhost:80", "localhost?a"] {
            let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let answer = ask(&server, &request).await;
            assert!(
                [400, 404, 421].contains(&answer.status),
                "{request:?}: {}",
                answer.head
            );
        }
        let connect = format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let answer = ask(&server, connect).await;
        assert!([400, 404, 405].contains(&answer.status), "{}", answer.head);
        for garbage in [
            &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\x04\0\0\0\0\0"[..],
            // A TLS ClientHello, as a client of wss:// sends it.
            b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03",
            b"\0\0\0\0\0\0\0\0",
            b"\xff\xfe\xfd\xfc\r\n\r\n",
            b"hello\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.6\r\n",
            b"\x05\x01\x00",
            b"GET\r\n\r\n",
            b"GET /\r\n\r\n",
            b"GET / HTTP/1.1 \r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
        ] {
            refused(&server, garbage, 400).await;
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
async fn requests_without_an_upgrade_are_answered() {
    let server = TestServer::start().await;
    for room in ["/", "/room"] {
        let mut ana = server.plain(room).await;
        ana.say("hello").await;
        ana.text().await;
    }
    let host = server.addr;
    let get = |target: &str, accept: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\n\r\n")
    };
    for (target, accept, kind) in [
        ("/", "text/html,*/*;q=0.8", "text/html; charset=utf-8"),
        ("/room", "text/html", "text/html; charset=utf-8"),
        ("/", "*/*", "text/plain; charset=utf-8"),
        ("/room", "text/plain", "text/plain; charset=utf-8"),
        ("/-/health", "*/*", "text/plain; charset=utf-8"),
    ] {
        let answer = ask(&server, get(target, accept)).await;
        assert_eq!(answer.status, 200, "{target}");
        assert!(
            answer.has(&format!("content-type: {kind}")),
            "{target}: {}",
            answer.head
        );
        assert!(
            answer.has("x-content-type-options: nosniff"),
            "{}",
            answer.head
        );
        assert!(!answer.body.is_empty(), "{target}");
        // A room's lines are streamed as they are read: their length is not
        // known.
        let streamed = answer.has("transfer-encoding: chunked");
        let length = format!("content-length: {}", answer.body.len());
        assert!(streamed || answer.has(&length), "{target}: {}", answer.head);

        let head = ask(&server, get(target, accept).replace("GET", "HEAD")).await;
        assert_eq!((head.status, &*head.body), (200, ""), "{target}");
        assert!(streamed || head.has(&length), "{target}: {}", head.head);
        for method in ["PUT", "DELETE", "PATCH"] {
            let answer = refused(&server, get(target, accept).replace("GET", method), 405).await;
            let allowed = answer.head.to_ascii_lowercase();
            assert!(allowed.contains("\nallow: get"), "{target}: {allowed}");
        }
    }
    for nothing in [
        "/-/",
        "/-/x",
        "/-/health/",
        "/-/assets/",
        "/-",
        "/favicon.ico/",
    ] {
        refused(&server, get(nothing, "*/*"), 404).await;
    }
    refused(&server, "GET / HTTP/1.1\r\n\r\n", 400).await;
    refused(&server, "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421).await;
    // The server answers one request on a connection; it ignores the others.
    let twice = get("/-/health", "*/*").repeat(2);
    assert_eq!(ask(&server, twice).await.body, "ok\n");
    // HTTP/1.0 is old and still in use.
    let answer = ask(&server, "GET /-/health HTTP/1.0\r\n\r\n").await;
    assert_eq!((answer.status, &*answer.body), (200, "ok\n"));
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
