//! `server check`, and operators' requests.

use std::{fmt::Display, io::Write, path::Path, process::ExitCode};

use broadcast_chat::{
    admin::{self, AdminAnswer, AdminRequest},
    store,
};

use super::exit::{EXIT_FAILURE, fail};

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

pub(super) fn done(report: &impl Display) -> ExitCode {
    // If standard output is gone, the exit code still tells.
    let _ = writeln!(std::io::stdout(), "{report}");
    ExitCode::SUCCESS
}
