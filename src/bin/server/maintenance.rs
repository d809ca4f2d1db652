//! `server check`, `server check-config`, and operators' requests.

use std::{fmt::Display, io::Write, path::Path, process::ExitCode};

use broadcast_chat::{
    admin::{self, AdminAnswer, AdminRequest},
    store::{self, Storage},
};

use super::{
    exit::{EXIT_FAILURE, fail},
    flags::task::CheckedFlags,
    listeners::Places,
};

/// Checks the whole history.
pub(crate) fn check(data: &Path) -> ExitCode {
    match store::check(data) {
        Ok(report) if report.faults.is_empty() => done(&report),
        Ok(report) => fail(&report),
        Err(why) => fail(&why),
    }
}

/// Carries out an operator's request, and prints the answer.
pub(crate) fn administer(data: &Path, request: &AdminRequest, json: bool) -> ExitCode {
    let answer = match admin::ask(data, request) {
        Ok(answer) => answer,
        Err(why) => return fail(&why),
    };
    let said = if json {
        serde_json::to_string(&answer).unwrap_or_else(|error| error.to_string())
    } else {
        answer.to_string()
    };
    match answer {
        AdminAnswer::Refused(_) if !json => fail(&said),
        AdminAnswer::Refused(_) => {
            done(&said);
            ExitCode::from(EXIT_FAILURE)
        }
        _ => done(&said),
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

pub(super) fn done(report: &impl Display) -> ExitCode {
    // If standard output is gone, the exit code still tells.
    let _ = writeln!(std::io::stdout(), "{report}");
    ExitCode::SUCCESS
}
