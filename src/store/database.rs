//! One connection to the database.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::{
    Applied, StoreError, apply, check,
    folder::{self, OpenError},
    index::{Index, Indexed},
    pages::{self, StoredPage},
    room::Room,
    row::{Stored, find, query, to_db},
    schema,
    state::State,
    tables::{MESSAGES, MessageRow},
    wal,
};
use crate::{
    log::{Action, Batch, Entry, Ordered, Position, Sealed, Stamp},
    protocol::{At, Message, Seq, name::RoomName},
};

/// How many rooms the replica remembers before it forgets them all and asks the
/// database again: bounds its memory however many rooms there are.
const ROOMS_REMEMBERED: usize = 10_000;

/// How many messages expire in one batch: others wait for it.
const EXPIRED_AT_ONCE: u32 = 500;

/// How many messages, and bytes of text, are indexed at a time.
const INDEXED_AT_ONCE: usize = 500;
const INDEXED_BYTES: usize = 64 << 10;

/// One connection to the database.
pub(super) struct Database {
    db: Connection,
    path: Option<PathBuf>,
    /// The replica's: where it stands.
    state: State,
    /// The replica's: rooms written to.
    rooms: HashMap<RoomName, Room>,
    /// The last number when this process opened the store.
    since: Seq,
    /// A write failed: its fate is not known.
    failed: bool,
    /// The replica's: the write-ahead log may hold words that were taken away.
    leftovers: bool,
    /// The reader's: damaged messages it has complained of.
    complained: BTreeSet<Seq>,
    /// The replica's: held while this process uses the folder.
    _lock: Option<folder::Lock>,
}

impl Database {
    /// Takes a folder, creating it and the store in it where there is none.
    ///
    /// # Errors
    /// As [`super::open`].
    pub(super) fn create(folder: &Path, holder: &str) -> Result<Self, OpenError> {
        let lock = folder::take(folder, holder)?;
        let path = folder.join("chat.sqlite");
        let db = schema::open(&path)?;
        let failed = |error| OpenError::database(&path, error);
        let mut database = Database {
            path: Some(path.clone()),
            // The last process may have been killed.
            leftovers: true,
            _lock: Some(lock),
            ..Database::on(db).map_err(failed)?
        };
        database.begin().map_err(failed)?;
        Ok(database)
    }

    /// A store that is gone with the process.
    pub(super) fn in_memory() -> Result<Self, OpenError> {
        let mut database = Database::empty().map_err(OpenError::memory)?;
        database.begin().map_err(OpenError::memory)?;
        Ok(database)
    }

    /// A store in memory that has applied nothing, not even a log's first entry.
    pub(super) fn empty() -> Result<Self, StoreError> {
        Database::on(schema::in_memory()?)
    }

    /// Another connection to the same database, for reading.
    pub(super) fn reader(&self) -> Result<Self, OpenError> {
        let path = self.path.as_deref().unwrap_or(Path::new(":memory:"));
        let db = schema::connect_reader(path).map_err(|e| OpenError::database(path, e.into()))?;
        Database::on(db).map_err(|error| OpenError::database(path, error))
    }

    /// A connection that is open.
    pub(super) fn on(db: Connection) -> Result<Self, StoreError> {
        let state = State::load(&db)?;
        Ok(Database {
            db,
            path: None,
            since: state.head,
            state,
            rooms: HashMap::new(),
            failed: false,
            leftovers: false,
            complained: BTreeSet::new(),
            _lock: None,
        })
    }

    /// Applies the first entry of a log of its own to a store that has none.
    fn begin(&mut self) -> Result<(), StoreError> {
        if self.state.applied == Position::START {
            self.begin_anew()?;
        }
        Ok(())
    }

    /// Gives the log another name from here on: what follows is another log.
    pub(super) fn begin_anew(&mut self) -> Result<(), StoreError> {
        let epoch = schema::new_epoch(&self.db)?;
        let mut origin = self.state.origin;
        origin.incarnation += 1;
        let batch = Batch {
            origin,
            stamp: Stamp::default(),
            entries: vec![Entry::of_server(Action::Begin { epoch })],
        };
        let ordered = Ordered {
            position: self.state.applied.next(),
            sealed: Sealed::new(batch),
        };
        self.apply(&ordered, None)?;
        Ok(())
    }

    /// To look something up.
    pub(super) fn db(&self) -> &Connection {
        &self.db
    }

    /// Where the replica stands.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// After a failed write, opens the database anew and makes sure that what
    /// was acknowledged is there and that what follows will be. Nothing may be
    /// written before.
    pub(super) fn recover(&mut self) -> Result<(), StoreError> {
        if !self.failed {
            return Ok(());
        }
        self.rooms.clear();
        if let Some(path) = &self.path {
            // The old connection ends first, with all it knows and holds.
            self.db = Connection::open_in_memory()?;
            self.db = schema::connect(path)?;
            wal::write_anew(&self.db, path)?;
        } else if !self.db.is_autocommit() {
            // An interrupted `BEGIN` leaves a transaction open.
            self.db.execute_batch("ROLLBACK")?;
        }
        check::end(&self.db, self.since, self.state.head)?;
        let state = State::load(&self.db)?;
        if state.applied < self.state.applied {
            return Err(StoreError::damaged(format!(
                "the store, which ends at batch {} though {} was applied,",
                state.applied, self.state.applied
            )));
        }
        self.state = state;
        self.failed = false;
        Ok(())
    }

