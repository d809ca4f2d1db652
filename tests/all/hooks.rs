//! Hooks: URLs by which programs publish in a room.

use std::{net::SocketAddr, process::Stdio};

use broadcast_chat::{protocol::DEFAULT_TEXT_BYTES, store::Storage};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::tempdir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

use crate::{
    operators::{SECRET, assert_sound, with_operators},
    programs::{folder, server},
    support::{Peer, TestServer, soon, status_and_answer, upgraded},
};

const JSON: &str = "Content-Type: application/json\r\n";
const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

/// The path in a URL.
fn path(url: &str) -> String {
    let (_, path) = url.split_once("//").expect(url);
    path[path.find('/').expect(url)..].to_owned()
}

/// An owner of a name, in the JSON format; an operator if asked for.
async fn owner(server: &TestServer, name: &str, room: &str, operator: bool) -> Peer {
    let (mut peer, _) = server.json(room).await;
    peer.event_of("live").await;
    let secret = format!("the-secret-of-{name}");
    let claim = json!({"type": "name", "name": name, "secret": secret});
    assert_eq!(peer.event_after(&claim).await["type"], "name");
    if operator {
        let proof = json!({"type": "operator", "secret": SECRET});
        assert_eq!(peer.event_after(&proof).await["type"], "notice");
    }
    peer
}

/// Makes a hook; returns the path of its URL.
async fn hook(peer: &mut Peer, name: &str) -> String {
    let made = peer
        .event_after(&json!({"type": "hook", "name": name}))
        .await;
    assert_eq!(
        (&made["type"], &made["name"]),
        (&json!("hook"), &json!(name))
    );
    path(made["url"].as_str().expect("a URL"))
}

/// Posts a body; returns the status and the body of the answer.
async fn post(addr: SocketAddr, path: &str, headers: &str, body: &str) -> (u16, String) {
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    let (status, answer) = status_and_answer(addr, &request).await;
    let (_, said) = answer.split_once("\r\n\r\n").unwrap_or_default();
    (status, said.to_owned())
}

fn ok() -> (u16, String) {
    (200, "ok".to_owned())
}

