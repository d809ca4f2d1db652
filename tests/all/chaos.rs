//! Real processes, killed at random moments. Fifty clients connect; twenty of
//! them speak. The server and some clients are killed and started again, a
//! proxy cuts connections, and the clock jumps by an hour or a day, forwards
//! and back. In the end the log holds every message that a client sent, once
//! and in order, and every reader has read that log.
//!
//! `CHAOS_KILLS=1000 cargo test --test all chaos -- --nocapture` kills the
//! server 1000 times; `CHAOS_SEED` draws other choices. The timing of the
//! processes is not repeatable. `simulation` is repeatable, and finds more.

mod account;
mod clients;
mod proxy;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use fastrand::Rng;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use self::{
    account::{Account, jumps, stored_messages},
    clients::{Environment, Stages, read, read_by_process, speak, speak_by_process},
    proxy::Proxy,
};
use crate::{
    disk::faulty::{ControlField, Disk},
    programs::{Program, folder, listening, server_command_at},
    support::env_number,
};

/// The number of speakers: processes with an outbox, and clients of the
/// library.
const SPEAKING_PROCESSES: usize = 8;
const SPEAKERS: usize = 12;

/// The number of readers: processes, and clients of the library.
const READING_PROCESSES: usize = 3;
const READERS: usize = 27;

/// The seconds by which the clock may be wrong: an hour or a day.
const CLOCKS: [i64; 5] = [0, 3600, -3600, 86_400, -86_400];

/// How long all clients may take to finish after the last kill.
const AFTERMATH: Duration = Duration::from_secs(90);

/// The properties that the server keeps across restarts.
struct Server {
    folder: PathBuf,
    addr: SocketAddr,
    environment: Environment,
}

impl Server {
    async fn start(&mut self) -> Program {
        let mut command = server_command_at(&self.folder, self.addr.port(), &[]);
        command.envs(self.environment.clone());
        let (server, addr) = listening(&mut command).await;
        self.addr = addr;
        server
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_processes_loses_and_reorders_nothing() {
    let kills = env_number("CHAOS_KILLS", 20);
    let mut rng = Rng::with_seed(env_number("CHAOS_SEED", 0));
    let place = folder();
    let folder = place.path().to_owned();
    let clock = Disk::new();
    let mut server = Server {
        folder: folder.clone(),
        addr: ([127, 0, 0, 1], 0).into(),
        environment: clock.environment(),
    };
    let mut running = server.start().await;
    let proxy = Proxy::start(server.addr).await;
    let stages = Stages::default();
    let (addr, mut speaking) = (proxy.addr, JoinSet::new());
    for n in 0..SPEAKERS {
        speaking.spawn(speak(addr, format!("l{n}"), rng.fork(), stages.clone()));
    }
    for n in 0..SPEAKING_PROCESSES {
        let (rng, stages) = (rng.fork(), stages.clone());
        speaking.spawn(speak_by_process(
            addr,
            format!("p{n}"),
            rng,
            stages,
            folder.clone(),
            clock.environment(),
        ));
    }
    let (mut reading, mut printing) = (JoinSet::new(), JoinSet::new());
    for _ in 0..READERS {
        reading.spawn(read(addr, rng.fork(), stages.clone(), folder.clone()));
    }
    for _ in 0..READING_PROCESSES {
        printing.spawn(read_by_process(addr, stages.clone(), folder.clone()));
    }

    for _ in 0..kills {
        for _ in 0..rng.usize(..3) {
            sleep(Duration::from_millis(rng.u64(..200))).await;
            proxy.cut(rng.usize(..4));
            clock.set(ControlField::Clock, CLOCKS[rng.usize(..CLOCKS.len())]);
        }
        // A kill may come before any client has reconnected, or amid them.
        let lives = [0, 20, 300, 800][rng.usize(..4)];
        sleep(Duration::from_millis(rng.u64(..=lives))).await;
        running.child.kill().await.expect("killed");
        running = server.start().await;
    }
    stages.over.cancel();
    let aftermath = async {
        let said: BTreeMap<String, u64> = speaking.join_all().await.into_iter().collect();
        stages.said.cancel();
        (said, reading.join_all().await, printing.join_all().await)
    };
    let aftermath = timeout(AFTERMATH, aftermath).await;
    let (said, seen, printed) = aftermath.expect("everyone comes to an end");
    let messages = stored_messages(&folder);
    let account = Account::of(&said, &messages);
    let [forwards, back] = jumps(&folder);
    println!(
        "{account} (killed {kills} times; the clock jumped {forwards} times forwards, {back} back)"
    );
    assert!(account.is_good());
    assert!(forwards > 0 && back > 0, "the times stored show the jumps");
    assert!(
        seen.iter().all(|seen| *seen == messages),
        "everyone has read the log"
    );
    let texts: Vec<&String> = messages.iter().map(|(_, text)| text).collect();
    for printed in printed {
        assert_eq!(printed.iter().collect::<Vec<_>>(), texts);
    }
}