    /// Applies the next batch: all of it or nothing. One that was applied before
    /// changes nothing.
    pub(super) fn apply(
        &mut self,
        ordered: &Ordered,
        index: Option<&mut Index>,
    ) -> Result<Applied, StoreError> {
        if ordered.position <= self.state.applied {
            return Ok(Applied::default());
        }
        if ordered.position > self.state.applied.next() {
            return Err(StoreError::damaged(format!(
                "the log, of which batch {} comes after {},",
                ordered.position, self.state.applied
            )));
        }
        if self.rooms.len() > ROOMS_REMEMBERED {
            self.rooms.clear();
        }
        self.failed = true;
        let mut state = self.state.clone();
        let transaction = Transaction::new_unchecked(&self.db, TransactionBehavior::Immediate)?;
        let mut applied = apply::apply(&transaction, &mut state, &self.rooms, index, ordered)?;
        transaction.commit()?;
        self.failed = false;
        self.state = state;
        self.rooms.extend(std::mem::take(&mut applied.rooms));
        self.leftovers |= applied.removed;
        Ok(applied)
    }

    /// Empties the write-ahead log if it may hold words that were taken away;
    /// not while a reader still sees what was before.
    pub(super) fn empty_wal(&mut self) -> Result<(), StoreError> {
        if self.leftovers && !self.failed {
            self.leftovers = !wal::empty(&self.db, self.path.as_deref())?;
        }
        Ok(())
    }

    /// The last of the oldest messages that may expire now: those sealed before
    /// a time, or up to `surplus`.
    pub(super) fn expirable(
        &mut self,
        before: Option<At>,
        surplus: Seq,
    ) -> Result<Option<Seq>, StoreError> {
        let mut rows = query(&self.db, &MESSAGES, "ORDER BY seq LIMIT ?1")?;
        let mut rows = rows.query([EXPIRED_AT_ONCE])?;
        let mut upto = None;
        while let Some(row) = rows.next()? {
            // The age of a damaged one is not known: it goes with its neighbours.
            let Some(message) = MessageRow::read(row) else {
                continue;
            };
            let old = before.is_some_and(|before| message.at < before.0);
            if !old && message.seq > surplus {
                break;
            }
            upto = Some(message.seq);
        }
        Ok(upto)
    }

    /// What is to be indexed of the messages after a number, and up to where; a
    /// part when many.
    pub(super) fn unindexed(
        &mut self,
        after: Seq,
        head: Seq,
    ) -> Result<(Vec<Indexed>, Seq), StoreError> {
        let mut rows = query(
            &self.db,
            &MESSAGES,
            "WHERE seq > ?1 AND seq <= ?2 ORDER BY seq",
        )?;
        let mut rows = rows.query(params![to_db(after), to_db(head)])?;
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            // A damaged one is shown to nobody, and found by nobody.
            if let Some(message) = MessageRow::read(row) {
                bytes += message.text.len();
                entries.extend(Indexed::of(&message));
                if entries.len() == INDEXED_AT_ONCE || bytes >= INDEXED_BYTES {
                    return Ok((entries, message.seq));
                }
            }
        }
        Ok((entries, head))
    }

    /// When the last message was sealed, by the wall clock.
    pub(super) fn last_said(&self) -> Result<Option<At>, StoreError> {
        let last = find(
            &self.db,
            &MESSAGES,
            "ORDER BY seq DESC LIMIT 1",
            [],
            |row| MessageRow::read(row).map(|message| At(message.at)),
        )?;
        Ok(last.flatten())
    }

    /// The id of a room, if it has a row.
    pub(super) fn room(&mut self, room: &RoomName) -> Result<Option<i64>, StoreError> {
        Ok(Room::find(&self.db, room)?.map(|room| room.id))
    }

    /// Messages of a room by their numbers, given from the last on; oldest first
    /// and no more than a reader may hold up. Whether there are more.
    pub(super) fn messages(
        &mut self,
        room: &RoomName,
        seqs: &[Seq],
        limit: usize,
    ) -> Result<(Vec<Message>, bool), StoreError> {
        pages::messages(&self.db, room, seqs, limit)
    }

    /// The messages of a room after `after`, up to `head`; a part when many.
    pub(super) fn page(
        &mut self,
        room: &RoomName,
        after: Seq,
        head: Seq,
    ) -> Result<StoredPage, StoreError> {
        pages::page(&self.db, room, after, head, &mut self.complained)
    }

    /// The position after which the last `count` messages of a room follow.
    pub(super) fn before_last(
        &mut self,
        room: &RoomName,
        count: u32,
        head: Seq,
    ) -> Result<Seq, StoreError> {
        pages::before_last(&self.db, room, count, head)
    }
}

#[cfg(test)]
impl Database {
    /// Applies entries as the next batch, sealed at `at`.
    pub(super) fn apply_next(&mut self, at: At, entries: Vec<Entry>) -> Applied {
        let mut origin = self.state.origin;
        origin.number += 1;
        let stamp = Stamp {
            at,
            ..Stamp::default()
        };
        let ordered = Ordered {
            position: self.state.applied.next(),
            sealed: Sealed::new(Batch {
                origin,
                stamp,
                entries,
            }),
        };
        self.apply(&ordered, None).expect("applied")
    }

    /// Interrupts the statement that comes to this step of SQLite's machine,
    /// counted from 1 from now on; 0 for none.
    pub(super) fn interrupt_at(&mut self, mut step: u32) {
        let is_there = move || {
            let is_there = step == 1;
            step = step.saturating_sub(1);
            is_there
        };
        self.db.progress_handler(1, Some(is_there)).expect("set");
    }

    /// Stands where another store stands that has no messages.
    pub(super) fn follow(&mut self, state: &State) {
        state.write(&self.db).expect("written");
        self.state = state.clone();
    }
}
