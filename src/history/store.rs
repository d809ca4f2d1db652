//! The log in SQLite: one connection to it, and what is written there.

mod appending;

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use self::appending::Appending;
use super::{
    Changing, Draft, Outcome, Page, StoreError, check,
    folder::{self, OpenError},
    measures::{self, Measure},
    pages,
    row::{LogRow, MessageRow, RoomRow, message_columns, to_db},
    schema,
    search::{Entry, Index},
    wal,
};
use crate::protocol::{At, Epoch, Message, Seq, name::RoomName};

/// How many rooms the writer remembers before it forgets them all and asks the
/// database again: bounds its memory however many rooms there are.
const ROOMS_REMEMBERED: usize = 10_000;

/// How many messages are erased in one transaction: others wait for it.
const ERASED_AT_ONCE: u64 = 500;

/// How many messages, and bytes of text, are indexed at a time.
const INDEXED_AT_ONCE: usize = 500;
const INDEXED_BYTES: usize = 64 << 10;

/// One connection to the database.
pub(super) struct Store {
    db: Connection,
    path: Option<PathBuf>,
    /// The writer's: rooms written to.
    rooms: HashMap<RoomName, RoomRow>,
    /// Where the log ended when this process opened it.
    since: Seq,
    /// A write failed: what became of it is not known.
    failed: bool,
    /// The writer's: what was erased may be left in the write-ahead log.
    leftovers: bool,
    /// The reader's: damaged messages it has complained of.
    complained: BTreeSet<Seq>,
    /// The writer's: held while this process uses the folder.
    _lock: Option<folder::Lock>,
}

impl Store {
    /// Takes a folder, creating it and the log in it where there is none.
    pub(super) fn create(folder: &Path, holder: &str) -> Result<Self, OpenError> {
        let lock = folder::take(folder, holder)?;
        let path = folder.join("chat.sqlite");
        let db = schema::open(&path)?;
        let since = check::head(&db).map_err(|e| OpenError::database(&path, e))?;
        Ok(Store {
            path: Some(path),
            since,
            // Whoever was here before may have been killed.
            leftovers: true,
            _lock: Some(lock),
            ..Store::on(db)
        })
    }

    /// A log that is gone with the process.
    pub(super) fn in_memory() -> Result<Self, OpenError> {
        Ok(Store::on(schema::in_memory().map_err(OpenError::memory)?))
    }

    /// Another connection to the same database, for reading.
    pub(super) fn reader(&self) -> Result<Self, OpenError> {
        let path = self.path.as_deref().unwrap_or(Path::new(":memory:"));
        let db = schema::connect_reader(path).map_err(|e| OpenError::database(path, e.into()))?;
        Ok(Store::on(db))
    }

    /// To look something up.
    pub(super) fn db(&self) -> &Connection {
        &self.db
    }

    fn on(db: Connection) -> Self {
        Store {
            db,
            path: None,
            rooms: HashMap::new(),
            since: Seq::START,
            failed: false,
            leftovers: false,
            complained: BTreeSet::new(),
            _lock: None,
        }
    }

    /// Which log it is, and where it ends.
    pub(super) fn place(&self) -> Result<(Epoch, Seq), OpenError> {
        let place = || Ok((LogRow::find(&self.db)?.epoch, check::head(&self.db)?));
        let path = self.path.as_deref().unwrap_or(Path::new(":memory:"));
        place().map_err(|error| OpenError::database(path, error))
    }

    /// Who is kept out or muted.
    pub(super) fn measures(&self) -> Result<Vec<Measure>, OpenError> {
        let path = self.path.as_deref().unwrap_or(Path::new(":memory:"));
        measures::all(&self.db).map_err(|error| OpenError::database(path, error))
    }

