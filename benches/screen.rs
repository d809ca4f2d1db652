//! Measures the client's screen: the time to show a burst of lines, the CPU
//! time when idle, and how soon a key is shown. The real client runs on a
//! pseudo-terminal against a real server; a terminal emulator reads its screen.
//!
//!     cargo bench --bench screen

// This program prints, and measures real time.
#![allow(clippy::print_stdout, clippy::expect_used, clippy::disallowed_methods)]
#![allow(unreachable_pub)] // a program exports nothing

#[path = "../tests/all/screen/pty.rs"]
mod pty;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use tempfile::tempdir;

use self::pty::Pty;

const KEYS: usize = 1000;
const BURST: usize = 10_000;

/// A process that is killed when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() {
    let folder = tempdir().expect("a folder");
    let mut server = Command::new(env!("CARGO_BIN_EXE_server"))
        .args(["--port", "0", "--ephemeral", "--show-messages", "never"])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .map(Running)
        .expect("a server");
    let mut line = String::new();
    let out = server.0.stdout.take().expect("piped");
    BufReader::new(out).read_line(&mut line).expect("a line");
    let address = line
        .trim()
        .strip_prefix("listening on ")
        .expect("it listens");
    burst(address, folder.path());
    idle(address, folder.path());
    keys(address, folder.path());
}

fn client(address: &str, folder: &Path, args: &[&str]) -> (Pty, Running) {
    let pty = Pty::open(80, 24);
    let args = [
        &[env!("CARGO_BIN_EXE_client"), address, "--name", "ana"],
        args,
    ]
    .concat();
    let child = pty.command(&args, folder).spawn().map(Running);
    (pty, child.expect("setsid is there"))
}

/// Waits until a condition holds for the screen.
fn until(pty: &Pty, holds: impl Fn(&vt100::Screen) -> bool) {
    let mut changed = pty.changed.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(async {
        while !holds(pty.shown.lock().expect("whole").screen()) {
            changed.changed().await.expect("it runs");
        }
    });
}

fn shows(pty: &Pty, what: &str) {
    until(pty, |screen| screen.contents().contains(what));
}

/// Publishes `lines` lines through a client on a pipe, with `each` between two
/// of them.
fn say(address: &str, room: &str, lines: usize, each: Duration) {
    let mut pipe = Command::new(env!("CARGO_BIN_EXE_client"))
        .args([address, "--room", room, "--name", "bob", "--quiet"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("a pipe");
    let mut input = pipe.stdin.take().expect("piped");
    let began = Instant::now();
    for n in 0..lines {
        let due = began + each * u32::try_from(n).expect("few");
        sleep(due.saturating_duration_since(Instant::now()));
        if writeln!(input, "line {n} of what is said while somebody types").is_err() {
            break;
        }
    }
    drop(input);
    let _ = pipe.wait();
}

fn burst(address: &str, folder: &Path) {
    say(address, "burst", BURST, Duration::ZERO);
    let began = Instant::now();
    let (pty, _client) = client(address, folder, &["--room", "burst", "--after", "0"]);
    shows(&pty, &format!("line {} of", BURST - 1));
    shows(&pty, "connected");
    let took = began.elapsed().as_millis();
    println!("{BURST} lines, from the start of the client to the last one shown: {took} ms");
}

/// The CPU time of a process, in hundredths of a second.
fn used(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("on Linux");
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .expect("a name")
        .split(' ')
        .collect();
    [12, 13]
        .map(|n| fields[n].parse::<u64>().expect("a number"))
        .iter()
        .sum()
}

fn idle(address: &str, folder: &Path) {
    let (pty, client) = client(address, folder, &["--room", "idle"]);
    shows(&pty, "connected");
    let before = used(client.0.id());
    sleep(Duration::from_secs(10));
    let after = used(client.0.id());
    println!(
        "idle for 10 s: {} ms of the processor",
        (after - before) * 10
    );
}

fn keys(address: &str, folder: &Path) {
    let (mut pty, _client) = client(address, folder, &["--room", "keys"]);
    shows(&pty, "connected");
    let talk = address.to_owned();
    std::thread::spawn(move || say(&talk, "keys", 1_000_000, Duration::from_millis(1)));
    shows(&pty, "line 1000 of");
    let mut took = Vec::with_capacity(KEYS);
    let mut typed = String::from("> ");
    for n in 0..KEYS {
        if n % 50 == 49 {
            pty.near.write_all(b"\x15").expect("a key");
            typed.truncate(2);
        }
        let key = char::from(b'a' + u8::try_from(n % 26).expect("small"));
        typed.push(key);
        let began = Instant::now();
        write!(pty.near, "{key}").expect("a key");
        until(&pty, |screen| {
            let row = screen.cursor_position().0;
            let row = screen.rows(0, 80).nth(row.into()).unwrap_or_default();
            row.trim_end() == typed
        });
        took.push(began.elapsed());
        sleep(Duration::from_millis(7));
    }
    took.sort();
    let at = |part: usize| took[KEYS * part / 1000].as_secs_f64() * 1000.0;
    println!(
        "a key to the screen while 1,000 lines a second arrive: median {:.1} ms, 99 of 100 within {:.1} ms, all within {:.1} ms",
        at(500),
        at(990),
        took[KEYS - 1].as_secs_f64() * 1000.0
    );
}
