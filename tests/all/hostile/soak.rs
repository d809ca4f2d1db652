//! All attacks at once, against people who chat in one room.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Duration, sleep},
};

use super::{attacks::ATTACKS, memory};
use crate::{
    programs::{folder, server},
    support::{Peer, env_number, soon},
};

/// How many people read the room.
const READERS: u8 = 8;

/// The time between two messages: within the rate of a guest.
const PACE: Duration = Duration::from_millis(60);

/// How many times longer the slowest hundredth of deliveries may take under
/// attack than in quiet. The attackers run on the same cores as the server.
const RATIO: f64 = 20.0;

/// The shortest 99th percentile that the ratio is taken of. Below it, the
/// scheduler decides.
const LEAST: Duration = Duration::from_millis(2);

/// How much memory the server may need for all attackers, in KiB.
const MEMORY: u64 = 96 << 10;

fn person(n: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 2, n + 1).into()
}

fn attacker(n: usize) -> IpAddr {
    let n = u8::try_from(n + 1).expect("few attacks");
    Ipv4Addr::new(127, 0, 3, n).into()
}

pub(super) async fn enter(source: IpAddr, server: SocketAddr, name: &str) -> Peer {
    let proof = format!("Bearer the-secret-of-{name}");
    let target = format!("/tea?name={name}");
    let mut peer = Peer::upgraded_from(source, server, &target, &[("Authorization", &proof)]).await;
    peer.text().await;
    peer
}

/// Messages with a number, said at a steady pace for a time. Every reader sees
/// each of them once and in order. Returns the 99th percentile of the time from
/// saying to reading.
pub(super) async fn chat(server: SocketAddr, lasts: Duration, phase: &str) -> Duration {
    let speaker = enter(person(READERS), server, "speaker").await;
    // The speaker reads too: who does not is closed as slow.
    let (mut speaker, mut own) = speaker.split();
    let mut speaker_reading = JoinSet::new();
    speaker_reading.spawn(async move {
        loop {
            own.text().await;
        }
    });
    let mut readers = Vec::new();
    for n in 0..READERS {
        readers.push(enter(person(n), server, &format!("reader{n}")).await);
    }
    let start = Instant::now();
    let count = u32::try_from(lasts.as_millis() / PACE.as_millis()).expect("not days");
    let (took, mut taken) = mpsc::unbounded_channel();
    let phase: Arc<str> = phase.into();
    let mut reading = JoinSet::new();
    for mut reader in readers {
        let (took, phase) = (took.clone(), Arc::clone(&phase));
        reading.spawn(async move {
            for n in 0..count {
                let expected = format!("speaker: {phase} {n}");
                while reader.text().await != expected {
                    // Presence of the others comes between.
                }
                let _ = took.send(start.elapsed().saturating_sub(PACE * n));
            }
        });
    }
    drop(took);
    for n in 0..count {
        sleep((PACE * n).saturating_sub(start.elapsed())).await;
        speaker.say(&format!("{phase} {n}")).await;
    }
    soon("the last message", reading.join_all()).await;
    let mut times = Vec::new();
    while let Some(time) = taken.recv().await {
        times.push(time);
    }
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_attacks_at_once_stop_nobody() {
    let lasts = Duration::from_secs(env_number("HOSTILE_SECONDS", 5));
    let folder = folder();
    // The peers of the tests answer no pings.
    // With a host name, all limits hold.
    let limits = "--host chat.example --keep-messages 5000 --ping 3600";
    let limits: Vec<&str> = limits.split(' ').collect();
    let (server, addr) = server(folder.path(), &limits).await;
    let quiet = chat(addr, lasts.min(Duration::from_secs(60)), "quiet").await;
    let before = memory(&server);
    let mut attacks = JoinSet::new();
    for (n, (_, attack)) in ATTACKS.into_iter().enumerate() {
        attacks.spawn(attack.run(attacker(n), addr));
    }
    let attacked = chat(addr, lasts, "attacked").await;
    attacks.shutdown().await;
    let after = memory(&server);
    println!("p99 {quiet:?} in quiet, {attacked:?} under attack; {before} KiB, then {after} KiB");
    let ratio = attacked.as_secs_f64() / quiet.max(LEAST).as_secs_f64();
    assert!(ratio < RATIO, "{attacked:?} after {quiet:?}");
    assert!(after < before + MEMORY, "{after} KiB after {before}");
}
