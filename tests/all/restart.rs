//! A planned restart: all clients come back soon, and those who are back are
//! not disturbed.
//!
//! `RESTART_CLIENTS=2000 RESTART_SERVER=target/release/server RESTART_MS=2500
//! cargo test --test all restart -- --nocapture --test-threads 1` measures it.

use std::{collections::BTreeSet, env, net::SocketAddr, path::Path};

use rustix::process::Signal;
use serde_json::json;
use tokio::{
    net::TcpSocket,
    process::Command,
    task::JoinSet,
    time::{Duration, Instant, sleep},
};

use crate::{
    programs::{Program, SERVER, folder, listening},
    service::{start_on, stop},
    support::{Peer, TestServer, env_number, upgrade, upgraded},
};

const JSON: [(&str, &str); 1] = [("Sec-WebSocket-Protocol", "chat.v1")];

fn program() -> String {
    env::var("RESTART_SERVER").unwrap_or_else(|_| SERVER.to_owned())
}

async fn start(folder: &Path, port: u16) -> (Program, SocketAddr) {
    let port = port.to_string();
    let mut command = Command::new(program());
    command.current_dir(folder).args(["--port", &port]);
    listening(&mut command).await
}

/// Waits for the close frame of the drain, then for the time that it names, and
/// connects until it succeeds, as a client does.
async fn come_back(mut peer: Peer, addr: SocketAddr) -> (Peer, u64) {
    let (code, reason) = peer.closed().await;
    drop(peer);
    assert_eq!(code, 4003);
    let (wait, _) = reason.split_once(" ms: ").expect(&reason);
    let wait = wait.parse().expect("a number");
    sleep(Duration::from_millis(wait)).await;
    for failures in 0_u32.. {
        if let Some(mut peer) = try_json(addr).await {
            assert_eq!(peer.event().await["type"], "welcome");
            return (peer, wait);
        }
        let bound = 100 << failures.min(7);
        sleep(Duration::from_millis(100 + wait % bound)).await;
    }
    unreachable!("it tries for ever")
}

/// Waits as [`come_back`] does, then connects once: that must succeed.
async fn come_back_at_once(mut peer: Peer, addr: SocketAddr) -> Peer {
    let (_, reason) = peer.closed().await;
    drop(peer);
    let (wait, _) = reason.split_once(" ms: ").expect(&reason);
    sleep(Duration::from_millis(wait.parse().expect("a number"))).await;
    let mut peer = try_json(addr).await.expect("no connection is refused");
    assert_eq!(peer.event().await["type"], "welcome");
    peer
}

async fn try_json(addr: SocketAddr) -> Option<Peer> {
    let stream = tokio::net::TcpStream::connect(addr).await.ok()?;
    let mut peer = Peer::over_tcp(stream);
    let request = upgrade(addr, "/", &JSON);
    peer.sending
        .try_write(request.as_bytes())
        .await
        .then_some(())?;
    let start = peer.take(13).await?;
    assert_eq!(start, b"HTTP/1.1 101 ");
    peer.head().await;
    Some(peer)
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

/// This many peers that were welcomed.
async fn welcomed(addr: SocketAddr, count: usize) -> Vec<Peer> {
    let mut peers = Vec::new();
    for _ in 0..count {
        let mut peer = upgraded(addr, "/", &JSON).await;
        assert_eq!(peer.event().await["type"], "welcome");
        peers.push(peer);
    }
    peers
}

#[tokio::test]
async fn all_clients_are_back_after_a_restart() {
    let count = usize::try_from(env_number("RESTART_CLIENTS", 40)).expect("a count");
    let folder = folder();
    let (mut first, addr) = start(folder.path(), 0).await;
    let peers = welcomed(addr, count).await;
    let begun = Instant::now();
    first.signal(Signal::TERM);
    let mut returning = JoinSet::new();
    for peer in peers {
        returning.spawn(async move {
            let (peer, wait) = come_back(peer, addr).await;
            (peer, wait, begun.elapsed())
        });
    }
    assert_eq!(first.exit().await, 0);
    let stopped = begun.elapsed();
    let (second, _) = start(folder.path(), addr.port()).await;
    let started = begun.elapsed();
    // Somebody else talks in another room meanwhile.
    let mut ana = upgraded(addr, "/elsewhere?name=ana", &[]).await;
    ana.text().await;
    let (mut back, mut waits, mut times, mut delays) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    while waits.len() < count {
        let said = Instant::now();
        assert_eq!(ana.text_after("hi").await, "ana: hi");
        delays.push(said.elapsed());
        let pause = sleep(Duration::from_millis(10));
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => break,
                Some(returned) = returning.join_next() => {
                    let (peer, wait, time) = returned.expect("no panic");
                    back.push(peer);
                    waits.push(wait);
                    times.push(time);
                }
            }
        }
    }
    waits.sort_unstable();
    let expected = 150..150 + count as u64;
    assert!(
        waits.into_iter().eq(expected),
        "each has a moment of its own"
    );
    println!(
        "{count} clients: stopped after {stopped:?}, started after {started:?}, \
         half back after {:?}, all after {:?}; p99 of the others {:?} ({} messages)",
        percentile(&mut times, 50),
        percentile(&mut times, 100),
        percentile(&mut delays, 99),
        delays.len(),
    );
    drop((back, second));
}

