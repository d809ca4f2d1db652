//! The database: its tables, opening it, and bringing older ones up to date.

use std::{fs, os::unix::fs::OpenOptionsExt, path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, config::DbConfig, params};
use tracing::warn;

use super::{
    StoreError, check,
    folder::OpenError,
    row::{LogRow, MessageRow, RoomRow, from_db, to_db},
    wal,
};
use crate::protocol::{Epoch, Seq, name::RoomName};

/// `PRAGMA user_version`: raised whenever the schema changes.
pub(super) const VERSION: i64 = 4;

/// Each row with a checksum (`row`). A room's `last` and the log's `erased` stay
/// when messages go: no number is given twice.
const SCHEMA: &str = "
CREATE TABLE log (
    epoch TEXT NOT NULL,
    erased INTEGER,
    sum INTEGER
);
CREATE TABLE rooms (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    last INTEGER,
    sum INTEGER
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
    me INTEGER NOT NULL,
    sum INTEGER
);
CREATE INDEX messages_of_room ON messages (room, seq);
CREATE UNIQUE INDEX messages_by_id ON messages (room, id) WHERE id IS NOT NULL;
";

/// What version 2 had not: the names that somebody owns, by what they are
/// compared by, what rooms are about, and what operators did.
const TABLES_OF_3: &str = "
CREATE TABLE names (
    key TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    proof BLOB NOT NULL,
    used INTEGER NOT NULL,
    sum INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE topics (
    room TEXT PRIMARY KEY,
    text TEXT NOT NULL,
    author TEXT NOT NULL,
    at INTEGER NOT NULL,
    sum INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE measures (
    what TEXT NOT NULL,
    whom TEXT NOT NULL,
    until INTEGER,
    why TEXT NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY (what, whom)
) WITHOUT ROWID;
CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    operator TEXT NOT NULL,
    what TEXT NOT NULL,
    whom TEXT NOT NULL,
    why TEXT NOT NULL,
    sum INTEGER NOT NULL
);
";

/// What version 3 had not: whom alone a message is for; since when a name is
/// somebody's own, and up to which number its owner was shown private messages.
const COLUMNS_OF_4: &str = "
ALTER TABLE messages ADD COLUMN whom TEXT;
ALTER TABLE names ADD COLUMN since INTEGER NOT NULL DEFAULT 0;
ALTER TABLE names ADD COLUMN shown INTEGER NOT NULL DEFAULT 0;
";

/// What version 1 had not.
const COLUMNS_OF_2: &str = "
ALTER TABLE log ADD COLUMN erased INTEGER;
ALTER TABLE log ADD COLUMN sum INTEGER;
ALTER TABLE rooms ADD COLUMN last INTEGER;
ALTER TABLE rooms ADD COLUMN sum INTEGER;
ALTER TABLE messages ADD COLUMN sum INTEGER;
";

/// How many rows are brought up to date in one transaction, and how many of
/// them are worth a word in the log.
const MIGRATED_AT_ONCE: i64 = 10_000;
const WORTH_A_WORD: i64 = 200_000;

/// How long SQLite waits for a lock another program (a backup, say) holds.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The writer's connection to a database that is there or made, its schema in
/// place, and what could be looked at in a moment found to be sound.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
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
    let failed = |error: StoreError| OpenError::database(path, error);
    let db = connect(path).map_err(|e| failed(e.into()))?;
    let keep_as_it_is = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    db.set_db_config(keep_as_it_is, true)
        .map_err(|e| failed(e.into()))?;
    match version(&db).map_err(|e| failed(e.into()))? {
        version if version > VERSION => Err(OpenError::Newer {
            path: path.to_owned(),
            version,
        }),
        version => prepare(&db, version, Some(path)).map_err(failed),
    }?;
    db.set_db_config(keep_as_it_is, false)
        .map_err(|e| failed(e.into()))?;
    Ok(db)
}

/// A database that is gone with its connection.
pub(super) fn in_memory() -> Result<Connection, StoreError> {
    let db = Connection::open_in_memory()?;
    prepare(&db, 0, None)?;
    Ok(db)
}

/// A connection for writing to a database that is in order.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    // At every commit: NORMAL loses acknowledged messages in a power cut.
    db.pragma_update(None, "synchronous", "full")?;
    db.pragma_update(None, "wal_autocheckpoint", wal::PAGES)?;
    // What is erased is not to be found in the file afterwards.
    db.pragma_update(None, "secure_delete", true)?;
    Ok(db)
}

/// A connection that only reads, also beside a server that runs.
pub(super) fn connect_reader(path: &Path) -> rusqlite::Result<Connection> {
    let db = connect(path)?;
    db.pragma_update(None, "query_only", true)?;
    Ok(db)
}

