//! The store's files: their permissions, a damaged database, and backups.

use std::{ops::RangeInclusive, os::unix::fs::PermissionsExt, path::Path};

use broadcast_chat::store::{self, BackupTarget};
use rustix::process::getuid;
use serde_json::json;
use tokio::process::Command;

use super::{
    bare_store::{append, applier, draft, room},
    faulty::{ServerProcess, publish},
};
use crate::{
    programs::{SERVER, rejected_start},
    support::{Peer, TestServer, soon, upgraded},
};

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
}

/// Starts a server on a backup of a folder.
async fn restore(data: &Path, restored: &Path) -> TestServer {
    std::fs::create_dir(restored).expect("a folder");
    let target = BackupTarget::File(restored.join("chat.sqlite"));
    store::backup(data, target, false, |_| {}).expect("a backup");
    TestServer::start_in(restored).await
}

// Verified to fail when the copy forgets the epoch of the original.
#[tokio::test]
async fn a_restored_log_resumes_positions_of_its_originals() {
    let folder = tempfile::tempdir().expect("a folder");
    let [data, second, third] = ["1", "2", "3"].map(|name| folder.path().join(name));
    let say = async |ana: &mut Peer, numbers: RangeInclusive<u64>| {
        for n in numbers {
            assert_eq!(publish(ana, "text", &n.to_string()).await["seq"], n);
        }
    };
    let original = TestServer::start_in(&data).await;
    let (mut ana, first) = original.json("/?name=ana").await;
    let secret = [
        ("Authorization", "Bearer the-secret-of-bob"),
        ("Sec-WebSocket-Protocol", "chat.v1"),
    ];
    drop(upgraded(original.addr, "/?name=bob", &secret).await);
    say(&mut ana, 1..=10).await;
    let server = restore(&data, &second).await;
    // The original goes on, and so does the copy.
    say(&mut ana, 11..=12).await;
    let (mut ana, other) = server.json("/?name=ana").await;
    say(&mut ana, 11..=20).await;
    let server = restore(&second, &third).await;
    let (_, last) = server.json("/").await;
    // The log and number of a position; the number after which the replay
    // begins; the gap before it.
    for (log, after, begins, gap) in [
        (&first, 5, 5, None),
        (&first, 10, 10, None),
        (
            &first,
            12,
            10,
            Some(json!({"type": "gap", "after": 12, "next": 11, "reason": "epoch"})),
        ),
        (&other, 15, 15, None),
        (&other, 20, 20, None),
    ] {
        let epoch = log["epoch"].as_str().expect("an epoch");
        let (mut eve, welcome) = server.json(&format!("/?after={after}&epoch={epoch}")).await;
        assert_eq!(welcome["epoch"], last["epoch"]);
        assert_eq!(welcome["after"], begins, "{after} of {epoch}");
        if let Some(gap) = gap {
            assert_eq!(eve.event().await, gap);
        }
        for n in begins + 1..=20 {
            assert_eq!(eve.event().await["seq"], n, "{after} of {epoch}");
        }
        assert_eq!(eve.event().await["type"], "live");
    }
    // The same holds for a position in an inbox.
    let epoch = first["epoch"].as_str().expect("an epoch");
    let target = format!("/?name=bob&inbox=12&after=12&epoch={epoch}");
    let mut bob = upgraded(server.addr, &target, &secret).await;
    assert_eq!(bob.event().await["inbox"], 10);
}
