//! The log on standard error, and what standard output has beside it.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    programs::{SERVER, folder, listening, server},
    support::upgraded,
};

/// Serves one conversation of ana, and stops. Returns her tag, and the lines of
/// both outputs.
async fn one_conversation(folder: &Path, args: &[&str]) -> (String, Vec<String>, Vec<String>) {
    let (mut server, addr) = server(folder, args).await;
    let mut peer = upgraded(addr, "/tea?name=ana", &[]).await;
    peer.text().await;
    let tag = peer.tag();
    peer.send(0x88, &[0x03, 0xe8]).await;
    peer.closed().await;
    server.signal(Signal::TERM);
    assert_eq!(server.exit().await, 0);
    (tag, server.lines().await, server.stderr_lines().await)
}

// Verified to fail when joins are logged at the level of information.
#[tokio::test]
async fn without_a_terminal_joins_are_details() {
    for (args, logged) in [(&[][..], false), (&["-v"], false), (&["-vv"], true)] {
        let folder = folder();
        let (tag, printed, log) = one_conversation(folder.path(), args).await;
        assert_eq!(printed, [""; 0], "{args:?}");
        let log = log.join("\n");
        let joined = format!("joined address={tag} name=ana room=tea");
        let left = format!("left address={tag} name=ana room=tea reason=\"done (1000)\"");
        for line in [joined, left] {
            assert_eq!(log.contains(&line), logged, "{args:?}: {line}: {log}");
        }
        assert_eq!(log.contains(&tag), logged, "{args:?}: {log}");
    }
}

#[tokio::test]
async fn a_log_in_json_has_a_field_for_each_fact() {
    let folder = folder();
    let args = ["-vv", "--log-format", "json"];
    let (tag, _, log) = one_conversation(folder.path(), &args).await;
    let lines: Vec<Value> = log
        .iter()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    for line in &lines {
        assert!(
            line["timestamp"].is_string() && line["level"].is_string(),
            "{line}"
        );
    }
    let left = lines
        .iter()
        .find(|line| line["message"] == "left")
        .expect("a line");
    assert_eq!(left["level"], "DEBUG");
    for (field, value) in [
        ("address", &*tag),
        ("name", "ana"),
        ("room", "tea"),
        ("reason", "done (1000)"),
    ] {
        assert_eq!(left[field], value, "{left}");
    }
}

/// Runs the server with standard error as the journal has it.
const JOURNAL: &str = "JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec \"$@\"";

// Verified to fail when the lines have no priority.
#[tokio::test]
async fn lines_for_the_journal_begin_with_their_priority() {
    for (script, is_journal) in [(JOURNAL, true), ("JOURNAL_STREAM=1:2 exec \"$@\"", false)] {
        for form in ["text", "json"] {
            let folder = folder();
            let mut command = Command::new("sh");
            command
                .current_dir(folder.path())
                .env("CHAT_PROT", "1")
                .args(["-c", script, "sh", SERVER])
                .args(["--port=0", "--ephemeral", "--log-format", form]);
            let (mut server, _) = listening(&mut command).await;
            server.signal(Signal::TERM);
            assert_eq!(server.exit().await, 0);
            let lines = server.stderr_lines().await;
            let warned = lines
                .iter()
                .find(|line| line.contains("CHAT_PROT"))
                .expect("a warning");
            assert_eq!(warned.starts_with("<4>"), is_journal, "{warned}");
            // The journal's readers choose by priority, so it gets more.
            let told = lines.iter().find(|line| line.contains("shutting down"));
            assert_eq!(
                told.is_some_and(|line| line.starts_with("<6>")),
                is_journal,
                "{lines:?}"
            );
        }
    }
}

// Verified to fail when erasures are not logged.
#[tokio::test]
async fn the_acts_of_operators_are_logged() {
    let folder = folder();
    let secret = folder.path().join("secret");
    fs::write(&secret, "the-secret-of-all").expect("a file");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("its mode");
    let (mut server, addr) =
        server(folder.path(), &["-v", "--operator-secret-file", "secret"]).await;
    let headers = [("Sec-WebSocket-Protocol", "chat.v1")];
    let mut ana = upgraded(addr, "/?name=ana", &headers).await;
    ana.event_of("live").await;
    ana.event_after(&json!({"type": "operator", "secret": "the-secret-of-all"}))
        .await;
    let publish = ana
        .event_after(&json!({"type": "publish", "text": "oh"}))
        .await;
    for command in [
        json!({"type": "ban", "who": "eve", "for": "2h", "reason": "much spam"}),
        json!({"type": "ban", "who": "127.0.0.1"}),
        json!({"type": "unban", "who": "eve"}),
        json!({"type": "kick", "who": "eve"}),
        json!({"type": "erase", "seq": publish["seq"]}),
    ] {
        ana.event_after(&command).await;
    }
    server.signal(Signal::TERM);
    assert_eq!(server.exit().await, 0);
    let log = server.stderr_lines().await;
    let acts: Vec<_> = log
        .iter()
        .filter_map(|line| Some(line.split_once("effects: ")?.1))
        .collect();
    let wanted = [
        "ban 2h by=ana target=eve reason=\"much spam\"",
        "unban by=ana target=eve reason=\"\"",
        "kick by=ana target=eve reason=\"\"",
        "erase 1 by=ana room=lobby",
    ];
    assert_eq!(acts, wanted, "{log:#?}");
}
