//! `server backup` and `server check`.

use std::{io::Write, path::Path, process::ExitCode};

use broadcast_chat::history;

/// Exit code where the history is damaged, or nothing could be done.
const UNUSABLE: u8 = 2;

/// Copies the history into a file.
pub(crate) fn backup(data: &Path, file: &Path) -> ExitCode {
    let mut told = 0;
    let made = history::backup(data, file, |percent| {
        // A short one is done before there is anything to say.
        if percent >= told + 5 {
            told = percent;
            say(&format!("{percent} % copied"));
        }
    });
    match made {
        Ok(report) => done(&report),
        Err(why) => failed(&why),
    }
}

/// Looks at everything in the history.
pub(crate) fn check(data: &Path) -> ExitCode {
    match history::check(data) {
        Ok(report) if report.faults.is_empty() => done(&report),
        Ok(report) => failed(&report),
        Err(why) => failed(&why),
    }
}

fn done(report: &history::Report) -> ExitCode {
    // With standard output gone there is nobody to tell.
    let _ = writeln!(std::io::stdout(), "{report}");
    ExitCode::SUCCESS
}

fn failed(why: &impl std::fmt::Display) -> ExitCode {
    say(&format!("server: {why}"));
    ExitCode::from(UNUSABLE)
}

fn say(line: &str) {
    // With standard error gone there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{line}");
}
