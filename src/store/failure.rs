//! What may go wrong with the log while it is used.

use std::fmt;

/// The log could not be read or written just now.
#[derive(Debug)]
pub struct StoreError(Cause);

#[derive(Debug)]
enum Cause {
    /// The database says so.
    Database(rusqlite::Error),
    /// Something is not as it was written.
    Damaged(String),
    /// The files could not be worked on.
    Files(std::io::Error),
    /// The program ends.
    Stopped,
}

impl StoreError {
    pub(super) fn damaged(what: impl Into<String>) -> Self {
        StoreError(Cause::Damaged(what.into()))
    }

    /// The read was given up because the program ends.
    pub(crate) fn stopped() -> Self {
        StoreError(Cause::Stopped)
    }

    /// Whether it was given up because it took too long.
    pub(super) fn is_interruption(&self) -> bool {
        let Cause::Database(error) = &self.0 else {
            return false;
        };
        error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted)
    }

    /// Whether what is stored is the trouble, and not the storing or reading.
    pub fn is_damage(&self) -> bool {
        match &self.0 {
            Cause::Damaged(_) => true,
            Cause::Database(error) => is_damage(error),
            Cause::Files(_) | Cause::Stopped => false,
        }
    }
}

/// Whether SQLite found the database itself to be wrong.
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
