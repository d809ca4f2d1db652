//! `server backup`, `server check`, `server check-config` and `server operator`.

use std::{fmt::Display, io::Write, path::Path, process::ExitCode};

use broadcast_chat::{
    hub,
    protocol::name::Name,
    store::{self, Storage},
};

use super::{exit::fail, flags::task::CheckedFlags, listeners::Places};

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

/// Says what a server with these flags would serve.
pub(crate) fn check_config(places: &Places, checked: &CheckedFlags) -> ExitCode {
    let base = &checked.options.base_path;
    let scheme = if checked.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let store = match &checked.storage {
        Storage::Memory => "in memory".to_owned(),
        Storage::Folder(folder) => format!("in {}", folder.display()),
    };
    done(&format_args!(
        "no mistakes: would serve {scheme}, with the path {base}/, at {places}; the history is {store}"
    ))
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
