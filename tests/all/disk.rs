pub(crate) mod bare_store;
mod bit_flips;
pub(crate) mod faulty;
mod files;
mod power_cut;
mod random;
mod retention;

use broadcast_chat::{
    fanout::Applier,
    protocol::Seq,
    store::{self, Storage},
};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::process::Command;

use self::{
    bare_store::{read, room},
    faulty::{
        ControlField, Disk, EIO, ENOSPC, EROFS, ServerProcess, publish, publish_until_stored,
    },
};
use crate::programs::SERVER;

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
        let ready = server.request("GET", "/-/ready", "").await;
        assert!(ready.starts_with("HTTP/1.1 503 "), "{ready}");
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
