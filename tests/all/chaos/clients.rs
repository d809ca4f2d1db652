//! Speakers and readers: clients of the library, and processes.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use broadcast_chat::{
    client::{
        Client, ClientEvent, ClientOptions, Keyring, Outbox,
        address::{AddressOptions, Target},
        ids::Ids,
    },
    protocol::{Command, Event, PublishKind, Seq, Start},
};
use fastrand::Rng;
use tokio::{
    io::AsyncWriteExt,
    process, select,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::account::{Messages, stored_messages};
use crate::programs::{CLIENT, Program, STATE};

const ROOM: &str = "chaos";

/// Environment variables that give a process the clock that jumps.
pub(super) type Environment = [(&'static str, PathBuf); 3];

/// The end of the kills, and the end of speaking.
#[derive(Clone, Default)]
pub(super) struct Stages {
    /// No process is killed any more, and no speaker begins another message.
    pub(super) over: CancellationToken,
    /// Every message is stored.
    pub(super) said: CancellationToken,
}

fn target(addr: SocketAddr) -> Target {
    let wanted = AddressOptions {
        address: Some(format!("ws://{addr}/{ROOM}")),
        start: Start {
            after: Some(Seq::START),
            ..Start::default()
        },
        ..AddressOptions::default()
    };
    Target::new(&wanted).expect("an address")
}

/// Connects a client of the library; tries until it succeeds.
async fn client(addr: SocketAddr, seed: u64) -> Client {
    loop {
        let options = ClientOptions {
            reconnect: true,
            seed,
            outbox: Outbox::in_memory(),
            keyring: Keyring::none(),
        };
        match Client::connect(&target(addr), options).await {
            Ok(client) => return client,
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

fn pause(rng: &mut Rng) -> Duration {
    Duration::from_millis(rng.u64(..150))
}

/// Speaks until the kills end, then waits until every message is stored.
/// Returns the name and the number of messages.
pub(super) async fn speak(
    addr: SocketAddr,
    name: String,
    mut rng: Rng,
    stages: Stages,
) -> (String, u64) {
    let mut client = client(addr, rng.u64(..)).await;
    let ids = Ids::seeded(rng.u64(..));
    let mut said = 0;
    let mut due = Instant::now();
    while !stages.over.is_cancelled() || client.unconfirmed() > 0 {
        select! {
            happened = client.next() => expect_order(&happened),
            () = sleep_until(due), if !stages.over.is_cancelled() => {
                said += 1;
                client.send(Command::Publish {
                    text: format!("{name} {said}"),
                    id: ids.of(said).ok(),
                    kind: PublishKind::Said,
                    about: None,
                    follows: None,
                });
                due = Instant::now() + pause(&mut rng);
            }
            () = stages.over.cancelled(), if !stages.over.is_cancelled() => {}
        }
    }
    client.close().await;
    (name, said)
}

fn expect_order(happened: &ClientEvent) {
    match happened {
        ClientEvent::Event(_, Event::Gap { .. } | Event::Refused(_))
        | ClientEvent::Missing { .. }
        | ClientEvent::Refused { .. }
        | ClientEvent::Ended(_) => panic!("{happened:?}"),
        _ => {}
    }
}

/// Reads the room from its beginning to its end.
pub(super) async fn read(
    addr: SocketAddr,
    mut rng: Rng,
    stages: Stages,
    folder: PathBuf,
) -> Messages {
    let mut client = client(addr, rng.u64(..)).await;
    let mut seen = Messages::new();
    let mut end = None;
    loop {
        if end.is_some_and(|end| seen.last().is_some_and(|(seq, _)| *seq >= end)) {
            client.close().await;
            return seen;
        }
        select! {
            happened = client.next() => {
                expect_order(&happened);
                if let ClientEvent::Event(_, Event::Message(message)) = happened {
                    seen.push((message.seq.0, message.text.to_string()));
                }
            }
            () = stages.said.cancelled(), if end.is_none() => {
                end = stored_messages(&folder).last().map(|(seq, _)| *seq);
            }
        }
    }
}

/// Speaks as [`speak`] does, by a process that is killed again and again. The
/// next process has the same outbox, and goes on with the first line that the
/// outbox does not hold.
pub(super) async fn speak_by_process(
    addr: SocketAddr,
    name: String,
    mut rng: Rng,
    stages: Stages,
    folder: PathBuf,
    environment: Environment,
) -> (String, u64) {
    let outbox = folder.join(&name);
    loop {
        let mut child = process::Command::new(CLIENT)
            .envs(environment.clone())
            .env("XDG_STATE_HOME", STATE)
            .arg(addr.to_string())
            .args(["--room", ROOM, "--name", &name, "--quiet", "--outbox"])
            .arg(&outbox)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the program is there");
        let mut input = child.stdin.take().expect("piped");
        let mut said = taken(&outbox, &name);
        for _ in 0..rng.usize(5..60) {
            if stages.over.is_cancelled() {
                break;
            }
            said += 1;
            // A process that got no first connection has ended.
            if input
                .write_all(format!("{name} {said}\n").as_bytes())
                .await
                .is_err()
            {
                break;
            }
            sleep(pause(&mut rng)).await;
        }
        if stages.over.is_cancelled() {
            drop(input);
            let ended = child.wait().await.expect("a child");
            let said = taken(&outbox, &name);
            if ended.success() {
                return (name, said);
            }
        } else {
            child.kill().await.expect("killed");
        }
    }
}

/// The number of the last line that an outbox took; a partly written line does
/// not count.
fn taken(outbox: &Path, name: &str) -> u64 {
    let file = fs::read_to_string(outbox).unwrap_or_default();
    let whole = file.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let text = format!(r#""text":"{name} "#);
    let last = whole.rsplit_once(&text).map(|(_, rest)| rest);
    last.and_then(|rest| rest.split('"').next())
        .map_or(0, |number| number.parse().expect("a number"))
}

/// Reads as [`read`] does, by a process. It returns texts only, since the
/// client prints no numbers.
pub(super) async fn read_by_process(
    addr: SocketAddr,
    stages: Stages,
    folder: PathBuf,
) -> Vec<String> {
    let mut program;
    // A process that gets no first connection ends.
    while {
        program = Program::client(addr, &["--room", ROOM, "--after", "0"]);
        let line = program.output.next_line().await.expect("UTF-8");
        line.is_none()
    } {}
    let mut seen = Vec::new();
    let mut count = None;
    while count != Some(seen.len()) {
        select! {
            line = program.output.next_line() => {
                let line = line.expect("UTF-8").expect("it lives");
                let (_, text) = line.split_once(": ").expect("a line of somebody");
                seen.push(text.to_owned());
            }
            () = stages.said.cancelled(), if count.is_none() => count = Some(stored_messages(&folder).len()),
        }
    }
    assert_eq!(program.exit().await, 0);
    seen
}
