//! Tests of conversations that outlive their connections, with a scripted
//! server and a paused clock.

use serde_json::{Value, json};
use tempfile::tempdir;
use tokio::join;

use super::{
    ids::Ids,
    scripted::{Host, Server, host, message, target},
    *,
};
use crate::protocol::{Event, MessageKind};

/// The values that a client returned, each as a word or two.
struct ReturnedEvents(Vec<String>);

impl ReturnedEvents {
    fn note(&mut self, happened: &ClientEvent) {
        self.0.push(match happened {
            ClientEvent::Event(_, Event::Message(message)) => {
                format!("{} {}", message.seq, &*message.text)
            }
            ClientEvent::Event(frame, _) => kind(frame),
            ClientEvent::ForPrograms(frame) => format!("heard {}", kind(frame)),
            ClientEvent::Refused { id, .. } => format!("{id} refused"),
            ClientEvent::Missing { after, next } => format!("hole {after}-{next}"),
            ClientEvent::State(ConnectionState::Offline { why, unsent, .. }) => {
                format!("offline with {unsent}: {why}")
            }
            ClientEvent::State(ConnectionState::Connected) => "connected".to_owned(),
            ClientEvent::State(ConnectionState::CatchingUp { at, head }) => {
                format!("at {at} of {head}")
            }
            ClientEvent::State(ConnectionState::CaughtUp) => "caught up".to_owned(),
            ClientEvent::State(ConnectionState::Refusing { unsent, .. }) => {
                format!("held with {unsent}")
            }
            ClientEvent::Ended(end) => format!("ended: {end}"),
        });
    }

    /// The values without those that every conversation has.
    fn without_usual(self) -> Vec<String> {
        let usual = ["welcome", "live", "caught up", "connected"];
        let told = self.0.into_iter();
        told.filter(|word| !usual.contains(&word.as_str()))
            .collect()
    }
}

fn kind(frame: &Frame) -> String {
    let event: serde_json::Value = serde_json::from_str(frame.text()).expect("JSON");
    event["type"].as_str().expect("a type").to_owned()
}

fn publish(number: u64, text: &str) -> Command {
    let ids = Ids::given(&"t".parse().expect("an id"));
    Command::Publish {
        text: text.to_owned(),
        id: ids.of(number).ok(),
        kind: MessageKind::Said,
        follows: None,
    }
}

fn say(texts: &str) -> Vec<Command> {
    let texts = (1..).zip(texts.split_whitespace());
    texts.map(|(number, text)| publish(number, text)).collect()
}

/// Runs a client that sends `commands` against a scripted host, until the
/// conversation ends.
async fn converse_with(
    host: Host,
    connecting: impl Future<Output = Result<Client, ConnectError>>,
    commands: Vec<Command>,
    script: impl AsyncFnOnce(&mut Host),
) -> ReturnedEvents {
    let mut host = host;
    let mut told = ReturnedEvents(Vec::new());
    let client = async {
        let mut client = connecting.await.expect("a welcome");
        for command in commands {
            client.send(command);
        }
        loop {
            let happened = client.next().await;
            told.note(&happened);
            if let ClientEvent::Event(_, Event::Message(_)) = happened
                && let Some(position) = client.position().cloned()
            {
                client.remember(&position);
            }
            if let ClientEvent::Ended(_) = happened {
                break;
            }
        }
        client.close().await;
    };
    join!(client, script(&mut host));
    told
}

async fn converse(commands: Vec<Command>, script: impl AsyncFnOnce(&mut Host)) -> ReturnedEvents {
    let (host, connecting) = host(64 * 1024, "", Outbox::in_memory(), true);
    converse_with(host, connecting, commands, script).await
}

/// Ends a script with a normal close.
async fn done(mut server: Server) {
    server.close(1000, "done").await;
}

