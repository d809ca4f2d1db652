//! The real server on a disk and a clock that do what they are told (`tests/programs/faults.c`).

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

use crate::support::{Peer, soon};

pub(crate) const SERVER: &str = env!("CARGO_BIN_EXE_server");

/// What can be told to them, and asked; the numbers of `faults.c`.
#[derive(Clone, Copy)]
pub(crate) enum Fault {
    /// Writing fails with this error number; 0: it does not.
    Write = 0,
    /// So does syncing.
    Sync = 1,
    /// Syncing takes so many microseconds.
    Delay = 2,
    /// The wall clock is so many seconds ahead.
    Clock = 3,
    /// So many seconds have passed, all at once.
    Passed = 4,
    /// How often was tried to sync.
    Syncs = 5,
    /// How often was tried to write.
    Writes = 6,
}

pub(crate) const EIO: i64 = 5;
pub(crate) const ENOSPC: i64 = 28;
pub(crate) const EROFS: i64 = 30;

/// A folder with a history in it, and beside it what controls the disk.
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

    /// What was written, when it is recorded.
    pub(crate) fn record(&self) -> PathBuf {
        self.folder.path().join("record")
    }

    pub(crate) fn set(&self, fault: Fault, value: i64) {
        let at = 8 * fault as u64;
        let set = self.control.write_all_at(&value.to_ne_bytes(), at);
        set.expect("a file");
    }

    pub(crate) fn get(&self, fault: Fault) -> i64 {
        let mut value = [0; 8];
        let read = self.control.read_exact_at(&mut value, 8 * fault as u64);
        read.expect("a file");
        i64::from_ne_bytes(value)
    }

    /// Waits for a sync beyond so many.
    pub(crate) async fn tried_to_sync(&self, syncs: i64) {
        soon("a sync", async {
            while self.get(Fault::Syncs) == syncs {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }

    /// What makes a program see this disk, and this clock.
    pub(crate) fn environment(&self) -> [(&'static str, PathBuf); 3] {
        [
            ("LD_PRELOAD", shim().to_owned()),
            ("FAULTS_FOLDER", self.data()),
            ("FAULTS_CONTROL", self.folder.path().join("control")),
        ]
    }

    /// A server on this disk; with `recording`, what it writes is recorded.
    pub(crate) async fn serve(&self, recording: bool) -> Faulty {
        let mut command = self.command();
        if recording {
            command.env("FAULTS_RECORD", self.record());
        }
        Faulty::start(&mut command).await
    }

    /// A server on this disk, not started yet.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(SERVER);
        command
            .envs(self.environment())
            .args(["-v", "--port", "0", "--data"])
            .arg(self.data());
        command
    }
}

/// The faults as a library, built once.
fn shim() -> &'static Path {
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

/// A server that runs; it is killed when it is dropped.
pub(crate) struct Faulty {
    pub(crate) child: Child,
    pub(crate) addr: SocketAddr,
}

impl Faulty {
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
        Faulty {
            addr: addr.parse().expect("an address"),
            child,
        }
    }

    /// Ends it at once, as a crash does.
    pub(crate) async fn kill(mut self) {
        self.child.start_kill().expect("it runs");
        soon("its end", self.child.wait()).await.expect("a child");
    }

    /// Ends it in order; what it logged.
    pub(crate) async fn stop(mut self) -> String {
        let id = i32::try_from(self.child.id().expect("it runs")).expect("a process id");
        kill_process(Pid::from_raw(id).expect("one"), Signal::TERM).expect("a signal");
        let mut said = String::new();
        let mut errors = self.child.stderr.take().expect("piped");
        let read = errors.read_to_string(&mut said);
        soon("its log", read).await.expect("UTF-8");
        soon("its end", self.child.wait()).await.expect("a child");
        said
    }

    /// A peer in the JSON format that has been welcomed.
    pub(crate) async fn join(&self, target: &str) -> Peer {
        let mut peer = Peer::connect(self.addr).await;
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: chat.v1\r\n\r\n",
            self.addr
        );
        peer.write(head.as_bytes()).await;
        let answer = peer.head().await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert_eq!(peer.event().await["type"], "welcome");
        peer
    }

    /// Sends a request, and reads the answer to its end.
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

/// Publishes in the JSON format; the event that answers it.
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

/// The same, again and again while it is refused because of the disk.
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
