//! Tests of delivery: which lines of the input are stored, and when the client
//! ends.

use serde_json::json;
use tokio::sync::mpsc;

use super::{Source, TestRun};

#[tokio::test]
async fn a_pipe_waits_for_every_receipt() {
    let left = TestRun::pipe("a\n\n/name b\n")
        .run(async |server| {
            server.live().await;
            assert_eq!(server.hear_publish("a").await, "x");
            assert_eq!(server.hear_publish("/name b").await, "x-3");
            server.hear_nothing().await;
            server.store(1, "a", "x").await;
            server.hear_nothing().await;
            let accepted = json!({"type": "accepted", "id": "x-3", "seq": 9, "duplicate": true});
            server.say(accepted).await;
            server.hear_goodbye().await;
        })
        .await;
    assert_eq!(left.outcome, Ok(()));
    assert_eq!(left.printed, "Welcome to chat! Type a message\nana: a\n");
    assert_eq!(left.complaints, "");
}

#[tokio::test]
async fn an_empty_pipe_prints_the_replay() {
    let left = TestRun::pipe("")
        .run(async |server| {
            server.store(1, "a\nb", "other-1").await;
            server.hear_nothing().await;
            server.store(2, "c", "other-2").await;
            server.live().await;
            server.hear_goodbye().await;
        })
        .await;
    assert_eq!(left.outcome, Ok(()));
    let lines = "Welcome to chat! Type a message\nana: a\n  b\nana: c\n";
    assert_eq!(left.printed, lines);
}

#[tokio::test]
async fn a_quiet_pipe_waits_for_no_replay() {
    let mut setting = TestRun::pipe("a");
    setting.options.quiet = true;
    let left = setting
        .run(async |server| {
            server.hear_publish("a").await;
            server.store(1, "a", "x").await;
            server.hear_goodbye().await;
        })
        .await;
    assert_eq!(left.outcome, Ok(()));
    assert_eq!(left.printed, "");
}

#[tokio::test]
async fn lines_unconfirmed_by_a_lost_server_are_counted() {
    let left = TestRun::pipe("a\nb\nc\n")
        .run(async |server| {
            server.hear_publish("a").await;
            server.hear_publish("b").await;
            server.store(1, "a", "x").await;
            server.close(1001, "back\u{1b}soon").await;
        })
        .await;
    assert_eq!(
        left.outcome.expect_err("two are missing"),
        "2 lines were not stored: the server at test:1 went away (1001: back\u{fffd}soon)"
    );
}

#[tokio::test]
async fn a_connection_cut_off_is_a_failure() {
    let (_open, input) = mpsc::channel(1);
    let left = TestRun::new(Source::Pipe, input)
        .run(async |server| {
            server.live().await;
            server.vanish();
        })
        .await;
    assert_eq!(
        left.outcome.expect_err("it has gone"),
        "the server at test:1 went away (the connection was cut off)"
    );
}

#[tokio::test]
async fn refused_lines_are_reported_by_number() {
    let left = TestRun::pipe("a\n123456789\nb\nc")
        .run(async |server| {
            server.live().await;
            // The client has sent no message with this id yet.
            let known = json!({"type": "refused", "code": "empty", "text": "Not now.", "id": "x"});
            server.say(known).await;
            assert_eq!(server.hear_publish("a").await, "x");
            assert_eq!(server.hear_publish("b").await, "x-3");
            assert_eq!(server.hear_publish("c").await, "x-4");
            let known = json!({"type": "refused", "code": "empty", "text": "Not now.", "id": "x"});
            server.say(known).await;
            let new = json!({"type": "refused", "code": "tired", "text": "Zzz\n.", "id": "x-4"});
            server.say(new).await;
            server.store(1, "b", "x-3").await;
            server.hear_goodbye().await;
        })
        .await;
    assert_eq!(
        left.outcome.expect_err("three are missing"),
        "3 lines were not stored"
    );
    assert_eq!(
        left.complaints,
        "client: line 2 has more than 8 bytes and was not sent\n\
         client: line 1 was not stored: Not now.\n\
         client: line 4 was not stored: Zzz .\n"
    );
}

#[tokio::test]
async fn at_most_1000_messages_are_in_flight() {
    let lines: Vec<String> = (1..=1500).map(|n| n.to_string()).collect();
    let left = TestRun::pipe(&lines.join("\n"))
        .run(async |server| {
            server.live().await;
            let mut ids = Vec::new();
            for line in &lines[..1000] {
                ids.push(server.hear_publish(line).await);
            }
            server.hear_nothing().await;
            server.store(1, "1", &ids[0]).await;
            ids.push(server.hear_publish(&lines[1000]).await);
            server.hear_nothing().await;
            for ((seq, id), line) in (1..).zip(&ids).zip(&lines) {
                server.store(seq, line, id).await;
            }
            for (seq, line) in (2000..).zip(&lines[1001..]) {
                let id = server.hear_publish(line).await;
                server.store(seq, line, &id).await;
            }
            server.hear_goodbye().await;
        })
        .await;
    assert_eq!(left.outcome, Ok(()));
}

#[tokio::test]
async fn neither_direction_waits_for_the_other() {
    let lines: Vec<String> = (1..=500).map(|n| n.to_string()).collect();
    let mut setting = TestRun::pipe(&lines.join("\n"));
    // The buffer is far smaller than the text of either side.
    setting.buffer = 512;
    let left = setting
        .run(async |server| {
            for seq in 1..2000 {
                server.store(seq, "noise", "other").await;
            }
            server.live().await;
            for (seq, line) in (2000..).zip(&lines) {
                let id = server.hear_publish(line).await;
                server.store(seq, line, &id).await;
            }
            server.hear_goodbye().await;
        })
        .await;
    assert_eq!(left.outcome, Ok(()));
    assert_eq!(left.printed.lines().count(), 1 + 1999 + 500);
}

#[tokio::test]
async fn an_interruption_with_everything_stored_succeeds() {
    let (_open, input) = mpsc::channel(1);
    let setting = TestRun::new(Source::Pipe, input);
    let stop = setting.stop.clone();
    let left = setting
        .run(async |server| {
            server.live().await;
            stop.cancel();
            server.hear_goodbye().await;
        })
        .await;
    assert_eq!(left.outcome, Ok(()));
}

#[tokio::test]
async fn an_interruption_counts_the_lines_left() {
    let lines = "x\n".repeat(1500);
    let setting = TestRun::pipe(&lines);
    let stop = setting.stop.clone();
    let left = setting
        .run(async |server| {
            let mut ids = Vec::new();
            for _ in 0..1000 {
                ids.push(server.hear_publish("x").await);
            }
            stop.cancel();
            for (seq, id) in (1..).zip(&ids) {
                server.store(seq, "x", id).await;
            }
            server.hear_goodbye().await;
        })
        .await;
    assert_eq!(
        left.outcome.expect_err("500 are missing"),
        "500 lines were not stored: interrupted before the server at test:1 had confirmed them"
    );
}