pub(super) fn version(db: &Connection) -> rusqlite::Result<i64> {
    db.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn prepare(db: &Connection, version: i64, path: Option<&Path>) -> Result<(), StoreError> {
    // WAL lets readers read while the writer writes.
    let _mode: String =
        db.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if version == 0 {
        create(db)?;
    } else if let Some(path) = path {
        wal::write_anew(db, path)?;
        check::structure(db)?;
    }
    if version == 1 {
        to_version_2(db)?;
    }
    if (1..=2).contains(&version) {
        to_version_3(db)?;
    }
    if (1..=3).contains(&version) {
        to_version_4(db)?;
    }
    check::start(db)
}

fn create(db: &Connection) -> Result<(), StoreError> {
    let transaction = db.unchecked_transaction()?;
    transaction.execute_batch(SCHEMA)?;
    transaction.execute_batch(TABLES_OF_3)?;
    transaction.execute_batch(COLUMNS_OF_4)?;
    transaction.execute("INSERT INTO log (epoch) VALUES ('')", [])?;
    let log = LogRow {
        epoch: new_epoch(db)?,
        erased: Seq::START,
    };
    log.write(&transaction)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    Ok(transaction.commit()?)
}

pub(super) fn new_epoch(db: &Connection) -> rusqlite::Result<Epoch> {
    let drawn = "SELECT lower(hex(randomblob(8)))";
    db.query_row(drawn, [], |row| row.get(0))
        .map(|drawn: String| Epoch(drawn.into()))
}

/// Brings a database of version 1 to version 2, in steps: one that is stopped
/// is taken up where it was.
fn to_version_2(db: &Connection) -> Result<(), StoreError> {
    let begun = "SELECT count(*) FROM pragma_table_info('messages') WHERE name = 'sum'";
    if db.query_row(begun, [], |row| row.get::<_, i64>(0))? == 0 {
        let transaction = db.unchecked_transaction()?;
        transaction.execute_batch(COLUMNS_OF_2)?;
        transaction.commit()?;
    }
    let count: i64 = db.query_row("SELECT ifnull(max(seq), 0) FROM messages", [], |r| r.get(0))?;
    let mut done = 0;
    while let Some(upto) = sum_messages(db, done)? {
        if count > WORTH_A_WORD && upto / WORTH_A_WORD > done / WORTH_A_WORD {
            warn!("the log is brought to a later format: {upto} of {count} messages");
        }
        done = upto;
    }
    let transaction = db.unchecked_transaction()?;
    sum_rooms(&transaction)?;
    let epoch: String = transaction.query_row("SELECT epoch FROM log", [], |row| row.get(0))?;
    let log = LogRow {
        epoch: Epoch(epoch.into()),
        erased: Seq::START,
    };
    log.write(&transaction)?;
    transaction.pragma_update(None, "user_version", 2)?;
    Ok(transaction.commit()?)
}

fn to_version_3(db: &Connection) -> Result<(), StoreError> {
    let transaction = db.unchecked_transaction()?;
    transaction.execute_batch(TABLES_OF_3)?;
    transaction.pragma_update(None, "user_version", 3)?;
    Ok(transaction.commit()?)
}

fn to_version_4(db: &Connection) -> Result<(), StoreError> {
    let transaction = db.unchecked_transaction()?;
    transaction.execute_batch(COLUMNS_OF_4)?;
    transaction.pragma_update(None, "user_version", 4)?;
    Ok(transaction.commit()?)
}

/// Sums some of the messages after a number that have no sum; up to which.
fn sum_messages(db: &Connection, after: i64) -> Result<Option<i64>, StoreError> {
    let transaction = db.unchecked_transaction()?;
    let mut upto = None;
    {
        let mut rows = transaction.prepare_cached(
            "SELECT seq, room, prev, at, name, addr, text, id, me, NULL FROM messages
             WHERE seq > ?1 AND sum IS NULL ORDER BY seq LIMIT ?2",
        )?;
        let mut rows = rows.query([after, MIGRATED_AT_ONCE])?;
        let mut update =
            transaction.prepare_cached("UPDATE messages SET sum = ?2 WHERE seq = ?1")?;
        while let Some(row) = rows.next()? {
            let seq: i64 = row.get(0)?;
            // One that cannot be read stays without: readers are told of a gap.
            if let Some(message) = MessageRow::unchecked(row) {
                update.execute([seq, message.sum()])?;
            }
            upto = Some(seq);
        }
    }
    transaction.commit()?;
    Ok(upto)
}

fn sum_rooms(db: &Connection) -> Result<(), StoreError> {
    let mut rooms = db.prepare(
        "SELECT id, name, (SELECT ifnull(max(seq), 0) FROM messages WHERE room = rooms.id)
         FROM rooms",
    )?;
    let mut rooms = rooms.query([])?;
    let mut update = db.prepare("UPDATE rooms SET last = ?2, sum = ?3 WHERE id = ?1")?;
    while let Some(row) = rooms.next()? {
        let name: String = row.get(1)?;
        let name: RoomName = name
            .parse()
            .map_err(|_| StoreError::damaged(format!("the room {name:?}")))?;
        let room = RoomRow {
            id: row.get(0)?,
            last: from_db(row.get(2)?),
        };
        update.execute(params![room.id, to_db(room.last), room.sum(&name)])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{self, Storage};

    /// What version 1 made.
    const SCHEMA_OF_1: &str = "
        CREATE TABLE log (epoch TEXT NOT NULL);
        CREATE TABLE rooms (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
        CREATE TABLE messages (
            seq INTEGER PRIMARY KEY, room INTEGER NOT NULL REFERENCES rooms (id),
            prev INTEGER NOT NULL, at INTEGER NOT NULL, name TEXT, addr TEXT NOT NULL,
            text TEXT NOT NULL, id TEXT, me INTEGER NOT NULL
        );
        CREATE INDEX messages_of_room ON messages (room, seq);
        CREATE UNIQUE INDEX messages_by_id ON messages (room, id) WHERE id IS NOT NULL;
        PRAGMA user_version = 1;
        INSERT INTO log VALUES ('0123456789abcdef');
        INSERT INTO rooms VALUES (1, 'lobby'), (2, 'tea');
        INSERT INTO messages
            WITH RECURSIVE n (seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM n WHERE seq < 25000)
            SELECT seq, 1 + (seq % 10 = 0), CASE seq % 10 WHEN 1 THEN seq - 2 WHEN 0 THEN seq - 10
                ELSE seq - 1 END, 1000 + seq, 'ana', '127.0.0.1:5000', 'text ' || seq,
                CASE seq % 3 WHEN 0 THEN 'id-' || seq END, 0 FROM n;
        UPDATE messages SET prev = 0 WHERE seq = 1;";

    /// A folder with a log of version 1 in it.
    fn of_version_1() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let db = Connection::open(folder.path().join("chat.sqlite")).expect("a database");
        let _mode: String = db
            .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
            .expect("a mode");
        db.execute_batch(SCHEMA_OF_1).expect("a log");
        folder
    }

    async fn holds_everything(folder: &Path) {
        let storage = Storage::Folder(folder.to_owned());
        let (_writer, history) = history::open(&storage, "a test").expect("a log");
        assert_eq!(&*history.epoch().0, "0123456789abcdef");
        assert_eq!(history.head(), Seq(25_000));
        for (room, count) in [("lobby", 22_500), ("tea", 2_500)] {
            let room = room.parse().expect("a room");
            let (mut after, mut found) = (Seq::START, 0);
            while after < history.head() {
                let page = history.stored(&room, after).await.expect("a page");
                assert_eq!(page.hole, None);
                for message in page.runs.iter().flat_map(|run| run.messages()) {
                    assert_eq!(*message.text, format!("text {}", message.seq));
                    found += 1;
                }
                after = page.upto;
            }
            assert_eq!(found, count);
        }
        let report = history::check(folder).expect("readable");
        assert_eq!((report.faults, report.messages), (Vec::new(), 25_000));
    }

    #[tokio::test]
    async fn a_log_of_version_1_is_brought_up_to_date() {
        let folder = of_version_1();
        assert!(
            history::check(folder.path()).is_err(),
            "only a start does it"
        );
        holds_everything(folder.path()).await;
        // And at the next start it is left as it is.
        holds_everything(folder.path()).await;
    }

    #[tokio::test]
    async fn a_migration_that_was_stopped_goes_on() {
        let folder = of_version_1();
        {
            let path = folder.path().join("chat.sqlite");
            let db = Connection::open(path).expect("the log");
            db.execute_batch(COLUMNS_OF_2).expect("begun");
            assert_eq!(sum_messages(&db, 0).expect("a step"), Some(10_000));
        }
        holds_everything(folder.path()).await;
    }

    #[tokio::test]
    async fn a_log_of_version_2_is_brought_up_to_date() {
        let folder = of_version_1();
        {
            let path = folder.path().join("chat.sqlite");
            let db = Connection::open(path).expect("the log");
            to_version_2(&db).expect("version 2");
        }
        assert!(history::check(folder.path()).is_err());
        holds_everything(folder.path()).await;
    }

    #[tokio::test]
    async fn a_log_of_version_3_is_brought_up_to_date() {
        let folder = of_version_1();
        {
            let path = folder.path().join("chat.sqlite");
            let db = Connection::open(path).expect("the log");
            to_version_2(&db).expect("version 2");
            to_version_3(&db).expect("version 3");
        }
        assert!(history::check(folder.path()).is_err());
        holds_everything(folder.path()).await;
    }

    #[test]
    fn a_later_version_is_left_alone() {
        let folder = of_version_1();
        let path = folder.path().join("chat.sqlite");
        let db = Connection::open(&path).expect("the log");
        db.pragma_update(None, "user_version", VERSION + 1)
            .expect("a version");
        drop(db);
        assert!(matches!(
            open(&path),
            Err(OpenError::Newer { version, .. }) if version == VERSION + 1
        ));
    }
}
