//! Most tests run on a paused clock: time passes only when no task can run.

mod request;

use std::time::Duration;

use broadcast_chat::{
    fanout::Socket,
    protocol::{Seq, format::Format, name::RoomName},
};
use tokio::{
    io::AsyncWriteExt,
    time::{Instant, advance, pause, resume, sleep, timeout},
};

use crate::support::{
    BINARY, CLOSE, CONTINUATION, FIN, MASKED, MemoryChat, MemoryPeer, PING, PONG, TEXT, frame,
    peer, soon,
};

const SECOND: Duration = Duration::from_secs(1);

/// Publishes `count` long messages and waits for their echoes.
async fn say_much(ana: &mut MemoryPeer, count: usize) {
    for n in 0..count {
        ana.say(&much(n)).await;
        assert_eq!(ana.text().await, format!("ana: {}", much(n)));
    }
}

fn much(n: usize) -> String {
    format!("{n} {}", "x".repeat(8000))
}

/// Starts a chat with 50 long messages, and a slow peer that holds 4 KiB and
/// has read nothing. Pauses the clock.
async fn one_that_does_not_read() -> (
    MemoryChat,
    MemoryPeer,
    MemoryPeer,
    tokio::task::JoinHandle<()>,
) {
    let chat = MemoryChat::start();
    let (slow, ended) = chat.join("slow", 4096);
    let (mut ana, _) = chat.join("ana", 1 << 20);
    ana.text().await;
    say_much(&mut ana, 50).await;
    pause();
    (chat, ana, slow, ended)
}

#[tokio::test]
async fn a_peer_that_reads_nothing_is_closed_after_30_seconds() {
    let (chat, mut ana, _slow, ended) = one_that_does_not_read().await;
    let start = Instant::now();
    ended.await.expect("no panic");
    let after = start.elapsed();
    assert!(29 * SECOND < after && after < 33 * SECOND, "{after:?}");
    // Other members are not affected.
    resume();
    say_much(&mut ana, 1).await;
    ana.say("/members").await;
    assert_eq!(ana.text().await, "* 1 here: ana");
    drop(chat);
}

#[tokio::test]
async fn a_peer_that_stalls_for_20_seconds_misses_nothing() {
    let (_chat, mut ana, mut slow, ended) = one_that_does_not_read().await;
    sleep(20 * SECOND).await;
    resume();
    assert_eq!(slow.text().await, "Welcome to chat! Type a message");
    for n in 0..50 {
        assert_eq!(slow.text().await, format!("ana: {}", much(n)));
    }
    slow.say("thanks").await;
    assert_eq!(slow.text().await, "slow: thanks");
    assert_eq!(ana.text().await, "slow: thanks");
    assert!(!ended.is_finished());
}

