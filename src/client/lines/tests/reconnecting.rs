//! Tests of what a person is told of lost connections and of missing messages.

use std::time::Duration;

use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use super::{Input, Source, TestRun};

/// An input whose lines are ready at once. Reading needs no thread, so a paused
/// clock does not move meanwhile.
fn at_once(lines: &str) -> mpsc::Receiver<Vec<Input>> {
    let (sender, receiver) = mpsc::channel(1);
    let lines = (1..).zip(lines.lines());
    let batch = lines.map(|(number, text)| Input::Line {
        number,
        text: text.to_owned(),
    });
    sender.try_send(batch.collect()).expect("there is room");
    receiver
}

#[tokio::test(start_paused = true)]
async fn a_pipe_continues_after_a_reconnect() {
    let left = TestRun::new(Source::Pipe, at_once("a\nb\nc"))
        .run_again(async |host| {
            let (mut server, _) = host.welcome(0).await;
            server.live().await;
            server.take(1, "a").await;
            server.hear_publish("b").await;
            server.hear_publish("c").await;
            host.refuse_next(3);
            server.vanish();
            let (mut server, asked) = host.welcome(2).await;
            assert!(asked.contains("after=1&"), "{asked}");
            server.hear_publish("b").await;
            server.store(2, "b", "x-2").await;
            server.live().await;
            server.take(3, "c").await;
            server.hear_goodbye().await;
        })
        .await;
    assert_eq!(left.outcome, Ok(()));
    assert_eq!(
        left.printed,
        "Welcome to chat! Type a message\nana: a\nana: b\nana: c\n"
    );
    assert_eq!(
        left.complaints,
        "client: offline (the connection was cut off), 2 unsent; trying again\n\
         client: connected again\n\
         client: caught up\n"
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_waits_30_s_after_its_input_ends() {
    let began = Instant::now();
    let (input, receiver) = mpsc::channel(1);
    let left = TestRun::new(Source::Pipe, receiver)
        .run_again(async |host| {
            let (mut server, _) = host.welcome(0).await;
            server.live().await;
            host.refuse_next(usize::MAX);
            server.vanish();
            sleep(Duration::from_secs(3600)).await;
            let line = Input::Line {
                number: 1,
                text: "a".to_owned(),
            };
            input.send(vec![line]).await.expect("it goes on");
            drop(input);
        })
        .await;
    let waited = began.elapsed().as_secs();
    assert!((3629..3632).contains(&waited), "{waited}");
    assert_eq!(
        left.outcome.expect_err("it never came back"),
        "1 line was not stored: the server at test:1 went away (the connection was cut off)"
    );
    assert_eq!(
        left.complaints,
        "client: offline (the connection was cut off), 0 unsent; trying again\n"
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_does_not_wait_after_a_final_refusal() {
    let left = TestRun::new(Source::Pipe, at_once("a"))
        .run_again(async |host| {
            let (mut server, _) = host.welcome(0).await;
            server.hear_publish("a").await;
            server.vanish();
            host.answer(403).await;
        })
        .await;
    assert_eq!(
        left.outcome.expect_err("it is unsent"),
        "1 line was not stored: test:1 answers HTTP 403: it is a private room, a used invitation, a wrong secret or a ban (DidNotSwitchProtocols(403))"
    );
}

#[tokio::test(start_paused = true)]
async fn a_normal_close_with_nothing_unsent_is_no_failure() {
    let (_open, input) = mpsc::channel(1);
    let left = TestRun::new(Source::Pipe, input)
        .run_again(async |host| {
            let (mut server, _) = host.welcome(0).await;
            server.close(1000, "the room is closed").await;
        })
        .await;
    assert_eq!(left.outcome, Ok(()));
    assert_eq!(
        left.complaints,
        "client: the server at test:1 went away (the room is closed)\n"
    );
}

#[tokio::test(start_paused = true)]
async fn a_close_for_good_is_told_as_such() {
    let (_open, input) = mpsc::channel(1);
    let left = TestRun::new(Source::Pipe, input)
        .run_again(async |host| {
            let (mut server, _) = host.welcome(0).await;
            server.close(4502, "spam").await;
        })
        .await;
    assert_eq!(
        left.outcome.expect_err("a ban"),
        "the server at test:1 closed the connection for good (4502: spam)"
    );
}

#[tokio::test(start_paused = true)]
async fn a_hole_is_reported() {
    let left = TestRun::new(Source::Pipe, at_once("a"))
        .run_again(async |host| {
            let (mut server, _) = host.welcome(0).await;
            server.live().await;
            let id = server.hear_publish("a").await;
            server.store(7, "a", &id).await;
            server.hear_goodbye().await;
        })
        .await;
    assert_eq!(left.outcome, Ok(()));
    assert_eq!(
        left.complaints,
        "client: messages between 0 and 7 are missing, and the server does not say why\n"
    );
}
