//! Copies the store, even while a server uses it.

use std::{
    fmt, fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rusqlite::{
    Connection,
    backup::{Backup, StepResult},
};

use super::{
    StoreError,
    check::{self, Report},
    database::Database,
    folder::OpenError,
    read_only::open_read_only,
    schema,
    state::ReplicaState,
};

/// How many pages are copied between two reports of the progress.
const PAGES_A_STEP: i32 = 4096;

/// Copies the store of a folder to the file `to`, which must not exist yet.
/// Checks every row of the copy and returns what it found. `progress` is called
/// with the percentage copied.
///
/// The copy has an epoch of its own: a server that starts on it gives the
/// following numbers to other messages than the original server does. The copy
/// knows the epoch of the original, whose positions count up to the last number
/// of the copy.
///
/// # Errors
/// Fails if the store cannot be read or is damaged, or if `to` exists or cannot
/// be written.
pub fn backup(
    folder: &Path,
    to: &Path,
    mut progress: impl FnMut(u8),
) -> Result<Report, BackupError> {
    let db = open_read_only(&folder.join("chat.sqlite")).map_err(BackupError::Source)?;
    let target = |source| BackupError::Target {
        path: to.to_owned(),
        source,
    };
    if fs::symlink_metadata(to).is_ok() {
        return Err(target(io::ErrorKind::AlreadyExists.into()));
    }
    // The copy gets its final name only once it is complete.
    let unfinished = Unfinished::create(to).map_err(target)?;
    let failed = |source| BackupError::Copy {
        path: to.to_owned(),
        source,
    };
    let report = copy(&db, &unfinished.0, &mut progress).map_err(failed)?;
    if !report.faults.is_empty() {
        return Err(BackupError::Damaged(Report {
            path: folder.join("chat.sqlite"),
            ..report
        }));
    }
    unfinished.finish(to).map_err(target)?;
    Ok(Report {
        path: to.to_owned(),
        ..report
    })
}

fn copy(
    source: &Connection,
    path: &Path,
    progress: &mut impl FnMut(u8),
) -> Result<Report, StoreError> {
    // One view of the store, so that commits made meanwhile are not copied.
    let view = source.unchecked_transaction()?;
    ReplicaState::load(&view)?;
    let mut copy = schema::connect(path)?;
    {
        let backup = Backup::new(&view, &mut copy)?;
        while backup.step(PAGES_A_STEP)? != StepResult::Done {
            let (all, left) = (backup.progress().pagecount, backup.progress().remaining);
            let percent = 100 - 100 * i64::from(left) / i64::from(all.max(1));
            progress(u8::try_from(percent).unwrap_or(100));
        }
    }
    drop(view);
    // Without WAL mode the copy is a single file.
    let _mode: String =
        copy.pragma_update_and_check(None, "journal_mode", "delete", |row| row.get(0))?;
    let mut copy = Database::from_connection(copy)?;
    copy.begin_another_log()?;
    check::whole(copy.db(), path)
}

/// The file of a copy in progress; it is removed when this is dropped.
struct Unfinished(PathBuf);

impl Unfinished {
    fn create(to: &Path) -> io::Result<Self> {
        let mut name = to.as_os_str().to_owned();
        name.push(".unfinished");
        let path = PathBuf::from(name);
        // A killed backup may have left one behind.
        let _ = fs::remove_file(&path);
        let mut options = fs::File::options();
        options.write(true).create_new(true).mode(0o600);
        options.open(&path)?;
        Ok(Unfinished(path))
    }

    fn finish(self, to: &Path) -> io::Result<()> {
        fs::File::open(&self.0)?.sync_all()?;
        // Unlike a rename, a hard link never replaces a file.
        fs::hard_link(&self.0, to)?;
        let folder = match to.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        fs::File::open(folder)?.sync_all()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // A file that cannot be removed is replaced by the next backup.
        let _ = fs::remove_file(&self.0);
    }
}

/// Why no backup was made.
#[derive(Debug)]
pub enum BackupError {
    /// The store to copy cannot be used.
    Source(OpenError),
    /// The store to copy is damaged.
    Damaged(Report),
    /// The copy cannot be created.
    Target {
        /// The path of the copy.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Copying failed.
    Copy {
        /// The path of the copy.
        path: PathBuf,
        /// The cause.
        source: StoreError,
    },
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackupError::Source(error) => error.fmt(f),
            BackupError::Damaged(report) => write!(f, "no backup was made: {report}"),
            BackupError::Target { path, source }
                if source.kind() == io::ErrorKind::AlreadyExists =>
            {
                write!(
                    f,
                    "{} is there already, and no backup replaces it: give another name",
                    path.display()
                )
            }
            BackupError::Target { path, source } => write!(
                f,
                "no backup can be made at {} ({source}): give another place",
                path.display()
            ),
            BackupError::Copy { path, source } => {
                write!(f, "no backup was made at {} ({source})", path.display())
            }
        }
    }
}

impl std::error::Error for BackupError {}
