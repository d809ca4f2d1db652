//! The folder the log is kept in: one server's at a time.

use std::{
    fmt, fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::StoreError;

/// Where the store is kept.
#[derive(Clone, Debug)]
pub enum Storage {
    /// A folder, created when it is not there.
    Folder(PathBuf),
    /// Memory: gone with the process.
    Memory,
}

/// A folder that is taken, until this is dropped.
pub(super) struct Lock(fs::File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing it is not enough: a child of this process that is just being
        // started holds it too, until it becomes its program.
        let _ = self.0.unlock();
    }
}

/// Takes a folder for this process, creating it where there is none. `holder` is
/// how another process that wants it is told of this one.
pub(super) fn take(folder: &Path, holder: &str) -> Result<Lock, OpenError> {
    let path = folder.join("lock");
    let unusable = |source| OpenError::Folder {
        folder: folder.to_owned(),
        source,
    };
    if !folder.exists() {
        let mut made = fs::DirBuilder::new();
        let made = made.recursive(true).mode(0o700).create(folder);
        made.map_err(unusable)?;
        sync_way_to(folder);
    }
    let mut file = fs::File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let holder = fs::read_to_string(&path).unwrap_or_default();
            return Err(OpenError::InUse {
                folder: folder.to_owned(),
                holder: holder.trim().into(),
            });
        }
        Err(fs::TryLockError::Error(source)) => return Err(unusable(source)),
    }
    file.set_len(0).map_err(unusable)?;
    writeln!(file, "{holder}").map_err(unusable)?;
    Ok(Lock(file))
}

/// Has the names that lead to a new folder stored: a power cut would take all
/// that is in it with them.
fn sync_way_to(folder: &Path) {
    let way = folder.canonicalize();
    for above in way.iter().flat_map(|way| way.ancestors().skip(1)) {
        // Far enough up it is none of this user's, and was there before.
        if fs::File::open(above)
            .and_then(|above| above.sync_all())
            .is_err()
        {
            break;
        }
    }
}

/// The log could not be opened: stops a start.
#[derive(Debug)]
pub enum OpenError {
    /// Another server has the folder.
    InUse {
        /// The folder.
        folder: PathBuf,
        /// How the other server named itself.
        holder: String,
    },
    /// The folder cannot be used.
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The log was written by a later version.
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema's version.
        version: i64,
        /// The version that this program knows.
        known: i64,
    },
    /// The store has a format of before the first release.
    Older {
        /// The database.
        path: PathBuf,
    },
    /// There is no database, or none that may be read.
    Unreadable {
        /// The database.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database cannot be used.
    Database {
        /// The database.
        path: PathBuf,
        /// Why.
        source: StoreError,
    },
}

impl OpenError {
    pub(super) fn database(path: &Path, source: StoreError) -> Self {
        OpenError::Database {
            path: path.to_owned(),
            source,
        }
    }

    pub(super) fn memory(source: StoreError) -> Self {
        OpenError::database(Path::new(":memory:"), source)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::InUse { folder, holder } => write!(
                f,
                "{} is in use by another server ({holder}): stop that one, or give this one a folder of its own with --data",
                folder.display()
            ),
            OpenError::Folder { folder, source } => write!(
                f,
                "the folder {} cannot be used ({source}): give one that can be written with --data, or keep nothing with --ephemeral",
                folder.display()
            ),
            OpenError::Newer {
                path,
                version,
                known,
            } => write!(
                f,
                "{} was written by a later version of this program (its format is {version}, this program knows {}): use that version, or another folder with --data",
                path.display(),
                known
            ),
            OpenError::Older { path } => write!(
                f,
                "{} was written before the first release, whose format it does not have: move it away to begin anew, or choose another folder with --data",
                path.display()
            ),
            OpenError::Unreadable { path, source } => write!(
                f,
                "there is no history that can be read in {} ({source}): name its folder with --data",
                path.display()
            ),
            OpenError::Database { path, source } if source.is_damage() => write!(
                f,
                "the history in {} cannot be used ({source}); it was left as it is: put a backup in its place (README: Backup), or move it away to begin anew",
                path.display()
            ),
            OpenError::Database { path, source } => write!(
                f,
                "the history in {} cannot be used ({source}); it was left as it is: move it away, or choose another folder with --data",
                path.display()
            ),
        }
    }
}

impl std::error::Error for OpenError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_let_go_of_is_free_whoever_still_has_it_open() {
        let folder = tempfile::tempdir().expect("a folder");
        let lock = take(folder.path(), "a test").expect("free");
        // As a child has it that is being started.
        let _inherited = lock.0.try_clone().expect("a descriptor");
        let taken = take(folder.path(), "another").map(drop);
        assert!(matches!(taken, Err(OpenError::InUse { holder, .. }) if holder == "a test"));
        drop(lock);
        take(folder.path(), "another").expect("free");
    }
}
