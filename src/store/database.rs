//! A connection to the database: the replica's, or one for reading.

use std::{
    collections::{BTreeSet, HashMap},
    mem,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::{
    Applied, StoreError, apply, check,
    folder::{self, OpenError},
    index::{IndexedMessage, RemovedWords},
    pages::{self, Slots, StoredPage},
    parents,
    room::RoomState,
    row::{TableRow, find, query, to_db},
    schema,
    state::ReplicaState,
    tables::{MESSAGES, MessageRow},
    wal,
};
use crate::{
    log::{Action, Batch, BatchPosition, Entry, OrderedBatch, SealedBatch, Stamp},
    protocol::{Lineage, Message, Seq, WallTime, name::RoomName},
};

/// How many rooms the replica caches. With more, it drops them all and reads
/// them from the database again: its memory is bounded for any number of rooms.
const ROOMS_REMEMBERED: usize = 10_000;

/// The most messages that expire in one batch, which also ends at this many
/// bytes of text: other batches wait for it.
const EXPIRED_AT_ONCE: u32 = 500;
const EXPIRED_BYTES: usize = 128 << 10;

/// One step of indexing ends at this many messages, or bytes of text.
const INDEXED_AT_ONCE: usize = 500;
const INDEXED_BYTES: usize = 64 << 10;

/// A connection to the database.
pub(super) struct Database {
    db: Connection,
    path: Option<PathBuf>,
    /// For the replica: where it stands.
    state: ReplicaState,
    /// For the replica: the cached rooms.
    rooms: HashMap<RoomName, RoomState>,
    /// The last number when this process opened the store.
    since: Seq,
    /// A write failed, and may or may not be committed.
    unsettled: bool,
    /// For the replica: the write-ahead log may hold redacted or expired words.
    wal_may_hold_words: bool,
    /// For readers: the damaged messages that were reported.
    reported_damage: BTreeSet<Seq>,
    /// For the replica: held while this process uses the folder.
    lock: Option<folder::Lock>,
}

impl Database {
    /// Locks a folder and opens its store; creates both if they are missing.
    ///
    /// # Errors
    /// As [`super::open`].
    pub(super) fn open(folder: &Path, holder: &str) -> Result<Self, OpenError> {
        let lock = folder::lock_folder(folder, holder)?;
        let path = folder.join("chat.sqlite");
        let db = schema::open(&path)?;
        let failed = |error| OpenError::database(&path, error);
        let mut database = Database {
            path: Some(path.clone()),
            // A killed process may have left words in the write-ahead log.
            wal_may_hold_words: true,
            lock: Some(lock),
            ..Database::from_connection(db).map_err(failed)?
        };
        database.begin().map_err(failed)?;
        Ok(database)
    }

    /// Creates a store in memory, with a log of its own.
    ///
    /// # Errors
    /// Fails if SQLite cannot create it.
    pub(super) fn in_memory() -> Result<Self, OpenError> {
        let mut database = Database::empty().map_err(OpenError::memory)?;
        database.begin().map_err(OpenError::memory)?;
        Ok(database)
    }

    /// Creates a store in memory that has applied nothing, not even a log's
    /// first entry.
    ///
    /// # Errors
    /// Fails if SQLite cannot create it.
    pub(super) fn empty() -> Result<Self, StoreError> {
        Database::from_connection(schema::in_memory()?)
    }

    /// Opens another connection to the same database, for reading.
    ///
    /// # Errors
    /// Fails if the database cannot be opened, or its state is damaged.
    pub(super) fn reader(&self) -> Result<Self, OpenError> {
        let path = self.path.as_deref().unwrap_or(Path::new(":memory:"));
        let db = schema::connect_reader(path).map_err(|e| OpenError::database(path, e.into()))?;
        Database::from_connection(db).map_err(|error| OpenError::database(path, error))
    }

    /// Takes over an open connection.
    ///
    /// # Errors
    /// Fails if the row of the state is damaged or cannot be read.
    pub(super) fn from_connection(db: Connection) -> Result<Self, StoreError> {
        let state = ReplicaState::load(&db)?;
        Ok(Database {
            db,
            path: None,
            since: state.head,
            state,
            rooms: HashMap::new(),
            unsettled: false,
            wal_may_hold_words: false,
            reported_damage: BTreeSet::new(),
            lock: None,
        })
    }

    /// Begins a log of its own in a store that has applied nothing.
    fn begin(&mut self) -> Result<(), StoreError> {
        if self.state.applied == BatchPosition::START {
            self.begin_another_log()?;
        }
        Ok(())
    }

    /// Begins another log, with a new epoch: later entries belong to that log. It
    /// continues the log before it.
    ///
    /// # Errors
    /// Fails if the database cannot be written.
    pub(super) fn begin_another_log(&mut self) -> Result<(), StoreError> {
        let epoch = schema::new_epoch(&self.db)?;
        let mut origin = self.state.last_batch;
        origin.incarnation += 1;
        let batch = Batch {
            id: origin,
            stamp: Stamp::default(),
            random: self
                .db
                .query_row("SELECT randomblob(16)", [], |row| row.get(0))?,
            entries: vec![Entry::of_server(Action::Begin { epoch })],
        };
        let ordered = OrderedBatch {
            position: self.state.applied.next(),
            sealed: SealedBatch::new(batch),
        };
        self.apply(&ordered, |_| Ok(()))?;
        Ok(())
    }

    /// The SQLite connection, for queries.
    pub(super) fn db(&self) -> &Connection {
        &self.db
    }

    /// The log, and the logs that it continues.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub(super) fn lineage(&self) -> Result<Lineage, StoreError> {
        Ok(Lineage {
            epoch: self.state.epoch.clone(),
            parents: parents::all(&self.db)?,
        })
    }

    /// Where the replica stands.
    pub(super) fn state(&self) -> &ReplicaState {
        &self.state
    }

    /// After a failed write, opens the database again, rewrites and syncs the
    /// write-ahead log, and checks that everything acknowledged is there. Must
    /// succeed before the next write.
    ///
    /// # Errors
    /// Fails if the database cannot be read or written, or an acknowledged
    /// message is missing or damaged.
    pub(super) fn recover(&mut self) -> Result<(), StoreError> {
        if !self.unsettled {
            return Ok(());
        }
        self.rooms.clear();
        if let Some(path) = &self.path {
            // Closes the old connection first, with its cache and its locks.
            self.db = Connection::open_in_memory()?;
            self.db = schema::connect(path)?;
            wal::rewrite_and_sync(&self.db, path)?;
        } else if !self.db.is_autocommit() {
            // An interrupted `BEGIN` leaves a transaction open.
            self.db.execute_batch("ROLLBACK")?;
        }
        check::recent_messages(&self.db, self.since, self.state.head)?;
        let state = ReplicaState::load(&self.db)?;
        if state.applied < self.state.applied {
            return Err(StoreError::damaged(format!(
                "the message store, which ends at batch {} though {} was applied,",
                state.applied, self.state.applied
            )));
        }
        self.state = state;
        self.unsettled = false;
        Ok(())
    }

    /// Applies the next batch, all of it or nothing. A batch that was applied
    /// before changes nothing.
    ///
    /// `remove_words` removes words from the index before the commit. Its result
    /// is dropped after the commit.
    ///
    /// # Errors
    /// Fails if a batch is missing before this one, the database cannot be
    /// written, or `remove_words` fails.
    pub(super) fn apply<T>(
        &mut self,
        ordered: &OrderedBatch,
        remove_words: impl FnOnce(&RemovedWords) -> Result<T, StoreError>,
    ) -> Result<Applied, StoreError> {
        if ordered.position <= self.state.applied {
            return Ok(Applied::default());
        }
        if ordered.position > self.state.applied.next() {
            return Err(StoreError::damaged(format!(
                "the log, in which batch {} follows batch {},",
                ordered.position, self.state.applied
            )));
        }
        if self.rooms.len() > ROOMS_REMEMBERED {
            self.rooms.clear();
        }
        self.unsettled = true;
        let mut state = self.state.clone();
        let transaction = Transaction::new_unchecked(&self.db, TransactionBehavior::Immediate)?;
        let mut applied = apply::apply(&transaction, &mut state, &self.rooms, ordered)?;
        let removed = remove_words(&applied.removed_words)?;
        transaction.commit()?;
        drop(removed);
        self.unsettled = false;
        self.state = state;
        self.rooms.extend(mem::take(&mut applied.rooms));
        for room in &applied.swept {
            self.rooms.remove(room);
        }
        self.wal_may_hold_words |= applied.removed;
        Ok(applied)
    }

    /// Empties the write-ahead log if it may hold redacted or expired words.
    /// While a reader still sees an earlier state, this does nothing.
    ///
    /// # Errors
    /// Fails if the database cannot be written.
    pub(super) fn empty_wal(&mut self) -> Result<(), StoreError> {
        if self.wal_may_hold_words && !self.unsettled {
            self.wal_may_hold_words = !wal::empty(&self.db, self.path.as_deref())?;
        }
        Ok(())
    }

    /// Closes the file. The last connection that closes it moves all commits into
    /// it and removes the write-ahead log. Afterwards the folder is free.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub(super) fn close(&mut self) -> Result<(), StoreError> {
        let db = mem::replace(&mut self.db, Connection::open_in_memory()?);
        db.close().map_err(|(_, error)| error)?;
        self.lock = None;
        Ok(())
    }

    /// The number up to which the oldest messages may expire now: those sealed
    /// before a time, or up to `surplus`; at most one batch of them.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub(super) fn expirable(
        &mut self,
        before: Option<WallTime>,
        surplus: Seq,
    ) -> Result<Option<Seq>, StoreError> {
        let mut rows = query(&self.db, &MESSAGES, "ORDER BY seq LIMIT ?1")?;
        let mut rows = rows.query([EXPIRED_AT_ONCE])?;
        let (mut upto, mut bytes) = (None, 0);
        while bytes < EXPIRED_BYTES
            && let Some(row) = rows.next()?
        {
            // A damaged row has no known age: it expires with its neighbours.
            let Some(message) = MessageRow::read(row) else {
                continue;
            };
            let old = before.is_some_and(|before| message.at < before.0);
            if !old && message.seq > surplus {
                break;
            }
            upto = Some(message.seq);
            bytes += message.text.len();
        }
        Ok(upto)
    }

    /// The messages to index after a number, at most one step of them, and the
    /// number up to which they were read.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub(super) fn unindexed(
        &mut self,
        after: Seq,
        head: Seq,
    ) -> Result<(Vec<IndexedMessage>, Seq), StoreError> {
        let mut rows = query(
            &self.db,
            &MESSAGES,
            "WHERE seq > ?1 AND seq <= ?2 ORDER BY seq",
        )?;
        let mut rows = rows.query(params![to_db(after), to_db(head)])?;
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            // A damaged message is never shown, so no search may find it.
            if let Some(message) = MessageRow::read(row) {
                bytes += message.text.len();
                entries.extend(IndexedMessage::of(&message));
                if entries.len() == INDEXED_AT_ONCE || bytes >= INDEXED_BYTES {
                    return Ok((entries, message.seq));
                }
            }
        }
        Ok((entries, head))
    }

    /// When the last message was sealed, by the wall clock.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub(super) fn last_sealed_at(&self) -> Result<Option<WallTime>, StoreError> {
        let last = find(
            &self.db,
            &MESSAGES,
            "ORDER BY seq DESC LIMIT 1",
            [],
            |row| MessageRow::read(row).map(|message| WallTime(message.at)),
        )?;
        Ok(last.flatten())
    }

    /// The id of a room, if it has a row.
    ///
    /// # Errors
    /// Fails if the row is damaged or the database cannot be read.
    pub(super) fn room(&mut self, room: &RoomName) -> Result<Option<i64>, StoreError> {
        Ok(RoomState::find(&self.db, room)?.map(|room| room.id))
    }

    /// The messages of a room with these numbers, oldest first, and whether
    /// some were left out. As [`pages::messages_by_number`].
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub(super) fn messages_by_number(
        &mut self,
        room: &RoomName,
        seqs: &[Seq],
        limit: usize,
    ) -> Result<(Vec<Message>, bool), StoreError> {
        pages::messages_by_number(&self.db, room, seqs, limit)
    }

    /// A page of the messages of a room after one number, up to another.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub(super) fn page(
        &mut self,
        room: &RoomName,
        span: (Seq, Seq),
        wanted: Slots,
    ) -> Result<StoredPage, StoreError> {
        pages::page(&self.db, room, span, wanted, &mut self.reported_damage)
    }

    /// The position after which the last `count` messages of a room up to
    /// `head` follow.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub(super) fn backlog_start(
        &mut self,
        room: &RoomName,
        count: u32,
        head: Seq,
    ) -> Result<Seq, StoreError> {
        pages::backlog_start(&self.db, room, count, head)
    }
}

