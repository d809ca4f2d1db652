//! The files of the store, as its metrics show them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use super::reader::Store;

/// The file whose time is that of the last backup.
const LAST_BACKUP: &str = "last-backup";

/// The sizes of the files of a store, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreFiles {
    /// The database.
    pub database: u64,
    /// Its write-ahead log.
    pub write_ahead_log: u64,
    /// The search index.
    pub index: u64,
    /// The room that is left on the disk.
    pub free: u64,
    /// When the last backup was made, in seconds since 1970; 0 if none was.
    pub last_backup: u64,
}

impl Store {
    /// The files of the store; none if it is in memory.
    pub async fn files(&self) -> StoreFiles {
        let Some(folder) = self.shared.folder.clone() else {
            return StoreFiles::default();
        };
        // A disk that hangs stops only the metrics.
        let read = tokio::task::spawn_blocking(move || read(&folder));
        read.await.unwrap_or_default()
    }
}

fn read(folder: &Path) -> StoreFiles {
    let size = |name: &str| fs::metadata(folder.join(name)).map_or(0, |found| found.len());
    let last_backup = fs::metadata(folder.join(LAST_BACKUP)).and_then(|found| found.modified());
    let last_backup = last_backup
        .ok()
        .and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let disk = rustix::fs::statvfs(folder);
    StoreFiles {
        database: size("chat.sqlite"),
        write_ahead_log: size("chat.sqlite-wal"),
        index: size("search.sqlite") + size("search.sqlite-wal"),
        free: disk.map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
        last_backup: last_backup.map_or(0, |since| since.as_secs()),
    }
}

/// Notes that a backup was made now.
///
/// # Errors
/// Fails if the folder cannot be written.
pub(super) fn note_backup(folder: &Path) -> io::Result<()> {
    let path: PathBuf = folder.join(LAST_BACKUP);
    // It may be another user's.
    let _ = fs::remove_file(&path);
    fs::write(path, b"\n")
}
