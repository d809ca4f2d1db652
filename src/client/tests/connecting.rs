//! Tests of attempts to connect: when there is another, and how long the client
//! waits for it.

use std::time::Duration;

use tokio::{join, time::Instant};
use tokio_websockets::{CloseCode, Message};

use super::{converse, converse_with, done, say};
use crate::client::{Outbox, scripted::host};

#[tokio::test(start_paused = true)]
async fn waits_between_attempts_grow() {
    let (host, connecting) = host(1024, "", Outbox::in_memory(), true);
    let mut attempts = Vec::new();
    let told = converse_with(host, connecting, say("a"), async |host| {
        let (mut server, _) = host.welcome(0).await;
        server.take(1, "a").await;
        host.refuse_next(8);
        server.vanish();
        let (server, _) = host.welcome(1).await;
        attempts.clone_from(&host.attempts);
        done(server).await;
    })
    .await;
    assert_eq!(attempts.len(), 10);
    let waits = attempts.windows(2).map(|pair| pair[1] - pair[0]);
    let mut longest = Duration::from_millis(100);
    for wait in waits {
        longest = (longest * 2).min(Duration::from_secs(15));
        // The paused clock counts whole milliseconds.
        let (least, most) = (Duration::from_millis(99), Duration::from_millis(2));
        assert!((least..longest + most).contains(&wait), "{wait:?}");
    }
    let told = told.without_usual();
    assert_eq!(told[1], "offline with 0: the connection was cut off");
    let refused = "offline with 0: nothing listens on test:1 (ConnectionRefused): is the server on another port?";
    assert!(told[2..10].iter().all(|told| told == refused), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_has_a_deadline() {
    let told = converse(Vec::new(), async |host| {
        let (mut server, _) = host.welcome(0).await;
        server.vanish();
        // This server accepts and sends nothing.
        let (silent, _) = host.accept().await;
        let (server, _) = host.welcome(0).await;
        drop(silent);
        done(server).await;
    })
    .await;
    assert!(told.without_usual()[1].contains("said nothing for 10 seconds"));
}

#[tokio::test(start_paused = true)]
async fn a_draining_server_sets_the_reconnect_delay() {
    let (host, connecting) = host(1024, "", Outbox::in_memory(), true);
    let mut waited = Vec::new();
    converse_with(host, connecting, Vec::new(), async |host| {
        for reason in ["draining, come back in 4321 ms", "700"] {
            let (mut server, _) = host.welcome(0).await;
            let closed = Instant::now();
            server.close(4003, reason).await;
            let (server, _) = host.accept().await;
            waited.push(host.attempts.last().expect("one").duration_since(closed));
            drop(server);
        }
        let (server, _) = host.welcome(0).await;
        done(server).await;
    })
    .await;
    for (waited, asked) in waited.into_iter().zip([4321, 700]) {
        let over = waited.as_millis().checked_sub(asked);
        assert!(over.is_some_and(|over| over <= 2), "{waited:?} of {asked}");
    }
}

#[tokio::test(start_paused = true)]
async fn close_codes_decide_whether_the_client_reconnects() {
    for code in [1000, 1002, 1003, 1007, 1009, 4500, 4501, 4503, 4999] {
        let told = converse(say("a"), async |host| {
            let (mut server, _) = host.welcome(0).await;
            server.hear_publish("a").await;
            server.close(code, "why").await;
        })
        .await;
        let told = told.without_usual();
        assert_eq!(told.len(), 1, "{code}: {told:?}");
        assert!(told[0].starts_with("ended: "), "{code}: {told:?}");
    }
    for code in [1001, 1011, 1012, 4000, 4001, 4002, 4003, 4499] {
        let told = converse(Vec::new(), async |host| {
            let (mut server, _) = host.welcome(0).await;
            server.close(code, "why").await;
            // The next attempt may get such a close frame too.
            let (mut server, _) = host.accept().await;
            server.close(code, "why").await;
            let (mut server, _) = host.accept().await;
            server.close(4502, "banned").await;
        })
        .await;
        let told = told.without_usual();
        assert_eq!(told.len(), 3, "{code}: {told:?}");
        let end = "ended: the server at test:1 went away before it said welcome (4502: banned)";
        assert_eq!(told[2], end, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn http_statuses_decide_whether_the_client_reconnects() {
    for status in [401, 403, 404, 421] {
        let told = converse(Vec::new(), async |host| {
            let (mut server, _) = host.welcome(0).await;
            server.vanish();
            for passing in [503, 429, 502, 200] {
                host.answer(passing).await;
            }
            host.answer(status).await;
        })
        .await;
        let told = told.without_usual();
        assert_eq!(told.len(), 6, "{told:?}");
        let end = format!("ended: test:1 answers HTTP {status}");
        assert!(told[5].starts_with(&end), "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_client_waits_as_long_as_retry_after_says() {
    let mut attempts = Vec::new();
    converse(Vec::new(), async |host| {
        let (mut server, _) = host.welcome(0).await;
        server.vanish();
        // Case and spaces do not matter, and a very long time is cut to 300 s.
        // A date is ignored, and so is a line after the head.
        for (status, lines) in [
            (429, "Server: x\r\nRetry-After: 30\r\n"),
            (503, "retry-after:  40 \r\n"),
            (503, "Retry-After: 99999999\r\n"),
            (503, "Retry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n"),
            (503, "\r\nRetry-After: 50\r\n"),
        ] {
            host.answer_with(status, lines).await;
        }
        done(host.welcome(0).await.0).await;
        attempts.clone_from(&host.attempts);
    })
    .await;
    let waits: Vec<u64> = attempts
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_secs())
        .collect();
    let [_, asked, longer, age, date, behind] = waits[..] else {
        panic!("{waits:?}");
    };
    // The client adds a random wait, because others were told the same time.
    assert!((30..32).contains(&asked), "{waits:?}");
    assert!((40..42).contains(&longer), "{waits:?}");
    assert!((300..304).contains(&age), "{waits:?}");
    assert!(date < 15 && behind < 15, "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn without_the_reconnect_option_the_client_ends() {
    let (host, connecting) = host(1024, "", Outbox::in_memory(), false);
    let told = converse_with(host, connecting, say("a"), async |host| {
        let (mut server, _) = host.welcome(0).await;
        server.hear_publish("a").await;
        server.vanish();
    })
    .await;
    assert_eq!(told.without_usual(), ["ended: the connection was cut off"]);
}

#[tokio::test]
async fn a_server_without_a_welcome_is_an_error() {
    for (first, why) in [
        (
            Message::text("Welcome to chat! Type a message"),
            "test:1 is a WebSocket server, but not this chat: it did not begin with a welcome",
        ),
        (
            Message::binary("welcome"),
            "test:1 is a WebSocket server, but not this chat: it began with a binary message",
        ),
        (
            Message::close(CloseCode::try_from(4502).ok(), "banned"),
            "the server at test:1 went away before it said welcome (4502: banned)",
        ),
    ] {
        let (mut host, connecting) = host(1024, "", Outbox::in_memory(), true);
        let (client, _server) = join!(connecting, async {
            let (mut server, _) = host.accept().await;
            server.send(first).await;
            server
        });
        let Err(error) = client else {
            panic!("this is no welcome");
        };
        assert_eq!(error.to_string(), why);
    }
}
