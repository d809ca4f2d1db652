//! The terminal, borrowed: as it was found it is given back, whatever ends the
//! client.

use std::{
    io::{self, Write},
    panic,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
};

use crossterm::terminal::{disable_raw_mode, enable_raw_mode};

/// Pasted text is told from typed text; whether somebody looks is told.
const ENTER: &[u8] = b"\x1b[?2004h\x1b[?1004h";

/// Undoes that, and what a frame cut short may have left.
const LEAVE: &[u8] = b"\x1b[m\x1b[?7h\x1b[?2004l\x1b[?1004l\x1b[?25h\x1b[?2026l";

/// Whether it is borrowed.
static BORROWED: AtomicBool = AtomicBool::new(false);

/// As long as it lives, keys come one by one.
#[derive(Debug)]
pub struct Borrowed(());

impl Borrowed {
    /// Borrows the terminal. A panic gives it back before it is told.
    ///
    /// # Errors
    ///
    /// The terminal refuses raw mode, or cannot be written.
    pub fn enter() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let told = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                if give_back() {
                    // The cursor may stand anywhere in a row.
                    let _ = io::stdout().write_all(b"\r\n");
                }
                told(info);
            }));
        });
        let borrowed = Borrowed(());
        borrowed.again()?;
        Ok(borrowed)
    }

    /// Borrows it again, after somebody else had it.
    ///
    /// # Errors
    ///
    /// The terminal refuses raw mode, or cannot be written.
    pub fn again(&self) -> io::Result<()> {
        // crossterm keeps what it found first, and believes it is still so.
        disable_raw_mode()?;
        enable_raw_mode()?;
        BORROWED.store(true, Ordering::SeqCst);
        write(ENTER)
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back, if it is borrowed; whether it was.
pub fn give_back() -> bool {
    let borrowed = BORROWED.swap(false, Ordering::SeqCst);
    if borrowed {
        // There is nobody to tell of it.
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
