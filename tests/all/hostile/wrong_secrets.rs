//! Wrong secrets and invitations from many addresses, beside people who chat.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    task::{JoinSet, spawn_blocking},
    time::Duration,
};

use super::soak::{chat, enter};
use crate::{
    programs::{folder, server},
    support::{env_number, soon},
};

/// How many addresses guess.
const ADDRESSES: u64 = 100;

/// How many guesses are under way at the same time.
const AT_ONCE: u8 = 4;

/// The nice value of the thread that guesses.
const LOWEST_PRIORITY: i32 = 19;

/// How many times longer the slowest hundredth of deliveries may take. The
/// processor is shared with the other tests.
const RATIO: f64 = 20.0;

/// The shortest 99th percentile that the ratio is taken of. Below it, the
/// scheduler decides.
const LEAST: Duration = Duration::from_millis(2);

/// One guess: of an invitation, of a name's secret, or of both at once.
fn guess(server: SocketAddr, n: u64) -> String {
    let proof = match n % 3 {
        0 => format!("Chat-Invite: {n:022}\r\nAuthorization: Bearer a-guess-{n:08}\r\n"),
        _ => format!("Authorization: Bearer a-guess-{n:08}\r\n"),
    };
    format!(
        "POST /tea?name=owned HTTP/1.1\r\nHost: {server}\r\n{proof}Content-Length: 1\r\nConnection: close\r\n\r\nx"
    )
}

async fn status(source: IpAddr, server: SocketAddr, request: &str) -> u16 {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((source, 0).into()).expect("an address");
    let mut stream = socket.connect(server).await.expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    soon("an answer", read).await.expect("text");
    let status = answer.split(' ').nth(1).expect("a status");
    status.parse().expect("a number")
}

/// Makes this many guesses; returns how many of them the server judged.
///
/// They are made by a thread of the lowest priority: strangers have machines of
/// their own, which take nothing from the server's.
#[tokio::main(flavor = "current_thread")]
async fn guess_all(server: SocketAddr, guesses: u64) -> u64 {
    rustix::process::setpriority_process(None, LOWEST_PRIORITY).expect("always allowed");
    let mut guessing = JoinSet::new();
    for worker in 0..AT_ONCE {
        guessing.spawn(async move {
            let mut judged = 0;
            for n in (u64::from(worker)..guesses).step_by(usize::from(AT_ONCE)) {
                let address = u8::try_from(n % ADDRESSES + 1).expect("few");
                let source = Ipv4Addr::new(127, 0, 4, address).into();
                match status(source, server, &guess(server, n)).await {
                    401 | 403 => judged += 1,
                    429 => {}
                    other => panic!("guess {n} is answered {other}"),
                }
            }
            judged
        });
    }
    guessing.join_all().await.into_iter().sum()
}

// Verified to fail when wrong invitations are not counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_secrets_from_many_addresses_slow_nobody() {
    let guesses = env_number("WRONG_SECRETS", 1500);
    let lasts = Duration::from_millis(guesses.clamp(2000, 30_000));
    let folder = folder();
    let (_server, addr) =
        server(folder.path(), &["--host", "chat.example", "--ping", "3600"]).await;
    let _owner = enter(Ipv4Addr::new(127, 0, 2, 200).into(), addr, "owned").await;
    let quiet = chat(addr, lasts, "quiet").await;
    let guessing = spawn_blocking(move || guess_all(addr, guesses));
    let attacked = chat(addr, lasts, "attacked").await;
    let judged = guessing.await.expect("every guess is answered");
    println!("p99 {quiet:?} in quiet, {attacked:?} under {guesses} guesses; {judged} were judged");
    // Each address has ten guesses of a kind in a minute, and a run may touch two.
    assert!(judged <= ADDRESSES * 40, "{judged} guesses were judged");
    assert!(judged < guesses, "every guess was judged");
    let ratio = attacked.as_secs_f64() / quiet.max(LEAST).as_secs_f64();
    assert!(ratio < RATIO, "{attacked:?} after {quiet:?}");
}
