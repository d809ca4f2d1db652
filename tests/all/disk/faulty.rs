//! The server program with a disk and a clock that the test controls
//! (`tests/programs/faults.c`).

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Command as Blocking, Stdio},
    sync::OnceLock,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
};

use crate::{
    programs::SERVER,
    support::{Peer, soon, upgraded},
};

/// The fields of the control file, in the order of `faults.c`.
#[derive(Clone, Copy)]
pub(crate) enum ControlField {
    /// The error number with which every write fails; 0: none fails.
    Write = 0,
    /// The error number with which every sync fails; 0: none fails.
    Sync = 1,
    /// How long a sync takes, in microseconds.
    Delay = 2,
    /// How far the wall clock is ahead, in seconds.
    Clock = 3,
    /// How far both clocks have been moved on, in seconds.
    Passed = 4,
    /// How many syncs the program has asked for.
    Syncs = 5,
    /// How many writes the program has asked for.
    Writes = 6,
}

pub(crate) const EIO: i64 = 5;
pub(crate) const ENOSPC: i64 = 28;
pub(crate) const EROFS: i64 = 30;

/// A folder for a server's data, and beside it the file that controls the disk.
pub(crate) struct Disk {
    folder: TempDir,
    control: fs::File,
}

impl Disk {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut options = fs::File::options();
        let path = folder.path().join("control");
        let control = options.read(true).write(true).create_new(true).open(path);
        let control = control.expect("a file");
        control.set_len(56).expect("its length");
        Disk { folder, control }
    }

    /// The server's folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The file in which a recording server's writes and syncs are recorded.
    pub(crate) fn record(&self) -> PathBuf {
        self.folder.path().join("record")
    }

    pub(crate) fn set(&self, fault: ControlField, value: i64) {
        let at = 8 * fault as u64;
        let set = self.control.write_all_at(&value.to_ne_bytes(), at);
        set.expect("a file");
    }

    pub(crate) fn get(&self, fault: ControlField) -> i64 {
        let mut value = [0; 8];
        let read = self.control.read_exact_at(&mut value, 8 * fault as u64);
        read.expect("a file");
        i64::from_ne_bytes(value)
    }

    /// Waits until the count of syncs is no longer `syncs`.
    pub(crate) async fn wait_for_sync(&self, syncs: i64) {
        soon("a sync", async {
            while self.get(ControlField::Syncs) == syncs {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }

    /// The environment variables that give a program this disk and this clock.
    pub(crate) fn environment(&self) -> [(&'static str, PathBuf); 3] {
        [
            ("LD_PRELOAD", fault_library().to_owned()),
            ("FAULTS_FOLDER", self.data()),
            ("FAULTS_CONTROL", self.folder.path().join("control")),
        ]
    }

    /// Starts a server on this disk. With `recording`, its writes and syncs are
    /// recorded.
    pub(crate) async fn serve(&self, recording: bool) -> ServerProcess {
        let mut command = self.command();
        if recording {
            command.env("FAULTS_RECORD", self.record());
        }
        ServerProcess::start(&mut command).await
    }

    /// The command that starts a server on this disk.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(SERVER);
        command
            .envs(self.environment())
            .args(["-v", "--port", "0", "--data"])
            .arg(self.data());
        command
    }
}

/// Compiles `faults.c` to a library, once.
fn fault_library() -> &'static Path {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/faults.c");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let library = folder.join(format!("faults-{}.so", std::process::id()));
        let mut cc = Blocking::new("cc");
        cc.args([
            "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o",
        ]);
        let built = cc.arg(&library).arg(source).arg("-ldl").status();
        assert!(built.expect("a C compiler").success());
        library
    })
}

/// A running server; dropping it kills it.
pub(crate) struct ServerProcess {
    pub(crate) child: Child,
    pub(crate) addr: SocketAddr,
}

impl ServerProcess {
    pub(crate) async fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the server is there");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let line = soon("a line", lines.next_line()).await.expect("UTF-8");
        let Some(line) = line else {
            let mut said = String::new();
            let mut errors = child.stderr.take().expect("piped");
            let _ = errors.read_to_string(&mut said).await;
            panic!("no server: {said}");
        };
        let addr = line.strip_prefix("listening on ").expect(&line);
        ServerProcess {
            addr: addr.parse().expect("an address"),
            child,
        }
    }

    /// Kills the server, as a crash does.
    pub(crate) async fn kill(mut self) {
        self.child.start_kill().expect("it runs");
        soon("its end", self.child.wait()).await.expect("a child");
    }

    /// Ends the server by SIGTERM; returns its log output.
    pub(crate) async fn stop(mut self) -> String {
        let id = i32::try_from(self.child.id().expect("it runs")).expect("a process id");
        kill_process(Pid::from_raw(id).expect("one"), Signal::TERM).expect("a signal");
        let mut said = String::new();
        let mut errors = self.child.stderr.take().expect("piped");
        let read = errors.read_to_string(&mut said);
        soon("its log output", read).await.expect("UTF-8");
        soon("its end", self.child.wait()).await.expect("a child");
        said
    }

    /// A peer in the JSON format, after its welcome.
    pub(crate) async fn join(&self, target: &str) -> Peer {
        let json = [("Sec-WebSocket-Protocol", "chat.v1")];
        let mut peer = upgraded(self.addr, target, &json).await;
        assert_eq!(peer.event().await["type"], "welcome");
        peer
    }

    /// Sends a request and reads the response to its end.
    pub(crate) async fn request(&self, method: &str, target: &str, body: &str) -> String {
        let mut peer = Peer::connect(self.addr).await;
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            self.addr,
            body.len()
        );
        peer.write(head.as_bytes()).await;
        peer.rest().await
    }
}

/// Publishes in the JSON format; returns the event that answers.
pub(crate) async fn publish(peer: &mut Peer, text: &str, id: &str) -> Value {
    let command = serde_json::json!({"type": "publish", "text": text, "id": id});
    peer.say(&command.to_string()).await;
    loop {
        let event = peer.event().await;
        if event["id"] == id && event["type"] != "welcome" {
            return event;
        }
    }
}

/// Publishes again and again while the server answers `busy`; returns the event
/// that is no refusal.
pub(crate) async fn publish_until_stored(peer: &mut Peer, text: &str, id: &str) -> Value {
    loop {
        let event = publish(peer, text, id).await;
        if event["type"] != "refused" {
            return event;
        }
        assert_eq!(event["code"], "busy");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
