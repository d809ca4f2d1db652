//! The two commands as a person runs them, killed when a test is over.

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

/// Where clients keep their secrets.
pub(crate) const STATE: &str = env!("CARGO_TARGET_TMPDIR");

/// A program that runs; it is killed when it is dropped.
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

    pub(crate) async fn complaints(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(line) = soon("a line", self.errors.next_line())
            .await
            .expect("UTF-8")
        {
            lines.push(line);
        }
        lines
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

    pub(crate) async fn exit(&mut self) -> i32 {
        drop(self.input.take());
        soon("its end", self.child.wait())
            .await
            .expect("a child")
            .code()
            .expect("no signal")
    }
}

/// The client, which keeps its secrets where no person has theirs.
pub(crate) fn client_command() -> Command {
    let mut command = Command::new(CLIENT);
    command.env("XDG_STATE_HOME", STATE);
    command
}

/// The server on a folder, and on a free port.
pub(crate) fn server_command(folder: &Path, args: &[&str]) -> Command {
    server_command_at(folder, 0, args)
}

/// The server on a folder, and on this port.
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

/// A server where one was before.
pub(crate) async fn server_again(folder: &Path, addr: SocketAddr) -> Program {
    let (server, same) = listening(&mut server_command_at(folder, addr.port(), &[])).await;
    assert_eq!(same, addr);
    server
}

/// A server once it can be reached, and where.
pub(crate) async fn listening(command: &mut Command) -> (Program, SocketAddr) {
    let mut server = Program::start(command);
    let line = server.line().await;
    let addr = line.strip_prefix("listening on ").expect(&line);
    let addr = addr.parse().expect("an address");
    (server, addr)
}

pub(crate) fn folder() -> TempDir {
    tempdir().expect("a folder")
}

/// Runs a program to its end, which must be a sentence and an exit code of 2.
pub(crate) async fn unusable(command: &mut Command) -> String {
    let mut program = Program::start(command);
    assert_eq!(program.exit().await, 2, "{command:?}");
    let said = program.complaints().await;
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("server: "), "{said:?}");
    said[0].clone()
}
