//! The log in SQLite.

use std::{
    collections::HashMap,
    fmt, fs,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};

use super::{
    Draft, Outcome, Page, Run,
    folder::{self, OpenError},
};
use crate::protocol::{At, Author, Epoch, Kind, Message, Seq, name::RoomName};

/// `PRAGMA user_version`: raised whenever the schema changes.
pub(super) const SCHEMA_VERSION: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE log (
    epoch TEXT NOT NULL
);
CREATE TABLE rooms (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);
CREATE TABLE messages (
    seq INTEGER PRIMARY KEY,
    room INTEGER NOT NULL REFERENCES rooms (id),
    prev INTEGER NOT NULL,
    at INTEGER NOT NULL,
    name TEXT,
    addr TEXT NOT NULL,
    text TEXT NOT NULL,
    id TEXT,
    me INTEGER NOT NULL
);
CREATE INDEX messages_of_room ON messages (room, seq);
CREATE UNIQUE INDEX messages_by_id ON messages (room, id) WHERE id IS NOT NULL;
";

/// The most messages one page holds, and the most bytes of text: what a reader
/// waits for is a millisecond's work.
const PAGE_MESSAGES: i64 = 1000;
const PAGE_BYTES: usize = 64 << 10;

/// How long SQLite waits for a lock another program (a backup, say) holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How many rooms the writer remembers before it forgets them all and asks the
/// database again: bounds its memory however many rooms there are.
const ROOMS_REMEMBERED: usize = 10_000;

/// One connection to the database.
pub(super) struct Store {
    db: Connection,
    path: Option<PathBuf>,
    /// The writer's: each room's row and the last number in it.
    rooms: HashMap<RoomName, (i64, Seq)>,
    /// The writer's: held while this process uses the folder.
    _lock: Option<fs::File>,
}

impl Store {
    /// Takes a folder, creating it and the log in it where there is none.
    pub(super) fn create(folder: &Path, holder: &str) -> Result<Self, OpenError> {
        let lock = folder::take(folder, holder)?;
        let path = folder.join("chat.sqlite");
        Ok(Store {
            db: open(&path)?,
            path: Some(path),
            rooms: HashMap::new(),
            _lock: Some(lock),
        })
    }

    /// A log that is gone with the process.
    pub(super) fn in_memory() -> Result<Self, OpenError> {
        let path = Path::new(":memory:");
        let db = Connection::open_in_memory().map_err(|e| OpenError::database(path, e))?;
        prepare(&db).map_err(|_| OpenError::internal())?;
        Ok(Store {
            db,
            path: None,
            rooms: HashMap::new(),
            _lock: None,
        })
    }

    /// Another connection to the same database, for reading.
    pub(super) fn reader(&self) -> Result<Self, OpenError> {
        let path = self.path.clone().ok_or_else(OpenError::internal)?;
        let open = || {
            let db = Connection::open_with_flags(
                &path,
                OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
            )?;
            db.busy_timeout(BUSY_TIMEOUT)?;
            db.pragma_update(None, "query_only", true)?;
            Ok(db)
        };
        let db = open().map_err(|e| OpenError::database(&path, e))?;
        Ok(Store {
            db,
            path: Some(path),
            rooms: HashMap::new(),
            _lock: None,
        })
    }

    pub(super) fn epoch(&self) -> Result<Epoch, OpenError> {
        self.first("SELECT epoch FROM log")
            .map(|epoch: String| Epoch(epoch.into()))
    }

    /// The last number in the log.
    pub(super) fn head(&self) -> Result<Seq, OpenError> {
        self.first("SELECT ifnull(max(seq), 0) FROM messages")
            .map(from_db)
    }

    fn first<T: rusqlite::types::FromSql>(&self, query: &str) -> Result<T, OpenError> {
        self.db
            .query_row(query, [], |row| row.get(0))
            .map_err(|error| {
                OpenError::database(self.path.as_deref().unwrap_or(Path::new(":memory:")), error)
            })
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
        Ok(self.append_in_transaction(head, drafts)?)
    }

