//! The `server` and `client` programs as a person runs them. They are killed
//! when a test ends.

use std::{net::SocketAddr, path::Path, process::Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::{TempDir, tempdir};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
};

use crate::support::soon;

pub(crate) const SERVER: &str = env!("CARGO_BIN_EXE_server");
pub(crate) const CLIENT: &str = env!("CARGO_BIN_EXE_client");

/// The folder in which test clients keep their secrets.
pub(crate) const STATE: &str = env!("CARGO_TARGET_TMPDIR");

/// A running program; dropping it kills it.
pub(crate) struct Program {
    pub(crate) child: Child,
    pub(crate) input: Option<ChildStdin>,
    pub(crate) output: Lines<BufReader<ChildStdout>>,
    pub(crate) errors: Lines<BufReader<ChildStderr>>,
}

impl Program {
    pub(crate) fn start(command: &mut Command) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .kill_on_drop(true)
            .spawn()
            .expect("the program is there");
        let output = BufReader::new(child.stdout.take().expect("piped")).lines();
        let errors = BufReader::new(child.stderr.take().expect("piped")).lines();
        Program {
            input: child.stdin.take(),
            child,
            output,
            errors,
        }
    }

    pub(crate) fn client(server: SocketAddr, args: &[&str]) -> Self {
        Self::start(client_command().arg(server.to_string()).args(args))
    }

    pub(crate) async fn line(&mut self) -> String {
        let line = soon("a line", self.output.next_line())
            .await
            .expect("UTF-8");
        line.expect("a line before the end")
    }

    /// Reads standard output to its end.
    pub(crate) async fn lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(line) = soon("a line", self.output.next_line())
            .await
            .expect("UTF-8")
        {
            lines.push(line);
        }
        lines
    }

    /// Reads standard error to its end.
    pub(crate) async fn stderr_lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(line) = soon("a line", self.errors.next_line())
            .await
            .expect("UTF-8")
        {
            lines.push(line);
        }
        lines
    }

    /// Reads standard error up to a line with this part.
    pub(crate) async fn logged(&mut self, part: &str) -> String {
        loop {
            let line = soon(part, self.errors.next_line()).await;
            let line = line.expect("UTF-8").expect("a line before the end");
            if line.contains(part) {
                return line;
            }
        }
    }

    pub(crate) async fn type_line(&mut self, line: &str) {
        let input = self.input.as_mut().expect("not ended");
        input
            .write_all(format!("{line}\n").as_bytes())
            .await
            .expect("it reads");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id().expect("it runs")).expect("a process id");
        kill_process(Pid::from_raw(id).expect("a process id"), signal).expect("a signal");
    }

    /// Closes standard input and waits for the end; returns the exit code.
    pub(crate) async fn exit(&mut self) -> i32 {
        drop(self.input.take());
        soon("its end", self.child.wait())
            .await
            .expect("a child")
            .code()
            .expect("no signal")
    }
}

/// The client. It keeps secrets in [`STATE`], apart from a person's own
/// secrets.
pub(crate) fn client_command() -> Command {
    let mut command = Command::new(CLIENT);
    command.env("XDG_STATE_HOME", STATE);
    command
}

/// The server in a folder, on a free port.
pub(crate) fn server_command(folder: &Path, args: &[&str]) -> Command {
    server_command_at(folder, 0, args)
}

/// The server in a folder, on this port.
pub(crate) fn server_command_at(folder: &Path, port: u16, args: &[&str]) -> Command {
    let mut command = Command::new(SERVER);
    let port = port.to_string();
    command
        .current_dir(folder)
        .args(["--port", &port])
        .args(args);
    command
}

pub(crate) async fn server(folder: &Path, args: &[&str]) -> (Program, SocketAddr) {
    listening(&mut server_command(folder, args)).await
}

/// Starts a server with the folder and port of an earlier one.
pub(crate) async fn server_again(folder: &Path, addr: SocketAddr) -> Program {
    let (server, same) = listening(&mut server_command_at(folder, addr.port(), &[])).await;
    assert_eq!(same, addr);
    server
}

/// Starts a server; returns it and its address once it listens.
pub(crate) async fn listening(command: &mut Command) -> (Program, SocketAddr) {
    let mut server = Program::start(command);
    let line = server.line().await;
    let addr = line.strip_prefix("listening on ").expect(&line);
    let addr: SocketAddr = addr.parse().expect("an address");
    let open = server.line().await;
    let urls = ["http", "https"].map(|scheme| format!("open {scheme}://{addr}/ in a browser"));
    assert!(urls.contains(&open), "{open}");
    (server, addr)
}

pub(crate) fn folder() -> TempDir {
    tempdir().expect("a folder")
}

/// Runs a server that must print one sentence and exit with code 2; returns the
/// sentence.
pub(crate) async fn rejected_start(command: &mut Command) -> String {
    let mut program = Program::start(command);
    assert_eq!(program.exit().await, 2, "{command:?}");
    let said = program.stderr_lines().await;
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("server: "), "{said:?}");
    said[0].clone()
}
