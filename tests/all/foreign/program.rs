//! A third-party program, run as a child process that reads and writes lines.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tokio::{sync::mpsc, time::timeout};

use crate::support::soon;

/// How long a busy program may take. A program that takes 10 s alone takes more
/// than a minute beside browsers on a slow machine.
const PATIENCE_WITH_PROGRAMS: Duration = Duration::from_secs(300);

/// The path of a tool installed by `./check`.
pub(crate) fn tool(path: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .with_file_name("tools")
        .join(path)
}

/// The path of a program in `tests/programs`.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/programs")
        .join(name)
}

/// A command without proxy settings, which could keep it from this machine.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for proxy in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(proxy);
    }
    command
}

/// Starts a command; panics if the program is missing.
fn start(mut command: Command) -> Child {
    let command = command.stdout(Stdio::piped());
    command.spawn().unwrap_or_else(|error| {
        let program = command.get_program().display();
        panic!("{program} cannot be run ({error}): \"./check tools\" installs what is missing")
    })
}

/// Runs a command to its end; returns its status and output.
pub(crate) async fn output(mut command: Command) -> (ExitStatus, String) {
    command.stdin(Stdio::null());
    let mut child = start(command);
    let run = tokio::task::spawn_blocking(move || {
        let mut said = String::new();
        let mut stdout = child.stdout.take().expect("piped");
        stdout.read_to_string(&mut said).expect("UTF-8");
        (child.wait().expect("an end"), said)
    });
    let ended = timeout(PATIENCE_WITH_PROGRAMS, run).await;
    ended.expect("a program that ends").expect("no panic")
}

/// A running program; dropping it kills it and its children.
pub(crate) struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
}

impl Program {
    pub(crate) fn start(mut command: Command) -> Self {
        use std::os::unix::process::CommandExt;
        command.stdin(Stdio::piped()).process_group(0);
        let mut child = start(command);
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (line, lines) = mpsc::channel(64);
        // The thread ends with the program's standard output.
        std::thread::spawn(move || {
            for read in stdout.lines().map_while(Result::ok) {
                if line.blocking_send(read).is_err() {
                    break;
                }
            }
        });
        let stdin = child.stdin.take();
        Program {
            child,
            stdin,
            lines,
        }
    }

    /// Writes a line to its standard input.
    pub(crate) fn type_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("not ended");
        writeln!(stdin, "{line}").expect("a program that reads");
    }

    /// Closes its standard input.
    pub(crate) fn end_input(&mut self) {
        self.stdin = None;
    }

    /// Reads the next line; `None` when the program has closed its output.
    pub(crate) async fn line(&mut self) -> Option<String> {
        soon("a line of a program", self.lines.recv()).await
    }

    /// Reads the next line as JSON.
    pub(crate) async fn told(&mut self) -> Value {
        let line = self.line().await.expect("a line before the end");
        serde_json::from_str(&line).expect("JSON")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The program was not waited for, so its process id cannot belong to
        // another process.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}
