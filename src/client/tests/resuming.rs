//! Tests of where reading goes on: after a break, in another log, and in the
//! next client with the same outbox.

use serde_json::json;
use tempfile::tempdir;

use super::{converse, converse_with, done, publish, say};
use crate::{
    client::{
        Outbox,
        scripted::{self, host, message, target},
    },
    protocol::{Command, Start},
};

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
