//! The cost of hostile and dead peers to the server process.

mod attacks;
mod soak;
mod wrong_secrets;

use std::fs;

use tokio::{
    net::TcpStream,
    process::Command,
    time::{Duration, sleep},
};

use crate::{
    programs::{Program, SERVER, folder, listening, server},
    support::{CONTINUATION, FIN, LENGTH_64, PING, PONG, Peer, TEXT, frame, soon, upgraded},
};

use rustix::process::Signal;

/// How many descriptors a program has open.
fn descriptors(program: &Program) -> usize {
    let id = program.child.id().expect("it runs");
    let open = fs::read_dir(format!("/proc/{id}/fd")).expect("Linux");
    open.count()
}

/// The resident memory of a program, in KiB.
fn memory(program: &Program) -> u64 {
    let id = program.child.id().expect("it runs");
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.expect("a size").trim().trim_end_matches(" kB");
    number.parse().expect("a number")
}

#[tokio::test]
async fn dead_peers_free_their_descriptors() {
    const COUNT: usize = 20;
    let folder = folder();
    let (server, addr) = server(folder.path(), &["--ping", "1"]).await;
    // The first connection opens descriptors that the server keeps.
    let before = {
        let _one = upgraded(addr, "/", &[]).await;
        descriptors(&server) - 1
    };
    // These peers do not answer, read or close.
    let (mut dead, mut most) = (Vec::new(), 0);
    for _ in 0..COUNT {
        dead.push(upgraded(addr, "/", &[]).await);
        most = most.max(descriptors(&server));
    }
    assert!(most > before + COUNT / 2, "{most} after {before}");
    soon("as few descriptors as before", async {
        // No event announces a closed descriptor.
        while descriptors(&server) > before {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    for peer in &mut dead {
        assert_eq!(peer.closed().await.0, 4002);
    }
}

// Verified to fail when pongs are queued without a bound.
#[tokio::test]
async fn floods_cost_the_server_no_memory() {
    /// More bytes than the kernel buffers for either side.
    const FLOOD: usize = 16 << 20;
    /// How much of a flood the allocator may keep, in KiB: a quarter.
    const SLACK: u64 = 4 << 10;
    let folder = folder();
    // With rare pings, a stuck session cannot be woken by a ping.
    let (server, addr) = server(folder.path(), &["--ping", "600"]).await;
    let mut ana = upgraded(addr, "/?name=ana", &[]).await;
    ana.text().await;
    let mut before = None;
    let mut flat = |what: &str| {
        let now = memory(&server);
        let before = *before.get_or_insert(now);
        assert!(now < before + SLACK, "{what}: {now} KiB after {before}");
    };
    let flood = async |first, flood: usize| {
        // The secret proves the name while the session before may still hold
        // it.
        let proof = [("Authorization", "Bearer random128_the-secret-of-eve-xxxx")];
        let mut eve = upgraded(addr, "/elsewhere?name=eve", &proof).await;
        eve.text().await;
        let some = frame(first, &[b'x'; 125]).repeat(1000);
        let times = flood / some.len() + 1;
        let (mut sending, mut reading) = eve.split();
        let (progress, seen) = tokio::sync::watch::channel(0);
        let sender = tokio::spawn(async move {
            for _ in 0..times {
                sending.write(&some).await;
                progress.send_modify(|sent| *sent += 1);
            }
            sending
        });
        // The peer reads nothing until the server stops taking bytes.
        let mut seen = seen;
        let pause = Duration::from_millis(200);
        while let Ok(Ok(())) = tokio::time::timeout(pause, seen.changed()).await {}
        let stuck = memory(&server);
        if first == FIN | PING {
            for _ in 0..times * 1000 {
                assert_eq!(reading.next().await.expect("a frame").opcode, PONG);
            }
        }
        let mut sending = soon("the flood's end", sender).await.expect("sent");
        sending.say("still here").await;
        assert_eq!(reading.text().await, "eve: still here");
        stuck
    };
    // The first flood allocates memory that the server keeps.
    flood(FIN | PING, 1 << 20).await;
    flat("at first");
    for (what, first) in [("pings", FIN | PING), ("pongs", FIN | PONG)] {
        let stuck = flood(first, FLOOD).await;
        assert!(stuck < memory(&server) + SLACK, "{what}: {stuck} KiB");
        flat(what);
    }

    let proof = [("Authorization", "Bearer random128_the-secret-of-eve-xxxx")];
    let mut eve = upgraded(addr, "/?name=eve", &proof).await;
    eve.text().await;
    eve.send(TEXT, b"a million ").await;
    let nothing = frame(CONTINUATION, b"").repeat(10_000);
    for _ in 0..100 {
        eve.write(&nothing).await;
        // Another member chats meanwhile.
        ana.say("hello").await;
        assert_eq!(ana.text().await, "ana: hello");
    }
    flat("fragments");
    eve.send(FIN | CONTINUATION, b"fragments").await;
    assert_eq!(ana.text().await, "eve: a million fragments");

    let length: u64 = 1 << 30;
    let announced = [&[FIN | TEXT, LENGTH_64][..], &length.to_be_bytes(), &[0; 4]].concat();
    eve.write(&announced).await;
    assert_eq!(eve.closed().await.0, 1009);
    flat("a length");
}

#[tokio::test]
async fn the_server_survives_running_out_of_descriptors() {
    let folder = folder();
    let mut command = Command::new("sh");
    command
        .current_dir(folder.path())
        .args(["-c", "ulimit -n 48 && exec \"$0\" \"$@\"", SERVER])
        .args(["--port", "0"]);
    let (mut server, addr) = listening(&mut command).await;
    let mut ana = upgraded(addr, "/?name=ana", &[]).await;
    ana.text().await;
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(TcpStream::connect(addr).await.expect("the kernel accepts"));
    }
    let told = soon("a complaint", server.errors.next_line()).await;
    let told = told.expect("UTF-8").expect("a line");
    assert!(
        told.contains("no more connections can be accepted for now"),
        "{told}"
    );
    ana.say("still here").await;
    assert_eq!(ana.text().await, "ana: still here");
    drop(crowd);
    let mut bob = soon("a place", async {
        loop {
            if let Some(peer) = Peer::try_upgrade(addr, "/?name=bob").await {
                break peer;
            }
        }
    })
    .await;
    bob.text().await;
    bob.say("hello").await;
    assert_eq!(ana.text().await, "bob: hello");
    server.signal(Signal::TERM);
    assert_eq!(server.exit().await, 0);
    assert_eq!(server.stderr_lines().await, [""; 0], "it complains once");
}
