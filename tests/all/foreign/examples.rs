//! The example programs of docs/scripts.md, run unchanged except for the address.

use std::{fs, process::Command};

use super::program::{Program, command, output, tool};
use crate::support::{Peer, TestServer};

/// Writes a program of that page to a folder, with this server's address. The file
/// name in its first line selects the program.
fn example(name: &str, server: &TestServer) -> (tempfile::TempDir, std::path::PathBuf) {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/scripts.md");
    let page = fs::read_to_string(page).expect("the page");
    let code = page.split("\n```").find_map(|block| {
        let (_language, code) = block.split_once('\n')?;
        let first = code.lines().next()?;
        first.ends_with(name).then_some(code)
    });
    let code = code.expect(name);
    assert!(code.contains("//127.0.0.1:2000/"), "{code}");
    let code = code.replace("127.0.0.1:2000", &server.addr.to_string());
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name.rsplit('/').next().unwrap_or(name));
    fs::write(&path, code).expect("a file");
    (folder, path)
}

/// Starts a bot, waits until it is in the room, and sends it a command.
async fn bot(
    name: &str,
    mut run: Command,
    asked: &str,
    answer: &str,
) -> (TestServer, Program, String) {
    let server = TestServer::start().await;
    let mut peer = server.plain("/?name=ana").await;
    let (_folder, path) = example(name, &server);
    run.arg(&path);
    let program = Program::start(run);
    while !peer.text_after("/members").await.starts_with("* 2 here") {
        tokio::task::yield_now().await;
    }
    assert_eq!(peer.text_after(asked).await, format!("ana: {asked}"));
    let said = peer.text().await;
    assert!(said.starts_with(answer), "{said}");
    (server, program, said)
}

#[tokio::test]
async fn the_python_bot_of_the_docs_answers() {
    let run = command(tool("python/bin/python"));
    bot("bot.py", run, "!echo /hello", "echo-bot: /hello").await;
}

#[tokio::test]
async fn the_javascript_bot_of_the_docs_answers() {
    bot(
        "bot.mjs",
        command("node"),
        "!echo grüße, 世界",
        "js-bot: grüße, 世界",
    )
    .await;
}

#[tokio::test]
async fn the_shell_bot_of_the_docs_answers() {
    let (_server, _program, said) = bot("bot.sh", command("sh"), "!date", "clock: ").await;
    assert!(
        said.contains(':') && said.len() > "clock: ".len() + 8,
        "{said}"
    );
}

#[tokio::test]
async fn the_cron_alert_of_the_docs_is_published_once() {
    let server = TestServer::start().await;
    let mut peer: Peer = server.plain("/ops").await;
    let (_folder, path) = example("/etc/cron.hourly/disk-alert", &server);
    let run = |limit: &str| {
        let mut run = command("sh");
        run.arg(&path).env("FULL", limit);
        output(run)
    };
    let (ended, said) = run("101").await;
    assert!(
        ended.success() && said.is_empty(),
        "nothing is full: {said}"
    );
    // Two runs within an hour publish one alert.
    for _ in 0..2 {
        let (ended, _) = run("0").await;
        assert!(ended.success());
    }
    let alert = peer.text().await;
    assert!(
        alert.starts_with("cron: ") && alert.contains("% full"),
        "{alert}"
    );
    assert!(
        peer.text_after("that was all")
            .await
            .ends_with(": that was all")
    );
}
