//! The errors of a store in use.

use std::fmt;

/// The store could not be read or written.
#[derive(Debug)]
pub struct StoreError(Cause);

#[derive(Debug)]
enum Cause {
    /// SQLite reported an error.
    Database(rusqlite::Error),
    /// This part of the store differs from what was written.
    Damaged(String),
    /// A file could not be read or written.
    Files(std::io::Error),
    /// The program is ending.
    Stopped,
}

impl StoreError {
    /// Damage of the named part of the store.
    pub(super) fn damaged(what: impl Into<String>) -> Self {
        StoreError(Cause::Damaged(what.into()))
    }

    /// The work was abandoned because the program is ending.
    pub(crate) fn stopped() -> Self {
        StoreError(Cause::Stopped)
    }

    /// Whether the statement was interrupted by its progress handler.
    pub(super) fn is_interruption(&self) -> bool {
        let Cause::Database(error) = &self.0 else {
            return false;
        };
        error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted)
    }

    /// Whether the stored data is damaged, rather than out of reach for now.
    pub fn is_damage(&self) -> bool {
        match &self.0 {
            Cause::Damaged(_) => true,
            Cause::Database(error) => is_damage(error),
            Cause::Files(_) | Cause::Stopped => false,
        }
    }
}

/// Whether SQLite found the database to be damaged.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(
        error.sqlite_error_code(),
        Some(DatabaseCorrupt | NotADatabase)
    )
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        StoreError(Cause::Database(error))
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        StoreError(Cause::Files(error))
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Cause::Database(error) => error.fmt(f),
            Cause::Damaged(what) => write!(f, "{what} is damaged"),
            Cause::Files(error) => error.fmt(f),
            Cause::Stopped => f.write_str("the server stops"),
        }
    }
}

impl std::error::Error for StoreError {}
