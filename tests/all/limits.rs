//! Limits: rates, connections of one address, connections in all.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use broadcast_chat::{hub::Rate, server::ServerOptions, store::Storage};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{Instant, sleep},
};

use crate::{
    programs::{Program, folder, server},
    support::{
        CLOSE, CONTINUATION, FIN, MemoryChat, MemoryPeer, PING, PONG, Peer, TEXT, TestServer,
        frame, options, others_chat_on, soon, sse_request, upgrade,
    },
};

pub(crate) fn limited(rate: &str) -> ServerOptions {
    let mut options = options();
    let rate: Rate = rate.parse().expect("a rate");
    options.hub.capacity.per_prefix.rate = Some(rate);
    options
}

fn publish(n: usize, follows: Option<usize>) -> String {
    let mut command = json!({"type": "publish", "text": n.to_string(), "id": format!("m-{n}")});
    if let Some(before) = follows {
        command["follows"] = json!(format!("m-{before}"));
    }
    command.to_string()
}

#[tokio::test]
async fn a_refusal_for_the_rate_covers_all_later_messages() {
    let server = TestServer::start_with(&Storage::Memory, limited("1:5")).await;
    let (mut peer, _) = server.json("/").await;
    peer.event_of("live").await;
    for n in 1..=20 {
        peer.say(&publish(n, (n > 1).then(|| n - 1))).await;
    }
    let (mut stored, mut refused) = (Vec::new(), Vec::new());
    while stored.len() + refused.len() < 20 {
        let event = peer.event().await;
        let id = event["id"].clone();
        if event["type"] == "message" {
            stored.push(id);
        } else {
            assert_eq!(
                (&event["type"], &event["code"]),
                (&json!("refused"), &json!("rate"))
            );
            assert!(
                event["retry_ms"]
                    .as_u64()
                    .is_some_and(|ms| (1..=1000).contains(&ms)),
                "{event}"
            );
            refused.push(id);
        }
    }
    assert!(stored.len() >= 5 && !refused.is_empty(), "{stored:?}");
    let all: Vec<_> = (1..=20).map(|n| json!(format!("m-{n}"))).collect();
    assert_eq!(
        [stored, refused].concat(),
        all,
        "in order, and none after one refused"
    );
}

