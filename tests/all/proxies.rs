//! Visitors behind proxies: a trusted proxy's word holds for their addresses.
//! Here the test itself is the proxy.

use std::net::SocketAddr;

use broadcast_chat::{
    hub::{Capacity, PrefixLimits},
    server::ServerOptions,
    store::Storage,
};
use serde_json::{Value, json};

use crate::{
    operators::{SECRET, with_operators},
    programs::{folder, server},
    support::{Peer, TestServer, options, soon, upgrade, upgraded},
};

/// The options of a server that trusts this machine.
fn trusting() -> ServerOptions {
    let mut options = with_operators();
    options.hub.proxies = "loopback".parse().expect("a set");
    options
}

async fn start(options: ServerOptions) -> TestServer {
    TestServer::start_with(&Storage::Memory, options).await
}

/// The status of a request with these headers.
async fn status(addr: SocketAddr, request: &str) -> u16 {
    let mut peer = Peer::connect(addr).await;
    peer.sending.try_write(request.as_bytes()).await;
    let answer = peer.rest().await;
    answer[9..12].parse().expect(&answer)
}

fn get(target: &str, headers: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
}

// Verified to fail when the headers are not believed.
#[tokio::test]
async fn a_visitors_tag_is_the_address_its_proxy_names() {
    let server = start(trusting()).await;
    for (name, value, host, port) in [
        ("X-Forwarded-For", "6.6.6.6, 192.0.2.7", "192.0.2.7", None),
        ("X-Forwarded-For", "2001:db8::7", "[2001:db8::7]", None),
        ("Forwarded", "for=\"192.0.2.8:99\"", "192.0.2.8", Some("99")),
        ("X-Forwarded-For", "unknown", "127.0.0.1", None),
        ("X-Real-IP", "192.0.2.9", "127.0.0.1", None),
    ] {
        let headers = [("Sec-WebSocket-Protocol", "chat.v1"), (name, value)];
        let mut peer = server.peer("/", &headers).await;
        let welcome = peer.event_of("welcome").await;
        let own = peer.tag();
        let (_, own_port) = own.rsplit_once(':').expect("a port");
        let tag = format!("{host}:{}", port.unwrap_or(own_port));
        assert_eq!(welcome["you"]["addr"], tag, "{name}: {value}");
    }
}

// Verified to fail when places go by the address of the connection.
#[tokio::test]
async fn visitors_of_forty_prefixes_are_limited_each_by_itself() {
    const PREFIXES: u16 = 40;
    const EACH: usize = 50;
    let mut options = trusting();
    options.hub.capacity = Capacity {
        per_prefix: PrefixLimits {
            connections: Some(EACH),
            ..PrefixLimits::UNLIMITED
        },
        ..Capacity::UNLIMITED
    };
    let server = start(options).await;
    let address = |n: u16, of: usize| {
        // Half of the prefixes are of 64 bits, with another address each time.
        if n.is_multiple_of(2) {
            format!("192.0.2.{n}")
        } else {
            format!("2001:db8:0:{n}::{of:x}")
        }
    };
    let mut guests = Vec::new();
    for of in 0..EACH {
        for n in 0..PREFIXES {
            let headers = [("X-Forwarded-For", &*address(n, of))];
            guests.push(upgraded(server.addr, "/", &headers).await);
        }
    }
    assert_eq!(guests.len(), 2000);
    for n in 0..PREFIXES {
        let forwarded = format!("X-Forwarded-For: {}\r\n", address(n, EACH));
        let request = get("/-/health", &forwarded);
        assert_eq!(status(server.addr, &request).await, 429, "{forwarded}");
    }
    let other = get("/-/health", "X-Forwarded-For: 192.0.2.200\r\n");
    assert_eq!(status(server.addr, &other).await, 200);
    // A place is free once its guest is gone.
    drop(guests.swap_remove(0));
    let first = get("/-/health", "X-Forwarded-For: 192.0.2.0\r\n");
    soon("a free place", async {
        while status(server.addr, &first).await != 200 {}
    })
    .await;
}

#[tokio::test]
async fn a_proxys_silent_connections_take_no_visitors_place() {
    let folder = folder();
    let (_server, addr) = server(folder.path(), &["--trusted-proxy", "loopback"]).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(Peer::connect(addr).await);
    }
    let request = get("/-/health", "X-Forwarded-For: 192.0.2.7\r\n");
    assert_eq!(status(addr, &request).await, 200);
    // Without a header, the proxy's own address has the limits.
    let mut own = Vec::new();
    for _ in 0..64 {
        own.push(upgraded(addr, "/", &[]).await);
    }
    assert_eq!(status(addr, &get("/-/health", "")).await, 429);
    assert_eq!(status(addr, &request).await, 200);
}

