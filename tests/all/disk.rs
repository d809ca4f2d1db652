mod bit_flips;
pub(crate) mod faulty;
mod power_cut;
mod random;

use std::{os::unix::fs::PermissionsExt, path::Path, time::Duration};

use broadcast_chat::{
    fanout::Applier,
    protocol::Seq,
    store::{self, Storage},
};
use rustix::process::{Pid, Resource, Rlimit, getuid, prlimit};
use tokio::process::Command;

use self::{
    bit_flips::{append, applier, draft, read, room},
    faulty::{
        ControlField, Disk, EIO, ENOSPC, EROFS, SERVER, ServerProcess, publish,
        publish_until_stored,
    },
};
use crate::support::{TestServer, soon};

// Verified to fail when every message causes a retry (many more writes), and
// when every failure logs "cannot be written".
#[tokio::test]
async fn a_failing_disk_refuses_messages_until_it_recovers() {
    let disk = Disk::new();
    let server = disk.serve(false).await;
    let mut ana = server.join("/?name=ana").await;
    let mut bob = server.join("/?name=bob").await;
    let mut seq = 0;
    for error in [ENOSPC, EIO, EROFS] {
        seq += 1;
        let id = format!("before-{error}");
        assert_eq!(publish(&mut ana, "before", &id).await["seq"], seq);
        assert_eq!(bob.event_of("message").await["seq"], seq);

        disk.set(ControlField::Write, error);
        let id = format!("during-{error}");
        let refused = publish(&mut ana, "during", &id).await;
        assert_eq!(refused["code"], "busy", "{refused}");
        assert!(refused["retry_ms"].as_u64().is_some_and(|ms| ms > 0));
        let answer = server.request("POST", "/", "x").await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.to_lowercase().contains("retry-after: 1"), "{answer}");
        let tried = disk.get(ControlField::Writes);
        for _ in 0..200 {
            assert_eq!(publish(&mut ana, "during", &id).await["code"], "busy");
        }
        let tried = disk.get(ControlField::Writes) - tried;
        assert!(tried < 40, "{tried} writes were tried");
        // Readers are still served.
        let lines = server.request("GET", "/", "").await;
        assert!(lines.contains("ana: before\n"), "{lines}");
        let mut eve = server.join("/?after=0").await;
        assert_eq!(eve.event_of("message").await["seq"], 1);

        disk.set(ControlField::Write, 0);
        seq += 1;
        let stored = publish_until_stored(&mut ana, "during", &id).await;
        assert_eq!(
            (&stored["seq"], &stored["prev"]),
            (&seq.into(), &(seq - 1).into())
        );
        assert_eq!(bob.event_of("message").await, stored);
    }
    drop((ana, bob));
    let said = server.stop().await;
    assert_eq!(
        said.matches("the message store cannot be written").count(),
        3,
        "{said}"
    );
    assert_eq!(said.matches("can be written again").count(), 3, "{said}");
}

// Verified to fail when SIGXFSZ ends the process.
#[tokio::test]
async fn a_file_size_limit_refuses_messages_until_it_is_lifted() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(SERVER);
    command.current_dir(folder.path()).args(["--port", "0"]);
    let server = ServerProcess::start(&mut command).await;
    let id = i32::try_from(server.child.id().expect("it runs")).expect("a process id");
    let limit = |bytes: Option<u64>| {
        let limit = Rlimit {
            current: bytes,
            maximum: None,
        };
        prlimit(Pid::from_raw(id), Resource::Fsize, limit).expect("a limit");
    };
    limit(Some(200 << 10));
    let mut ana = server.join("/?name=ana").await;
    let text = "x".repeat(8000);
    let mut stored = 0;
    while publish(&mut ana, &text, &stored.to_string()).await["type"] == "message" {
        stored += 1;
    }
    assert!(stored > 0);
    limit(None);
    let last = publish_until_stored(&mut ana, &text, &stored.to_string()).await;
    assert_eq!(last["prev"], stored);
}

// Verified to fail when a receipt precedes the sync (`synchronous=OFF`).
#[tokio::test]
async fn a_message_gets_no_receipt_before_its_sync() {
    let disk = Disk::new();
    let server = disk.serve(false).await;
    let mut ana = server.join("/?name=ana").await;
    let mut due = Vec::new();
    for round in 0..3 {
        let text = format!("before {round}");
        publish(&mut ana, &text, &format!("a{round}")).await;
        due.push(text);
        disk.set(ControlField::Sync, EIO);
        let text = format!("during {round}");
        for _ in 0..3 {
            let refused = publish(&mut ana, &text, &format!("b{round}")).await;
            assert_eq!(refused["code"], "busy");
        }
        disk.set(ControlField::Sync, 0);
        publish_until_stored(&mut ana, &text, &format!("b{round}")).await;
        due.push(text);
    }
    server.kill().await;
    let storage = Storage::Folder(disk.data());
    let (replica, _) = store::open(&storage, "a test").expect("sound");
    let applier = Applier::local(replica).expect("in step");
    let seen = read(applier.history(), &room("lobby"), Seq::START).await;
    let seen = seen.expect("readable");
    assert_eq!(seen.len(), due.len());
    for (line, text) in seen.iter().zip(due) {
        let line = line.as_ref().expect("no gap");
        assert!(line.contains(&text), "{text}: {line}");
    }
}

