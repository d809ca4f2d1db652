use std::{fs, os::unix::fs::PermissionsExt};

use broadcast_chat::store::Storage;
use rustix::process::Signal;
use serde_json::json;

use crate::{
    operators::{SECRET, with_operators},
    programs::{Program, folder, server},
    support::{Peer, TestServer, upgraded},
};

const REFUSED: &str = "* This looks like a command with a secret, so it is not published: a command begins with its slash.";

// Verified to fail when the plain format or POST publishes such a text.
#[tokio::test]
async fn a_command_with_a_secret_is_not_published() {
    let server = TestServer::start_with(&Storage::Memory, with_operators()).await;
    let mut ana = server.plain("/?name=ana").await;
    let mut bob = server.plain("/?name=bob").await;
    for text in [
        format!(" /operator {SECRET}"),
        format!("\u{200b}/operator {SECRET}"),
        format!("\u{ff0f}operator {SECRET}"),
        format!("//operator {SECRET}"),
        format!("the log:\n  /operator {SECRET}\nend"),
        " /name ana 0123456789abcdef".to_owned(),
        format!("/me /operator {SECRET}"),
        format!("/msg bob  /operator {SECRET}"),
        format!("/topic /operator {SECRET}"),
    ] {
        assert_eq!(ana.text_after(&text).await, REFUSED, "{text:?}");
    }
    let body = format!(" /operator {SECRET}");
    let answer = server.post("/?name=ana", "", body.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(
        answer.ends_with(&format!("{}\n", &REFUSED[2..])),
        "{answer}"
    );
    ana.say(" an ordinary text").await;
    for peer in [&mut ana, &mut bob] {
        assert_eq!(peer.text().await, "ana:  an ordinary text");
    }
    // A program's JSON is taken as it is.
    let (mut program, _) = server.json("/").await;
    program.event_of("live").await;
    let text = format!(" /operator {SECRET}");
    let echo = json!({"type": "publish", "text": text});
    assert_eq!(program.event_after(&echo).await["text"], text);
}

// Verified to fail when the client sends every line of a pipe.
#[tokio::test]
async fn a_pipe_leaves_out_a_line_with_a_secret() {
    let server = TestServer::start().await;
    let mut reader = server.plain("/").await;
    let mut client = Program::client(server.addr, &["--quiet"]);
    client.type_line("one").await;
    client.type_line(&format!(" /operator {SECRET}")).await;
    client.type_line(" \u{200b}").await;
    client.type_line("two").await;
    assert_eq!(client.exit().await, 1);
    let said = client.stderr_lines().await.join("\n");
    assert!(
        said.contains("line 2 looks like a command with a secret"),
        "{said}"
    );
    for text in ["one", "two"] {
        let line = reader.text().await;
        assert!(line.ends_with(&format!(": {text}")), "{line}");
    }
}

// Verified to fail when wrong secrets are not counted.
#[tokio::test]
async fn wrong_secrets_are_in_the_log_output() {
    let folder = folder();
    let path = folder.path().join("secret");
    fs::write(&path, SECRET).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
    let args = ["--operator-secret-file", path.to_str().expect("UTF-8")];
    let (mut running, addr) = server(folder.path(), &args).await;
    let mut owner: Peer = upgraded(addr, "/", &[]).await;
    owner.text().await;
    let named = owner.text_after("/name ana of-ana-and-long-enough").await;
    assert_eq!(named, "* You are now ana.");
    let mut eve: Peer = upgraded(addr, "/", &[]).await;
    eve.text().await;
    for guess in ["not-of-ana-at-all", "nor-that-one-of-ana"] {
        let refused = eve.text_after(&format!("/name ana {guess}")).await;
        assert!(refused.contains("this is not its secret"), "{refused}");
    }
    let refused = eve.text_after("/operator wrong").await;
    assert_eq!(refused, "* This is not the operators' secret.");
    running.signal(Signal::TERM);
    let said = running.stderr_lines().await;
    let lines: Vec<_> = said
        .iter()
        .filter(|line| line.contains("wrong secret"))
        .collect();
    assert_eq!(lines.len(), 1, "{said:?}");
    let line = "a wrong secret of the name ana came from 127.0.0.1";
    assert!(lines[0].ends_with(line), "{said:?}");
}

#[tokio::test]
async fn a_blank_text_is_refused_and_blank_lines_are_folded() {
    let server = TestServer::start().await;
    let mut ana = server.plain("/?name=ana").await;
    for blank in [
        " ",
        "\t \u{a0}",
        "\u{200b}\u{2060}",
        "\n\n\n",
        "/me \u{3164}",
    ] {
        let refused = ana.text_after(blank).await;
        assert_eq!(refused, "* An empty message says nothing.", "{blank:?}");
    }
    let answer = server.post("/", "", "\u{200b} \n".as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let long = format!("a{}b", "\n".repeat(8000));
    assert_eq!(ana.text_after(&long).await, "ana: a\n  \n  \n  b");
    let answer = server.post("/?name=ana", "", long.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(ana.text().await, "ana: a\n  \n  \n  b");
}