// Verified to fail when the refusal of a command has no id.
#[tokio::test]
async fn an_invalid_message_over_the_rate_is_refused_with_its_id() {
    for (text, mistake) in [("7", "bad_field"), (r#""\ud83d""#, "bad_json")] {
        let server = TestServer::start_with(&Storage::Memory, limited("1:5")).await;
        let (mut peer, _) = server.json("/").await;
        peer.event_of("live").await;
        let mut code = json!(mistake);
        while code == mistake {
            let frame = format!(r#"{{"type":"publish","text":{text},"id":"m-1"}}"#);
            peer.say(&frame).await;
            let event = peer.event().await;
            assert_eq!(event["id"], "m-1", "{event}");
            code = event["code"].clone();
        }
        assert_eq!(code, "rate");
    }
}

#[tokio::test]
async fn every_format_explains_a_refusal_for_the_rate() {
    let server = TestServer::start_with(&Storage::Memory, limited("1:5")).await;
    let mut peer = server.plain("/?name=ana").await;
    let refused = loop {
        peer.say("hello").await;
        let line = peer.text().await;
        if line != "ana: hello" {
            break line;
        }
    };
    let told = "* This is faster than one message a second: send it again in ";
    assert!(
        refused.starts_with(told) && refused.ends_with(" s."),
        "{refused}"
    );
    // Other commands have a limit of their own.
    peer.say("/members").await;
    assert_eq!(peer.text().await, "* 1 here: ana");
    while !peer
        .text_after("/members")
        .await
        .starts_with("* These are too many commands: ")
    {}

    let post = b"POST /tea HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx";
    let refused = soon("a refusal", async {
        loop {
            let answer = server.request(post).await;
            if !answer.starts_with("HTTP/1.1 200 ") {
                break answer;
            }
        }
    })
    .await;
    assert!(refused.starts_with("HTTP/1.1 429 "), "{refused}");
    assert!(refused.contains("\r\nretry-after: 1\r\n"), "{refused}");
    assert!(refused.ends_with(" s.\n"), "{refused}");
    // An upgrade counts as a request; requests for the health do not count.
    let get = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    soon("a refusal", async {
        while !server.request(get).await.starts_with("HTTP/1.1 429 ") {}
    })
    .await;
    let health = b"GET /-/health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for _ in 0..10 {
        assert!(server.request(health).await.starts_with("HTTP/1.1 200 "));
    }
}

// Verified to fail when a frame is parsed before it is charged.
#[tokio::test(start_paused = true)]
async fn a_frame_is_paid_for_before_its_mistakes_are_found() {
    let chat = MemoryChat::with(&limited("1:1").hub);
    let mut peer = MemoryPeer::over(chat.connect(1 << 16));
    let json = [("Sec-WebSocket-Protocol", "chat.v1")];
    let request = upgrade(([127, 0, 0, 1], 2000).into(), "/", &json);
    peer.write(request.as_bytes()).await;
    peer.head().await;
    peer.event_of("live").await;
    // Sent at once, so that no time passes between them.
    let wrong = |n| {
        let text = format!(r#"{{"type":"publish","text":7,"id":"m-{n}","ref":"r-{n}"}}"#);
        frame(FIN | TEXT, text.as_bytes())
    };
    peer.write(&[wrong(1), wrong(2)].concat()).await;
    for (n, code) in [(1, "bad_field"), (2, "rate")] {
        let refused = peer.event_of("refused").await;
        assert_eq!(refused["code"], code);
        assert_eq!(refused["id"], format!("m-{n}"));
        assert_eq!(refused["ref"], format!("r-{n}"));
    }
}

// Verified to fail when only texts have a limit.
#[tokio::test]
async fn only_a_message_may_have_more_than_2048_bytes() {
    let server = TestServer::start().await;
    let (mut peer, _) = server.json("/?name=ana").await;
    peer.event_of("live").await;
    let padded = |start: &str, bytes: usize| {
        let rest = bytes - start.len() - 2;
        format!("{start}{}\"}}", "x".repeat(rest))
    };
    let command = r#"{"type":"members","id":"a-1","ref":"r-1","unknown":""#;
    peer.say(&padded(command, 2048)).await;
    assert_eq!(peer.event().await["type"], "members");
    for command in [command, &command.replace("members", "dance")] {
        peer.say(&padded(command, 2049)).await;
        let refused = peer.event().await;
        let told = [&refused["code"], &refused["id"], &refused["ref"]];
        assert_eq!(told, ["too_long", "a-1", "r-1"]);
    }
    peer.say(&"{".repeat(2049)).await;
    assert_eq!(peer.event().await["code"], "bad_json");
    peer.say(&padded(r#"{"type":"publish","text":""#, 2049))
        .await;
    assert_eq!(peer.event().await["type"], "message");

    let mut peer = server.plain("/?name=bob").await;
    let refused = peer.text_after(&format!("/topic {:2049}", "x")).await;
    assert!(
        refused.starts_with("* The command has 2056 bytes"),
        "{refused}"
    );
    let said = peer.text_after(&format!("/me {:2049}", "x")).await;
    assert!(said.starts_with("bob: * x"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_floods_is_closed_after_10_seconds() {
    // Verified to fail when pings, pongs or fragments are not charged.
    let frames = |opcode, times| frame(FIN | opcode, b"spam").repeat(times);
    let begun = frame(TEXT, b"");
    let fragments = frame(CONTINUATION, b"").repeat(100);
    for (first, some) in [
        (&[][..], frames(TEXT, 20)),
        (&[], frames(PING, 100)),
        (&[], frames(PONG, 100)),
        (&begun, fragments),
    ] {
        is_closed_after_10_seconds(first, &some).await;
    }
}

async fn is_closed_after_10_seconds(first: &[u8], some: &[u8]) {
    let chat = MemoryChat::with(&limited("20:200").hub);
    let (peer, ended) = chat.join("eve", 1 << 16);
    let (mut sending, mut reading) = peer.split();
    sending.write(first).await;
    let start = Instant::now();
    let flood = async {
        while sending.try_write(some).await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let told = async {
        loop {
            let frame = reading.next().await.expect("a frame");
            if frame.opcode == CLOSE {
                break (frame.payload, start.elapsed());
            }
        }
    };
    let ((payload, after), ()) = tokio::join!(told, flood);
    assert_eq!(payload[..2], 4504_u16.to_be_bytes());
    assert!(after >= Duration::from_secs(10), "{after:?}");
    assert!(after <= Duration::from_secs(20), "{after:?}");
    ended.await.expect("no panic");
    // Verified to fail when a flooder may come back at once.
    let requests = [
        upgrade(([127, 0, 0, 1], 2000).into(), "/", &[]),
        sse_request("/", ""),
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi".to_owned(),
    ];
    let answers = async |refused: bool| {
        // A paused clock does not wait for the commit of a message.
        let count = if refused { 3 } else { 2 };
        for request in &requests[..count] {
            let mut peer = MemoryPeer::over(chat.connect(1 << 16));
            peer.write(request.as_bytes()).await;
            let head = peer.head().await;
            assert_eq!(head.starts_with("HTTP/1.1 429 "), refused, "{head}");
            assert_eq!(head.contains("\r\nretry-after: "), refused, "{head}");
        }
    };
    // The bucket for requests is full again before the minute is over.
    sleep(Duration::from_secs(50)).await;
    answers(true).await;
    sleep(Duration::from_secs(10)).await;
    answers(false).await;
}

/// Pipes 5000 lines through a client. Asserts that the room then holds each
/// line once and in order.
async fn piped_once_and_in_order(
    args: &[&str],
    trouble: impl AsyncFnOnce(&mut Program, &std::path::Path),
) {
    const COUNT: usize = 5000;
    let folder = folder();
    let (mut server, addr) = server(folder.path(), args).await;
    let mut client = Program::client(addr, &["--name", "seq", "--quiet"]);
    let mut input = client.input.take().expect("piped");
    let lines: Vec<String> = (1..=COUNT).map(|n| n.to_string()).collect();
    let lines = lines.join("\n");
    let fed = async {
        input.write_all(lines.as_bytes()).await.expect("it reads");
        drop(input);
    };
    tokio::join!(fed, trouble(&mut server, folder.path()));
    assert_eq!(client.exit().await, 0);
    assert_eq!(client.stderr_lines().await, [""; 0]);
    let mut reader = Program::client(addr, &["--after", "0"]);
    drop(reader.input.take());
    let told = reader.lines().await;
    let expected = (1..=COUNT).map(|n| format!("seq: {n}"));
    assert!(told[1..].iter().cloned().eq(expected));
}

#[tokio::test]
async fn a_pipe_faster_than_the_rate_loses_and_reorders_nothing() {
    let start = Instant::now();
    piped_once_and_in_order(&["--rate", "5000:100"], async |_, _| {}).await;
    let least = Duration::from_secs_f64(4900.0 / 5000.0);
    assert!(start.elapsed() >= least, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_pipe_into_a_failing_store_loses_and_reorders_nothing() {
    piped_once_and_in_order(&[], async |server, folder| {
        let database = folder.join("chat-data").join("chat.sqlite");
        let fault = rusqlite::Connection::open(database).expect("the store");
        // The store could still take the messages sent after this one.
        let fail = "CREATE TRIGGER fault BEFORE INSERT ON messages WHEN new.text = '2500' \
                    BEGIN SELECT RAISE(ABORT, 'the disk is full'); END";
        fault.execute_batch(fail).expect("a fault");
        let told = soon("a complaint", server.errors.next_line()).await;
        let told = told.expect("UTF-8").expect("a line");
        assert!(told.contains("the disk is full"), "{told}");
        fault.execute_batch("DROP TRIGGER fault").expect("mended");
    })
    .await;
}

/// Connects from the address 127.0.0.`last`.
pub(crate) async fn connect_from(last: u8, server: &TestServer) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    let own = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0));
    socket.bind(own).expect("an address");
    socket.connect(server.addr).await.expect("a connection")
}

/// Requests the health; returns the response, or nothing if there is none.
async fn asked(stream: &mut TcpStream) -> String {
    let request = b"GET /-/health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut answer = String::new();
    // The server may have closed a refused connection already.
    let _ = stream.write_all(request).await;
    let _ = soon("an answer", stream.read_to_string(&mut answer)).await;
    answer
}

#[tokio::test]
async fn connections_of_one_address_are_limited() {
    let mut options = options();
    options.hub.capacity.per_prefix.connections = Some(2);
    let server = TestServer::start_with(&Storage::Memory, options).await;
    let first = connect_from(1, &server).await;
    let mut second = connect_from(1, &server).await;
    for _ in 0..10 {
        let answer = asked(&mut connect_from(1, &server).await).await;
        assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
        assert!(answer.contains("has 2 connections"), "{answer}");
    }
    let answer = asked(&mut connect_from(2, &server).await).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 "),
        "another one has its own"
    );
    assert!(asked(&mut second).await.starts_with("HTTP/1.1 200 "));
    drop((first, second));
    soon("a place", async {
        while !asked(&mut connect_from(1, &server).await)
            .await
            .starts_with("HTTP/1.1 200 ")
        {}
    })
    .await;
}

#[tokio::test]
async fn connections_beyond_the_limit_affect_no_member() {
    let mut options = options();
    options.hub.capacity.connections = 50;
    let server = TestServer::start_with(&Storage::Memory, options).await;
    let mut ana = server.plain("/?name=ana").await;
    let mut crowd = Vec::new();
    for n in 0..500 {
        crowd.push(TcpStream::connect(server.addr).await.expect("a connection"));
        if n % 50 == 0 {
            assert_eq!(ana.text_after("still here").await, "ana: still here");
        }
    }
    drop(crowd);
    let mut bob = soon("a place", async {
        loop {
            if let Some(peer) = Peer::try_upgrade(server.addr, "/?name=bob").await {
                break peer;
            }
        }
    })
    .await;
    assert_eq!(
        bob.text_after("hello").await,
        "Welcome to chat! Type a message"
    );
    assert_eq!(ana.text().await, "bob: hello");
}

#[tokio::test]
async fn connections_closed_at_once_affect_no_member() {
    let server = TestServer::start().await;
    others_chat_on(&server, async {
        for _ in 0..1000 {
            drop(TcpStream::connect(server.addr).await.expect("a connection"));
        }
    })
    .await;
}

#[tokio::test]
async fn clients_of_a_drain_come_back_one_after_the_other() {
    const COUNT: usize = 40;
    let server = TestServer::start().await;
    let mut peers = Vec::new();
    for _ in 0..COUNT {
        peers.push(server.json("/").await.0);
    }
    let mut plain = server.plain("/").await;
    server.begin_shutdown();
    let mut waits = BTreeSet::new();
    for peer in &mut peers {
        let (code, reason) = peer.closed().await;
        assert_eq!(code, 4003);
        let wait = reason.strip_suffix(" ms: the server is restarting");
        waits.insert(wait.expect(&reason).parse::<u64>().expect("a number"));
    }
    assert_eq!(waits, (150..190).collect(), "{waits:?}");
    assert_eq!(plain.closed().await.0, 1001, "what every program knows");
    drop((peers, plain));
    server.stop().await;
}
