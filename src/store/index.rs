//! The search index, which finds messages by their words.
//!
//! The index is an FTS5 database in a file of its own, written in the
//! background: publishing waits neither for it nor for its disk. If it is
//! missing, damaged or of another log, it is made again from the store. It
//! holds words and numbers; a search reads the messages themselves from the
//! store.
//!
//! The index is cut into blocks of messages in a row. Expiry drops whole
//! blocks, in the background.
//!
//! Words that are redacted or corrected leave the index before the store. The
//! index notes these messages. Later it reads from the store which words they
//! have now. So it is right even if the process ends between the two.

mod blocks;
mod indexed_message;
mod lookup;
mod removed_words;
mod words;

use std::{
    fmt, fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};
use tracing::warn;

pub(super) use self::blocks::BlockLimits;
pub use self::words::Words;
pub(super) use self::{
    blocks::{SPAN_MS, indexed_upto, removed},
    indexed_message::IndexedMessage,
    lookup::{IndexLookup, Lookup, find_until},
    removed_words::RemovedWords,
};
use super::{StoreError, used_bytes::used_bytes};
use crate::protocol::{Epoch, Seq};

/// `PRAGMA user_version` of the index; an index of another version is made
/// again.
const VERSION: i64 = 4;

/// How long a reader waits while the file is locked as a whole, which happens
/// only while it is opened or closed.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection to the search index: the one that writes, or one for reading.
/// A task that has locked it waits only for the disk.
pub(super) struct Index {
    /// Its file; `None` in memory.
    path: Option<PathBuf>,
    /// The epoch of the log whose messages it holds.
    epoch: Epoch,
    /// Opened when first needed, and again after an error or a deletion.
    db: Option<Connection>,
    reads_only: bool,
    /// How often the files were deleted: all connections share this count.
    deletions: Arc<AtomicU64>,
    /// The count of deletions when `db` was opened.
    opened_after: u64,
    /// How large its blocks become.
    pub(super) limits: BlockLimits,
    /// How often messages were removed. Messages that were read before a
    /// removal must not be added after it.
    pub(super) removals: u64,
}

impl Index {
    /// The index of a log, in a folder or in memory.
    pub(super) fn new(folder: Option<&Path>, epoch: Epoch) -> Self {
        Index {
            path: folder.map(|folder| folder.join("search.sqlite")),
            epoch,
            db: None,
            reads_only: false,
            deletions: Arc::default(),
            opened_after: 0,
            limits: BlockLimits::default(),
            removals: 0,
        }
    }

    /// Another connection to the same index, for reading; `None` in memory.
    pub(super) fn reader(&self) -> Option<Self> {
        Some(Index {
            path: Some(self.path.clone()?),
            epoch: self.epoch.clone(),
            db: None,
            reads_only: true,
            deletions: Arc::clone(&self.deletions),
            opened_after: 0,
            limits: self.limits,
            removals: 0,
        })
    }

    /// Tries to open the index now: later the process may have no file
    /// descriptor left. The indexing task reports an error.
    pub(super) fn prepare(&mut self) {
        let _ = self.read(|db| indexed_upto(db));
    }

    /// The bytes that its file uses, without free pages.
    ///
    /// # Errors
    /// Fails if the index cannot be opened or read.
    pub(super) fn used_bytes(&mut self) -> Result<u64, StoreError> {
        self.with_db(|db| used_bytes(db))
    }

    /// Adds messages, after which every message up to `upto` is indexed.
    ///
    /// # Errors
    /// Fails if the index cannot be opened or written.
    pub(super) fn add(&mut self, entries: &[IndexedMessage], upto: Seq) -> Result<(), StoreError> {
        let limits = self.limits;
        self.with_db(|db| blocks::add(db, limits, entries, upto))
    }

    /// Removes words before they leave the store: no search may find them after
    /// that. If that fails, or not all are known, deletes the whole index.
    ///
    /// # Errors
    /// Fails if the index can be neither written nor deleted.
    pub(super) fn remove(&mut self, words: &RemovedWords) -> Result<(), StoreError> {
        if words.is_empty() {
            return Ok(());
        }
        if words.any_unknown {
            return self.delete_files();
        }
        self.removals += 1;
        let removed = self.with_db(|db| blocks::remove(db, words.messages()));
        removed.or_else(|_| self.delete_files())
    }

    /// Adds the present words of messages whose words were removed. `seqs` has
    /// the numbers of these messages, and also of those without words now.
    ///
    /// # Errors
    /// Fails if the index cannot be opened or written.
    pub(super) fn put_back(
        &mut self,
        seqs: &[Seq],
        entries: &[IndexedMessage],
    ) -> Result<(), StoreError> {
        self.with_db(|db| blocks::put_back(db, seqs, entries))
    }

