//! `server backup`, `server check` and `server operator`.

use std::{fmt::Display, io::Write, path::Path, process::ExitCode};

use broadcast_chat::{hub, protocol::name::Name, store};

use super::exit::fail;

/// Copies the history into a file.
pub(crate) fn backup(data: &Path, file: &Path) -> ExitCode {
    let mut told = 0;
    let made = store::backup(data, file, |percent| {
        // One line for each 5 %. A small backup ends before the first report.
        if percent >= told + 5 {
            told = percent;
            say(&format!("{percent} % copied"));
        }
    });
    match made {
        Ok(report) => done(&report),
        Err(why) => fail(&why),
    }
}

/// Checks the whole history.
pub(crate) fn check(data: &Path) -> ExitCode {
    match store::check(data) {
        Ok(report) if report.faults.is_empty() => done(&report),
        Ok(report) => fail(&report),
        Err(why) => fail(&why),
    }
}

/// Makes the owner of a name an operator, or an operator no more.
pub(crate) fn operator(data: &Path, name: &Name, operator: bool) -> ExitCode {
    match hub::set_operator(data, name, operator) {
        Ok(()) if operator => done(&format_args!("{name} is an operator")),
        Ok(()) => done(&format_args!("{name} is no operator")),
        Err(why) => fail(&why),
    }
}

fn done(report: &impl Display) -> ExitCode {
    // If standard output is gone, the exit code still tells.
    let _ = writeln!(std::io::stdout(), "{report}");
    ExitCode::SUCCESS
}

fn say(line: &str) {
    // If standard error is gone, the progress has no reader.
    let _ = writeln!(std::io::stderr(), "{line}");
}
