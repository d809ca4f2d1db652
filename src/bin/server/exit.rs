//! How a server ends that could not do what it was asked for.

use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

/// The exit code where the flags are wrong, the history is damaged, or nothing
/// could be done.
const UNUSABLE: u8 = 2;

/// Says why, on standard error; the exit code.
pub(crate) fn unusable(why: &impl Display) -> ExitCode {
    // With standard error gone there is nobody to tell.
    let _ = writeln!(io::stderr(), "server: {why:#}");
    ExitCode::from(UNUSABLE)
}
