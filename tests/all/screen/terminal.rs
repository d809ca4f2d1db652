//! A program on a terminal: its screen, and the keys sent to it.

use std::{io::Write, path::Path, sync::MutexGuard};

use rustix::{
    process::Signal,
    termios::{LocalModes, tcgetattr},
};
use tokio::process::Child;

use super::pty::Pty;
use crate::{programs::CLIENT, support::soon};

/// A terminal, and the program that runs on it.
pub(super) struct Terminal {
    pty: Pty,
    child: Child,
}

impl Terminal {
    /// Starts the client on a terminal of its own.
    pub(super) fn client(address: &str, state: &Path, args: &[&str]) -> Self {
        let args: Vec<&str> = [CLIENT, address].iter().chain(args).copied().collect();
        Self::start(&args, state)
    }

    pub(super) fn start(args: &[&str], state: &Path) -> Self {
        Self::start_with(args, state, &[])
    }

    pub(super) fn start_with(args: &[&str], state: &Path, variables: &[(&str, &str)]) -> Self {
        let pty = Pty::open(60, 12);
        let mut command = pty.command(args, state);
        command.envs(variables.iter().copied());
        let child = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .spawn();
        Terminal {
            pty,
            child: child.expect("setsid is there"),
        }
    }

    pub(super) fn screen(&self) -> MutexGuard<'_, vt100::Parser> {
        self.pty.shown.lock().expect("whole")
    }

    /// The rows of the screen.
    pub(super) fn rows(&self) -> Vec<String> {
        let shown = self.screen();
        let (_, columns) = shown.screen().size();
        let rows = shown.screen().rows(0, columns.get());
        rows.map(|row| row.trim_end().to_owned()).collect()
    }

    /// The rows of the scrollback and of the screen.
    pub(super) fn scrollback(&self) -> Vec<String> {
        let mut shown = self.screen();
        let (height, columns) = shown.screen().size();
        let mut all = Vec::new();
        let length = shown.screen().scrollback_len();
        for back in (1..=length).rev() {
            shown.screen_mut().set_scrollback(back);
            all.extend(shown.screen().rows(0, columns.get()).next());
        }
        shown.screen_mut().set_scrollback(0);
        all.extend(
            shown
                .screen()
                .rows(0, columns.get())
                .take(height.get().into()),
        );
        all.iter().map(|row| row.trim_end().to_owned()).collect()
    }

    pub(super) async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let mut changed = self.pty.changed.clone();
        let waiting = async {
            while !holds(self) {
                if changed.changed().await.is_err() {
                    assert!(holds(self), "{what}, before the end: {:#?}", self.rows());
                }
            }
        };
        let told = tokio::time::timeout(crate::support::PATIENCE, waiting).await;
        assert!(told.is_ok(), "{what} is not shown: {:#?}", self.rows());
    }

    /// Waits for a row that contains this text.
    pub(super) async fn shows(&mut self, what: &str) {
        self.until(what, |terminal| {
            terminal.rows().iter().any(|row| row.contains(what))
        })
        .await;
    }

    /// Waits until the cursor's row is the prompt with this input.
    pub(super) async fn shows_typed(&mut self, typed: &str) {
        let row = format!("> {typed}");
        self.until(&row, |terminal| {
            let at = terminal.screen().screen().cursor_position().0;
            terminal.rows()[usize::from(at)] == row.trim_end()
        })
        .await;
    }

    pub(super) fn press(&mut self, keys: &str) {
        self.pty.near.write_all(keys.as_bytes()).expect("it reads");
    }

    pub(super) fn resize(&mut self, columns: u16, rows: u16) {
        self.pty.resize(columns, rows);
    }

    pub(super) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id().expect("it runs")).expect("an id");
        let id = rustix::process::Pid::from_raw(id).expect("an id");
        rustix::process::kill_process(id, signal).expect("a signal");
    }

    /// Whether the terminal is in its usual mode, where keys come line by line.
    pub(super) fn is_cooked(&self) -> bool {
        let modes = tcgetattr(&self.pty.far).expect("its modes").local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    /// Waits for the program's end; asserts its exit code, and that the
    /// terminal's mode is restored. Returns the rows.
    pub(super) async fn ends(mut self, code: i32) -> Vec<String> {
        let status = soon("its end", self.child.wait()).await.expect("a child");
        assert_eq!(status.code(), Some(code), "{:#?}", self.rows());
        assert!(self.is_cooked(), "keys come line by line again");
        let back = |terminal: &Self| {
            let shown = terminal.screen();
            !shown.screen().bracketed_paste() && !shown.screen().hide_cursor()
        };
        self.until("a terminal as before", back).await;
        self.rows()
    }
}

pub(super) const CTRL_C: &str = "\u{3}";
pub(super) const CTRL_D: &str = "\u{4}";
pub(super) const CTRL_Z: &str = "\u{1a}";
