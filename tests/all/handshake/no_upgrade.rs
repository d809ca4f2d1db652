//! Requests that ask for no WebSocket, and bytes that are no request.

use super::{ask, refused};
use crate::support::{TestServer, others_chat_on};

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
