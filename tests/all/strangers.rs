//! Limits where strangers may come, and what is kept from them.

use std::net::SocketAddr;

use broadcast_chat::store::Storage;
use serde_json::json;
use tokio::net::TcpStream;

use rustix::process::Signal;

use crate::{
    limits::connect_from,
    operators::{SECRET, with_operators},
    programs::{Program, folder, server, server_command},
    support::{Peer, TestServer, upgrade, upgraded},
};

/// Sends a request on one of the server's connections; returns the response.
async fn ask(addr: SocketAddr, request: &str) -> String {
    let mut peer = Peer::connect(addr).await;
    peer.sending.try_write(request.as_bytes()).await;
    peer.rest().await
}

fn post(target: &str, headers: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n{headers}\r\nhi")
}

fn status(answer: &str) -> u16 {
    answer[9..12].parse().expect(answer)
}

const HEALTH: &str = "GET /-/health HTTP/1.1\r\nHost: localhost\r\n\r\n";

// Verified to fail when only a server on loopback checks the host.
#[tokio::test]
async fn a_foreign_host_is_refused_also_on_the_network() {
    let folder = folder();
    let args = ["--bind", "0.0.0.0", "--host", "chat.example"];
    let mut server = Program::start(&mut server_command(folder.path(), &args));
    let line = server.line().await;
    let (_, port) = line.rsplit_once(':').expect(&line);
    let addr = ([127, 0, 0, 1], port.parse().expect("a port")).into();
    let system = rustix::system::uname();
    let hostname = system.nodename().to_str().expect("UTF-8");
    for (host, expected) in [
        ("192.0.2.7", 200),
        ("localhost", 200),
        ("chat.example", 200),
        (hostname, 200),
        (&format!("{hostname}.local"), 200),
        ("evil.example", 421),
        (&format!("{hostname}x"), 421),
    ] {
        let answer = ask(addr, &HEALTH.replace("localhost", host)).await;
        assert_eq!(status(&answer), expected, "{host}: {answer}");
        assert_eq!(answer.contains("--host NAME"), expected == 421, "{answer}");
    }
}

// Verified to fail when only `--bind` decides.
#[tokio::test]
async fn limits_hold_once_the_server_has_a_host_name() {
    for (args, expected) in [(&[][..], 200), (&["--host", "chat.example"], 429)] {
        let folder = folder();
        let (_server, addr) = server(folder.path(), args).await;
        let mut crowd = Vec::new();
        for _ in 0..64 {
            crowd.push(TcpStream::connect(addr).await.expect("a connection"));
        }
        let answer = ask(addr, HEALTH).await;
        assert_eq!(status(&answer), expected, "{args:?}: {answer}");
    }
}

// Verified to fail when a forwarding header is ignored, and when each request
// is warned of.
#[tokio::test]
async fn forwarded_requests_are_limited_and_warned_of_once() {
    let folder = folder();
    let (mut server, addr) = server(folder.path(), &[]).await;
    let mut crowd = Vec::new();
    for n in 0..64 {
        let name = ["Forwarded", "X-Forwarded-For", "X-Real-IP"][n % 3];
        crowd.push(upgraded(addr, "/", &[(name, "192.0.2.7")]).await);
    }
    let forwarded = "X-Forwarded-For: 192.0.2.8\r\n";
    let answer = ask(addr, &post("/", forwarded)).await;
    assert_eq!(status(&answer), 429, "{answer}");
    assert!(answer.contains("has 64 connections"), "{answer}");
    drop(crowd.split_off(1));
    let mut stored = 0;
    let refused = loop {
        let answer = ask(addr, &post("/", forwarded)).await;
        match status(&answer) {
            200 => stored += 1,
            _ if answer.contains("connections") => {}
            _ => break answer,
        }
    };
    assert_eq!(status(&refused), 429, "{refused}");
    assert!(refused.contains("\r\nretry-after: 1\r\n"), "{refused}");
    assert!(stored >= 200, "{stored}");
    // The people on this machine are not limited.
    for _ in 0..3 {
        assert_eq!(status(&ask(addr, &post("/", "")).await), 200);
    }
    server.signal(Signal::TERM);
    assert_eq!(server.exit().await, 0);
    let told = server.stderr_lines().await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("WARN") && told[0].contains("--trusted-proxy"),
        "{told:?}"
    );
    assert!(
        !told[0].contains("192.0.2") && !told[0].contains("127.0.0.1"),
        "{told:?}"
    );
}

// Verified to fail without a limit on wrong secrets.
#[tokio::test]
async fn wrong_secrets_are_limited_on_loopback_too() {
    let server = TestServer::start_with(&Storage::Memory, with_operators()).await;
    let of = |secret: &str| format!("Authorization: Bearer {secret}-long-enough\r\n");
    let target = "/?name=ana";
    let answer = ask(server.addr, &post(target, &of("right"))).await;
    assert_eq!(status(&answer), 200, "{answer}");
    for _ in 0..7 {
        let answer = ask(server.addr, &post(target, &of("wrong"))).await;
        assert_eq!(status(&answer), 403, "{answer}");
    }
    // Secrets of operators count with those of names.
    let mut guest = server.plain("/").await;
    for _ in 0..3 {
        guest.text_after("/operator wrong").await;
    }
    assert_eq!(guest.closed().await.0, 4503);
    for secret in ["wrong", "right"] {
        let answer = ask(server.addr, &post(target, &of(secret))).await;
        assert_eq!(status(&answer), 429, "{answer}");
        let (_, wait) = answer.split_once("\r\nretry-after: ").expect(&answer);
        let wait: u32 = wait.lines().next().expect("a line").parse().expect(wait);
        assert!((1..=60).contains(&wait), "{answer}");
    }
    let (mut guest, _) = server.json("/").await;
    guest.event_of("live").await;
    for command in [
        json!({"type": "operator", "secret": SECRET}),
        json!({"type": "name", "name": "ana", "secret": "right-long-enough"}),
    ] {
        let refused = guest.event_after(&command).await;
        assert_eq!(refused["code"], "rate", "{refused}");
        assert!(
            refused["retry_ms"].as_u64().is_some_and(|ms| ms <= 60_000),
            "{refused}"
        );
    }
    // Another address has tried none.
    let mut elsewhere = Peer::over_tcp(connect_from(2, &server).await);
    let secret = [
        ("Authorization", "Bearer right-long-enough"),
        ("Sec-WebSocket-Protocol", "chat.v1"),
    ];
    elsewhere
        .write(upgrade(server.addr, target, &secret).as_bytes())
        .await;
    elsewhere.head().await;
    assert_eq!(elsewhere.event().await["you"]["name"], "ana");
}