// Verified to fail when a lease goes by the address of the connection.
#[tokio::test]
async fn two_visitors_of_one_unowned_name_are_kept_apart() {
    let server = start(trusting()).await;
    let (_ana, welcome) = server.visitor("192.0.2.7", "/?name=ana").await;
    assert_eq!(welcome["you"]["name"], "ana");
    let (mut other, welcome) = server.visitor("192.0.2.8", "/?name=ana").await;
    assert_eq!(welcome["you"]["name"], Value::Null);
    assert_eq!(other.event_of("refused").await["code"], "name_taken");
    let (_again, welcome) = server.visitor("192.0.2.7", "/?name=ana").await;
    assert_eq!(welcome["you"]["name"], "ana");
}

#[tokio::test]
async fn bans_and_kicks_reach_one_visitor_of_a_proxy() {
    let server = start(trusting()).await;
    let (mut operator, _) = server.visitor("192.0.2.1", "/").await;
    let (mut bad, _) = server.visitor("192.0.2.7", "/").await;
    let (mut kicked, welcome) = server.visitor("192.0.2.8", "/").await;
    let (mut good, _) = server.visitor("192.0.2.8", "/").await;
    operator.event_of("live").await;
    good.event_of("live").await;
    let proof = json!({"type": "operator", "secret": SECRET});
    assert_eq!(operator.event_after(&proof).await["type"], "notice");
    let tag = &welcome["you"]["addr"];
    let kick = json!({"type": "kick", "who": tag});
    assert_eq!(operator.event_after(&kick).await["type"], "notice");
    assert_eq!(kicked.closed().await.0, 4501);
    let ban = |who: &str| json!({"type": "ban", "who": who});
    for proxies in ["127.0.0.1", "127.0.0.0/16"] {
        let refused = operator.event_after(&ban(proxies)).await;
        assert_eq!(refused["code"], "not_allowed", "{refused}");
    }
    assert_eq!(
        operator.event_after(&ban("192.0.2.7")).await["type"],
        "notice"
    );
    assert_eq!(bad.closed().await.0, 4502);
    for (address, expected) in [("192.0.2.7", 403), ("192.0.2.8", 200)] {
        let headers = format!("X-Forwarded-For: {address}\r\n");
        assert_eq!(status(server.addr, &get("/", &headers)).await, expected);
    }
    let said = good
        .event_after(&json!({"type": "publish", "text": "hi"}))
        .await;
    assert_eq!(said["text"], "hi");
}

#[tokio::test]
async fn wrong_secrets_count_for_the_visitor() {
    let server = start(trusting()).await;
    let post = |address: &str, secret: &str| {
        format!(
            "POST /?name=ana HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\
             Authorization: Bearer {secret}-long-enough\r\nX-Forwarded-For: {address}\r\n\r\nhi"
        )
    };
    let addr = server.addr;
    assert_eq!(status(addr, &post("192.0.2.7", "right")).await, 200);
    for _ in 0..10 {
        assert_eq!(status(addr, &post("192.0.2.8", "wrong")).await, 403);
    }
    assert_eq!(status(addr, &post("192.0.2.8", "right")).await, 429);
    assert_eq!(status(addr, &post("192.0.2.7", "right")).await, 200);
}

// Verified to fail when the forwarded host is not looked at.
#[tokio::test]
async fn a_trusted_proxys_host_and_scheme_are_those_of_the_page() {
    let told = "X-Forwarded-Host: chat.example\r\nX-Forwarded-Proto: https\r\n\
                X-Forwarded-For: 192.0.2.7\r\n";
    let page = |headers: &str| {
        format!("GET /tea HTTP/1.1\r\nHost: inner.example\r\nAccept: text/html\r\n{headers}\r\n")
    };
    let server = start(trusting()).await;
    let answer = server.request(page(told).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    for part in ["https://chat.example/tea", "wss://chat.example/tea"] {
        assert!(answer.contains(part), "{part}");
    }
    assert!(!answer.contains("inner.example"), "{answer}");
    let upgrade = |origin| {
        let headers = [("Origin", origin), ("X-Forwarded-Host", "chat.example")];
        upgrade(server.addr, "/", &headers)
    };
    let mut peer = Peer::connect(server.addr).await;
    peer.write(upgrade("https://chat.example").as_bytes()).await;
    assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(
        status(server.addr, &upgrade("https://evil.example")).await,
        403
    );
    // No other peer is believed.
    let strict = start(options()).await;
    for (server, headers, expected) in [
        (&server, "", 421),
        (&strict, told, 421),
        (&server, "X-Forwarded-Host: a b\r\n", 400),
        (&server, "X-Forwarded-Host: eve@chat.example\r\n", 400),
    ] {
        assert_eq!(
            status(server.addr, &page(headers)).await,
            expected,
            "{headers}"
        );
    }
}

/// A header of version 2 with an IPv4 address.
fn version_2(command: u8, address: [u8; 4], port: u16) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([command, 0x11, 0, 12]);
    header.extend(address);
    header.extend([127, 0, 0, 1]);
    header.extend(port.to_be_bytes());
    header.extend(443_u16.to_be_bytes());
    header
}