    /// Whether all messages of the oldest block have expired.
    ///
    /// # Errors
    /// Fails if the index cannot be opened or read.
    pub(super) fn has_expired(&mut self, expired: Seq) -> Result<bool, StoreError> {
        self.with_db(|db| Ok(blocks::oldest_expired(db, expired)?.is_some()))
    }

    /// Drops the oldest block if all of its messages have expired; false if
    /// there is none to drop.
    ///
    /// # Errors
    /// Fails if the index cannot be opened or written.
    pub(super) fn drop_expired(&mut self, expired: Seq) -> Result<bool, StoreError> {
        self.with_db(|db| blocks::drop_expired(db, expired))
    }

    /// Runs `work` on the database, and deletes the index if that shows damage.
    ///
    /// # Errors
    /// Fails if the index cannot be opened, or `work` fails.
    pub(super) fn with_db<T>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let done = self.read(work);
        if let Err(why) = &done {
            self.heal(why)?;
        }
        done
    }

    /// Deletes the index if an error shows damage. Only the connection that
    /// writes may do so.
    ///
    /// # Errors
    /// As [`Index::delete_files`].
    pub(super) fn heal(&mut self, why: &StoreError) -> Result<(), StoreError> {
        if why.is_damage() {
            warn!("the search index is damaged and will be made again: {why}");
            self.delete_files()?;
        }
        Ok(())
    }

    /// Runs `work` on the database.
    ///
    /// # Errors
    /// As [`Index::with_db`].
    pub(super) fn read<T>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let deletions = self.deletions.load(Ordering::Acquire);
        let mut db = match self.db.take() {
            Some(db) if self.opened_after == deletions => db,
            _ => {
                self.opened_after = deletions;
                self.open()?
            }
        };
        let done = work(&mut db)?;
        // After an error the next call opens it again.
        self.db = Some(db);
        Ok(done)
    }

    /// Closes the file. The next call opens it again.
    pub(super) fn close(&mut self) {
        self.db = None;
    }

    /// Deletes the whole index, so that it is made again.
    ///
    /// # Errors
    /// Fails if a file cannot be removed.
    pub(super) fn delete_files(&mut self) -> Result<(), StoreError> {
        self.removals += 1;
        self.db = None;
        let deleted = self.path.as_deref().map_or(Ok(()), remove_files);
        // From here on, a reader opens the files that replace these.
        self.opened_after = self.deletions.fetch_add(1, Ordering::AcqRel) + 1;
        Ok(deleted?)
    }

    fn open(&mut self) -> Result<Connection, StoreError> {
        let db = self.connect()?;
        // The connection that writes has checked the files.
        if self.reads_only || self.is_this_logs(&db)? {
            return Ok(db);
        }
        drop(db);
        self.delete_files()?;
        let db = self.connect()?;
        let made = db.unchecked_transaction()?;
        made.execute_batch(blocks::SCHEMA)?;
        made.execute("INSERT INTO about VALUES (?1, 0)", [&*self.epoch.0])?;
        made.pragma_update(None, "user_version", VERSION)?;
        made.commit()?;
        Ok(db)
    }

    fn connect(&self) -> Result<Connection, StoreError> {
        let Some(path) = &self.path else {
            return Ok(Connection::open_in_memory()?);
        };
        if self.reads_only {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let db = Connection::open_with_flags(path, flags)?;
            db.busy_timeout(BUSY_TIMEOUT)?;
            // By the time it closes, other files may have these names.
            db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            return Ok(db);
        }
        // SQLite would create a file that all users can read. Its `-wal` and
        // `-shm` files get the mode of this one.
        let mut options = fs::File::options();
        let made = options.write(true).create(true).truncate(false);
        made.mode(0o600).open(path)?;
        let db = Connection::open(path)?;
        let _mode: String =
            db.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
        // After a power cut, the messages indexed last may be indexed again.
        db.pragma_update(None, "synchronous", "normal")?;
        db.pragma_update(None, "secure_delete", true)?;
        Ok(db)
    }

    fn is_this_logs(&self, db: &Connection) -> Result<bool, StoreError> {
        let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version != VERSION {
            return Ok(false);
        }
        let epoch: String = db.query_row("SELECT epoch FROM about", [], |row| row.get(0))?;
        Ok(*epoch == *self.epoch.0)
    }
}

fn remove_files(path: &Path) -> io::Result<()> {
    for companion in ["", "-wal", "-shm"] {
        let mut name = path.to_owned().into_os_string();
        name.push(companion);
        match fs::remove_file(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").finish_non_exhaustive()
    }
}
