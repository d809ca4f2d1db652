//! The servers under load: each is a process of its own, on a core of its own.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use anyhow::{Context, anyhow};
use clap::ValueEnum;
use rustix::{
    process::Pid,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

use crate::tls;

/// The path of another build of the server, to compare with.
pub static BEFORE: OnceLock<PathBuf> = OnceLock::new();

/// A server to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The least a broadcast server can do.
    Floor,
    /// The same, with each message on the disk before its delivery.
    SyncedFloor,
    /// The product, its history in memory.
    Memory,
    /// The product, its history in memory, over TLS.
    MemoryTls,
    /// The product, its history on disk.
    Disk,
    /// Another build of the product (`--before`), its history in memory.
    BeforeMemory,
    /// The same, its history on disk.
    BeforeDisk,
    /// The exercise, with a channel long enough that no reader lags.
    Exercise,
    /// The exercise with its own channel, of 16 messages.
    Exercise16,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Floor => "floor",
            Kind::SyncedFloor => "floor, synced",
            Kind::Exercise => "exercise",
            Kind::Exercise16 => "exercise, 16",
            Kind::Disk => "chat",
            Kind::Memory => "chat, in memory",
            Kind::MemoryTls => "chat, TLS",
            Kind::BeforeDisk => "before",
            Kind::BeforeMemory => "before, memory",
        }
    }

    /// Whether it greets a connection: from the greeting on it delivers
    /// messages.
    pub fn greets(self) -> bool {
        !matches!(self, Kind::Floor | Kind::SyncedFloor)
    }

    /// The least server with the same guarantee: the synced floor, if it
    /// keeps its history on disk.
    pub fn durable_floor(self) -> Option<Kind> {
        let durable = matches!(self, Kind::Disk | Kind::BeforeDisk);
        durable.then_some(Kind::SyncedFloor)
    }

    fn product(self) -> anyhow::Result<&'static Path> {
        match self {
            Kind::BeforeDisk | Kind::BeforeMemory => BEFORE
                .get()
                .map(PathBuf::as_path)
                .context("name the other build of the server with --before PATH"),
            _ => Ok(Path::new(env!("CARGO_BIN_EXE_server"))),
        }
    }

    fn command(self, data: &Path) -> anyhow::Result<Command> {
        let myself = || std::env::current_exe().map(Command::new);
        let mut command = match self {
            Kind::Floor => {
                let mut command = myself()?;
                command.arg("--serve=floor");
                command
            }
            Kind::SyncedFloor => {
                let mut command = myself()?;
                command.arg(format!("--serve=floor:{}", data.join("said").display()));
                command
            }
            Kind::Exercise => {
                let mut command = myself()?;
                command.arg("--serve=exercise:1048576");
                command
            }
            Kind::Exercise16 => {
                let mut command = myself()?;
                command.arg("--serve=exercise:16");
                command
            }
            Kind::Disk | Kind::BeforeDisk => {
                let mut command = Command::new(self.product()?);
                command.args(["--port=0", "--data"]).arg(data);
                command
            }
            Kind::Memory | Kind::BeforeMemory => {
                let mut command = Command::new(self.product()?);
                command.args(["--port=0", "--ephemeral"]);
                command
            }
            Kind::MemoryTls => {
                let mut command = Command::new(self.product()?);
                // With TLS strangers may come, so limits are on by default.
                command.args(["--port=0", "--ephemeral", "--rate=off"]);
                command.args(["--max-per-address=off", "--daily-bytes=off"]);
                command.args(tls::server_flags(data)?);
                command
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        Ok(command)
    }
}

/// Which cores the servers run on; the load runs on the last one.
#[derive(Clone, Copy, Debug)]
pub enum Cores {
    /// The first.
    One,
    /// All.
    All,
}

impl Cores {
    /// The cores this process may use.
    fn mine() -> anyhow::Result<&'static [usize]> {
        static MINE: OnceLock<Vec<usize>> = OnceLock::new();
        if let Some(mine) = MINE.get() {
            return Ok(mine);
        }
        let set = sched_getaffinity(None).context("the cores of this process")?;
        let mine = (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core));
        Ok(MINE.get_or_init(|| mine.collect()))
    }

    fn server(self) -> anyhow::Result<&'static [usize]> {
        let mine = Cores::mine()?;
        Ok(match self {
            Cores::One => &mine[..1],
            Cores::All => mine,
        })
    }

    fn load() -> anyhow::Result<&'static [usize]> {
        let mine = Cores::mine()?;
        Ok(&mine[mine.len() - 1..])
    }

    /// Moves this process to the core of the load, and describes the division.
    ///
    /// # Errors
    /// Fails if the cores of this process cannot be read.
    pub fn settle() -> anyhow::Result<String> {
        let mine = Cores::mine()?;
        let division = match mine.len() {
            1 => "1 core: servers and the load share it".to_owned(),
            cores => format!("{cores} cores: servers on the first, the load on the last"),
        };
        Ok(match move_to(Cores::load()?) {
            Ok(()) => division,
            Err(error) => format!("{division}; this process cannot choose its core: {error}"),
        })
    }

    /// Moves the calling thread to the core of the servers, if the system
    /// allows it.
    pub fn move_to_server() {
        if let Ok(cores) = Cores::One.server() {
            let _ = move_to(cores);
        }
    }
}

