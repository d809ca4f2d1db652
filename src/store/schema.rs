//! The database file: its schema, its format marks, and how it is opened.

use std::{fs, os::unix::fs::OpenOptionsExt, path::Path};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{StoreError, check, folder::OpenError, state::ReplicaState, wal};
use crate::protocol::Epoch;

/// `PRAGMA user_version`: raised whenever the schema changes.
pub(super) const VERSION: i64 = 6;

/// `PRAGMA application_id`: "chat". Stores from before the first release have
/// none.
const APPLICATION: i64 = 0x6368_6174;

/// The schema of [`VERSION`].
const SCHEMA: &str = include_str!("schema.sql");

/// Opens the writer's connection to a database, which it creates with its
/// schema if it is missing. Makes the checks that a start can afford.
///
/// # Errors
/// Fails if the file cannot be opened, has another format or is damaged.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    let unusable = |source| OpenError::Folder {
        folder: path.to_owned(),
        source,
    };
    if wal::is_orphaned(path).map_err(unusable)? {
        return Err(OpenError::Missing {
            path: path.to_owned(),
        });
    }
    // SQLite would create a file that all users can read. Its `-wal` and `-shm`
    // files get the mode of this one.
    let mut options = fs::File::options();
    let made = options
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path);
    made.map_err(unusable)?;
    let failed = |error: StoreError| OpenError::database(path, error);
    let db = connect(path).map_err(|e| failed(e.into()))?;
    // A refused database stays byte for byte the same.
    let keep_as_it_is = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    db.set_db_config(keep_as_it_is, true)
        .map_err(|e| failed(e.into()))?;
    let format = FileFormat::of(&db).map_err(|e| failed(e.into()))?;
    format.check(path, true)?;
    prepare(&db, format, Some(path)).map_err(failed)?;
    db.set_db_config(keep_as_it_is, false)
        .map_err(|e| failed(e.into()))?;
    Ok(db)
}

/// Creates a database in memory, which ends with its connection.
///
/// # Errors
/// Fails if SQLite cannot create it.
pub(super) fn in_memory() -> Result<Connection, StoreError> {
    let db = Connection::open_in_memory()?;
    prepare(&db, FileFormat::Empty, None)?;
    Ok(db)
}

/// Opens a connection for writing to a database that exists.
///
/// # Errors
/// Fails if the file cannot be opened.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    db.busy_timeout(wal::BUSY_TIMEOUT)?;
    // Syncs at every commit: NORMAL loses acknowledged messages in a power cut.
    db.pragma_update(None, "synchronous", "full")?;
    db.pragma_update(None, "wal_autocheckpoint", wal::CHECKPOINT_PAGES)?;
    // Applying adds a room's row before its messages and removes it after them.
    // SQLite would look the room up for each message, and would read all messages
    // before it removes a room.
    db.pragma_update(None, "foreign_keys", false)?;
    // Redacted and expired words must not stay in the file.
    db.pragma_update(None, "secure_delete", true)?;
    Ok(db)
}

/// Opens a connection that only reads, even while a server runs.
///
/// # Errors
/// Fails if the file cannot be opened.
pub(super) fn connect_reader(path: &Path) -> rusqlite::Result<Connection> {
    let db = connect(path)?;
    db.pragma_update(None, "query_only", true)?;
    Ok(db)
}

/// The format of a file, by its marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileFormat {
    /// No store yet.
    Empty,
    /// A store of this version.
    Ours,
    /// A store of another version.
    Other(i64),
    /// A store from before the first release.
    Old,
}

impl FileFormat {
    /// The format of a database.
    ///
    /// # Errors
    /// Fails if the file cannot be read or is no database.
    pub(super) fn of(db: &Connection) -> rusqlite::Result<Self> {
        let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        Ok(match (pragma("application_id")?, pragma("user_version")?) {
            (APPLICATION, VERSION) => FileFormat::Ours,
            (APPLICATION, version) => FileFormat::Other(version),
            (0, 0) => FileFormat::Empty,
            _ => FileFormat::Old,
        })
    }

