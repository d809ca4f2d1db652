//! The reasons why no backup was made, or none restored.

use std::{fmt, io, path::PathBuf};

use crate::store::{StoreError, check::Report, folder::OpenError};

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
    /// The backup is made, but an older one cannot be removed.
    Prune {
        /// The path of the backup.
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
            BackupError::Prune { path, source } => write!(
                f,
                "the backup {} is made, but an older one cannot be removed ({source})",
                path.display()
            ),
            BackupError::Copy { path, source } => {
                write!(f, "no backup was made at {} ({source})", path.display())
            }
        }
    }
}

impl std::error::Error for BackupError {}
