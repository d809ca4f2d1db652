//! Copies the store, even while a server uses it.

mod archive;
mod backup_error;
mod dated;
mod pace;
mod unfinished;

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
};

use rusqlite::{
    Connection,
    backup::{Backup, StepResult},
};

pub use self::backup_error::BackupError;
use self::pace::CopyPace;
pub(super) use self::{
    archive::read as read_archive,
    dated::stamp,
    unfinished::{Unfinished, sync_folder_of},
};
use super::{
    StoreError,
    check::{self, Report},
    database::Database,
    files::note_backup,
    read_only::open_read_only,
    schema,
    state::ReplicaState,
};

/// How many pages are copied at a time: 256 KiB.
const PAGES_A_STEP: i32 = 64;

/// How many pages of the copy are in memory. The rest is written at once, so
/// that little waits for a sync.
const CACHED_PAGES: i32 = 256;

/// How many steps of SQLite's virtual machine the check of the copy makes
/// before it rests.
const STEPS_OF_CHECK: i32 = 20_000;

/// Where a backup goes.
pub enum BackupTarget<'a> {
    /// A file that does not exist yet.
    File(PathBuf),
    /// A file in a folder, named after the time. Only the last backups there
    /// are kept, if a number is given.
    Folder(PathBuf, Option<usize>),
    /// A stream, which gets the copy once it is complete and checked.
    Stream(&'a mut dyn Write),
}

/// How far a backup is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupProgress {
    /// This percentage is copied.
    Copied(u8),
    /// The copy is being checked.
    Checking,
    /// The copy is being compressed or written to a stream.
    Writing,
}

/// Copies the store of a folder to a target, compressed by gzip if that is
/// asked for. Checks every row of the copy and returns what it found. The
/// report has the path of the copy, or of the original for a stream.
///
/// After each step it rests for longer than the step took. So a server that uses
/// the store has the disk and the processor for most of the time.
///
/// The copy has an epoch of its own: a server that starts on it gives the
/// following numbers to other messages than the original server does. The copy
/// knows the epoch of the original, whose positions count up to the last number
/// of the copy.
///
/// # Errors
/// Fails if the store cannot be read or is damaged, or if the target exists or
/// cannot be written.
pub fn backup(
    folder: &Path,
    target: BackupTarget<'_>,
    compressed: bool,
    mut progress: impl FnMut(BackupProgress),
) -> Result<Report, BackupError> {
    let source = folder.join("chat.sqlite");
    let db = open_read_only(&source).map_err(BackupError::Source)?;
    let (to, keep, stream) = match target {
        BackupTarget::File(path) => (path, None, None),
        BackupTarget::Folder(path, keep) => (dated::name(&path, compressed), keep, None),
        BackupTarget::Stream(stream) => (folder.join("backup"), None, Some(stream)),
    };
    let shown = match stream {
        Some(_) => PathBuf::from("standard output"),
        None => to.clone(),
    };
    let failed = |source| BackupError::Target {
        path: shown.clone(),
        source,
    };
    if stream.is_none() && fs::symlink_metadata(&to).is_ok() {
        return Err(failed(io::ErrorKind::AlreadyExists.into()));
    }
    // The copy gets its final name only once it is complete.
    let unfinished = Unfinished::create(&to, "unfinished").map_err(failed)?;
    let mut pace = CopyPace::start();
    let copied = copy(db, &unfinished, &mut pace, &mut progress);
    let report = copied.map_err(|source| BackupError::Copy {
        path: to.clone(),
        source,
    })?;
    if !report.faults.is_empty() {
        return Err(BackupError::Damaged(Report {
            path: source,
            ..report
        }));
    }
    if compressed || stream.is_some() {
        progress(BackupProgress::Writing);
    }
    let path = if let Some(stream) = stream {
        archive::write(unfinished.file(), stream, compressed, &mut pace).map_err(failed)?;
        source
    } else {
        let finished = if compressed {
            let smaller = Unfinished::create(&to, "unfinished.gz").map_err(failed)?;
            archive::write(unfinished.file(), smaller.file(), true, &mut pace).map_err(failed)?;
            smaller
        } else {
            unfinished
        };
        finished.finish(&to).map_err(failed)?;
        to
    };
    // A user that may only read the folder cannot note it.
    let _ = note_backup(folder);
    if let Some(keep) = keep {
        dated::prune(&path, keep).map_err(|source| BackupError::Prune {
            path: path.clone(),
            source,
        })?;
    }
    Ok(Report { path, ..report })
}

fn copy(
    source: Connection,
    unfinished: &Unfinished,
    pace: &mut CopyPace,
    progress: &mut impl FnMut(BackupProgress),
) -> Result<Report, StoreError> {
    let path = unfinished.path();
    let mut copy = schema::connect(path)?;
    // A copy that a crash cuts short is not used. Its pages are synced step by
    // step: a sync of many pages would delay those of the server.
    let _mode: String =
        copy.pragma_update_and_check(None, "journal_mode", "off", |row| row.get(0))?;
    copy.pragma_update(None, "synchronous", "off")?;
    copy.pragma_update(None, "cache_size", CACHED_PAGES)?;
    {
        // One view of the store, so that commits made meanwhile are not copied.
        let view = source.unchecked_transaction()?;
        ReplicaState::load(&view)?;
        let backup = Backup::new(&view, &mut copy)?;
        loop {
            let step = backup.step(PAGES_A_STEP)?;
            unfinished.file().sync_data()?;
            if step == StepResult::Done {
                break;
            }
            pace.rest();
            let (all, left) = (backup.progress().pagecount, backup.progress().remaining);
            let percent = 100 - 100 * i64::from(left) / i64::from(all.max(1));
            progress(BackupProgress::Copied(u8::try_from(percent).unwrap_or(100)));
        }
    }
    // The write-ahead log grew meanwhile. Moved into the database here, its
    // pages delay no commit of the server. A server that is moving them itself
    // makes this fail.
    let _ = source.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
    drop(source);
    progress(BackupProgress::Checking);
    // Without WAL mode the copy is a single file.
    let _mode: String =
        copy.pragma_update_and_check(None, "journal_mode", "delete", |row| row.get(0))?;
    copy.pragma_update(None, "synchronous", "full")?;
    let mut pace = pace.clone();
    let rest = move || {
        pace.rest();
        false
    };
    copy.progress_handler(STEPS_OF_CHECK, Some(rest))?;
    let mut copy = Database::from_connection(copy)?;
    copy.begin_another_log()?;
    check::whole(copy.db(), path)
}
