//! Real processes, killed at random moments. Fifty clients connect; twenty of
//! them speak. The server and some clients are killed and started again, a
//! proxy cuts connections, and the clock jumps by an hour or a day, forwards
//! and back. In the end the log holds every message that a client sent, once
//! and in order, and every reader has read that log.
//!
//! `CHAOS_KILLS=1000 cargo test --test all chaos -- --nocapture` kills the
//! server 1000 times; `CHAOS_SEED` draws other choices. The timing of the
//! processes is not repeatable. `simulation` is repeatable, and finds more.

use std::{
    collections::BTreeMap,
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use broadcast_chat::{
    client::{
        Client, ClientEvent, ClientOptions, Keyring, Outbox,
        address::{AddressOptions, Target},
        ids::Ids,
    },
    protocol::{Command, Event, MessageKind, Seq, Start},
};
use fastrand::Rng;
use tokio::{
    io::{AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    process, select,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    disk::faulty::{ControlField, Disk},
    programs::{CLIENT, Program, STATE, folder, listening, server_command_at},
};

const ROOM: &str = "chaos";

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

/// Environment variables that give a process the clock that jumps.
type Environment = [(&'static str, PathBuf); 3];

impl Server {
    async fn start(&mut self) -> Program {
        let mut command = server_command_at(&self.folder, self.addr.port(), &[]);
        command.envs(self.environment.clone());
        let (server, addr) = listening(&mut command).await;
        self.addr = addr;
        server
    }
}

/// A proxy to the server. It cuts a quarter of its connections at a time.
struct Proxy {
    addr: SocketAddr,
    quarters: Arc<Mutex<[CancellationToken; 4]>>,
}

impl Proxy {
    async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("its address");
        let quarters: Arc<Mutex<[CancellationToken; 4]>> = Arc::default();
        let all = Arc::clone(&quarters);
        tokio::spawn(async move {
            for n in 0.. {
                let (mut client, _) = listener.accept().await.expect("a connection");
                let cut = all.lock().expect("no panic")[n % 4].clone();
                tokio::spawn(cut.run_until_cancelled_owned(async move {
                    // If the server does not listen, the client's connection
                    // ends.
                    let mut server = TcpStream::connect(server).await?;
                    client.set_nodelay(true)?;
                    server.set_nodelay(true)?;
                    copy_bidirectional(&mut client, &mut server).await
                }));
            }
        });
        Proxy { addr, quarters }
    }

    fn cut(&self, quarter: usize) {
        std::mem::take(&mut self.quarters.lock().expect("no panic")[quarter]).cancel();
    }
}

/// The end of the kills, and the end of speaking.
#[derive(Clone, Default)]
struct Stages {
    /// No process is killed any more, and no speaker begins another message.
    over: CancellationToken,
    /// Every message is stored.
    said: CancellationToken,
}

/// The messages of the room: number and text.
type Messages = Vec<(u64, String)>;

fn stored_messages(folder: &Path) -> Messages {
    let db = rusqlite::Connection::open(folder.join("chat-data/chat.sqlite")).expect("the store");
    let mut query = db
        .prepare("SELECT seq, text FROM messages ORDER BY seq")
        .expect("a query");
    let rows = query.query_map([], |row| {
        Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?))
    });
    rows.expect("rows").map(|row| row.expect("a row")).collect()
}

/// Counts the messages whose time differs from the time of the message before
/// by more than half an hour: forwards, and back.
fn jumps(folder: &Path) -> [i64; 2] {
    let db = rusqlite::Connection::open(folder.join("chat-data/chat.sqlite")).expect("the store");
    let jumps = "WITH steps (step) AS (SELECT at - lag(at) OVER (ORDER BY seq) FROM messages)
         SELECT count(*) FILTER (WHERE step > 1800000),
                count(*) FILTER (WHERE step < -1800000) FROM steps";
    let counts = db.query_row(jumps, [], |row| Ok([row.get(0)?, row.get(1)?]));
    counts.expect("counts")
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
async fn speak(addr: SocketAddr, name: String, mut rng: Rng, stages: Stages) -> (String, u64) {
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
                    kind: MessageKind::Said,
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
async fn read(addr: SocketAddr, mut rng: Rng, stages: Stages, folder: PathBuf) -> Messages {
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
async fn speak_by_process(
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
async fn read_by_process(addr: SocketAddr, stages: Stages, folder: PathBuf) -> Vec<String> {
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

fn number(variable: &str, otherwise: u64) -> u64 {
    let set = env::var(variable).ok();
    set.map_or(otherwise, |text| text.parse().expect(variable))
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_processes_loses_and_reorders_nothing() {
    let kills = number("CHAOS_KILLS", 20);
    let mut rng = Rng::with_seed(number("CHAOS_SEED", 0));
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

/// What became of the messages that were sent.
struct Account {
    sent: u64,
    stored: usize,
    lost: u64,
    duplicated: usize,
    reordered: usize,
}

impl Account {
    fn of(said: &BTreeMap<String, u64>, messages: &Messages) -> Self {
        let mut account = Account {
            sent: said.values().sum(),
            stored: messages.len(),
            lost: 0,
            duplicated: 0,
            reordered: 0,
        };
        let mut numbers = BTreeMap::<&str, Vec<u64>>::new();
        for (_, text) in messages {
            let (name, number) = text.split_once(' ').expect("a line of somebody");
            let number = number.parse().expect("a number");
            numbers.entry(name).or_default().push(number);
        }
        for (name, said) in said {
            let mut stored = numbers.remove(name.as_str()).unwrap_or_default();
            account.reordered += stored.windows(2).filter(|pair| pair[0] > pair[1]).count();
            let all = stored.len();
            stored.sort_unstable();
            stored.dedup();
            account.duplicated += all - stored.len();
            account.lost += (1..=*said)
                .filter(|n| stored.binary_search(n).is_err())
                .count() as u64;
        }
        account
    }

    fn is_good(&self) -> bool {
        self.sent == self.stored as u64 && self.lost == 0 && self.duplicated + self.reordered == 0
    }
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "sent {}, stored {}, lost {}, duplicated {}, reordered {}",
            self.sent, self.stored, self.lost, self.duplicated, self.reordered
        )
    }
}
