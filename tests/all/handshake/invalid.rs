//! Invalid handshakes: each is refused with its status.

use super::{KEY, VERSION, ask, good, refused};
use crate::support::{TestServer, others_chat_on};

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