// Verified to fail when the server binds a port instead.
#[tokio::test]
async fn a_restart_with_the_socket_brings_all_back_at_once() {
    let count = usize::try_from(env_number("RESTART_CLIENTS", 200)).expect("a count");
    let folder = folder();
    let socket = TcpSocket::new_v4().expect("a socket");
    let free = "127.0.0.1:0".parse().expect("an address");
    socket.bind(free).expect("a free port");
    // As in the socket unit.
    let listener = socket.listen(4096).expect("a listener");
    let addr = listener.local_addr().expect("an address");
    let first = start_on(&listener, &program(), folder.path());
    let peers = welcomed(addr, count).await;
    let begun = Instant::now();
    let mut returning = JoinSet::new();
    for peer in peers {
        returning.spawn(async move { (come_back_at_once(peer, addr).await, begun.elapsed()) });
    }
    stop(first).await;
    let stopped = begun.elapsed();
    let second = start_on(&listener, &program(), folder.path());
    let (back, mut times): (Vec<_>, Vec<_>) = returning.join_all().await.into_iter().unzip();
    let all = percentile(&mut times, 100);
    println!(
        "{count} clients, with the socket: stopped after {stopped:?}, half back after {:?}, all after {all:?}",
        percentile(&mut times, 50)
    );
    assert!(
        all <= Duration::from_millis(env_number("RESTART_MS", 60_000)),
        "{all:?}"
    );
    drop(back);
    stop(second).await;
}

// Verified to fail when the files stay open for as long as any thread has the hub.
#[tokio::test]
async fn a_stopped_server_leaves_no_write_ahead_log() {
    let folder = folder();
    let server = TestServer::start_in(folder.path()).await;
    let (mut ana, _) = server.json("/").await;
    ana.event_of("live").await;
    ana.event_after(&json!({"type": "publish", "text": "tea"}))
        .await;
    let search = json!({"type": "search", "query": "tea"});
    let found = ana.event_after(&search).await;
    assert_eq!(found["messages"].as_array().map(Vec::len), Some(1));
    let names = || {
        let files = std::fs::read_dir(folder.path()).expect("a folder");
        let name = |file: std::io::Result<std::fs::DirEntry>| file.expect("a file").file_name();
        let names = files.map(|file| name(file).into_string().expect("a name"));
        names
            .filter(|name| name.contains(".sqlite"))
            .collect::<BTreeSet<_>>()
    };
    assert!(names().contains("chat.sqlite-wal"), "{:?}", names());
    let other_thread = server.control.clone();
    server.stop().await;
    let stopped = ["chat.sqlite", "search.sqlite"].map(str::to_owned);
    assert_eq!(names(), stopped.into());
    drop(other_thread);
    let server = TestServer::start_in(folder.path()).await;
    assert_eq!(server.page("/").await["messages"][0]["text"], "tea");
}