    /// Opens the database anew after a failure, forgets what was known of it,
    /// and says where the log ends now.
    pub(super) fn recover(&mut self) -> Result<Seq, OpenError> {
        self.rooms.clear();
        if let Some(path) = self.path.clone() {
            self.db = open(&path)?;
        }
        self.head()
    }

    fn append_in_transaction(
        &mut self,
        head: Seq,
        drafts: &[Draft],
    ) -> rusqlite::Result<(Vec<Message>, Vec<Outcome>)> {
        let at = At(jiff::Timestamp::now().as_millisecond());
        let mut messages: Vec<Message> = Vec::with_capacity(drafts.len());
        let mut outcomes = Vec::with_capacity(drafts.len());
        let mut head = head;
        let transaction = self.db.transaction()?;
        {
            let mut known = transaction
                .prepare_cached("SELECT seq FROM messages WHERE room = ?1 AND id = ?2")?;
            let mut insert = transaction.prepare_cached(
                "INSERT INTO messages (seq, room, prev, at, name, addr, text, id, me)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?;
            for draft in drafts {
                let (room, prev) = match self.rooms.get(&draft.room) {
                    Some(room) => *room,
                    None => room_row(&transaction, &draft.room)?,
                };
                let id = draft.id.as_ref().map(super::MessageId::as_str);
                if id.is_some()
                    && let Some(seq) = known
                        .query_row(params![room, id], |r| r.get(0))
                        .optional()?
                {
                    outcomes.push(Outcome::Duplicate(from_db(seq)));
                    continue;
                }
                head = head.next();
                insert.execute(params![
                    to_db(head),
                    room,
                    to_db(prev),
                    at.0,
                    draft
                        .from
                        .name
                        .as_ref()
                        .map(crate::protocol::name::Name::as_str),
                    draft.from.addr.to_string(),
                    &*draft.text,
                    id,
                    draft.kind == Kind::Me,
                ])?;
                self.rooms.insert(draft.room.clone(), (room, head));
                outcomes.push(Outcome::Stored(head));
                messages.push(Message {
                    seq: head,
                    prev,
                    room: draft.room.clone(),
                    at,
                    from: draft.from.clone(),
                    text: draft.text.clone(),
                    id: draft.id.clone(),
                    kind: draft.kind,
                });
            }
        }
        transaction.commit()?;
        Ok((messages, outcomes))
    }

    /// The messages of a room after `after`, up to `head`; a part when many.
    pub(super) fn page(
        &mut self,
        room: &RoomName,
        after: Seq,
        head: Seq,
    ) -> Result<Page, StoreError> {
        let mut query = self.db.prepare_cached(
            "SELECT seq, prev, at, name, addr, text, id, me FROM messages
             WHERE room = (SELECT id FROM rooms WHERE name = ?1) AND seq > ?2 AND seq <= ?3
             ORDER BY seq LIMIT ?4",
        )?;
        let mut rows = query.query(params![
            room.as_str(),
            to_db(after),
            to_db(head),
            PAGE_MESSAGES
        ])?;
        let mut messages = Vec::new();
        let mut bytes = 0;
        while bytes < PAGE_BYTES
            && let Some(row) = rows.next()?
        {
            let message = message(row, room)?;
            bytes += message.text.len();
            messages.push(message);
        }
        let whole = bytes < PAGE_BYTES && (messages.len() as u64) < PAGE_MESSAGES.unsigned_abs();
        let run = Run::of(messages);
        let upto = match &run {
            Some(run) if !whole => run.last(),
            _ => head,
        };
        Ok(Page {
            runs: run.into_iter().map(Into::into).collect(),
            upto,
        })
    }

    /// The number before the last `count` messages of a room up to `head`.
    pub(super) fn before_last(
        &mut self,
        room: &RoomName,
        count: u32,
        head: Seq,
    ) -> Result<Seq, StoreError> {
        let found = self
            .db
            .prepare_cached(
                "SELECT prev FROM messages
                 WHERE room = (SELECT id FROM rooms WHERE name = ?1) AND seq <= ?2
                 ORDER BY seq DESC LIMIT 1 OFFSET ?3",
            )?
            .query_row(
                params![room.as_str(), to_db(head), count.saturating_sub(1)],
                |r| r.get(0),
            )
            .optional()?;
        Ok(found.map_or(Seq::START, from_db))
    }
}

/// The writer's connection, its schema in place.
fn open(path: &Path) -> Result<Connection, OpenError> {
    // Made by SQLite it could be read by everyone; its companions follow it.
    let mut options = fs::File::options();
    let made = options
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path);
    made.map_err(|source| OpenError::Folder {
        folder: path.to_owned(),
        source,
    })?;
    let failed = |error| OpenError::database(path, error);
    let db = Connection::open(path).map_err(failed)?;
    prepare(&db).map_err(|error| match error {
        Prepare::Newer(version) => OpenError::Newer {
            path: path.to_owned(),
            version,
        },
        Prepare::Sqlite(error) => failed(error),
    })?;
    Ok(db)
}