// Verified to fail when no header is read.
#[tokio::test]
async fn a_proxy_header_names_the_visitor() {
    let mut options = trusting();
    options.proxy_protocol = true;
    let server = start(options).await;
    let own = "the proxy's own";
    for (header, more, tag) in [
        (
            &b"PROXY TCP4 192.0.2.7 192.0.2.1 99 443\r\n"[..],
            "",
            "192.0.2.7:99",
        ),
        (&version_2(0x21, [192, 0, 2, 8], 98), "", "192.0.2.8:98"),
        (b"PROXY UNKNOWN\r\n", "", own),
        (&version_2(0x20, [192, 0, 2, 8], 98), "", own),
        // The header holds, and nobody believes what its visitor says.
        (
            b"PROXY TCP4 192.0.2.7 192.0.2.1 99 443\r\n",
            "X-Forwarded-For: 6.6.6.6\r\n",
            "192.0.2.7:99",
        ),
        // Another trusted proxy came before.
        (
            b"PROXY TCP4 127.0.0.9 192.0.2.1 99 443\r\n",
            "X-Forwarded-For: 192.0.2.9\r\n",
            "192.0.2.9:99",
        ),
    ] {
        let mut peer = Peer::connect(server.addr).await;
        let json = [("Sec-WebSocket-Protocol", "chat.v1")];
        let request = upgrade(server.addr, "/", &json).replacen("\r\n", &format!("\r\n{more}"), 1);
        peer.write(&[header, request.as_bytes()].concat()).await;
        assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
        let welcome = peer.event_of("welcome").await;
        let tag = if tag == own {
            peer.tag()
        } else {
            tag.to_owned()
        };
        assert_eq!(welcome["you"]["addr"], tag, "{more}");
    }
    for wrong in [
        &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        b"PROXY TCP4\r\n",
    ] {
        let mut peer = Peer::connect(server.addr).await;
        peer.write(wrong).await;
        assert_eq!(peer.rest().await, "", "closed without an answer");
    }
}

// Verified to fail when the header is awaited for as long as a request.
#[tokio::test]
async fn a_proxy_header_that_does_not_come_ends_the_connection() {
    let mut options = trusting();
    options.proxy_protocol = true;
    let server = start(options).await;
    let mut silent = Peer::connect(server.addr).await;
    let mut slow = Peer::connect(server.addr).await;
    slow.write(b"PROXY TCP4 192.0.2.7").await;
    let began = tokio::time::Instant::now();
    assert_eq!(silent.rest().await, "");
    assert_eq!(slow.rest().await, "");
    let took = began.elapsed();
    assert!((4.0..9.0).contains(&took.as_secs_f64()), "{took:?}");
}

#[tokio::test]
async fn visitors_of_proxy_headers_are_limited_each_by_itself() {
    let mut options = trusting();
    options.proxy_protocol = true;
    options.hub.capacity.per_prefix.connections = Some(2);
    let server = start(options).await;
    let ask = async |last: u8| {
        let mut peer = Peer::connect(server.addr).await;
        peer.write(&version_2(0x21, [192, 0, 2, last], 1)).await;
        peer
    };
    // They have their places before they send a request.
    let held = [ask(7).await, ask(7).await];
    soon("a refusal", async {
        let mut answer = String::new();
        while !answer.starts_with("HTTP/1.1 429 ") {
            let mut third = ask(7).await;
            let request = get("/-/health", "");
            third.sending.try_write(request.as_bytes()).await;
            answer = third.rest().await;
        }
    })
    .await;
    let mut other = ask(8).await;
    other.write(get("/-/health", "").as_bytes()).await;
    assert!(other.rest().await.starts_with("HTTP/1.1 200 "));
    drop(held);
}

// Verified to fail when the metrics are everybody's.
#[tokio::test]
async fn metrics_are_for_this_machine_and_named_addresses() {
    let metrics = |headers: &str| get("/-/metrics", headers);
    let mut with_readers = trusting();
    with_readers.trust.metrics_readers = "192.0.2.0/24".parse().expect("a prefix");
    for (options, headers, expected) in [
        (options(), "", 200),
        // Its visitor is not known.
        (options(), "X-Forwarded-For: 127.0.0.1\r\n", 404),
        (trusting(), "", 200),
        (trusting(), "X-Forwarded-For: 192.0.2.7\r\n", 404),
        (trusting(), "X-Forwarded-For: 127.0.0.1, 192.0.2.7\r\n", 404),
        (with_readers.clone(), "X-Forwarded-For: 192.0.2.7\r\n", 200),
        (with_readers, "X-Forwarded-For: 192.0.3.7\r\n", 404),
    ] {
        let server = start(options).await;
        let found = status(server.addr, &metrics(headers)).await;
        assert_eq!(found, expected, "{headers}");
    }
}