// Verified to fail when publishing resumes after a failure without a check of
// the last messages.
#[tokio::test]
async fn a_lost_acknowledged_message_stops_publishing() {
    let damages = [
        "UPDATE messages SET text = 'another' WHERE seq = 4",
        "DELETE FROM messages WHERE seq = 5",
        "DELETE FROM messages WHERE seq = 3",
    ];
    for damage in damages {
        let disk = Disk::new();
        let server = disk.serve(false).await;
        let mut ana = server.join("/?name=ana").await;
        for n in 0..5 {
            publish(&mut ana, "before", &n.to_string()).await;
        }
        disk.set(ControlField::Write, EIO);
        assert_eq!(publish(&mut ana, "during", "a").await["code"], "busy");
        let database =
            rusqlite::Connection::open(disk.data().join("chat.sqlite")).expect("the store");
        assert_eq!(database.execute(damage, []), Ok(1));
        disk.set(ControlField::Write, 0);
        for _ in 0..20 {
            assert_eq!(publish(&mut ana, "during", "a").await["code"], "busy");
        }
        // Readers stay connected.
        let mut eve = server.join("/?after=0").await;
        assert_eq!(eve.event_of("message").await["seq"], 1);
        drop((ana, eve));
        let said = server.stop().await;
        let cannot = said.matches("the message store cannot be written").count();
        assert_eq!(cannot, 2, "first the disk, then the damage: {said}");
        assert!(said.contains("is damaged"), "{said}");
    }
}

// Verified to fail when reads use the writer's connection.
#[tokio::test]
async fn a_slow_disk_delays_no_reader() {
    let disk = Disk::new();
    let server = disk.serve(false).await;
    let mut ana = server.join("/?name=ana").await;
    publish(&mut ana, "before", "a").await;
    // The sync takes an hour, unless the delay is reset.
    let syncs = disk.get(ControlField::Syncs);
    disk.set(ControlField::Delay, 3_600_000_000);
    ana.say(r#"{"type":"publish","text":"during","id":"b"}"#)
        .await;
    disk.wait_for_sync(syncs).await;
    // The history of a quiet room is not in memory.
    for target in ["/?after=0", "/quiet?backlog=5"] {
        server.join(target).await.event_of("live").await;
    }
    let lines = server.request("GET", "/", "").await;
    assert!(lines.contains("ana: before\n"), "{lines}");
    assert!(!lines.contains("during"), "{lines}");
    disk.set(ControlField::Delay, 0);
    assert_eq!(ana.event().await["seq"], 2);
}

/// Runs a server that must print one sentence and exit with code 2; returns the
/// sentence.
async fn rejected_start(command: &mut Command) -> String {
    let output = soon("its end", command.output()).await.expect("it runs");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

/// The server under an unprivileged user: root may write to every folder.
fn unprivileged(server: &Path) -> Command {
    let mut command = Command::new(server);
    if getuid().is_root() {
        command.uid(65534).gid(65534);
    }
    command
}

// Verified to fail when the server runs as root.
#[tokio::test]
async fn a_folder_without_write_permission_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let set = |path: &Path, mode| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("a mode");
    };
    set(path, 0o755);
    // A copy that the unprivileged user may read.
    let server = path.join("server");
    std::fs::copy(SERVER, &server).expect("a copy");
    let (empty, full) = (path.join("empty"), path.join("full"));
    std::fs::create_dir(&empty).expect("a folder");
    let mut writer = applier(&full);
    append(&mut writer, &[draft(&room("lobby"), "text", None)]);
    drop(writer);
    let database = full.join("chat.sqlite");
    let before = std::fs::read(&database).expect("a database");
    for file in [&database, &full.join("lock")] {
        set(file, 0o444);
    }
    set(&empty, 0o555);
    set(&full, 0o555);
    set(path, 0o555);
    for data in [&empty, &empty.join("new"), &full, &path.join("new")] {
        let mut command = unprivileged(&server);
        let said = rejected_start(command.args(["--port", "0", "--data"]).arg(data)).await;
        let named = said.contains(&data.display().to_string());
        assert!(named && said.contains("--data"), "{said}");
        assert!(said.contains("Permission denied"), "{said}");
    }
    assert!(
        std::fs::read(&database).expect("kept") == before,
        "as it was"
    );
    // With `--ephemeral` the server needs no folder.
    let mut command = unprivileged(&server);
    let running = ServerProcess::start(command.args(["--port", "0", "--ephemeral"])).await;
    let answer = running.request("GET", "/-/health", "").await;
    assert!(answer.ends_with("ok\n"), "{answer}");
    running.kill().await;
    set(path, 0o755);
}

