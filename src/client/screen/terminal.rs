//! Takes the terminal for the client, and restores it however the client ends.

use std::{
    io::{self, Write},
    panic,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
};

use crossterm::terminal::{disable_raw_mode, enable_raw_mode};

/// Turns on bracketed paste and focus reports, and keeps the window's title.
const ENTER: &[u8] = b"\x1b[22;2t\x1b[?2004h\x1b[?1004h";

/// Undoes [`ENTER`], and the modes that a partly written screen update leaves
/// on.
const LEAVE: &[u8] = b"\x1b[m\x1b[?7h\x1b[?2004l\x1b[?1004l\x1b[?25h\x1b[?2026l\x1b[23;2t";

/// Whether the client has the terminal.
static HAS_TERMINAL: AtomicBool = AtomicBool::new(false);

/// A guard: while it lives, the terminal is in raw mode.
#[derive(Debug)]
pub struct RawMode(());

impl RawMode {
    /// Takes the terminal. A panic gives it back before the panic is printed.
    ///
    /// # Errors
    ///
    /// Fails if the terminal refuses raw mode or cannot be written.
    pub fn enter() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let told = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                if restore() {
                    // The cursor may be anywhere in a row.
                    let _ = io::stdout().write_all(b"\r\n");
                }
                told(info);
            }));
        });
        let borrowed = RawMode(());
        borrowed.retake()?;
        Ok(borrowed)
    }

    /// Takes the terminal again, after another process had it.
    ///
    /// # Errors
    ///
    /// Fails if the terminal refuses raw mode or cannot be written.
    pub fn retake(&self) -> io::Result<()> {
        // crossterm believes that raw mode is still on, and would do nothing.
        disable_raw_mode()?;
        enable_raw_mode()?;
        HAS_TERMINAL.store(true, Ordering::SeqCst);
        write(ENTER)
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back, if the client has it; returns whether it had.
pub fn restore() -> bool {
    let borrowed = HAS_TERMINAL.swap(false, Ordering::SeqCst);
    if borrowed {
        // A failure here cannot be reported.
        let _ = write(LEAVE);
        let _ = disable_raw_mode();
    }
    borrowed
}

fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(bytes)?;
    out.flush()
}