    /// Makes sure, after a failed write, that what was acknowledged, up to a
    /// number, is there and that what follows it will be; says where the log
    /// ends now. Nothing may be written before.
    pub(super) fn recover(&mut self, acknowledged: Seq) -> Result<Seq, StoreError> {
        if !self.failed {
            return Ok(acknowledged);
        }
        self.rooms.clear();
        if let Some(path) = &self.path {
            // The old connection ends first, with all it knows and holds.
            self.db = Connection::open_in_memory()?;
            self.db = schema::connect(path)?;
            wal::write_anew(&self.db, path)?;
        }
        let head = check::end(&self.db, self.since, acknowledged)?;
        self.failed = false;
        Ok(head)
    }

    /// Stores drafts after `head`, all or none, and says what became of each.
    pub(super) fn append(
        &mut self,
        head: Seq,
        drafts: &[Draft],
    ) -> Result<(Vec<Message>, Vec<Outcome>), StoreError> {
        if self.rooms.len() > ROOMS_REMEMBERED {
            self.rooms.clear();
        }
        self.failed = true;
        let transaction = Transaction::new_unchecked(&self.db, TransactionBehavior::Immediate)?;
        let mut batch = Appending::after(head, &transaction, &self.rooms);
        let outcomes = batch.store(drafts)?;
        let (rooms, messages) = batch.stored();
        transaction.commit()?;
        self.rooms.extend(rooms);
        self.failed = false;
        Ok((messages, outcomes))
    }

