//! Expiry of messages: gaps, and a clock that jumps.

use std::time::Duration;

use broadcast_chat::store::Storage;

use super::faulty::{ControlField, Disk, ServerProcess, publish};
use crate::support::{TestServer, open_when_free, soon};

// Verified to fail when a gap is not announced because no message follows it,
// and when a newcomer's backlog begins at the start of the log.
#[tokio::test]
async fn a_gap_announces_messages_that_expired_unread() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start_in(folder.path()).await;
    let (mut ana, _) = server.json("/tea?name=ana").await;
    for n in 1..=5 {
        publish(&mut ana, "in tea", &n.to_string()).await;
    }
    let (mut bob, _) = server.json("/?name=bob").await;
    for n in 6..=30 {
        publish(&mut bob, "in the lobby", &n.to_string()).await;
    }
    drop((ana, bob));
    server.stop().await;

    let mut options = crate::support::options();
    options.keep.messages = Some(10);
    let storage = Storage::Folder(folder.path().to_owned());
    let server = TestServer::start_with(&storage, options).await;
    let database =
        rusqlite::Connection::open(folder.path().join("chat.sqlite")).expect("the store");
    let count = || -> i64 {
        let count = "SELECT count(*) FROM messages";
        database
            .query_row(count, [], |row| row.get(0))
            .expect("a count")
    };
    while count() > 10 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let gap = |after: u64, next: u64| serde_json::json!({"type": "gap", "after": after, "next": next, "reason": "erased"});
    let (mut eve, welcome) = server.json("/?after=0").await;
    assert_eq!(welcome["head"], 30);
    assert_eq!(eve.event().await, gap(0, 21));
    let first = eve.event().await;
    assert_eq!((&first["seq"], &first["prev"]), (&21.into(), &20.into()));
    // Every message of this room has expired. A gap is announced only to a
    // reader that had not read them all.
    let (mut eve, _) = server.json("/tea?after=5").await;
    assert_eq!(eve.event().await["type"], "live");
    let (mut eve, _) = server.json("/tea?after=4").await;
    assert_eq!(eve.event().await, gap(4, 6));
    assert_eq!(eve.event().await["type"], "live");
    let (mut newcomer, _) = server.json("/tea?backlog=20").await;
    assert_eq!(newcomer.event().await["type"], "live");
    let (mut newcomer, _) = server.json("/?backlog=20").await;
    assert_eq!(newcomer.event().await["seq"], 21);
    let lines = server
        .request(b"GET /tea?after=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await;
    assert!(
        lines.contains("* Messages between 1 and 6 are no longer available."),
        "{lines}"
    );
    let metrics = server
        .request(b"GET /-/metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await;
    assert!(metrics.contains("\nchat_oldest_seq 21\n"), "{metrics}");
    // Numbers continue, and `prev` names the room's last number.
    let said = publish(&mut newcomer, "on", "31").await;
    assert_eq!((&said["seq"], &said["prev"]), (&31.into(), &30.into()));
    let said = publish(&mut eve, "and here", "32").await;
    assert_eq!((&said["seq"], &said["prev"]), (&32.into(), &5.into()));
}

// Verified to fail when the start of a server removes no room, and when a room
// without a row has no gap.
#[tokio::test]
async fn a_gap_announces_what_a_removed_room_may_have_had() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start_in(folder.path()).await;
    let (mut ana, _) = server.json("/tea?name=ana").await;
    for n in 1..=3 {
        publish(&mut ana, "in tea", &n.to_string()).await;
    }
    let (mut bob, _) = server.json("/?name=bob").await;
    for n in 4..=5 {
        publish(&mut bob, "in the lobby", &n.to_string()).await;
    }
    drop((ana, bob));
    server.stop().await;

    let database =
        rusqlite::Connection::open(folder.path().join("chat.sqlite")).expect("the store");
    let only_one = async |table: &str| {
        let count = format!("SELECT count(*) FROM {table}");
        let count = || database.query_row(&count, [], |row| row.get::<_, i64>(0));
        while count().expect("a count") > 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let mut options = crate::support::options();
    options.keep.messages = Some(1);
    let storage = Storage::Folder(folder.path().to_owned());
    let server = TestServer::start_with(&storage, options).await;
    soon("the messages' expiry", only_one("messages")).await;
    server.stop().await;
    // The next server sweeps at its start.
    let server = TestServer::start_in(folder.path()).await;
    soon("the room's removal", only_one("rooms")).await;

    let gap = serde_json::json!({"type": "gap", "after": 2, "next": 4, "reason": "erased"});
    let (mut eve, _) = server.json("/tea?after=2").await;
    assert_eq!(eve.event().await, gap);
    assert_eq!(eve.event().await["type"], "live");
    let (mut ana, _) = server.json("/tea?after=3").await;
    assert_eq!(ana.event().await["type"], "live");
    let said = publish(&mut ana, "again", "6").await;
    assert_eq!((&said["seq"], &said["prev"]), (&6.into(), &0.into()));
    let (mut eve, _) = server.json("/tea?after=2").await;
    let gap = eve.event().await;
    assert_eq!((&gap["type"], &gap["next"]), (&"gap".into(), &6.into()));
    assert_eq!(eve.event().await["seq"], 6);
}

#[tokio::test]
async fn a_size_limit_expires_the_oldest() {
    const LIMIT: u64 = 2_000_000;
    let folder = tempfile::tempdir().expect("a folder");
    let storage = Storage::Folder(folder.path().to_owned());
    let mut options = crate::support::options();
    // Nothing expires at this size. The index gets small blocks by it.
    options.keep.size = Some(10 * LIMIT);
    let server = TestServer::start_with(&storage, options).await;
    let (mut ana, _) = server.json("/?name=ana").await;
    for n in 1..=800 {
        let text = format!("{n} {}", "words of a long message ".repeat(340));
        publish(&mut ana, &text, &n.to_string()).await;
    }
    drop(ana);
    server.stop().await;
    let used = open_when_free(&storage).await.1.used_bytes().await;
    let used = used.expect("a number");
    assert!(used > 2 * LIMIT, "{used}");

    let mut options = crate::support::options();
    options.keep.size = Some(LIMIT);
    let server = TestServer::start_with(&storage, options).await;
    // The files of a running server may be busy: then they are read again.
    let used = || -> rusqlite::Result<i64> {
        let of = |name| -> rusqlite::Result<i64> {
            let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
            let db = rusqlite::Connection::open_with_flags(folder.path().join(name), flags)?;
            let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
            Ok((pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?)
        };
        Ok(of("chat.sqlite")? + of("search.sqlite")?)
    };
    let shrunk = async {
        while used().map_or(true, |used| used.unsigned_abs() > LIMIT) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon("fewer pages in use", shrunk).await;
    let (mut eve, _) = server.json("/?after=0").await;
    let gap = eve.event().await;
    assert_eq!(gap["reason"], "erased");
    let kept = 801 - gap["next"].as_u64().expect("a number");
    assert!((50..250).contains(&kept), "{kept} messages fit");
}

// Verified to fail when the wall clock alone decides a message's age, and when
// a clock that jumped is never believed.
#[tokio::test]
async fn a_clock_jump_expires_nothing_before_the_clock_is_believed() {
    const HOUR: i64 = 60 * 60;
    const DAY: i64 = 24 * HOUR;
    let disk = Disk::new();
    disk.set(ControlField::Clock, -40 * DAY);
    let server = disk.serve(false).await;
    let mut ana = server.join("/?name=ana").await;
    publish(&mut ana, "old", "1").await;
    disk.set(ControlField::Clock, 0);
    publish(&mut ana, "new", "2").await;
    server.kill().await;

    // At the start, the clock is years ahead. The server's time goes on from
    // the last message. A message a month older expires; the last message
    // stays.
    disk.set(ControlField::Clock, 1000 * DAY);
    let mut command = disk.command();
    let server = ServerProcess::start(command.args(["--keep", "30"])).await;
    let gap = async |next: u64| {
        let lines = server.request("GET", "/?after=0", "").await;
        lines.contains(&format!("Messages between 0 and {next} "))
    };
    let old_is_gone = async { while !gap(2).await {} };
    soon("the old message's expiry", old_is_gone).await;

    // The last message stays until the clock has kept its time for an hour or
    // two.
    let mut hours = 0;
    let new_is_gone = async {
        while !gap(3).await {
            hours += 1;
            disk.set(ControlField::Passed, hours * HOUR);
        }
    };
    soon("the new message's expiry", new_is_gone).await;
    assert!((2..30 * 24).contains(&hours), "after {hours} hours");
    server.kill().await;
}
