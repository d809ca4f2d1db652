use std::{collections::BTreeSet, process::Stdio};

use broadcast_chat::store::{self, BackupTarget, Storage};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, process::Command};

use crate::{
    generated::statuses,
    limits::limited,
    support::{CLOSE, FIN, MemoryChat, PING, PONG, TEXT, TestServer, options, soon},
};

/// The value of a metric in the text of `/-/metrics`.
pub(crate) fn figure(text: &str, name: &str) -> Option<f64> {
    let line = text
        .lines()
        .find(|line| line.split(' ').next() == Some(name))?;
    line.split(' ').nth(1)?.parse().ok()
}

/// The metrics of a chat without a server.
async fn text(chat: &MemoryChat) -> String {
    chat.hub.metrics().text(chat.hub.gauges().await)
}

pub(crate) async fn metrics(server: &TestServer) -> String {
    let request = b"GET /-/metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    server.request(request).await
}

/// Waits until a metric has a value. Some are counted only after peers see the
/// effect.
async fn until(server: &TestServer, name: &str, value: f64) {
    soon(name, async {
        while figure(&metrics(server).await, name) != Some(value) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn metrics_count_messages_refusals_and_connections() {
    let server = TestServer::start().await;
    let (mut ana, _) = server.json("/ops").await;
    let mut bob = server.plain("/ops").await;
    for (text, id, answer) in [
        ("one", "a", "message"),
        ("two", "b", "message"),
        ("two", "b", "accepted"),
    ] {
        let publish = json!({"type": "publish", "text": text, "id": id});
        ana.send(FIN | TEXT, publish.to_string().as_bytes()).await;
        ana.event_of(answer).await;
    }
    for _ in 0..2 {
        bob.text().await;
    }
    // The last messages are in memory: no page is read from the store.
    let mut back = server.plain("/ops?after=0").await;
    for _ in 0..2 {
        back.text().await;
    }
    ana.send(FIN | TEXT, b"no JSON").await;
    ana.event_of("refused").await;
    ana.send(FIN | CLOSE, &1000_u16.to_be_bytes()).await;
    ana.closed().await;
    drop(ana);

    for (name, value) in [
        ("chat_messages_stored_total", 2.0),
        ("chat_messages_duplicate_total", 1.0),
        ("chat_stored_bytes_total", 6.0),
        ("chat_messages_delivered_total", 6.0),
        ("chat_pages_read_total", 0.0),
        ("chat_batch_messages_sum", 3.0),
        (r#"chat_refusals_total{code="bad_json"}"#, 1.0),
        (r#"chat_closes_total{code="1000"}"#, 1.0),
        ("chat_rooms", 1.0),
        // Bob's, the one that resumed, and the one that asks for metrics.
        ("chat_connections", 3.0),
        ("chat_subscribers_catching_up", 0.0),
        ("chat_unsent_bytes", 0.0),
        ("chat_unindexed_messages", 0.0),
        ("chat_oldest_seq", 1.0),
    ] {
        until(&server, name, value).await;
    }
    let answer = metrics(&server).await;
    assert!(answer.contains("\r\ncontent-type: text/plain; version=0.0.4;"));
    assert!(figure(&answer, "chat_commit_seconds_sum") > Some(0.0));
    assert!(figure(&answer, "chat_delivery_seconds_count") >= Some(1.0));
    assert!(figure(&answer, "chat_delivered_bytes_total") > Some(100.0));
    drop((bob, back));
    server.stop().await;
}

/// Unreadable requests and refused connections count too.
#[tokio::test]
async fn metrics_count_every_http_response() {
    let mut options = options();
    options.hub.capacity.connections = 2;
    let server = TestServer::start_with(&Storage::Memory, options).await;
    let first = server.plain("/").await;
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(10_000));
    for request in [
        "GET\r\n\r\n",
        &long,
        "GET /-/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    ] {
        server.request(request.as_bytes()).await;
    }
    let second = server.plain("/").await;
    let full = server.request(b"").await;
    assert!(full.starts_with("HTTP/1.1 503 "), "{full}");
    drop((first, second));
    for (status, count) in [(101, 2.0), (400, 1.0), (404, 1.0), (431, 1.0), (503, 1.0)] {
        let name = format!(r#"chat_http_answers_total{{status="{status}"}}"#);
        until(&server, &name, count).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn metrics_show_a_reader_that_is_behind() {
    let chat = MemoryChat::start();
    let (mut slow, _) = chat.join("slow", 64);
    let (mut ana, _) = chat.join("ana", 1 << 16);
    ana.text().await;
    for n in 0..20 {
        ana.say(&n.to_string()).await;
        ana.text().await;
    }
    let behind = |text: &str| {
        (
            figure(text, "chat_subscribers_catching_up"),
            figure(text, "chat_behind_messages"),
        )
    };
    let (count, messages) = behind(&text(&chat).await);
    assert_eq!(count, Some(1.0));
    assert!(messages > Some(10.0), "{messages:?}");
    let other = async |name: &str| figure(&text(&chat).await, name);
    // This chat runs no indexer.
    assert_eq!(other("chat_unindexed_messages").await, Some(20.0));
    // At most the rest of one frame, `ana: 19` at the longest.
    let rest = other("chat_unsent_bytes").await.expect("a figure");
    assert!(rest < 9.0, "{rest}");
    slow.send(FIN | PING, b"here?").await;
    soon("the pong waits", async {
        while other("chat_unsent_bytes").await != Some(rest + 7.0) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let (mut said, mut pongs) = (Vec::new(), 0);
    while said.len() < 21 {
        let frame = slow.next().await.expect("a frame");
        match frame.opcode {
            PONG => pongs += 1,
            _ => said.push(String::from_utf8(frame.payload).expect("UTF-8")),
        }
    }
    assert_eq!(pongs, 1);
    for (n, text) in said[1..].iter().enumerate() {
        assert_eq!(*text, format!("ana: {n}"));
    }
    assert_eq!(other("chat_unsent_bytes").await, Some(0.0));
    soon("it is live again", async {
        while behind(&text(&chat).await) != (Some(0.0), Some(0.0)) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_hub_is_ready_until_it_drains() {
    let mut chat = MemoryChat::start();
    assert!(chat.hub.is_ready());
    chat.end().await;
    assert!(!chat.hub.is_ready());
}

/// Has `promtool` read a text on its standard input; returns what it found.
async fn promtool(args: &[&str], input: &str) -> std::process::Output {
    let mut command = Command::new("promtool");
    command.args(args).kill_on_drop(true).stdin(Stdio::piped());
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = command.spawn().expect("./check tools installs it");
    let mut stdin = running.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).await.expect("it reads");
    drop(stdin);
    running.wait_with_output().await.expect("its end")
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").expect("a head").1
}

/// The names of all samples.
fn names(text: &str) -> BTreeSet<&str> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect()
}

// Verified to fail when a unit stands in the text, and when a counter's help
// lacks its `_total`.
#[tokio::test]
async fn promtool_accepts_the_metrics_and_the_alert_rules() {
    let server = TestServer::start().await;
    let answer = metrics(&server).await;
    let checked = promtool(&["check", "metrics"], body(&answer)).await;
    assert!(checked.status.success(), "{checked:?}");
    assert_eq!(String::from_utf8_lossy(&checked.stderr), "");
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/monitoring/alerts.yml");
    let checked = promtool(&["check", "rules", rules], "").await;
    assert!(checked.status.success(), "{checked:?}");
    // OpenMetrics is for those that ask for it.
    let request = "GET /-/metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                   Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n\r\n";
    let answer = server.request(request.as_bytes()).await;
    assert!(answer.contains("\r\ncontent-type: application/openmetrics-text; version=1.0.0;"));
    assert!(answer.ends_with("# EOF\n"), "{answer}");
    server.stop().await;
}

// Verified to fail when a rule or a panel names a metric that does not exist.
#[tokio::test]
async fn every_metric_of_rules_and_panels_exists() {
    let server = TestServer::start().await;
    let answer = metrics(&server).await;
    let known = names(body(&answer));
    let rules = include_str!("../../docs/monitoring/alerts.yml");
    let board: Value = serde_json::from_str(include_str!("../../docs/monitoring/dashboard.json"))
        .expect("a dashboard");
    let panels = board["panels"].as_array().expect("panels");
    let exprs = panels.iter().flat_map(|panel| {
        let targets = panel["targets"].as_array().expect("targets");
        targets
            .iter()
            .map(|it| it["expr"].as_str().expect("a query"))
    });
    let exprs: Vec<_> = exprs.collect();
    assert!(exprs.len() > 20);
    let is_part = |c: char| c == '_' || c.is_ascii_alphanumeric();
    let mut named = BTreeSet::new();
    for text in exprs.iter().copied().chain([rules]) {
        let words = text.split(|c| !is_part(c));
        named.extend(words.filter(|it| it.starts_with("chat_") || it.starts_with("process_")));
    }
    assert!(named.len() > 25, "{named:?}");
    let unknown: Vec<_> = named.difference(&known).collect();
    assert_eq!(unknown, [&""; 0]);
    server.stop().await;
}

// Verified to fail when no counter has its labels from the start on.
#[tokio::test]
async fn labelled_counters_are_there_from_the_start() {
    let server = TestServer::start().await;
    let text = metrics(&server).await;
    for (name, label, source) in [
        ("chat_refusals_total", "code", "codes"),
        ("chat_closes_total", "code", "close codes"),
    ] {
        let page = include_str!("../../docs/protocol.md");
        let (_, rest) = page
            .split_once(&format!("<!-- {source}: made"))
            .expect("a table");
        let (table, _) = rest
            .split_once(&format!("<!-- end of {source}"))
            .expect("its end");
        let cells = table.lines().filter_map(|row| row.split('|').nth(1));
        let codes = cells.map(|cell| cell.trim().trim_matches('`'));
        let codes: Vec<_> = codes
            .filter(|code| *code != "code" && !code.starts_with('-'))
            .collect();
        assert!(codes.len() > 10, "{codes:?}");
        for code in codes {
            let sample = format!("{name}{{{label}=\"{code}\"}}");
            assert_eq!(figure(&text, &sample), Some(0.0), "{sample}");
        }
    }
    for status in statuses::documented().difference(&BTreeSet::from([100])) {
        let sample = format!("chat_http_answers_total{{status=\"{status}\"}}");
        assert!(figure(&text, &sample).is_some(), "{sample}");
    }
    let version = env!("CARGO_PKG_VERSION");
    let build = format!("chat_build_info{{version=\"{version}\"}}");
    assert_eq!(figure(&text, &build), Some(1.0));
    server.stop().await;
}

// Verified to fail when the times are not observed.
#[tokio::test]
async fn metrics_show_the_files_people_and_times() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start_in(folder.path()).await;
    let (mut ana, _) = server.json("/tea?name=ana").await;
    ana.event_of("live").await;
    ana.event_after(&json!({"type": "publish", "text": "green tea"}))
        .await;
    ana.say(&json!({"type": "search", "query": "tea"}).to_string())
        .await;
    ana.event_of("page").await;
    let text = metrics(&server).await;
    for (name, least, most) in [
        ("chat_ready", 1.0, 1.0),
        ("chat_people", 1.0, 1.0),
        ("chat_newest_seq", 1.0, 1.0),
        ("chat_search_seconds_count", 1.0, 1.0),
        ("chat_catching_up_seconds_count", 1.0, 9.0),
        ("chat_store_bytes", 4096.0, 1e7),
        ("chat_write_ahead_log_bytes", 4096.0, 1e7),
        ("chat_index_bytes", 4096.0, 1e7),
        ("chat_free_bytes", 1.0, f64::MAX),
        ("chat_last_backup_timestamp_seconds", 0.0, 0.0),
        ("chat_certificate_expiry_timestamp_seconds", 0.0, 0.0),
        ("process_resident_memory_bytes", 1e6, 1e12),
        ("process_open_fds", 5.0, 1e6),
        ("process_cpu_seconds_total", 0.0, 1e6),
        ("process_start_time_seconds", 1.6e9, 1e11),
    ] {
        let found = figure(&text, name).unwrap_or(f64::NAN);
        assert!((least..=most).contains(&found), "{name}: {found}");
    }
    let target = BackupTarget::File(folder.path().join("copy"));
    store::backup(folder.path(), target, false, |_| {}).expect("a backup");
    let text = metrics(&server).await;
    assert!(figure(&text, "chat_last_backup_timestamp_seconds") > Some(1.6e9));
    server.stop().await;
}

// Verified to fail when only health is exempt.
#[tokio::test]
async fn probes_and_metrics_are_outside_all_rates() {
    let server = TestServer::start_with(&Storage::Memory, limited("1:1")).await;
    let get = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    soon("a refusal", async {
        while !server.request(get).await.starts_with("HTTP/1.1 429 ") {}
    })
    .await;
    for path in ["health", "ready", "metrics"] {
        let request = format!("GET /-/{path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        for _ in 0..10 {
            let answer = server.request(request.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        }
    }
    server.stop().await;
}