#[tokio::test]
async fn a_hook_says_what_programs_post() {
    let server = TestServer::start_with(&Storage::Memory, with_operators()).await;
    let mut ana = owner(&server, "ana", "/ops", true).await;
    let hook = hook(&mut ana, "ci").await;
    let (mut reader, _) = server.json("/ops").await;
    reader.event_of("live").await;
    let slack = include_str!("../hooks/slack.json");
    let payload: String = form_urlencoded::Serializer::new(String::new())
        .append_pair("payload", slack)
        .finish();
    let github = |event: &str| format!("{JSON}X-GitHub-Event: {event}\r\n");
    let (push, pull) = (github("push"), github("pull_request"));
    let of_slack = "Build 7 (https://ci.example/7) of *main* failed\n\
                    Unit tests (https://ci.example/7/tests)\n2 of 431 failed\nBranch: main";
    let long = json!({"text": "x".repeat(DEFAULT_TEXT_BYTES + 100)}).to_string();
    for (headers, body, said) in [
        (JSON, slack, of_slack),
        (FORM, &payload, of_slack),
        // curl calls every body a form.
        (FORM, slack, of_slack),
        (
            JSON,
            include_str!("../hooks/discord.json"),
            "❌ Your service web went down. ❌\nService Name: web\n\
             Error: connect ECONNREFUSED 192.0.2.7:443",
        ),
        (
            JSON,
            include_str!("../hooks/grafana.json"),
            "FIRING High memory usage: This alert was triggered for zone us-1 \
             https://grafana.example/alerting/1afz29v7z/edit\n\
             RESOLVED High CPU usage: This alert was triggered for zone eu-1 \
             https://grafana.example/alerting/d1rdpdv7k/edit",
        ),
        (
            &push,
            include_str!("../hooks/github-push.json"),
            "[Codertocat/Hello-World] Codertocat pushed 1 commit to master \
             https://github.com/Codertocat/Hello-World/commit/6113728f27ae82c7b1a177c8d03f9e96e0adf246\n\
             6113728 Initial commit (Codertocat)",
        ),
        (
            &pull,
            include_str!("../hooks/github-pull-request.json"),
            "[Codertocat/Hello-World] Codertocat opened pull request #2: \
             Update the README with new information. \
             https://github.com/Codertocat/Hello-World/pull/2",
        ),
        ("", "disk is full\n", "disk is full"),
        (
            JSON,
            &long,
            &format!("{}…", "x".repeat(DEFAULT_TEXT_BYTES - 3)),
        ),
    ] {
        assert_eq!(
            post(server.addr, &hook, headers, body).await,
            ok(),
            "{body}"
        );
        let message = reader.event_of("message").await;
        assert_eq!(message["text"], said);
        assert_eq!(message["from"]["name"], "ci");
        assert_eq!(message["from"]["unverified"], Value::Null);
    }
    let (status, said) = post(server.addr, &hook, JSON, r#"{"msg":"hi"}"#).await;
    assert_eq!(status, 422, "{said}");
    assert!(said.contains("\"text\", \"attachments\""), "{said}");
    let get = format!("GET {hook} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (status, answer) = status_and_answer(server.addr, &get).await;
    assert!(status == 405 && answer.contains("allow: POST"), "{answer}");
}

// Verified to fail when a notification whose id was taken is refused.
#[tokio::test]
async fn a_hook_stores_a_notification_once_and_refuses_none() {
    let server = TestServer::start_with(&Storage::Memory, with_operators()).await;
    let mut ana = owner(&server, "ana", "/ops", true).await;
    let hook = hook(&mut ana, "alerts").await;
    let (mut reader, _) = server.json("/ops").await;
    reader.event_of("live").await;
    let alerts = |runbook: &str| {
        let alert = json!({
            "status": "firing", "fingerprint": "c0ffee", "startsAt": "2026-11-30T10:00:00Z",
            "labels": {"alertname": "DiskFull"}, "annotations": {"summary": "/ is full"},
            "generatorURL": runbook,
        });
        json!({"version": "4", "alerts": [alert]}).to_string()
    };
    for _ in 0..2 {
        assert_eq!(post(server.addr, &hook, JSON, &alerts("")).await, ok());
    }
    assert_eq!(post(server.addr, &hook, "", "the end").await, ok());
    assert_eq!(
        reader.event_of("message").await["text"],
        "FIRING DiskFull: / is full"
    );
    assert_eq!(reader.event_of("message").await["text"], "the end");
    // A repeat, and an id with other content.
    for text in ["one", "one", "two"] {
        let key = "Idempotency-Key: a\r\n";
        assert_eq!(post(server.addr, &hook, key, text).await, ok());
    }
    assert_eq!(reader.event_of("message").await["text"], "one");
    assert_eq!(reader.event_of("message").await["text"], "two");
}

// Verified to fail when every user may make hooks, and when the name of a hook
// stays free.
#[tokio::test]
async fn only_managers_make_hooks_and_nobody_takes_their_names() {
    let server = TestServer::start_with(&Storage::Memory, with_operators()).await;
    let mut ana = owner(&server, "ana", "/ops", true).await;
    let mut bob = owner(&server, "bob", "/ops", false).await;
    let ask = |command: &str, name: &str| json!({"type": command, "name": name});
    for refused in [
        bob.event_after(&ask("hook", "ci")).await,
        bob.event_after(&json!({"type": "hooks"})).await,
        bob.event_after(&ask("unhook", "ci")).await,
    ] {
        assert_eq!(refused["code"], "not_allowed", "{refused}");
    }
    let taken = ana.event_after(&ask("hook", "bob")).await;
    assert_eq!(taken["code"], "name_taken", "{taken}");
    let first = hook(&mut ana, "CI").await;
    for command in [
        json!({"type": "name", "name": "ci", "secret": "a-guess-of-the-secret"}),
        ask("name", "ci"),
    ] {
        let taken = bob.event_after(&command).await;
        assert_eq!(taken["code"], "name_taken", "{taken}");
    }
    let (status, _) = post(server.addr, "/ops?name=ci", "", "hi").await;
    assert_eq!(status, 401);
    let listed = ana.event_after(&json!({"type": "hooks"})).await;
    assert_eq!(
        listed,
        json!({"type": "hooks", "hooks": [{"name": "CI", "room": "ops", "by": "ana"}]})
    );
    // Another URL ends the one before.
    let second = hook(&mut ana, "ci").await;
    assert_eq!(post(server.addr, &first, "", "hi").await.0, 404);
    assert_eq!(post(server.addr, &second, "", "hi").await, ok());
    ana.event_of("message").await;
    // An operator has one name speak in two rooms.
    ana.event_after(&json!({"type": "join", "room": "tea"}))
        .await;
    ana.event_of("live").await;
    let tea = hook(&mut ana, "ci").await;
    let ended = ana.event_after(&ask("unhook", "ci")).await;
    assert_eq!(ended["type"], "notice", "{ended}");
    assert_eq!(post(server.addr, &tea, "", "hi").await.0, 404);
    assert_eq!(post(server.addr, &second, "", "hi").await, ok());
    let none = ana.event_after(&ask("unhook", "ci")).await;
    assert_eq!(none["code"], "not_here", "{none}");
    ana.event_after(&json!({"type": "join", "room": "ops"}))
        .await;
    ana.event_of("live").await;
    // A muted name says nothing by its hook.
    ana.event_after(&json!({"type": "mute", "who": "ci"})).await;
    assert_eq!(post(server.addr, &second, "", "hi").await.0, 403);
    ana.event_after(&json!({"type": "unmute", "who": "ci"}))
        .await;
    let ended = ana.event_after(&ask("unhook", "ci")).await;
    assert_eq!(ended["type"], "notice", "{ended}");
    bob.say(&ask("name", "ci").to_string()).await;
    assert_eq!(bob.event_of("name").await["name"], "ci");
}

// Verified to fail when a hook of a private room may not publish there, and when
// it outlives the private room.
#[tokio::test]
async fn a_hook_of_a_private_room_ends_with_it() {
    let folder = tempdir().expect("a folder");
    let storage = Storage::Folder(folder.path().to_owned());
    let server = TestServer::start_with(&storage, with_operators()).await;
    let mut bob = owner(&server, "bob", "/den", false).await;
    let access = |private: bool| json!({"type": "access", "private": private});
    assert_eq!(bob.event_after(&access(true)).await["type"], "notice");
    let den = hook(&mut bob, "den-bot").await;
    assert_eq!(post(server.addr, &den, "", "hi").await, ok());
    assert_eq!(bob.event_of("message").await["text"], "hi");
    server.stop().await;

    let server = TestServer::start_with(&storage, with_operators()).await;
    let mut bob = server
        .peer(
            "/den?name=bob",
            &[
                ("Authorization", "Bearer the-secret-of-bob"),
                ("Sec-WebSocket-Protocol", "chat.v1"),
            ],
        )
        .await;
    bob.event_of("live").await;
    assert_eq!(post(server.addr, &den, "", "again").await, ok());
    assert_eq!(bob.event_of("message").await["text"], "again");
    assert_eq!(bob.event_after(&access(false)).await["type"], "notice");
    assert_eq!(post(server.addr, &den, "", "hi").await.0, 404);
    let claimed = bob
        .event_after(&json!({"type": "name", "name": "den-bot"}))
        .await;
    assert_eq!(claimed["type"], "name", "{claimed}");
    server.stop().await;
    assert_sound(folder.path());
}

/// Starts Alertmanager with a configuration; returns it and its port.
async fn alertmanager(folder: &std::path::Path, config: &str) -> (tokio::process::Child, u16) {
    let file = folder.join("alertmanager.yml");
    std::fs::write(&file, config).expect("a file");
    let mut command = Command::new("prometheus-alertmanager");
    command
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.path={}", folder.join("data").display()))
        .args([
            "--web.listen-address=127.0.0.1:0",
            "--cluster.listen-address=",
        ])
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut program = command.spawn().expect("./check tools installs it");
    let said = program.stderr.take().expect("piped");
    let mut said = BufReader::new(said).lines();
    let port = soon("the port of Alertmanager", async {
        loop {
            let line = said.next_line().await.expect("UTF-8").expect("a line");
            if let Some((_, port)) = line.split_once("address=127.0.0.1:")
                && let Ok(port) = port.trim().parse::<u16>()
                && port > 0
            {
                return port;
            }
        }
    })
    .await;
    // Its log must not fill the pipe.
    tokio::spawn(async move { while let Ok(Some(_)) = said.next_line().await {} });
    (program, port)
}

// Verified to fail when a hook answers with 500: Alertmanager counts that.
#[tokio::test]
async fn alertmanager_tells_a_room_of_its_alerts() {
    let server = TestServer::start_with(&Storage::Memory, with_operators()).await;
    let mut ana = owner(&server, "ana", "/ops", true).await;
    let hook = hook(&mut ana, "alerts").await;
    let folder = tempdir().expect("a folder");
    let url = format!("http://{}{hook}", server.addr);
    let config = format!(
        "route: {{receiver: chat, group_by: [alertname], group_wait: 1ms, group_interval: 1ms}}\n\
         receivers:\n- name: chat\n  webhook_configs: [{{url: '{url}'}}]\n\
         \x20 slack_configs: [{{api_url: '{url}', channel: '#ops', text: 'by Slack: {{{{ .CommonAnnotations.summary }}}}'}}]\n"
    );
    let (_program, port) = alertmanager(folder.path(), &config).await;
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    let alert = json!([{
        "labels": {"alertname": "DiskFull", "severity": "page"},
        "annotations": {"summary": "/ is full"},
        "generatorURL": "http://prometheus.example/graph",
    }]);
    let (status, said) = post(addr, "/api/v2/alerts", JSON, &alert.to_string()).await;
    assert_eq!(status, 200, "{said}");
    let mut said = Vec::new();
    for _ in 0..2 {
        let message = ana.event_of("message").await;
        assert_eq!(message["from"]["name"], "alerts");
        said.push(message["text"].as_str().expect("a text").to_owned());
    }
    said.sort_unstable_by_key(|text| text.contains("by Slack"));
    assert_eq!(
        said[0],
        "FIRING DiskFull: / is full http://prometheus.example/graph"
    );
    assert!(said[1].contains("by Slack: / is full"), "{}", said[1]);
    // It counts a notification only after the answer.
    let metrics = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let counted = |integration: &str, failed: &str, count: u8| {
        format!("alertmanager_notifications{failed}_total{{integration=\"{integration}\"}} {count}")
    };
    soon("the count of both notifications", async {
        loop {
            let (_, metrics) = status_and_answer(addr, metrics).await;
            let done = |name: &str| metrics.contains(&counted(name, "", 1));
            if done("webhook") && done("slack") {
                for name in ["webhook", "slack"] {
                    assert!(metrics.contains(&counted(name, "_failed", 0)), "{metrics}");
                }
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

// Verified to fail when the door asks a hook for a name.
#[tokio::test]
async fn a_hook_needs_no_name_where_others_do() {
    let folder = folder();
    let (mut program, addr) = server(folder.path(), &["--access", "invite"]).await;
    let mut url = program.line().await;
    while !url.contains("#invite=") {
        url = program.line().await;
    }
    let (_, token) = url.split_once("#invite=").expect("a token");
    let headers = format!(
        "Authorization: Bearer the-secret-of-ana\r\nChat-Invite: {}\r\n",
        token.trim()
    );
    assert_eq!(post(addr, "/?name=ana", &headers, "hi").await.0, 200);
    let headers = [
        ("Authorization", "Bearer the-secret-of-ana"),
        ("Sec-WebSocket-Protocol", "chat.v1"),
    ];
    let mut ana = upgraded(addr, "/ops?name=ana", &headers).await;
    ana.event_of("live").await;
    let hook = hook(&mut ana, "ci").await;
    assert_eq!(post(addr, "/ops?name=eve", "", "hi").await.0, 401);
    assert_eq!(post(addr, &hook, "", "built").await, ok());
    assert_eq!(ana.event_of("message").await["text"], "built");
    // A wrong token is counted as any wrong secret is.
    let wrong = "/-/hook/0123456789abcdefghijkl";
    for _ in 0..10 {
        assert_eq!(post(addr, wrong, "", "hi").await.0, 404);
    }
    assert_eq!(post(addr, wrong, "", "hi").await.0, 429);
    program.signal(Signal::TERM);
    assert_eq!(program.exit().await, 0);
}
