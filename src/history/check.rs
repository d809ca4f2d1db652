//! Whether what is stored is what was written.
//!
//! Three checks: what a start can afford, what must hold before anything is
//! acknowledged again after a failure, and all there is.

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OptionalExtension};

use super::{
    StoreError,
    folder::OpenError,
    row::{
        AuditRow, LogRow, MeasureRow, MessageRow, NameRow, RoomRow, TopicRow, from_db,
        message_columns, to_db,
    },
    schema,
};
use crate::protocol::Seq;

/// Up to this size the structure of the database is checked at every start,
/// page by page: a second's work at most (see README).
const CHECKED_AT_START: i64 = 256 << 20;

/// How many messages before the end are looked at after a failure.
const LOOKED_AT: u64 = 1000;

/// How many faults are named.
const NAMED: usize = 20;

/// The structure of a database that is not too big for that.
pub(super) fn structure(db: &Connection) -> Result<(), StoreError> {
    let bytes = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
    let bytes: i64 = db.query_row(bytes, [], |row| row.get(0))?;
    if bytes > CHECKED_AT_START {
        return Ok(());
    }
    let found: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" {
        Ok(())
    } else {
        Err(StoreError::damaged(one_line(&found)))
    }
}

/// What everything else stands on: the row of the log, those of the rooms, and
/// where the log ends.
pub(super) fn start(db: &Connection) -> Result<(), StoreError> {
    LogRow::find(db)?;
    let mut last = Seq::START;
    let mut rooms = db.prepare("SELECT id, name, last, sum FROM rooms NOT INDEXED")?;
    let mut rows = rooms.query([])?;
    while let Some(row) = rows.next()? {
        let Some((room, name)) = RoomRow::read(row) else {
            return Err(StoreError::damaged("the row of a room"));
        };
        // The index must know it, or it would be taken for a new one.
        if RoomRow::find(db, &name)?.map(|found| found.id) != Some(room.id) {
            return Err(StoreError::damaged("the index of rooms"));
        }
        last = last.max(room.last);
    }
    if head(db)? == last {
        Ok(())
    } else {
        Err(StoreError::damaged("the end of the log"))
    }
}

/// The last number given; also when the message that had it was erased.
pub(super) fn head(db: &Connection) -> Result<Seq, StoreError> {
    let stored: i64 = db
        .prepare_cached("SELECT ifnull(max(seq), 0) FROM messages")?
        .query_row([], |row| row.get(0))?;
    Ok(from_db(stored).max(LogRow::find(db)?.erased))
}

/// What a failed transaction can have touched of the messages stored after
/// `since`: everything acknowledged is there, whole, and the rooms end with it.
/// Bounded, however long the log is.
pub(super) fn end(db: &Connection, since: Seq, acknowledged: Seq) -> Result<Seq, StoreError> {
    let head = head(db)?;
    if head < acknowledged {
        return Err(StoreError::damaged(format!(
            "the log, which ends at {head} though {acknowledged} was stored,"
        )));
    }
    let erased = LogRow::find(db)?.erased;
    let from = since.0.max(erased.0).max(head.0.saturating_sub(LOOKED_AT));
    let mut rows = db.prepare(concat!(
        "SELECT ",
        message_columns!(),
        " FROM messages WHERE seq > ?1 ORDER BY seq"
    ))?;
    let mut rows = rows.query([to_db(Seq(from))])?;
    let mut expected = Seq(from);
    let mut last: HashMap<i64, Seq> = HashMap::new();
    while let Some(row) = rows.next()? {
        expected = expected.next();
        let found = MessageRow::read(row).filter(|found| {
            let before = last.insert(found.room, found.seq);
            found.seq == expected && before.is_none_or(|before| before == found.prev)
        });
        if found.is_none() {
            return Err(StoreError::damaged(format!("the message {expected}")));
        }
    }
    for (id, last) in last {
        let room = db
            .prepare_cached("SELECT id, name, last, sum FROM rooms WHERE id = ?1")?
            .query_row([id], |row| Ok(RoomRow::read(row)))
            .optional()?
            .flatten();
        if room.is_none_or(|(room, _)| room.last != last) {
            return Err(StoreError::damaged(format!("the row of room {id}")));
        }
    }
    if expected == head || head == erased {
        Ok(head)
    } else {
        Err(StoreError::damaged("the end of the log"))
    }
}

/// What a look at everything found.
#[derive(Debug, Default)]
pub struct Report {
    /// The database.
    pub path: PathBuf,
    /// How many messages it holds.
    pub messages: u64,
    /// In how many rooms.
    pub rooms: usize,
    /// The last number given.
    pub head: Seq,
    /// What is wrong, a sentence each; not all of it when it is much.
    pub faults: Vec<String>,
}

