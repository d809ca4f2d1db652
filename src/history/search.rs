//! Finding messages by their words.
//!
//! The index is a database of its own beside the log (FTS5), written in the
//! background: publishing waits neither for it nor for its disk. All of it can
//! be made again from the log, and is where it is missing, damaged or another
//! log's. It holds words and numbers; what is shown comes from the log.

mod words;

use std::{
    fmt, fs,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rusqlite::{Connection, params};
use tokio::{
    sync::OwnedMutexGuard as OwnedFairGuard,
    time::{Instant, sleep},
};
use tracing::{info, warn};

pub use self::words::Words;
use self::words::apart;
use super::{
    History, StoreError,
    row::{from_db, to_db},
};
use crate::protocol::{Epoch, Message, Seq, name::RoomName};

/// `PRAGMA user_version` of the index; one of another version is made anew.
const VERSION: i64 = 1;

/// The words without the texts (`content=''`). A mark belongs to its letter, as
/// Hindi needs it; `secure-delete` leaves nothing of what is removed.
const SCHEMA: &str = "
CREATE VIRTUAL TABLE words USING fts5 (
    room, text, content='', tokenize=\"unicode61 remove_diacritics 2 categories 'L* N* Co M*'\"
);
INSERT INTO words (words, rank) VALUES ('secure-delete', 1);
CREATE TABLE about (epoch TEXT NOT NULL, upto INTEGER NOT NULL);
";

/// How long is waited for more before what is new is indexed: together it takes
/// less. A search does not wait for it.
const GATHER: Duration = Duration::from_secs(1);

/// While others write, so many times as long as a step took is waited before
/// the next: indexing takes a twentieth of a core at most.
const REST: u32 = 19;

/// From how many messages on it is told how many are still to be indexed, and how
/// often.
const LONG: u64 = 100_000;
const TELL_EVERY: Duration = Duration::from_secs(60);

/// How long one search may take: the others wait for it. For half a million
/// messages a tenth of that is enough, but not for what is made to take long.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often is looked whether that is over, in steps of SQLite's machine; a page
/// of the index takes some.
const STEPS: i32 = 10;

/// How long is waited after a failure.
const RETRY: Duration = Duration::from_secs(10);

/// What is indexed of a message.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) seq: Seq,
    /// The number of its room's row.
    pub(super) room: i64,
    pub(super) text: String,
}

/// What a search found.
#[derive(Debug)]
pub struct Found {
    /// The last messages that were found, oldest first.
    pub messages: Vec<Message>,
    /// Whether there are others before them.
    pub more: bool,
    /// Only what was said up to this number was searched.
    pub indexed: Seq,
}

/// The index. Whoever has it waits for nothing but the disk.
pub(super) struct Index {
    /// Where it is kept; absent: in memory.
    path: Option<PathBuf>,
    /// The log it is of.
    epoch: Epoch,
    /// Opened when it is needed.
    db: Option<Connection>,
    /// How often something was removed: what was read before is not added after.
    removals: u64,
}

impl Index {
    /// The index of a log that is in that folder, or in memory.
    pub(super) fn new(folder: Option<&Path>, epoch: Epoch) -> Self {
        Index {
            path: folder.map(|folder| folder.join("search.sqlite")),
            epoch,
            db: None,
            removals: 0,
        }
    }

    /// Opens it now, where it can be: later there may be no descriptor left.
    /// Whoever indexes says what is wrong.
    pub(super) fn prepare(&mut self) {
        let _ = self.on(|db| upto(db));
    }

    /// Removes messages before they are erased from the log: what is erased
    /// there is to be found nowhere.
    pub(super) fn remove(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        self.removals += 1;
        match self.on(|db| remove(db, entries)) {
            // It is gone, whole.
            Err(why) if why.is_damage() => Ok(()),
            removed => removed,
        }
    }