#[tokio::test]
async fn a_slow_subscriber_buffers_at_most_one_frame() {
    let chat = MemoryChat::start();
    let (near, far) = tokio::io::duplex(1000);
    let far = Socket::Other(Box::new(far));
    let fanout = chat.hub.fanout();
    let mut slow = fanout.subscribe(far, Format::Plain, peer().id, true);
    slow.follow(RoomName::lobby(), Seq::START);
    let (mut ana, _) = chat.join("ana", 1 << 20);
    ana.text().await;
    let frame = much(100).len() + "ana: ".len() + 4;
    for n in 0..200 {
        ana.say(&much(n)).await;
        tokio::select! {
            biased;
            _ = slow.deliver() => panic!("delivery ended"),
            line = ana.text() => assert_eq!(line, format!("ana: {}", much(n))),
        }
        assert!(slow.waiting() <= frame, "{}", slow.waiting());
    }
    assert!(slow.waiting() > 0, "it is slow indeed");
    let mut near = MemoryPeer::over(near);
    let all = async {
        for n in 0..200 {
            assert_eq!(near.text().await, format!("ana: {}", much(n)));
        }
    };
    tokio::select! {
        _ = slow.deliver() => panic!("delivery ended"),
        () = all => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_no_ping_is_closed() {
    let chat = MemoryChat::start();
    let start = Instant::now();
    let (mut peer, ended) = chat.join("eve", 4096);
    let mut pings = 0;
    let close = loop {
        let frame = peer.next().await.expect("a frame");
        match frame.opcode {
            PING => pings += u32::from(start.elapsed() <= 25 * SECOND),
            CLOSE => break frame,
            _ => assert_eq!(frame.opcode, TEXT),
        }
    };
    assert_eq!(close.payload[..2], 4002_u16.to_be_bytes());
    assert_eq!(start.elapsed().as_secs(), 35);
    assert_eq!(pings, 2);
    assert_eq!(peer.next().await, None);
    drop(peer);
    ended.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_pings_stays_connected() {
    let chat = MemoryChat::start();
    let start = Instant::now();
    let (mut peer, _) = chat.join("eve", 4096);
    peer.text().await;
    let mut pings = 0;
    while start.elapsed() < 3600 * SECOND {
        let ping = peer.next().await.expect("a frame");
        assert_eq!(ping.opcode, PING);
        peer.send(FIN | PONG, &ping.payload).await;
        pings += 1;
    }
    assert!((3600 / 25..3600 / 8).contains(&pings), "{pings}");
    peer.say("/members").await;
    assert_eq!(peer.text().await, "* 1 here: eve");
}

// Verified to fail without a deadline, with a deadline that begins anew at each
// fragment, and with one deadline for all messages together.
#[tokio::test(start_paused = true)]
async fn a_started_message_must_end_within_30_seconds() {
    let chat = MemoryChat::start();
    let fragments = (frame(TEXT, b"/mem"), frame(CONTINUATION, b""));
    let bytes = (vec![FIN | TEXT, MASKED | 0x7d, 0, 0, 0, 0], vec![b'x']);
    for (beginning, piece) in [fragments, bytes] {
        let (mut eve, _) = chat.join("eve", 4096);
        eve.text().await;
        let start = Instant::now();
        eve.write(&beginning).await;
        let (mut sending, mut reading) = eve.split();
        let dripping = async {
            loop {
                sleep(SECOND).await;
                sending.try_write(&piece).await;
            }
        };
        let (code, reason) = tokio::select! {
            () = dripping => unreachable!("it goes on for ever"),
            closed = reading.closed() => closed,
        };
        assert_eq!((code, reason.contains("did not finish")), (4001, true));
        let after = start.elapsed();
        assert!(30 * SECOND <= after && after < 35 * SECOND, "{after:?}");
    }
    // Several messages that take 28 seconds each are accepted.
    let (mut eve, _) = chat.join("eve", 4096);
    eve.text().await;
    for _ in 0..3 {
        eve.send(TEXT, b"/mem").await;
        for _ in 0..28 {
            sleep(SECOND).await;
            eve.send(CONTINUATION, b"").await;
        }
        eve.send(FIN | CONTINUATION, b"bers").await;
        assert_eq!(eve.text().await, "* 1 here: eve");
    }
}

// Verified to fail when the session notices only at its next ping that there is
// room for answers again.
#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_again_is_read_at_once() {
    let chat = MemoryChat::start();
    let (mut eve, _) = chat.join("eve", 4096);
    eve.text().await;
    let (mut sending, mut reading) = eve.split();
    let start = Instant::now();
    let asking = async {
        for _ in 0..1000 {
            sending.write(&frame(FIN | PING, &[b'x'; 125])).await;
        }
    };
    let hearing = async {
        sleep(SECOND).await;
        for _ in 0..1000 {
            assert_eq!(reading.next().await.expect("a frame").opcode, PONG);
        }
    };
    tokio::join!(asking, hearing);
    assert!(start.elapsed() < 2 * SECOND, "{:?}", start.elapsed());
}

/// A server that was stopped for a minute finds its deadlines passed. Frames
/// that its peers sent in time are still unread.
#[test]
fn a_server_stopped_for_a_minute_closes_no_peer() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        // The runtime checks timers before every task.
        .event_interval(1)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let chat = MemoryChat::start();
        let (mut asked, _) = chat.join("eve", 4096);
        asked.text().await;
        assert_eq!(asked.next().await.expect("a frame").opcode, PING);
        let (mut unasked, _) = chat.join("bob", 4096);
        unasked.text().await;
        // Another task runs first, so that the deadline has passed when the
        // session learns of the pong.
        tokio::spawn(async {});
        tokio::join!(advance(60 * SECOND), asked.send(FIN | PONG, b""));
        asked.say("/members").await;
        assert_eq!(asked.text().await, "* 2 here: bob, eve");
        assert_eq!(unasked.next().await.expect("a frame").opcode, PING);
        unasked.send(FIN | PONG, b"").await;
        unasked.say("/members").await;
        assert_eq!(unasked.text().await, "* 2 here: bob, eve");
    });
}