// Verified to fail without the check of the database's structure.
#[tokio::test]
async fn a_corrupt_database_is_named_and_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let mut writer = applier(&data);
    for n in 0..100 {
        let text = format!("{n} {}", "x".repeat(500));
        append(&mut writer, &[draft(&room("lobby"), &text, None)]);
    }
    drop(writer);
    let path = data.join("chat.sqlite");
    let mut bytes = std::fs::read(&path).expect("a database");
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 200].fill(0x55);
    std::fs::write(&path, &bytes).expect("a file");
    let mut command = Command::new(SERVER);
    command.args(["--port", "0", "--data"]).arg(&data);
    let said = rejected_start(&mut command).await;
    for part in ["chat.sqlite", "damaged", "left as it is", "backup"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(std::fs::read(&path).expect("kept") == bytes, "as it was");

    let mut command = Command::new(SERVER);
    let said = command.args(["check", "--data"]).arg(&data).output().await;
    let said = said.expect("it runs");
    assert_eq!(said.status.code(), Some(2));
    let said = String::from_utf8(said.stderr).expect("UTF-8");
    assert!(said.contains("chat.sqlite"), "{said}");
    let copy = folder.path().join("copy");
    let mut command = Command::new(SERVER);
    command.arg("backup").arg(&copy).arg("--data").arg(&data);
    let failed = soon("its end", command.output()).await.expect("it runs");
    assert_eq!(failed.status.code(), Some(2), "{failed:?}");
    assert!(!copy.exists(), "no copy of a damaged database");
}

// Verified to fail when the copy keeps the epoch, and when an existing file is
// replaced.
#[tokio::test]
async fn a_backup_is_made_while_clients_publish() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let server = TestServer::start_in(&data).await;
    let (mut ana, welcome) = server.json("/?name=ana").await;
    for n in 1..=300_u64 {
        let said = publish(&mut ana, &format!("text {n}"), &n.to_string()).await;
        assert_eq!(said["seq"], n);
    }
    let copy = folder.path().join("copy");
    let backup = |to: &std::path::Path| {
        let mut command = Command::new(SERVER);
        command.arg("backup").arg(to).arg("--data").arg(&data);
        command.kill_on_drop(true);
        command
    };
    let mut command = backup(&copy);
    let mut copying = std::pin::pin!(command.output());
    let mut said = 300;
    let output = loop {
        let id = (said + 1).to_string();
        tokio::select! {
            output = &mut copying => break output.expect("it runs"),
            _ = publish(&mut ana, "more", &id) => said += 1,
        }
    };
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.contains("copy is sound"), "{told}");
    let mode = std::fs::metadata(&copy).expect("a copy").permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    let again = rejected_start(&mut backup(&copy)).await;
    assert!(again.contains("there already"), "{again}");
    let beside = std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(beside, 2, "the data and the copy, and nothing else");

    // A restored backup is another log. It holds all messages up to the backup.
    let restored = folder.path().join("restored");
    std::fs::create_dir(&restored).expect("a folder");
    std::fs::copy(&copy, restored.join("chat.sqlite")).expect("a copy");
    let second = TestServer::start_in(&restored).await;
    let (mut eve, other) = second.json("/?after=0").await;
    assert_ne!(other["epoch"], welcome["epoch"]);
    let head = other["head"].as_u64().expect("a number");
    assert!((300..=said).contains(&head), "{head} of {said}");
    for n in 1..=head {
        let message = eve.event().await;
        assert_eq!(
            (&message["seq"], &message["prev"]),
            (&n.into(), &(n - 1).into())
        );
    }
    assert_eq!(eve.event().await["type"], "live");
    // A client with a position of the first log is told that this log is
    // another.
    let target = format!(
        "/?after=5&epoch={}",
        welcome["epoch"].as_str().expect("one")
    );
    let (mut bob, _) = second.json(&target).await;
    assert_eq!(bob.event().await["reason"], "epoch");
}

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
        lines.contains("* What stood between 1 and 6 is not to be had any more."),
        "{lines}"
    );
    // Numbers continue, and `prev` names the room's last number.
    let said = publish(&mut newcomer, "on", "31").await;
    assert_eq!((&said["seq"], &said["prev"]), (&31.into(), &30.into()));
    let said = publish(&mut eve, "and here", "32").await;
    assert_eq!((&said["seq"], &said["prev"]), (&32.into(), &5.into()));
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
        lines.contains(&format!("What stood between 0 and {next} "))
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