    /// Removes one message; where that cannot be done, all of it goes.
    pub(super) fn let_go_of(&mut self, entry: &Entry) -> Result<(), StoreError> {
        self.remove(std::slice::from_ref(entry))
            .or_else(|_| self.clear())
    }

    /// Does something with the database. One that is found to be damaged is
    /// thrown away.
    fn on<T>(
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
                warn!("the search index is damaged and made anew: {why}");
                drop(db);
                self.clear()?;
            }
            // It is opened anew the next time.
            Err(_) => {}
        }
        done
    }

    /// Lets go of all of it: it is made again.
    pub(super) fn clear(&mut self) -> Result<(), StoreError> {
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
        self.clear()?;
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
        // Made by SQLite it could be read by everyone; its companions follow it.
        let mut options = fs::File::options();
        let made = options.write(true).create(true).truncate(false);
        made.mode(0o600).open(path)?;
        let db = Connection::open(path)?;
        let _mode: String =
            db.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
        // A power cut takes what was indexed last, and it is indexed again.
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

/// Up to which number all is indexed.
fn upto(db: &Connection) -> Result<Seq, StoreError> {
    let mut upto = db.prepare_cached("SELECT upto FROM about")?;
    Ok(from_db(upto.query_row([], |row| row.get(0))?))
}

fn add(db: &Connection, entries: &[Entry], upto: Seq) -> Result<(), StoreError> {
    let step = db.unchecked_transaction()?;
    {
        let mut insert =
            step.prepare_cached("INSERT INTO words (rowid, room, text) VALUES (?1, ?2, ?3)")?;
        for entry in entries {
            insert.execute(params![to_db(entry.seq), entry.room, apart(&entry.text)])?;
        }
    }
    step.prepare_cached("UPDATE about SET upto = ?1")?
        .execute([to_db(upto)])?;
    Ok(step.commit()?)
}

fn remove(db: &Connection, entries: &[Entry]) -> Result<(), StoreError> {
    // Nothing may come back after a power cut, nor stay behind in the journal.
    db.pragma_update(None, "synchronous", "full")?;
    let step = db.unchecked_transaction()?;
    {
        let upto = upto(&step)?;
        let mut delete = step.prepare_cached(
            "INSERT INTO words (words, rowid, room, text) VALUES ('delete', ?1, ?2, ?3)",
        )?;
        for entry in entries.iter().filter(|entry| entry.seq <= upto) {
            delete.execute(params![to_db(entry.seq), entry.room, apart(&entry.text)])?;
        }
    }
    step.commit()?;
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    db.query_row(checkpoint, [], |_| Ok(()))?;
    Ok(db.pragma_update(None, "synchronous", "normal")?)
}

/// The numbers of a room's messages with all words, the last ones first; `None`
/// where it takes too long.
fn find_in_time(
    db: &mut Connection,
    room: i64,
    words: &Words,
    before: Seq,
    limit: u32,
    patience: Duration,
) -> Result<Option<(Vec<Seq>, Seq)>, StoreError> {
    let end = Instant::now() + patience;
    db.progress_handler(STEPS, Some(move || Instant::now() >= end))?;
    let found = find(db, room, words, before, limit);
    db.progress_handler(0, None::<fn() -> bool>)?;
    match found {
        Err(why) if why.is_interruption() => Ok(None),
        found => found.map(Some),
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
    Ok((seqs?.into_iter().map(from_db).collect(), upto(&view)?))
}

impl History {
    /// The last messages of a room before a number that have all words; `None`
    /// where it takes too long to find them.
    pub async fn search(
        &self,
        room: &RoomName,
        words: &Words,
        before: Option<Seq>,
        limit: u32,
    ) -> Result<Option<Found>, StoreError> {
        // In a quiet chat that is all there is. Where it cannot be, what is
        // indexed is searched, and whoever indexes complains.
        let _ = self.index_some(self.head()).await;
        let name = room.clone();
        let id = self.on_reader(move |store| store.room(&name)).await?;
        let words = words.clone();
        let found = self
            .on_index(move |index| {
                index.on(|db| match id {
                    // One more than is asked for shows whether there is one.
                    Some(id) => {
                        let before = before.unwrap_or(Seq(u64::MAX));
                        find_in_time(db, id, &words, before, limit.saturating_add(1), PATIENCE)
                    }
                    None => Ok(Some((Vec::new(), upto(db)?))),
                })
            })
            .await?;
        let Some((seqs, indexed)) = found else {
            return Ok(None);
        };
        let name = room.clone();
        let shown = self.on_reader(move |store| store.messages(&name, &seqs, limit as usize));
        let (messages, more) = shown.await?;
        Ok(Some(Found {
            messages,
            more,
            indexed,
        }))
    }

    /// Indexes what is said, as it is said; ends only when it is dropped.
    pub async fn index(self) {
        let mut failing = false;
        loop {
            let caught_up = self.catch_up().await;
            if let Err(why) = &caught_up
                && !failing
            {
                warn!("what is said cannot be indexed for searching: {why}");
            } else if caught_up.is_ok() && failing {
                info!("what is said can be indexed again");
            }
            failing = caught_up.is_err();
            if failing {
                sleep(RETRY).await;
            } else {
                self.shared.grown.notified().await;
                sleep(GATHER).await;
            }
        }
    }

    /// How many numbers of the log are not indexed yet.
    pub fn unindexed(&self) -> u64 {
        let indexed = self.shared.indexed.load(Ordering::Relaxed);
        self.head().0.saturating_sub(indexed)
    }

    async fn catch_up(&self) -> Result<(), StoreError> {
        let mut told: Option<Instant> = None;
        loop {
            let head = self.head();
            let begun = Instant::now();
            if self.index_some(head).await? >= head {
                if told.is_some() {
                    info!("everything is indexed for searching");
                }
                return Ok(());
            }
            let left = self.unindexed();
            if left >= LONG && told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
                info!("{left} messages are still to be indexed for searching");
                told = Some(Instant::now());
            }
            // Who publishes comes first.
            if self.head() > head {
                sleep(begun.elapsed() * REST).await;
            }
        }
    }

    /// Indexes some messages; up to which it came.
    async fn index_some(&self, head: Seq) -> Result<Seq, StoreError> {
        let indexed = self.index_page(head).await?;
        self.shared.indexed.store(indexed.0, Ordering::Relaxed);
        Ok(indexed)
    }

    async fn index_page(&self, head: Seq) -> Result<Seq, StoreError> {
        let (done, removals) = self
            .on_index(move |index| Ok((index.on(|db| upto(db))?, index.removals)))
            .await?;
        if done > head {
            // The log has lost what it had: this is of another past.
            self.on_index(Index::clear).await?;
            return Ok(Seq::START);
        }
        if done == head {
            return Ok(done);
        }
        let read = self.on_reader(move |store| store.entries(done, head));
        let (entries, reached) = read.await?;
        self.on_index(move |index| {
            // Some of it may be erased by now, or indexed by somebody else.
            if index.removals != removals {
                return Ok(done);
            }
            index.on(|db| {
                let now = upto(db)?;
                if now != done {
                    return Ok(now);
                }
                add(db, &entries, reached)?;
                Ok(reached)
            })
        })
        .await
    }

    /// Has the index to itself for as long as what is returned is kept.
    #[cfg(test)]
    pub(crate) async fn busy(&self) -> impl Sized {
        self.index_turn().await
    }

    /// The index, once it is one's turn. Who waits holds no thread: others need
    /// them to read the log.
    pub(super) async fn index_turn(&self) -> OwnedFairGuard<Index> {
        Arc::clone(&self.shared.index).lock_owned().await
    }

    async fn on_index<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Index) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let mut index = self.index_turn().await;
        if self.in_place {
            return work(&mut index);
        }
        tokio::task::spawn_blocking(move || work(&mut index))
            .await
            .map_err(|_| StoreError::stopped())?
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