#[tokio::test(start_paused = true)]
async fn the_server_stops_reading_a_peer_that_does_not_read() {
    let chat = MemoryChat::start();
    let ping = frame(FIN | PING, b"");
    let pings = ping.repeat(100_000);
    for reads_late in [true, false] {
        let (mut peer, ended) = chat.join("eve", 4096);
        let mut taken = 0;
        let blocked = loop {
            let blocked = Instant::now();
            match timeout(20 * SECOND, peer.sending.0.write(&pings[taken..])).await {
                Ok(written) => taken += written.expect("a connection"),
                Err(_) => break blocked,
            }
        };
        // 16 KiB of pongs, and the buffers of the streams and the decoder.
        assert!(taken < 80 << 10, "{taken} bytes were taken");
        if reads_late {
            let cut = taken.next_multiple_of(ping.len());
            let rest = pings[taken..cut].to_vec();
            assert_eq!(peer.next().await.expect("a frame").opcode, TEXT);
            let mut answered = 0;
            while answered < taken / ping.len() {
                match peer.next().await.expect("a frame").opcode {
                    PING => {}
                    opcode => {
                        assert_eq!(opcode, PONG);
                        answered += 1;
                    }
                }
            }
            peer.write(&rest).await;
            peer.say("/members").await;
            loop {
                let frame = peer.next().await.expect("a frame");
                match frame.opcode {
                    PONG | PING => {}
                    _ => break assert_eq!(frame.payload, b"* 1 here: eve"),
                }
            }
            drop(peer);
        } else {
            ended.await.expect("no panic");
            let after = blocked.elapsed();
            assert!(after <= 33 * SECOND, "{after:?}");
        }
    }
}

#[tokio::test]
async fn the_close_frame_has_a_deadline() {
    let (_chat, _ana, mut slow, ended) = one_that_does_not_read().await;
    let start = Instant::now();
    slow.send(FIN | BINARY, b"").await;
    ended.await.expect("no panic");
    let after = start.elapsed();
    assert!(after <= 3 * SECOND, "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_connection_has_a_deadline() {
    let chat = MemoryChat::start();
    for endless in [false, true] {
        let (mut peer, ended) = chat.join("eve", 4096);
        let start = Instant::now();
        peer.send(FIN | BINARY, b"").await;
        let more = async {
            let count = if endless { usize::MAX } else { 0 };
            for _ in 0..count {
                if !peer.sending.try_write(&[0; 1024]).await {
                    break;
                }
                sleep(SECOND / 100).await;
            }
        };
        let (ended, ()) = tokio::join!(ended, more);
        ended.expect("no panic");
        let after = start.elapsed();
        assert!(after <= 3 * SECOND, "{after:?}");
        assert_eq!(peer.closed().await.0, 1003);
    }
}

#[tokio::test]
async fn draining_waits_at_most_8_seconds_for_a_peer() {
    let (mut chat, mut ana, _slow, ended) = one_that_does_not_read().await;
    resume();
    chat.end().await;
    assert_eq!(ana.closed().await.0, 1001);
    // A session that has left the room has begun to close.
    soon("the members' leaving", async {
        while chat.hub.people_count(&RoomName::lobby()) > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    pause();
    let start = Instant::now();
    ended.await.expect("no panic");
    let after = start.elapsed();
    assert!(after <= 8 * SECOND, "{after:?}");
}
