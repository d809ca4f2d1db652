//! `server backup` and `server restore`.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, IsTerminal, Read, Write},
    num::NonZeroUsize,
    path::Path,
    process::ExitCode,
};

use broadcast_chat::store::{self, BackupProgress, BackupTarget, Restored};

use super::{exit::fail, maintenance::done};

/// The path that means standard input or standard output.
fn is_stream(file: &Path) -> bool {
    file.as_os_str() == OsStr::new("-")
}

/// Copies the history of a folder.
pub(crate) fn backup(
    data: &Path,
    file: &Path,
    compress: bool,
    keep_last: Option<NonZeroUsize>,
) -> ExitCode {
    if keep_last.is_some() && !file.is_dir() {
        return fail(&format_args!(
            "--keep-last is for backups in a folder, and {} is none: create it, or leave the flag out",
            file.display()
        ));
    }
    let mut stdout = io::stdout();
    let target = if is_stream(file) {
        if stdout.is_terminal() {
            let why =
                "standard output is a terminal: send the backup on, as in server backup - > FILE";
            return fail(&why);
        }
        BackupTarget::Stream(&mut stdout)
    } else if file.is_dir() {
        BackupTarget::Folder(file.to_owned(), keep_last.map(NonZeroUsize::get))
    } else {
        BackupTarget::File(file.to_owned())
    };
    let mut line = ProgressLine::default();
    let made = store::backup(data, target, compress, |progress| line.show(progress));
    line.end();
    match made {
        Ok(report) if is_stream(file) => {
            // Standard output has the backup.
            let _ = writeln!(io::stderr(), "{report}");
            ExitCode::SUCCESS
        }
        Ok(report) => done(&report),
        Err(why) => fail(&why),
    }
}

/// Puts a backup in the place of the history of a folder.
pub(crate) fn restore(data: &Path, file: &Path) -> ExitCode {
    let name = if is_stream(file) {
        "standard input".to_owned()
    } else {
        file.display().to_string()
    };
    let source: io::Result<Box<dyn Read>> = if is_stream(file) {
        Ok(Box::new(io::stdin()))
    } else {
        File::open(file).map(|file| Box::new(file) as _)
    };
    let source = match source {
        Ok(source) => source,
        Err(error) => return fail(&format_args!("{name} cannot be read ({error})")),
    };
    match store::restore(source, &name, data) {
        Ok(Restored { report, before }) => {
            let before = before.map(|before| {
                let before = before.display();
                format!("\nthe history before it is kept in {before}")
            });
            done(&format_args!("{report}{}", before.unwrap_or_default()))
        }
        Err(why) => fail(&why),
    }
}

/// A line on a terminal that shows how far a backup is.
#[derive(Default)]
struct ProgressLine {
    shown: Option<BackupProgress>,
}

impl ProgressLine {
    fn show(&mut self, progress: BackupProgress) {
        let mut stderr = io::stderr();
        if !stderr.is_terminal() || self.shown.replace(progress) == Some(progress) {
            return;
        }
        // If standard error is gone, the progress has no reader.
        let _ = match progress {
            BackupProgress::Copied(percent) => write!(stderr, "\r{percent} % copied"),
            BackupProgress::Checking => write!(stderr, "\rchecking the copy"),
            BackupProgress::Writing => write!(stderr, "\rwriting the copy  "),
        };
    }

    fn end(&self) {
        if self.shown.is_some() {
            let _ = write!(io::stderr(), "\r{:20}\r", "");
        }
    }
}
