//! Deadlines of a request: its head, its body and the response.

use std::time::Duration;

use broadcast_chat::http;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::SECOND;
use crate::support::{MemoryChat, MemoryPeer, soon};

const HEAD: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_request_head_must_arrive_within_10_seconds() {
    for (head, pause) in [
        ("", Duration::ZERO),
        ("G", Duration::ZERO),
        (&HEAD[..HEAD.len() - 1], Duration::ZERO),
        // Progress does not extend the deadline.
        (HEAD, SECOND),
    ] {
        let (near, far) = tokio::io::duplex(1024);
        let chat = MemoryChat::start();
        let (site, registration) = (chat.site(), chat.register());
        let drain = CancellationToken::new();
        let served = http::serve(far, &registration, &site, &drain);
        let start = Instant::now();
        let asked = async {
            let (mut sending, mut reading) = MemoryPeer::over(near).split();
            let drip = async {
                for byte in head.bytes() {
                    if !sending.try_write(&[byte]).await {
                        break;
                    }
                    sleep(pause).await;
                }
            };
            let answer = async {
                let answer = reading.rest().await;
                (answer, start.elapsed().as_secs())
            };
            tokio::join!(answer, drip).0
        };
        let (upgraded, (answer, after)) = tokio::join!(served, asked);
        assert!(upgraded.is_none());
        assert!(answer.starts_with("HTTP/1.1 408 "), "{head:?}: {answer:?}");
        assert!(answer.ends_with(".\n"), "{answer}");
        assert_eq!(after, 10, "{head:?}");
        assert!(start.elapsed().as_secs() < HEAD.len() as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_head_may_arrive_byte_by_byte() {
    let (near, far) = tokio::io::duplex(1);
    let chat = MemoryChat::start();
    let (site, registration) = (chat.site(), chat.register());
    let drain = CancellationToken::new();
    let served = http::serve(far, &registration, &site, &drain);
    let mut peer = MemoryPeer::over(near);
    let asked = async {
        peer.write(HEAD.as_bytes()).await;
        peer.head().await
    };
    let (upgraded, answer) = soon("the upgrade", async { tokio::join!(served, asked) }).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(upgraded.expect("upgraded").early.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_request_body_must_arrive_within_10_seconds() {
    let (near, far) = tokio::io::duplex(1024);
    let chat = MemoryChat::start();
    let (site, registration) = (chat.site(), chat.register());
    let drain = CancellationToken::new();
    let served = http::serve(far, &registration, &site, &drain);
    let mut peer = MemoryPeer::over(near);
    let asked = async {
        peer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\nhi")
            .await;
        peer.rest().await
    };
    let (_, answer) = soon("an answer", async { tokio::join!(served, asked) }).await;
    assert!(
        answer.starts_with("HTTP/1.1 408 ") && answer.ends_with(".\n"),
        "{answer}"
    );
}

#[tokio::test(start_paused = true)]
async fn writing_a_response_has_a_deadline() {
    for request in [
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET ? HTTP/1.1\r\n\r\n",
        HEAD,
    ] {
        let (near, far) = tokio::io::duplex(64);
        let chat = MemoryChat::start();
        let (site, registration) = (chat.site(), chat.register());
        let drain = CancellationToken::new();
        let served = http::serve(far, &registration, &site, &drain);
        let start = Instant::now();
        let mut peer = MemoryPeer::over(near);
        let (upgraded, ()) = tokio::join!(served, peer.write(request.as_bytes()));
        assert!(upgraded.is_none(), "{request}");
        let after = start.elapsed();
        assert!(after <= 22 * SECOND, "{request}: {after:?}");
    }
}
