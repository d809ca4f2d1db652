//! What floods cost: everybody else nothing, and their senders more.

use broadcast_chat::{session::UnfinishedMessages, store::Storage};
use tokio::time::{Duration, Instant};

use crate::{
    limits::limited,
    support::{BINARY, CONTINUATION, FIN, LENGTH_16, MemoryChat, TEXT, TestServer, frame},
};

// Verified to fail when the rest is read to its end.
#[tokio::test(start_paused = true)]
async fn little_is_read_after_a_close_frame() {
    const BUFFER: usize = 4096;
    let chat = MemoryChat::start();
    let (mut peer, ended) = chat.join("eve", BUFFER);
    let start = Instant::now();
    peer.send(FIN | BINARY, b"").await;
    let mut taken = 0;
    while peer.sending.try_write(&[0; 1024]).await {
        taken += 1024;
        assert!(taken <= (64 << 10) + BUFFER, "{taken}");
    }
    assert!(taken >= 64 << 10, "{taken}");
    assert!(start.elapsed() < Duration::from_secs(1));
    ended.await.expect("no panic");
    assert_eq!(peer.closed().await.0, 1003);
}

// Verified to fail without a budget, and when the newest message is cut.
#[tokio::test]
async fn the_oldest_unfinished_messages_make_room_for_honest_ones() {
    const LENGTH: u16 = 50_000;
    const FIT: usize = 4;
    let mut chat = MemoryChat::start();
    let each = usize::from(LENGTH) + (8 << 10) + 100;
    chat.session.unfinished = UnfinishedMessages::with_budget(FIT * each);
    let announced = [
        &[FIN | TEXT, LENGTH_16][..],
        &LENGTH.to_be_bytes(),
        &[0; 4],
        b"x",
    ]
    .concat();
    let start = Instant::now();
    let mut eves = Vec::new();
    for n in 0..10 {
        let (mut eve, _) = chat.join(&format!("eve{n}"), 4096);
        eve.text().await;
        eve.write(&announced).await;
        eves.push(eve);
    }
    let mut closed = eves.drain(..10 - FIT);
    for mut eve in &mut closed {
        assert_eq!(eve.closed().await.0, 4001);
    }
    drop(closed);
    let (mut ana, _) = chat.join("ana", 1 << 16);
    ana.text().await;
    let text = "x".repeat(8000);
    let whole = frame(FIN | TEXT, text.as_bytes());
    ana.write(&whole[..4000]).await;
    assert_eq!(eves[0].closed().await.0, 4001, "the next oldest");
    // Later, the deadline of a message closes them all.
    assert!(start.elapsed() < Duration::from_secs(25));
    ana.write(&whole[4000..]).await;
    assert_eq!(ana.text().await, format!("ana: {text}"));
}

// Verified to fail when a refused body is charged as one.
#[tokio::test]
async fn a_body_that_is_too_long_is_paid_for() {
    let server = TestServer::start_with(&Storage::Memory, limited("1:5")).await;
    let long = vec![b'x'; 100_000];
    for expected in ["HTTP/1.1 413 ", "HTTP/1.1 429 "] {
        let answer = server.post("/", "", &long).await;
        assert!(answer.starts_with(expected), "{answer}");
    }
}

// Verified to fail when the readers do not count.
#[tokio::test]
async fn a_message_to_a_crowd_counts_as_more() {
    for (readers, accepted) in [(1, 25), (100, 18)] {
        let chat = MemoryChat::with(&limited("1:200").hub);
        let mut crowd = Vec::new();
        for n in 1..readers {
            crowd.push(chat.join(&format!("reader{n}"), 1 << 20));
        }
        let (mut eve, _) = chat.join("eve", 1 << 20);
        for (reader, _) in &mut crowd {
            reader.text().await;
        }
        eve.text().await;
        let text = "x".repeat(8000);
        let mut stored = 0;
        while eve.text_after(&text).await.starts_with("eve: ") {
            stored += 1;
        }
        assert_eq!(stored, accepted, "{readers} readers");
    }
}

// Verified to fail when fragments are not counted.
#[tokio::test]
async fn fragments_without_an_end_use_up_the_rate() {
    let chat = MemoryChat::with(&limited("1:1").hub);
    let (mut eve, _) = chat.join("eve", 1 << 16);
    eve.text().await;
    eve.send(TEXT, b"").await;
    eve.write(&frame(CONTINUATION, b"").repeat(600)).await;
    eve.send(FIN | CONTINUATION, b"/members").await;
    let refused = eve.text().await;
    assert!(
        refused.starts_with("* These are too many commands"),
        "{refused}"
    );
}
