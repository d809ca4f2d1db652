//! The exit of a server that failed.

use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

/// The exit code for wrong flags, a damaged history, or any other failure.
pub(crate) const EXIT_FAILURE: u8 = 2;

/// Prints the reason on standard error and returns the exit code.
pub(crate) fn fail(why: &impl Display) -> ExitCode {
    // If standard error is gone, the exit code still tells.
    let _ = writeln!(io::stderr(), "server: {why:#}");
    ExitCode::from(EXIT_FAILURE)
}

/// Prints all mistakes, one a line, and returns the exit code.
pub(crate) fn fail_all(mistakes: &[String]) -> ExitCode {
    for why in mistakes {
        fail(why);
    }
    ExitCode::from(EXIT_FAILURE)
}
