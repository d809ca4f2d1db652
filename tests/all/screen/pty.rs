//! A pseudo-terminal, and an emulator that keeps its screen.

use std::{
    fs::File,
    io::Read,
    num::NonZeroU16,
    os::fd::OwnedFd,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use rustix::{
    fs::{Mode, OFlags, open},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use tokio::sync::watch;

pub(crate) struct Pty {
    /// The person's end.
    pub(crate) near: File,
    /// The program's end. The terminal stays open as long as this end is.
    pub(crate) far: OwnedFd,
    pub(crate) shown: Arc<Mutex<vt100::Parser>>,
    /// Counts the pieces of output that were read.
    pub(crate) changed: watch::Receiver<u64>,
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

fn some(n: u16) -> NonZeroU16 {
    NonZeroU16::new(n).expect("some")
}

impl Pty {
    pub(crate) fn open(columns: u16, rows: u16) -> Self {
        let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC);
        let near = near.expect("a terminal");
        grantpt(&near).expect("ours");
        unlockpt(&near).expect("open");
        tcsetwinsize(&near, size(columns, rows)).expect("a size");
        let path = ptsname(&near, Vec::new()).expect("a name");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let far = open(&path, flags, Mode::empty()).expect("its other end");
        let parser = vt100::Parser::new(some(rows), some(columns), 10_000);
        let shown = Arc::new(Mutex::new(parser));
        let (count, changed) = watch::channel(0);
        let near = File::from(near);
        let mut reading = near.try_clone().expect("a descriptor");
        let parser = Arc::clone(&shown);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = reading.read(&mut bytes) {
                parser.lock().expect("whole").process(&bytes[..length]);
                count.send_modify(|count| *count += 1);
            }
        });
        Pty {
            near,
            far,
            shown,
            changed,
        }
    }

    /// A command that runs a program on this terminal.
    pub(crate) fn command(&self, args: &[&str], state: &Path) -> Command {
        let end = || Stdio::from(self.far.try_clone().expect("a descriptor"));
        let mut command = Command::new("setsid");
        command.arg("--ctty").args(args);
        command
            .env("XDG_STATE_HOME", state)
            .env("XDG_CONFIG_HOME", state)
            .env("RUST_BACKTRACE", "0")
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR");
        command.stdin(end()).stdout(end()).stderr(end());
        command
    }

    #[allow(dead_code)] // the bench does not resize
    pub(crate) fn resize(&mut self, columns: u16, rows: u16) {
        let mut shown = self.shown.lock().expect("whole");
        shown.screen_mut().set_size(some(rows), some(columns));
        tcsetwinsize(&self.near, size(columns, rows)).expect("a size");
    }
}
