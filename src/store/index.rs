//! The search index, which finds messages by their words.
//!
//! The index is an FTS5 database in a file of its own, written in the
//! background: publishing waits neither for it nor for its disk. If it is
//! missing, damaged or of another log, it is made again from the store. It
//! holds words and numbers; a search reads the messages themselves from the
//! store.

mod words;

use std::{
    fmt, fs,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, params};
use tokio::time::Instant;
use tracing::warn;

pub use self::words::Words;
use self::words::space_out;
use super::{
    StoreError,
    row::{from_db, to_db},
    tables::MessageRow,
};
use crate::protocol::{Epoch, Seq};

/// `PRAGMA user_version` of the index; an index of another version is made
/// again.
const VERSION: i64 = 1;

/// The words without the texts (`content=''`). A combining mark is part of its
/// word (`M*`), as Hindi needs. With `secure-delete`, removed words leave the
/// file.
const SCHEMA: &str = "
CREATE VIRTUAL TABLE words USING fts5 (
    room, text, content='', tokenize=\"unicode61 remove_diacritics 2 categories 'L* N* Co M*'\"
);
INSERT INTO words (words, rank) VALUES ('secure-delete', 1);
CREATE TABLE about (epoch TEXT NOT NULL, upto INTEGER NOT NULL);
";

/// How many steps of SQLite's virtual machine run between two checks whether a
/// search must stop. Reading a page of the index takes several steps.
const STEPS: i32 = 10;

/// The part of a message that is indexed.
#[derive(Debug)]
pub(super) struct IndexedMessage {
    pub(super) seq: Seq,
    /// The id of its room.
    pub(super) room: i64,
    pub(super) text: String,
}

impl IndexedMessage {
    /// The indexed part of a message; `None` if it is redacted or private.
    pub(super) fn of(message: &MessageRow<'_>) -> Option<Self> {
        let indexed = message.recipient.is_none() && !message.is_redacted();
        indexed.then(|| IndexedMessage::always(message))
    }

    /// The same of any message, even a redacted or private one.
    pub(super) fn always(message: &MessageRow<'_>) -> Self {
        IndexedMessage {
            seq: message.seq,
            room: message.room,
            text: message.text.to_owned(),
        }
    }
}

