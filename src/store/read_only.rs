//! Reads a store while a server may be using it.

use std::path::Path;

use rusqlite::Connection;

use super::{
    check::{Report, whole},
    folder::OpenError,
    schema::{self, FileFormat},
};

/// Checks everything in a folder's store, even while a server uses it.
///
/// # Errors
/// Fails if the store cannot be opened or read; damaged rows are in the report.
pub fn check(folder: &Path) -> Result<Report, OpenError> {
    let path = folder.join("chat.sqlite");
    let db = open_read_only(&path)?;
    whole(&db, &path).map_err(|error| OpenError::database(&path, error))
}

/// Opens a connection for reading while a server may be running. It creates and
/// upgrades nothing.
///
/// # Errors
/// Fails if the file cannot be read or has another format.
pub(super) fn open_read_only(path: &Path) -> Result<Connection, OpenError> {
    let failed = |error: rusqlite::Error| OpenError::database(path, error.into());
    if let Err(source) = std::fs::File::open(path) {
        return Err(OpenError::Unreadable {
            path: path.to_owned(),
            source,
        });
    }
    let db = schema::connect_reader(path).map_err(failed)?;
    let keep_as_it_is = rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    db.set_db_config(keep_as_it_is, true).map_err(failed)?;
    FileFormat::of(&db).map_err(failed)?.check(path, false)?;
    Ok(db)
}