    /// Makes a change, all of it or nothing.
    pub(super) fn change<T>(
        &mut self,
        change: impl FnOnce(&mut Changing<'_>) -> Result<T, StoreError>,
    ) -> Result<(T, Option<Seq>), StoreError> {
        self.failed = true;
        let transaction = Transaction::new_unchecked(&self.db, TransactionBehavior::Immediate)?;
        let mut changing = Changing {
            db: &transaction,
            at: now(),
            erased: None,
        };
        let made = change(&mut changing)?;
        let erased = changing.erased;
        transaction.commit()?;
        self.failed = false;
        self.leftovers |= erased.is_some();
        Ok((made, erased))
    }

    /// Empties the write-ahead log, if something that was erased may be left in
    /// it; not where somebody still reads what was before.
    pub(super) fn empty_wal(&mut self) -> Result<(), StoreError> {
        if self.leftovers && !self.failed {
            self.leftovers = !wal::empty(&self.db, self.path.as_deref())?;
        }
        Ok(())
    }

    /// Erases some of the oldest messages, from the index first: those said
    /// before `before`, and all but the last `keep`. Returns the last number
    /// erased, if any was.
    ///
    /// Only from the beginning on: a message waits for those before it, however
    /// the clock stood when they were said.
    pub(super) fn erase(
        &mut self,
        head: Seq,
        before: Option<At>,
        keep: Option<u64>,
        index: &mut Index,
    ) -> Result<Option<Seq>, StoreError> {
        let mut log = LogRow::find(&self.db)?;
        let surplus = Seq(keep.map_or(0, |keep| head.0.saturating_sub(keep)));
        let (upto, entries, damaged) = self.oldest(log.erased, before, surplus)?;
        let Some(upto) = upto else {
            return Ok(None);
        };
        if damaged {
            // What words it had is not known.
            index.clear()?;
        } else {
            index.remove(&entries)?;
        }
        self.failed = true;
        let transaction = Transaction::new_unchecked(&self.db, TransactionBehavior::Immediate)?;
        transaction
            .prepare_cached("DELETE FROM messages WHERE seq <= ?1")?
            .execute([to_db(upto)])?;
        log.erased = upto;
        log.write(&transaction)?;
        transaction.commit()?;
        self.failed = false;
        self.leftovers = true;
        Ok(Some(upto))
    }

    /// The oldest messages that are to go now: the last of them, what is indexed
    /// of each, and whether one is damaged.
    fn oldest(
        &self,
        erased: Seq,
        before: Option<At>,
        surplus: Seq,
    ) -> Result<(Option<Seq>, Vec<Entry>, bool), StoreError> {
        let mut rows = self.db.prepare_cached(concat!(
            "SELECT ",
            message_columns!(),
            " FROM messages WHERE seq > ?1 ORDER BY seq LIMIT ?2"
        ))?;
        let mut rows = rows.query(params![to_db(erased), ERASED_AT_ONCE.cast_signed()])?;
        let (mut upto, mut entries, mut damaged) = (None, Vec::new(), false);
        while let Some(row) = rows.next()? {
            // A damaged one says nothing of its age: it goes with its neighbours.
            let Some(message) = MessageRow::read(row) else {
                damaged = true;
                continue;
            };
            let old = before.is_some_and(|before| message.at < before.0);
            if !old && message.seq > surplus {
                break;
            }
            upto = Some(message.seq);
            entries.extend(entry(&message));
        }
        Ok((upto, entries, damaged))
    }

    /// The number of a room's row.
    pub(super) fn room(&mut self, room: &RoomName) -> Result<Option<i64>, StoreError> {
        Ok(RoomRow::find(&self.db, room)?.map(|room| room.id))
    }

    /// What is to be indexed of the messages after a number, and up to where; a
    /// part when many.
    pub(super) fn entries(
        &mut self,
        after: Seq,
        head: Seq,
    ) -> Result<(Vec<Entry>, Seq), StoreError> {
        let mut rows = self.db.prepare_cached(concat!(
            "SELECT ",
            message_columns!(),
            " FROM messages WHERE seq > ?1 AND seq <= ?2 ORDER BY seq"
        ))?;
        let mut rows = rows.query([to_db(after), to_db(head)])?;
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            // A damaged one is shown to nobody, and found by nobody.
            if let Some(message) = MessageRow::read(row) {
                bytes += message.text.len();
                entries.extend(entry(&message));
                if entries.len() == INDEXED_AT_ONCE || bytes >= INDEXED_BYTES {
                    let reached = message.seq;
                    return Ok((entries, reached));
                }
            }
        }
        Ok((entries, head))
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

    /// When the last message was said.
    pub(super) fn last_said(&self) -> Result<Option<At>, StoreError> {
        let mut last = self
            .db
            .prepare_cached("SELECT at FROM messages ORDER BY seq DESC LIMIT 1")?;
        Ok(last.query_row([], |row| row.get(0).map(At)).optional()?)
    }

    /// The messages of a room after `after`, up to `head`; a part when many.
    pub(super) fn page(
        &mut self,
        room: &RoomName,
        after: Seq,
        head: Seq,
    ) -> Result<Page, StoreError> {
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

/// The wall clock: for what people read, and what is old.
pub(super) fn now() -> At {
    At(jiff::Timestamp::now().as_millisecond())
}

/// What is indexed of a message: nothing of one that was erased, or was said to
/// one person alone.
fn entry(message: &MessageRow<'_>) -> Option<Entry> {
    let indexed = message.whom.is_none() && !message.is_erased();
    indexed.then(|| Entry {
        seq: message.seq,
        room: message.room,
        text: message.text.to_owned(),
    })
}

#[cfg(test)]
impl Store {
    /// Changes when messages were said.
    pub(super) fn date(&mut self, said: &[(u64, i64)]) {
        for (seq, at) in said {
            let find = concat!(
                "SELECT ",
                message_columns!(),
                " FROM messages WHERE seq = ?1"
            );
            let mut find = self.db.prepare(find).expect("a query");
            let mut rows = find.query([to_db(Seq(*seq))]).expect("a query");
            let row = rows.next().expect("a row").expect("a message");
            let mut message = MessageRow::read(row).expect("sound");
            message.at = *at;
            let change = "UPDATE messages SET at = ?2, sum = ?3 WHERE seq = ?1";
            let change = self
                .db
                .execute(change, [to_db(Seq(*seq)), *at, message.sum()]);
            assert_eq!(change, Ok(1));
        }
    }
}