    /// Refuses a database of another format; with `new`, accepts an empty one.
    ///
    /// # Errors
    /// Fails if the format is another one; the error says which.
    pub(super) fn check(self, path: &Path, new: bool) -> Result<(), OpenError> {
        let path = path.to_owned();
        match self {
            FileFormat::Ours => Ok(()),
            FileFormat::Empty if new => Ok(()),
            FileFormat::Other(version) => Err(OpenError::OtherFormat {
                path,
                version,
                known: VERSION,
            }),
            FileFormat::Empty | FileFormat::Old => Err(OpenError::Older { path }),
        }
    }
}

fn prepare(db: &Connection, format: FileFormat, path: Option<&Path>) -> Result<(), StoreError> {
    // WAL lets readers read while the writer writes.
    let _mode: String =
        db.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if format == FileFormat::Empty {
        create(db)?;
    } else if let Some(path) = path {
        wal::rewrite_and_sync(db, path)?;
        check::structure(db)?;
    }
    check::start(db)
}

fn create(db: &Connection) -> Result<(), StoreError> {
    let transaction = db.unchecked_transaction()?;
    transaction.execute_batch(SCHEMA)?;
    ReplicaState::create(&transaction)?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    Ok(transaction.commit()?)
}

/// Draws a random epoch.
///
/// # Errors
/// Fails if SQLite cannot run the query.
pub(super) fn new_epoch(db: &Connection) -> rusqlite::Result<Epoch> {
    let drawn = "SELECT lower(hex(randomblob(8)))";
    db.query_row(drawn, [], |row| row.get(0))
        .map(|drawn: String| Epoch(drawn.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(application: i64, version: i64) -> (tempfile::TempDir, OpenError) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("chat.sqlite");
        let db = Connection::open(&path).expect("a database");
        db.execute_batch("CREATE TABLE log (epoch TEXT)")
            .expect("a table");
        db.pragma_update(None, "application_id", application)
            .expect("a mark");
        db.pragma_update(None, "user_version", version)
            .expect("a mark");
        let before = fs::read(&path).expect("readable");
        let refused = open(&path).map(drop).expect_err("another format");
        assert_eq!(fs::read(&path).expect("readable"), before, "left alone");
        (folder, refused)
    }

    #[test]
    fn a_store_of_another_version_is_refused_with_both() {
        for (version, said_of_it) in [(VERSION - 1, "an earlier"), (VERSION + 1, "a later")] {
            let (_folder, refused) = marked(APPLICATION, version);
            let said = refused.to_string();
            let both = format!("is {version}, this program knows {VERSION}");
            assert!(said.contains(&both) && said.contains(said_of_it), "{said}");
        }
    }

    #[test]
    fn a_missing_database_leaves_its_write_ahead_log_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("chat.sqlite");
        let wal = folder.path().join("chat.sqlite-wal");
        // A killed process leaves all commits in the write-ahead log.
        let running = open(&path).expect("a database");
        let commits = fs::read(&wal).expect("readable");
        drop(running);
        fs::write(&wal, &commits).expect("written");
        fs::remove_file(&path).expect("removed");
        for is_empty in [false, true] {
            if is_empty {
                fs::write(&path, []).expect("written");
            }
            let refused = open(&path).map(drop).expect_err("no database");
            let said = refused.to_string();
            assert!(said.contains("chat.sqlite-wal holds messages"), "{said}");
            assert_eq!(fs::read(&wal).expect("readable"), commits);
        }
        // One that holds only zeros holds no message.
        fs::write(&wal, vec![0; commits.len()]).expect("written");
        open(&path).map(drop).expect("a new database");
    }

    #[test]
    fn a_store_from_before_the_first_release_is_refused() {
        for version in 1..=5 {
            let (_folder, refused) = marked(0, version);
            let said = refused.to_string();
            assert!(said.contains("before the first release"), "{said}");
        }
    }
}
