//! The subcommands, which do their work and end.

use std::{fmt::Display, io::Write, path::Path, process::ExitCode};

use broadcast_chat::{
    admin::{self, AdminAnswer, AdminRequest},
    store,
};

use super::exit::{EXIT_FAILURE, fail};

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

fn done(report: &impl Display) -> ExitCode {
    // If standard output is gone, the exit code still tells.
    let _ = writeln!(std::io::stdout(), "{report}");
    ExitCode::SUCCESS
}

fn say(line: &str) {
    // If standard error is gone, the progress has no reader.
    let _ = writeln!(std::io::stderr(), "{line}");
}