impl Report {
    fn fault(&mut self, what: impl FnOnce() -> String) {
        if self.faults.len() < NAMED {
            self.faults.push(what());
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, messages, rooms) = (self.path.display(), self.messages, self.rooms);
        if self.faults.is_empty() {
            return write!(
                f,
                "{path} is sound: {messages} messages in {rooms} rooms, the last is {}",
                self.head
            );
        }
        write!(
            f,
            "{path} is damaged, {messages} messages in {rooms} rooms can be read:"
        )?;
        self.faults
            .iter()
            .try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

/// Looks at everything in a folder's log, also while a server runs on it.
pub fn check(folder: &Path) -> Result<Report, OpenError> {
    let path = folder.join("chat.sqlite");
    let db = open_beside(&path)?;
    whole(&db, &path).map_err(|error| OpenError::database(&path, error))
}

/// A connection for reading beside a server that may run; nothing is made or
/// brought up to date.
pub(super) fn open_beside(path: &Path) -> Result<Connection, OpenError> {
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
    match schema::version(&db).map_err(failed)? {
        version if version > schema::VERSION => Err(OpenError::Newer {
            path: path.to_owned(),
            version,
        }),
        version if version < schema::VERSION => Err(OpenError::Older {
            path: path.to_owned(),
        }),
        _ => Ok(db),
    }
}

/// Looks at everything in a database, in one view of it.
pub(super) fn whole(db: &Connection, path: &Path) -> Result<Report, StoreError> {
    let view = db.unchecked_transaction()?;
    let mut report = Report {
        path: path.to_owned(),
        ..Report::default()
    };
    let mut pages = view.prepare("PRAGMA integrity_check(20)")?;
    let mut pages = pages.query([])?;
    while let Some(row) = pages.next()? {
        let found: String = row.get(0)?;
        if found != "ok" {
            report.fault(|| one_line(&found));
        }
    }
    if let Err(why) = look(&view, &mut report) {
        if !why.is_damage() {
            return Err(why);
        }
        report.fault(|| why.to_string());
    }
    Ok(report)
}

/// Reads every row.
fn look(view: &Connection, report: &mut Report) -> Result<(), StoreError> {
    start(view)?;
    report.head = head(view)?;
    let erased = LogRow::find(view)?.erased;
    let mut last = HashMap::new();
    let mut rooms = view.prepare("SELECT id, name, last, sum FROM rooms NOT INDEXED")?;
    let mut rooms = rooms.query([])?;
    while let Some(row) = rooms.next()? {
        if let Some((room, _)) = RoomRow::read(row) {
            last.insert(room.id, (room.last, None));
        }
    }
    report.rooms = last.len();
    let mut rows = view.prepare(concat!(
        "SELECT ",
        message_columns!(),
        " FROM messages NOT INDEXED ORDER BY seq"
    ))?;
    let mut rows = rows.query([])?;
    let mut expected = erased;
    while let Some(row) = rows.next()? {
        let seq = from_db(row.get(0)?);
        if seq != expected.next() {
            report.fault(|| format!("the messages between {expected} and {seq} are missing"));
        }
        expected = seq;
        let Some(message) = MessageRow::read(row) else {
            report.fault(|| format!("the message {seq} is damaged"));
            continue;
        };
        report.messages += 1;
        match last.get_mut(&message.room) {
            Some((_, before)) => {
                let prev = message.prev;
                let follows = match before.replace(seq) {
                    Some(before) => prev == before,
                    None => prev <= erased,
                };
                if !follows {
                    report.fault(|| format!("{prev}, which {seq} follows, is not there"));
                }
            }
            None => report.fault(|| format!("the message {seq} is in no room")),
        }
    }
    for (id, (last, found)) in last {
        if last > erased && found != Some(last) {
            report.fault(|| format!("{last}, the last message of room {id}, is not there"));
        }
    }
    let mut names = view.prepare("SELECT key, name, proof, used, since, shown, sum FROM names")?;
    let mut names = names.query([])?;
    while let Some(row) = names.next()? {
        if NameRow::read(row).is_none() {
            let key: String = row.get(0).unwrap_or_default();
            report.fault(|| format!("the owned name {key:?} is damaged"));
        }
    }
    let mut topics = view.prepare("SELECT room, text, author, at, sum FROM topics")?;
    let mut topics = topics.query([])?;
    while let Some(row) = topics.next()? {
        if TopicRow::read(row).is_none() {
            let room: String = row.get(0).unwrap_or_default();
            report.fault(|| format!("the topic of {room:?} is damaged"));
        }
    }
    let mut measures = view.prepare("SELECT what, whom, until, why, sum FROM measures")?;
    let mut measures = measures.query([])?;
    while let Some(row) = measures.next()? {
        if MeasureRow::read(row).is_none() {
            let whom: String = row.get(1).unwrap_or_default();
            report.fault(|| format!("what keeps out or mutes {whom:?} is damaged"));
        }
    }
    let mut audit = view.prepare("SELECT at, operator, what, whom, why, sum, id FROM audit")?;
    let mut audit = audit.query([])?;
    while let Some(row) = audit.next()? {
        if AuditRow::read(row).is_none() {
            let id: i64 = row.get(6).unwrap_or_default();
            report.fault(|| format!("row {id} of what operators did is damaged"));
        }
    }
    Ok(())
}

fn one_line(text: &str) -> String {
    text.lines().collect::<Vec<_>>().join(", ")
}