fn prepare(db: &Connection) -> Result<(), Prepare> {
    db.busy_timeout(BUSY_TIMEOUT)?;
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version > SCHEMA_VERSION {
        return Err(Prepare::Newer(version));
    }
    // WAL lets readers read while the writer writes. FULL syncs at every
    // commit: NORMAL loses acknowledged messages in a power cut.
    let _mode: String =
        db.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    db.pragma_update(None, "synchronous", "full")?;
    if version == 0 {
        db.execute_batch("BEGIN IMMEDIATE")?;
        db.execute_batch(SCHEMA)?;
        db.execute(
            "INSERT INTO log (epoch) VALUES (lower(hex(randomblob(8))))",
            [],
        )?;
        db.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        db.execute_batch("COMMIT")?;
    }
    Ok(())
}

/// The row of a room, made where there is none, and the last number in it.
fn room_row(db: &Connection, room: &RoomName) -> rusqlite::Result<(i64, Seq)> {
    let found = db
        .prepare_cached(
            "SELECT id, (SELECT ifnull(max(seq), 0) FROM messages WHERE room = rooms.id)
             FROM rooms WHERE name = ?1",
        )?
        .query_row([room.as_str()], |row| {
            Ok((row.get(0)?, from_db(row.get(1)?)))
        })
        .optional()?;
    if let Some(found) = found {
        return Ok(found);
    }
    db.prepare_cached("INSERT INTO rooms (name) VALUES (?1)")?
        .execute([room.as_str()])?;
    Ok((db.last_insert_rowid(), Seq::START))
}

fn message(row: &Row<'_>, room: &RoomName) -> rusqlite::Result<Message> {
    Ok(Message {
        seq: from_db(row.get(0)?),
        prev: from_db(row.get(1)?),
        room: room.clone(),
        at: At(row.get(2)?),
        from: Author {
            name: row
                .get_ref(3)?
                .as_str_or_null()?
                .map(str::parse)
                .transpose()
                .map_err(damaged)?,
            addr: row.get_ref(4)?.as_str()?.parse().map_err(damaged)?,
        },
        text: row.get::<_, String>(5)?.into(),
        id: row
            .get_ref(6)?
            .as_str_or_null()?
            .map(str::parse)
            .transpose()
            .map_err(damaged)?,
        kind: if row.get(7)? { Kind::Me } else { Kind::Said },
    })
}

fn damaged(error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
}

/// SQLite's integers are signed; a log does not reach 2⁶³ messages.
fn to_db(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}

fn from_db(seq: i64) -> Seq {
    Seq(u64::try_from(seq).unwrap_or(0))
}

enum Prepare {
    Newer(i64),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Prepare {
    fn from(error: rusqlite::Error) -> Self {
        Prepare::Sqlite(error)
    }
}

/// The log could not be read or written just now.
#[derive(Debug)]
pub struct StoreError(rusqlite::Error);

impl StoreError {
    /// The read was given up because the program ends.
    pub(super) fn stopped() -> Self {
        StoreError(rusqlite::Error::InvalidQuery)
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        StoreError(error)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for StoreError {}