#[cfg(test)]
impl Database {
    /// Applies entries as the next batch, sealed at `at` by both clocks.
    pub(super) fn apply_next(&mut self, at: WallTime, entries: Vec<Entry>) -> Applied {
        let mut origin = self.state.last_batch;
        origin.number += 1;
        let stamp = Stamp {
            wall: at,
            guarded: crate::log::GuardedTime(at.0),
        };
        let ordered = OrderedBatch {
            position: self.state.applied.next(),
            sealed: SealedBatch::new(Batch {
                id: origin,
                stamp,
                random: [9; 16],
                entries,
            }),
        };
        self.apply(&ordered, |_| Ok(())).expect("applied")
    }

    /// Interrupts the statement that reaches this step of SQLite's virtual
    /// machine. Steps count from 1, from this call on; 0 interrupts nothing.
    pub(super) fn interrupt_at(&mut self, mut step: u32) {
        let is_there = move || {
            let is_there = step == 1;
            step = step.saturating_sub(1);
            is_there
        };
        self.db.progress_handler(1, Some(is_there)).expect("set");
    }

    /// Takes the state of another store, which has no messages.
    pub(super) fn copy_state(&mut self, state: &ReplicaState) {
        state.write(&self.db).expect("written");
        self.state = state.clone();
    }
}