/// The search index. A task that has locked it waits only for the disk.
pub(super) struct Index {
    /// Its file; `None` in memory.
    path: Option<PathBuf>,
    /// The epoch of the log whose messages it holds.
    epoch: Epoch,
    /// Opened when first needed, and again after an error.
    db: Option<Connection>,
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
            removals: 0,
        }
    }

    /// Tries to open the index now: later the process may have no file
    /// descriptor left. The indexing task reports an error.
    pub(super) fn prepare(&mut self) {
        let _ = self.with_db(|db| indexed_upto(db));
    }

    /// Removes messages, before their words leave the store: no search may find
    /// them after that.
    ///
    /// # Errors
    /// Fails if the index cannot be written; a damaged one is deleted instead.
    pub(super) fn remove(&mut self, entries: &[IndexedMessage]) -> Result<(), StoreError> {
        self.removals += 1;
        match self.with_db(|db| remove(db, entries)) {
            // `with_db` deleted the whole index.
            Err(why) if why.is_damage() => Ok(()),
            removed => removed,
        }
    }

    /// Removes one message, or deletes the whole index if that fails.
    ///
    /// # Errors
    /// Fails if the index can be neither written nor deleted.
    pub(super) fn remove_one(&mut self, entry: &IndexedMessage) -> Result<(), StoreError> {
        self.remove(std::slice::from_ref(entry))
            .or_else(|_| self.delete())
    }

    /// Runs `work` on the database, and deletes the index if that shows damage.
    ///
    /// # Errors
    /// Fails if the index cannot be opened, or `work` fails.
    pub(super) fn with_db<T>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let opened = match self.db.take() {
            Some(db) => Ok(db),
            None => self.open(),
        };
        let (db, done) = match opened {
            Ok(mut db) => {
                let done = work(&mut db);
                (Some(db), done)
            }
            Err(why) => (None, Err(why)),
        };
        match &done {
            Ok(_) => self.db = db,
            Err(why) if why.is_damage() => {
                warn!("the search index is damaged and will be made again: {why}");
                drop(db);
                self.delete()?;
            }
            // The next call opens it again.
            Err(_) => {}
        }
        done
    }

    /// Deletes the whole index, so that it is made again.
    ///
    /// # Errors
    /// Fails if a file cannot be removed.
    pub(super) fn delete(&mut self) -> Result<(), StoreError> {
        self.removals += 1;
        self.db = None;
        let Some(path) = &self.path else {
            return Ok(());
        };
        for companion in ["", "-wal", "-shm"] {
            let mut name = path.clone().into_os_string();
            name.push(companion);
            match fs::remove_file(&name) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error.into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn open(&mut self) -> Result<Connection, StoreError> {
        let db = self.connect()?;
        if self.is_this_logs(&db)? {
            return Ok(db);
        }
        drop(db);
        self.delete()?;
        let db = self.connect()?;
        let made = db.unchecked_transaction()?;
        made.execute_batch(SCHEMA)?;
        made.execute("INSERT INTO about VALUES (?1, 0)", [&*self.epoch.0])?;
        made.pragma_update(None, "user_version", VERSION)?;
        made.commit()?;
        Ok(db)
    }

    fn connect(&self) -> Result<Connection, StoreError> {
        let Some(path) = &self.path else {
            return Ok(Connection::open_in_memory()?);
        };
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

/// The number up to which every message is indexed.
///
/// # Errors
/// Fails if the index cannot be read.
pub(super) fn indexed_upto(db: &Connection) -> Result<Seq, StoreError> {
    let mut upto = db.prepare_cached("SELECT upto FROM about")?;
    Ok(from_db(upto.query_row([], |row| row.get(0))?))
}

/// Adds messages, after which every message up to `upto` is indexed.
///
/// # Errors
/// Fails if the index cannot be written.
pub(super) fn add(
    db: &Connection,
    entries: &[IndexedMessage],
    upto: Seq,
) -> Result<(), StoreError> {
    let step = db.unchecked_transaction()?;
    {
        let mut insert =
            step.prepare_cached("INSERT INTO words (rowid, room, text) VALUES (?1, ?2, ?3)")?;
        for entry in entries {
            insert.execute(params![
                to_db(entry.seq),
                entry.room,
                space_out(&entry.text)
            ])?;
        }
    }
    step.prepare_cached("UPDATE about SET upto = ?1")?
        .execute([to_db(upto)])?;
    Ok(step.commit()?)
}

fn remove(db: &Connection, entries: &[IndexedMessage]) -> Result<(), StoreError> {
    // Removed words may neither come back after a power cut nor stay in the
    // write-ahead log.
    db.pragma_update(None, "synchronous", "full")?;
    let step = db.unchecked_transaction()?;
    {
        let upto = indexed_upto(&step)?;
        let mut delete = step.prepare_cached(
            "INSERT INTO words (words, rowid, room, text) VALUES ('delete', ?1, ?2, ?3)",
        )?;
        for entry in entries.iter().filter(|entry| entry.seq <= upto) {
            delete.execute(params![
                to_db(entry.seq),
                entry.room,
                space_out(&entry.text)
            ])?;
        }
    }
    step.commit()?;
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    db.query_row(checkpoint, [], |_| Ok(()))?;
    Ok(db.pragma_update(None, "synchronous", "normal")?)
}

/// How a lookup in the index ended.
#[derive(Debug, PartialEq)]
pub(super) enum IndexLookup {
    /// The numbers of the messages, newest first, and the number up to which
    /// every message is indexed.
    Found(Vec<Seq>, Seq),
    /// It took too long.
    TooLong,
    /// It stopped so that words can be removed.
    MadeWay,
}

/// Finds the newest messages of a room that have all words and a number below
/// `before`. Stops at `end`, or when `is_removing` returns true.
///
/// # Errors
/// Fails if the index cannot be read.
pub(super) fn find_until(
    db: &mut Connection,
    room: i64,
    words: &Words,
    before: Seq,
    limit: u32,
    end: Instant,
    is_removing: impl Fn() -> bool + Send + 'static,
) -> Result<IndexLookup, StoreError> {
    let stop = move || Instant::now() >= end || is_removing();
    db.progress_handler(STEPS, Some(stop))?;
    let found = find(db, room, words, before, limit);
    db.progress_handler(0, None::<fn() -> bool>)?;
    match found {
        Ok((seqs, indexed)) => Ok(IndexLookup::Found(seqs, indexed)),
        Err(why) if why.is_interruption() && Instant::now() >= end => Ok(IndexLookup::TooLong),
        Err(why) if why.is_interruption() => Ok(IndexLookup::MadeWay),
        Err(why) => Err(why),
    }
}

fn find(
    db: &Connection,
    room: i64,
    words: &Words,
    before: Seq,
    limit: u32,
) -> Result<(Vec<Seq>, Seq), StoreError> {
    let view = db.unchecked_transaction()?;
    let mut found = view.prepare_cached(
        "SELECT rowid FROM words WHERE words MATCH ?1 AND rowid < ?2 ORDER BY rowid DESC LIMIT ?3",
    )?;
    let query = format!("room : \"{room}\" AND text : ({})", words.query());
    let rows = found.query_map(params![query, to_db(before), limit], |row| row.get(0))?;
    let seqs: Result<Vec<i64>, _> = rows.collect();
    Ok((
        seqs?.into_iter().map(from_db).collect(),
        indexed_upto(&view)?,
    ))
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").finish_non_exhaustive()
    }
}
