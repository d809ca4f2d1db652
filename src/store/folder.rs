//! The folder of the store, which one server uses at a time.

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
    /// A folder, created if it is missing.
    Folder(PathBuf),
    /// Memory, which ends with the process.
    Memory,
}

/// The lock on a folder, held until this is dropped.
pub(super) struct Lock(fs::File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough: a child process that is being started
        // shares it until its `exec`.
        let _ = self.0.unlock();
    }
}

/// Locks a folder for this process, and creates it if it is missing. `holder`
/// names this process to another one that wants the folder.
///
/// # Errors
/// Fails if another process has the folder, or it cannot be created or written.
pub(super) fn lock_folder(folder: &Path, holder: &str) -> Result<Lock, OpenError> {
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

/// Syncs the folders above a new folder: a power cut could otherwise remove the
/// new folder's name, and with it all its files.
fn sync_way_to(folder: &Path) {
    let way = folder.canonicalize();
    for above in way.iter().flat_map(|way| way.ancestors().skip(1)) {
        // A folder that this user may not open is older than the new one, and
        // so are all above it.
        if fs::File::open(above)
            .and_then(|above| above.sync_all())
            .is_err()
        {
            break;
        }
    }
}

/// Why a store could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another server uses the folder.
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
        /// The cause.
        source: io::Error,
    },
    /// The store was written by a later or an earlier version.
    OtherFormat {
        /// The database.
        path: PathBuf,
        /// Its schema's version.
        version: i64,
        /// The version that this program knows.
        known: i64,
    },
    /// The store has a format from before the first release.
    Older {
        /// The database.
        path: PathBuf,
    },
    /// There is no database, but a write-ahead log with its last commits.
    Missing {
        /// The database.
        path: PathBuf,
    },
    /// There is no database, or it cannot be read.
    Unreadable {
        /// The database.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The database cannot be used.
    Database {
        /// The database.
        path: PathBuf,
        /// The cause.
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
                "the folder {} cannot be used ({source}): name a writable one with --data, or keep nothing with --ephemeral",
                folder.display()
            ),
            OpenError::OtherFormat {
                path,
                version,
                known,
            } => write!(
                f,
                "{} was written by {} version of this program (its format is {version}, this program knows {known}): use that version, or another folder with --data",
                path.display(),
                if version > known {
                    "a later"
                } else {
                    "an earlier"
                },
            ),
            OpenError::Older { path } => write!(
                f,
                "{} was written before the first release, in a format that this program does not read: move it away to begin anew, or choose another folder with --data",
                path.display()
            ),
            OpenError::Missing { path } => write!(
                f,
                "{0} is missing or empty, but {0}-wal holds messages of it: put {0} back, or move {0}-wal away to begin anew",
                path.display()
            ),
            OpenError::Unreadable { path, source } => write!(
                f,
                "the message store {} cannot be read ({source}): name its folder with --data",
                path.display()
            ),
            OpenError::Database { path, source } if source.is_damage() => write!(
                f,
                "the message store {} cannot be used ({source}) and is left as it is: replace it with a backup (docs/operations.md, Restore), or move it away to begin anew",
                path.display()
            ),
            OpenError::Database { path, source } => write!(
                f,
                "the message store {} cannot be used ({source}) and is left as it is: move it away, or choose another folder with --data",
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
    fn a_released_folder_is_free_despite_an_inherited_descriptor() {
        let folder = tempfile::tempdir().expect("a folder");
        let lock = lock_folder(folder.path(), "a test").expect("free");
        // A child process that is being started has such a descriptor.
        let _inherited = lock.0.try_clone().expect("a descriptor");
        let taken = lock_folder(folder.path(), "another").map(drop);
        assert!(matches!(taken, Err(OpenError::InUse { holder, .. }) if holder == "a test"));
        drop(lock);
        lock_folder(folder.path(), "another").expect("free");
    }
}