/// Lets this process, and those it starts, run on these cores only.
fn move_to(cores: &[usize]) -> rustix::io::Result<()> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core);
    }
    sched_setaffinity(None, &set)
}

/// The CPU time of the threads of a process, in nanoseconds, by the scheduler's
/// count.
///
/// # Errors
/// Fails if the process has ended, or `/proc` cannot be read.
pub fn cpu_ns(process: u32) -> anyhow::Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        // A thread may end during the count.
        let Ok(stat) = fs::read_to_string(task?.path().join("schedstat")) else {
            continue;
        };
        let on_cpu = stat.split_whitespace().next().unwrap_or_default();
        sum += on_cpu.parse::<u64>().context("schedstat")?;
    }
    Ok(sum)
}

/// A server that runs until it is dropped.
pub struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts a server with its data in the folder `data`.
    ///
    /// # Errors
    /// Fails if the server cannot be started, or does not print its address.
    pub fn start(kind: Kind, cores: Cores, data: &Path) -> anyhow::Result<Self> {
        Server::start_command(kind, cores, kind.command(data)?)
    }

    /// Starts a build of the product, which keeps only the last `messages`.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_keeping(
        kind: Kind,
        cores: Cores,
        data: &Path,
        messages: u64,
    ) -> anyhow::Result<Self> {
        let mut command = kind.command(data)?;
        command.arg(format!("--keep-messages={messages}"));
        Server::start_command(kind, cores, command)
    }

    fn start_command(kind: Kind, cores: Cores, mut command: Command) -> anyhow::Result<Self> {
        // A child process inherits the cores, if the system lets this choose
        // them.
        let _ = move_to(cores.server()?);
        let started = command.spawn();
        let _ = move_to(Cores::load()?);
        let mut child = started.with_context(|| format!("{} cannot be started", kind.name()))?;
        let stdout = child.stdout.take().context("no standard output")?;
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        // A thread reads its output, as a terminal would; it ends with the
        // server.
        std::thread::spawn(move || io::copy(&mut stdout, &mut io::sink()));
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .and_then(|address| address.parse().ok())
            .ok_or_else(|| anyhow!("{} said {line:?}", kind.name()))?;
        Ok(Server { child, address })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its CPU time, in nanoseconds.
    ///
    /// # Errors
    /// Fails if the server has ended.
    pub fn cpu_ns(&self) -> anyhow::Result<u64> {
        cpu_ns(self.child.id())
    }

    /// Its resident memory, in bytes.
    ///
    /// # Errors
    /// Fails if the server has ended.
    pub fn resident(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.trim().strip_suffix("kB"))
            .and_then(|kib| kib.trim().parse::<u64>().ok())
            .context("VmRSS")?;
        Ok(kib * 1024)
    }
}

impl Server {
    /// One of the product's own metrics.
    ///
    /// # Errors
    /// Fails if the server does not answer, or has no such metric.
    pub fn figure(&self, name: &str) -> anyhow::Result<f64> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.write_all(b"GET /-/metrics HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let figures = answer.lines().filter_map(|line| line.split_once(' '));
        let (_, value) = figures
            .into_iter()
            .find(|(of, _)| *of == name)
            .with_context(|| format!("no {name} in {answer}"))?;
        Ok(value.parse()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The server may have ended by itself, so errors are ignored.
        if let Ok(id) = i32::try_from(self.child.id())
            && let Some(pid) = Pid::from_raw(id)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
    }
}