#[tokio::test(start_paused = true)]
async fn a_redacted_message_counts_as_stored() {
    let told = converse(say("a b"), async |host| {
        let (mut server, _) = host.welcome(0).await;
        server.live().await;
        server.hear_publish("a").await;
        server.hear_publish("b").await;
        // The redaction arrives in place of the echo.
        server
            .say(json!({"type": "erased", "seq": 1, "prev": 0, "id": "t"}))
            .await;
        server.store(2, "b", "t-2").await;
        server.say(json!({"type": "erased", "seq": 2})).await;
        server.vanish();
        let (mut server, asked) = host.welcome(3).await;
        assert_eq!(asked, "/lobby?after=2&epoch=e");
        server
            .say(json!({"type": "erased", "seq": 3, "prev": 2}))
            .await;
        server.live().await;
        server.hear_nothing().await;
        done(server).await;
    })
    .await;
    assert_eq!(
        told.without_usual(),
        [
            "erased",
            "2 b",
            "erased",
            "offline with 0: the connection was cut off",
            "at 2 of 3",
            "erased",
            "ended: done"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn unconfirmed_messages_are_sent_again_in_order() {
    let told = converse(say("a b c"), async |host| {
        let (mut server, _) = host.welcome(0).await;
        server.live().await;
        for (text, follows) in [("a", json!(null)), ("b", json!("t")), ("c", json!("t-2"))] {
            let command = server.hear().await;
            assert_eq!(
                (&command["text"], &command["follows"]),
                (&json!(text), &follows)
            );
        }
        server.store(1, "a", "t").await;
        server.vanish();
        let (mut server, asked) = host.welcome(1).await;
        assert_eq!(asked, "/lobby?after=1&epoch=e");
        server.live().await;
        // The first message on a connection follows nothing.
        let again = json!({"type": "publish", "text": "b", "id": "t-2"});
        assert_eq!(server.hear().await, again);
        server.store(2, "b", "t-2").await;
        assert_eq!(server.take(3, "c").await, "t-3");
        server.hear_nothing().await;
        done(server).await;
    })
    .await;
    assert_eq!(
        told.0,
        [
            "welcome",
            "live",
            "caught up",
            "1 a",
            "offline with 2: the connection was cut off",
            "connected",
            "welcome",
            "live",
            "caught up",
            "2 b",
            "3 c",
            "ended: done"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn messages_stored_without_a_receipt_are_recognised() {
    let told = converse(say("a b c d"), async |host| {
        let (mut server, _) = host.welcome(0).await;
        for text in ["a", "b", "c", "d"] {
            server.hear_publish(text).await;
        }
        server.vanish();
        // The replay confirms the first message. The answer to the repeat
        // confirms the second, and then the replay does so again.
        let (mut server, _) = host.welcome(3).await;
        for text in ["a", "b", "c", "d"] {
            server.hear_publish(text).await;
        }
        server.store(1, "a", "t").await;
        for (seq, id) in [(1, "t"), (2, "t-2")] {
            let accepted = json!({"type": "accepted", "id": id, "seq": seq, "duplicate": true});
            server.say(accepted).await;
        }
        server.store(2, "b", "t-2").await;
        server.store(3, "x", "other").await;
        server.vanish();
        let (mut server, asked) = host.welcome(4).await;
        assert!(asked.contains("after=3&"), "{asked}");
        // The client hides repeats from a replay that starts too early.
        server.store(2, "b", "t-2").await;
        server.store(3, "x", "other").await;
        server.take(4, "c").await;
        server.take(5, "d").await;
        server.hear_nothing().await;
        done(server).await;
    })
    .await;
    assert_eq!(
        told.without_usual(),
        [
            "offline with 4: the connection was cut off",
            "at 0 of 3",
            "1 a",
            "accepted",
            "accepted",
            "2 b",
            "3 x",
            "offline with 2: the connection was cut off",
            "at 3 of 4",
            "4 c",
            "5 d",
            "ended: done"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_hidden_repeat_counts_as_a_receipt() {
    let told = converse(say("a"), async |host| {
        let (mut server, _) = host.welcome(1).await;
        server.hear_publish("a").await;
        server.store(1, "a", "t").await;
        server.vanish();
        let (mut server, _) = host.welcome(1).await;
        server.hear_nothing().await;
        done(server).await;
    })
    .await;
    assert_eq!(
        told.without_usual(),
        ["offline with 0: the connection was cut off", "ended: done"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_without_messages_resumes_at_its_first_welcome() {
    for (query, asked_again) in [
        ("", "/lobby?after=7&epoch=e"),
        ("?name=ana&echo=0", "/lobby?name=ana&after=7&epoch=e"),
        ("ops?after=3", "/ops?after=3&epoch=e"),
        // The client has seen no message of the backlog, so it asks again.
        ("?backlog=5", "/lobby?backlog=5"),
    ] {
        let (host, connecting) = host(1024, query, Outbox::in_memory(), true);
        converse_with(host, connecting, Vec::new(), async |host| {
            let room = asked_again[1..].split('?').next().expect("a room");
            for expected in [None, Some(asked_again)] {
                let (mut server, asked) = host.accept().await;
                if let Some(expected) = expected {
                    assert_eq!(asked, expected);
                    return done(server).await;
                }
                let mut welcome = scripted::welcome(7);
                welcome["room"] = json!(room);
                server.say(welcome).await;
            }
        })
        .await;
    }
}

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

#[tokio::test(start_paused = true)]
async fn temporarily_refused_messages_are_sent_again_in_order() {
    for (code, heeds) in [("rate", true), ("busy", true), ("busy", false)] {
        let told = converse(say("a b c d"), async |host| {
            let (mut server, _) = host.welcome(0).await;
            for text in ["a", "b", "c", "d"] {
                server.hear_publish(text).await;
            }
            server.store(1, "a", "t").await;
            let refused = Instant::now();
            server.refuse(code, "t-2", 300).await;
            // A server that ignores `follows` stores later messages.
            if heeds {
                server.refuse(code, "t-3", 200).await;
            } else {
                server.store(2, "c", "t-3").await;
            }
            // The client sends nothing before the fourth message is answered.
            tokio::time::sleep(Duration::from_secs(1)).await;
            server.hear_nothing().await;
            server.refuse(code, "t-4", 300).await;
            assert_eq!(server.hear_publish("b").await, "t-2");
            assert!(refused.elapsed() >= Duration::from_millis(1300));
            // Only one message is in flight until its receipt arrives.
            server.hear_nothing().await;
            if heeds {
                server.store(2, "b", "t-2").await;
                let next = server.hear().await;
                assert_eq!(
                    (&next["id"], &next["follows"]),
                    (&json!("t-3"), &json!("t-2"))
                );
                server.store(3, "c", "t-3").await;
            } else {
                server.store(3, "b", "t-2").await;
            }
            assert_eq!(server.take(4, "d").await, "t-4");
            server.hear_nothing().await;
            done(server).await;
        })
        .await;
        let mut told = told.without_usual();
        told.retain(|told| told != "heard refused");
        let shown = if heeds {
            ["1 a", "2 b", "3 c", "4 d", "ended: done"]
        } else {
            ["1 a", "2 c", "3 b", "4 d", "ended: done"]
        };
        assert_eq!(told, shown);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_a_stored_message_is_ignored() {
    let told = converse(say("a"), async |host| {
        let (mut server, _) = host.welcome(0).await;
        let id = server.hear_publish("a").await;
        server.vanish();
        // The message was stored; the disk is full when it is sent again.
        let (mut server, _) = host.welcome(1).await;
        server.hear_publish("a").await;
        server.store(1, "a", &id).await;
        server.refuse("busy", &id, 10).await;
        server.hear_nothing().await;
        done(server).await;
    })
    .await;
    let mut told = told;
    told.0.retain(|told| told != "at 0 of 1");
    let cut = "offline with 1: the connection was cut off";
    assert_eq!(
        told.without_usual(),
        [cut, "1 a", "heard refused", "ended: done"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_long_hold_is_reported_once_and_outlasted() {
    let told = converse(say("a b"), async |host| {
        let (mut server, _) = host.welcome(0).await;
        server.hear_publish("a").await;
        server.hear_publish("b").await;
        server.refuse("rate", "t", 1000).await;
        server.refuse("rate", "t-2", 1000).await;
        for _ in 0..3600 {
            server.hear_publish("a").await;
            server.refuse("rate", "t", 1000).await;
        }
        server.take(1, "a").await;
        server.take(2, "b").await;
        done(server).await;
    })
    .await;
    let mut told = told.without_usual();
    told.retain(|told| told != "heard refused");
    assert_eq!(told, ["held with 2", "1 a", "2 b", "ended: done"]);
}

#[tokio::test(start_paused = true)]
async fn missing_messages_are_reported_as_holes() {
    let told = converse(Vec::new(), async |host| {
        let (mut server, _) = host.welcome(3).await;
        server.store(4, "a", "i").await;
        let mut late = message(7, "b", "j");
        server.say(late.clone()).await;
        // A hole that the server announces as a gap is not reported.
        let gap = json!({"type": "gap", "after": 7, "next": 20, "reason": "erased"});
        server.say(gap).await;
        server.store(20, "c", "k").await;
        // A hole after a break is reported too.
        server.vanish();
        let (mut server, _) = host.welcome(30).await;
        late["seq"] = json!(30);
        late["prev"] = json!(25);
        server.say(late).await;
        done(server).await;
    })
    .await;
    assert_eq!(
        told.without_usual(),
        [
            "4 a",
            "hole 4-7",
            "7 b",
            "gap",
            "20 c",
            "offline with 0: the connection was cut off",
            "at 20 of 30",
            "hole 20-30",
            "30 b",
            "ended: done"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn another_log_is_read_from_its_start() {
    let told = converse(Vec::new(), async |host| {
        let (mut server, _) = host.welcome(7).await;
        server.store(8, "a", "i").await;
        server.vanish();
        let (mut server, _) = host.accept().await;
        let mut welcome = scripted::welcome(2);
        welcome["epoch"] = json!("f");
        server.say(welcome).await;
        let gap = json!({"type": "gap", "after": 8, "next": 1, "reason": "epoch"});
        server.say(gap).await;
        server.store(1, "b", "j").await;
        server.vanish();
        let (server, asked) = host.accept().await;
        assert_eq!(asked, "/lobby?after=1&epoch=f");
        done(server).await;
    })
    .await;
    let offline = "offline with 0: the connection was cut off";
    assert_eq!(
        told.without_usual()[..6],
        ["8 a", offline, "at 0 of 2", "gap", "1 b", offline]
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_question_leaves_a_name_change_pending() {
    let mut commands = vec![
        Command::Members,
        Command::Name {
            name: "bob".parse().expect("a name"),
            secret: None,
        },
    ];
    commands.extend(say("a"));
    converse(commands, async |host| {
        let (mut server, _) = host.welcome(0).await;
        let question = server.hear().await;
        assert_eq!(question["type"], "members");
        assert_eq!(server.hear().await["type"], "name");
        let refused = |reference: &Value| {
            json!({"type": "refused", "code": "rate", "text": "Later.", "ref": reference})
        };
        server.say(refused(&question["ref"])).await;
        // The name change is not answered yet.
        server.hear_nothing().await;
        server.say(refused(&Value::Null)).await;
        server.take(1, "a").await;
        done(server).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn messages_wait_for_changes_of_room_and_name() {
    let mut commands = say("a b c");
    let join = Command::Join {
        room: "ops".parse().expect("a room"),
        start: Start::default(),
    };
    let name = Command::Name {
        name: "bob".parse().expect("a name"),
        secret: None,
    };
    commands.insert(2, join);
    commands.insert(1, name);
    commands.insert(1, Command::Members);
    converse(commands, async |host| {
        let (mut server, _) = host.welcome(0).await;
        server.hear_publish("a").await;
        assert_eq!(server.hear().await["type"], "members");
        server.hear_nothing().await;
        server.store(1, "a", "t").await;
        assert_eq!(server.hear().await["type"], "name");
        server.hear_nothing().await;
        server.vanish();
        // The name change was not answered, so the client sends it again.
        let (mut server, asked) = host.welcome(1).await;
        assert!(!asked.contains("name="), "{asked}");
        assert_eq!(server.hear().await["type"], "name");
        server.say(json!({"type": "name", "name": "bob"})).await;
        server.hear_publish("b").await;
        server.vanish();
        let (mut server, asked) = host.welcome(1).await;
        assert!(asked.contains("name=bob"), "{asked}");
        server.take(2, "b").await;
        assert_eq!(server.hear().await["type"], "join");
        server.hear_nothing().await;
        let mut welcome = scripted::welcome(9);
        welcome["room"] = json!("ops");
        server.say(welcome).await;
        server.hear_publish("c").await;
        server.vanish();
        let (mut server, asked) = host.accept().await;
        assert_eq!(asked, "/ops?name=bob&after=9&epoch=e");
        let mut welcome = scripted::welcome(9);
        welcome["room"] = json!("ops");
        server.say(welcome).await;
        // The client waits for the reason why it did not get the name. The
        // first reason is temporary, so it connects again.
        server.hear_nothing().await;
        let busy = json!({"type": "refused", "code": "busy", "text": "no", "retry_ms": 50});
        server.say(busy).await;
        let (mut server, asked) = host.accept().await;
        assert_eq!(asked, "/ops?name=bob&after=9&epoch=e");
        let mut welcome = scripted::welcome(9);
        welcome["room"] = json!("ops");
        server.say(welcome).await;
        let taken = json!({"type": "refused", "code": "name_taken", "text": "no"});
        server.say(taken).await;
        server.hear_publish("c").await;
        done(server).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_echoes_the_client_shows_receipts() {
    let (host, connecting) = host(1024, "?echo=0", Outbox::in_memory(), true);
    let told = converse_with(host, connecting, say("a b"), async |host| {
        let (mut server, asked) = host.welcome(0).await;
        assert_eq!(asked, "/", "the client needs echoes as receipts");
        server.take(1, "a").await;
        server.store(2, "x", "other").await;
        server.hear_publish("b").await;
        server.vanish();
        let (mut server, _) = host.welcome(3).await;
        server.hear_publish("b").await;
        let accepted = json!({"type": "accepted", "id": "t-2", "seq": 3, "duplicate": true});
        server.say(accepted).await;
        server.store(3, "b", "t-2").await;
        server.store(4, "y", "other").await;
        done(server).await;
    })
    .await;
    let mut told = told.without_usual();
    told.retain(|told| !told.starts_with("offline") && !told.starts_with("at "));
    assert_eq!(
        told,
        [
            "accepted",
            "2 x",
            "accepted",
            "accepted",
            "4 y",
            "ended: done"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_outbox_in_a_file_outlives_the_client() {
    let folder = tempdir().expect("a folder");
    let path = folder.path().join("outbox");
    let open = || Outbox::open(&path, &target("")).expect("an outbox");
    let (first, connecting) = host(1024, "", open(), false);
    converse_with(first, connecting, say("a b c"), async |host| {
        let (mut server, _) = host.welcome(0).await;
        server.take(1, "a").await;
        server.store(2, "x", "other").await;
        server.hear_publish("b").await;
        server.hear_publish("c").await;
        server.vanish();
    })
    .await;
    // New lines come after the messages left in the file.
    let (second, connecting) = host(1024, "?backlog=5", open(), false);
    let told = converse_with(second, connecting, vec![publish(9, "d")], async |host| {
        let (mut server, asked) = host.welcome(2).await;
        assert_eq!(asked, "/lobby?after=2&epoch=e");
        assert_eq!(server.take(3, "b").await, "t-2");
        assert_eq!(server.take(4, "c").await, "t-3");
        assert_eq!(server.take(5, "d").await, "t-9");
        server.hear_nothing().await;
        done(server).await;
    })
    .await;
    assert_eq!(told.without_usual(), ["3 b", "4 c", "5 d", "ended: done"]);
    let (third, connecting) = host(1024, "", open(), false);
    converse_with(third, connecting, Vec::new(), async |host| {
        let (mut server, asked) = host.welcome(5).await;
        assert!(asked.contains("after=5&"), "{asked}");
        server.hear_nothing().await;
        done(server).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_next_client_sends_messages_to_the_room_they_had() {
    let folder = tempdir().expect("a folder");
    let path = folder.path().join("outbox");
    let open = || Outbox::open(&path, &target("")).expect("an outbox");
    let ops = |head| {
        let mut welcome = scripted::welcome(head);
        welcome["room"] = json!("ops");
        welcome
    };
    let join = Command::Join {
        room: "ops".parse().expect("a room"),
        start: Start::default(),
    };
    let (first, connecting) = host(1024, "", open(), false);
    converse_with(
        first,
        connecting,
        vec![join, publish(1, "a")],
        async |host| {
            let (mut server, _) = host.welcome(3).await;
            assert_eq!(server.hear().await["type"], "join");
            server.say(ops(4)).await;
            server.hear_publish("a").await;
            server.vanish();
        },
    )
    .await;
    let (second, connecting) = host(1024, "", open(), false);
    converse_with(second, connecting, vec![publish(2, "b")], async |host| {
        let (mut server, asked) = host.accept().await;
        assert_eq!(asked, "/ops?after=4&epoch=e");
        server.say(ops(4)).await;
        assert_eq!(server.hear_publish("a").await, "t");
        server.hear_nothing().await;
        let mut stored = message(5, "a", "t");
        stored["room"] = json!("ops");
        server.say(stored).await;
        assert_eq!(server.hear().await["room"], "lobby");
        server.say(scripted::welcome(5)).await;
        assert_eq!(server.hear_publish("b").await, "t-2");
        done(server).await;
    })
    .await;
}
