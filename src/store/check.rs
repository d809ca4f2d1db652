//! Checks whether the stored rows are the rows that were written.
//!
//! A start makes the checks it can afford (`structure`, `start`). After a
//! failed write, `recent_messages` must succeed before anything is acknowledged again.
//! `whole` checks everything.

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
};

use rusqlite::Connection;

use super::{
    StoreError,
    room::RoomState,
    row::{TableRow, checksum_matches, find, query, to_db},
    state::ReplicaState,
    tables::{self, ALL, MESSAGES, MessageRow, ROOMS, RoomRow},
};
use crate::protocol::{Seq, name::RoomName};

/// Up to this size in bytes, a start checks the structure of the database page
/// by page. That takes a second at most (`docs/performance.md`).
const CHECKED_AT_START: i64 = 256 << 20;

/// How many of the last messages are checked after a failed write.
const MAX_RECENT: u64 = 1000;

/// The most faults that a report names.
const MAX_FAULTS: usize = 20;

/// Checks the structure of a database, unless it is larger than
/// `CHECKED_AT_START`.
///
/// # Errors
/// Fails if the structure is damaged or cannot be read.
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

/// Checks what all other data depends on: the row of the state, the rows of the
/// rooms, and the end of the messages.
///
/// # Errors
/// Fails if one of them is damaged or cannot be read.
pub(super) fn start(db: &Connection) -> Result<(), StoreError> {
    let ReplicaState { head, expired, .. } = ReplicaState::load(db)?;
    // The rows of rooms whose messages have all expired may be gone.
    let mut last = expired;
    let mut rooms = query(db, &ROOMS, "NOT INDEXED")?;
    let mut rows = rooms.query([])?;
    while let Some(row) = rows.next()? {
        let room = RoomRow::read(row);
        let name = room.and_then(|room| RoomName::stored(room.name).ok());
        let (Some(room), Some(name)) = (room, name) else {
            return Err(StoreError::damaged("the row of a room"));
        };
        // A room that the index lacks would be created a second time.
        if RoomState::find(db, &name)?.map(|found| found.id) != Some(room.id) {
            return Err(StoreError::damaged("the index of rooms"));
        }
        last = last.max(room.last);
    }
    if head == last {
        Ok(())
    } else {
        Err(StoreError::damaged("the end of the messages"))
    }
}

/// Checks the messages that a failed transaction may have damaged: those stored
/// after `since`, at most the last `MAX_RECENT`. Every acknowledged message must
/// be there and sound, and each room must end with its last one. Returns the
/// last number.
///
/// # Errors
/// Fails if a message is missing or damaged, or the database cannot be read.
pub(super) fn recent_messages(
    db: &Connection,
    since: Seq,
    acknowledged: Seq,
) -> Result<Seq, StoreError> {
    let ReplicaState { head, expired, .. } = ReplicaState::load(db)?;
    if head < acknowledged {
        return Err(StoreError::damaged(format!(
            "the message store, which ends at {head} though {acknowledged} was stored,"
        )));
    }
    let from = since
        .0
        .max(expired.0)
        .max(head.0.saturating_sub(MAX_RECENT));
    let mut rows = query(db, &MESSAGES, "WHERE seq > ?1 ORDER BY seq")?;
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
        let room = find(db, &ROOMS, "WHERE id = ?1", [id], |row| {
            RoomRow::read(row).map(|room| room.last)
        })?;
        if room.flatten() != Some(last) {
            return Err(StoreError::damaged(format!("the row of room {id}")));
        }
    }
    if expected == head || head == expired {
        Ok(head)
    } else {
        Err(StoreError::damaged("the end of the messages"))
    }
}

/// The result of checking a whole store.
#[derive(Debug, Default)]
pub struct Report {
    /// The database file.
    pub path: PathBuf,
    /// How many messages it holds.
    pub messages: u64,
    /// How many rooms it has.
    pub rooms: usize,
    /// The last number given.
    pub head: Seq,
    /// The faults found, a sentence each; at most 20.
    pub faults: Vec<String>,
}

impl Report {
    fn fault(&mut self, what: impl FnOnce() -> String) {
        if self.faults.len() < MAX_FAULTS {
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

/// Checks everything in a database, in one view of it.
///
/// # Errors
/// Fails if the database cannot be read; damage is in the report.
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
    if let Err(why) = check_rows(&view, &mut report) {
        if !why.is_damage() {
            return Err(why);
        }
        report.fault(|| why.to_string());
    }
    Ok(report)
}

/// Checks every row of every table.
fn check_rows(view: &Connection, report: &mut Report) -> Result<(), StoreError> {
    start(view)?;
    let ReplicaState { head, expired, .. } = ReplicaState::load(view)?;
    report.head = head;
    for (table, order) in ALL {
        let mut rows = query(view, table, &format!("NOT INDEXED ORDER BY {order}"))?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            if !checksum_matches(row, table.columns.len()) {
                report.fault(|| format!("{} is damaged", (table.describe)(row)));
            }
        }
    }
    check_sequence(view, expired, report)
}

/// Checks that no message number is missing, and that the `prev` of each
/// message is the number before it in its room.
fn check_sequence(view: &Connection, expired: Seq, report: &mut Report) -> Result<(), StoreError> {
    let mut last = HashMap::new();
    let mut rooms = query(view, &ROOMS, "NOT INDEXED")?;
    let mut rooms = rooms.query([])?;
    while let Some(row) = rooms.next()? {
        if let Some(room) = RoomRow::read(row) {
            last.insert(room.id, (room.last, None));
        }
    }
    report.rooms = last.len();
    let mut rows = query(view, &MESSAGES, "NOT INDEXED ORDER BY seq")?;
    let mut rows = rows.query([])?;
    let mut expected = expired;
    while let Some(row) = rows.next()? {
        let seq = tables::seq(row, 0);
        if seq != expected.next() {
            report.fault(|| format!("the messages between {expected} and {seq} are missing"));
        }
        expected = seq;
        let Some(message) = MessageRow::read(row) else {
            continue;
        };
        report.messages += 1;
        match last.get_mut(&message.room) {
            Some((_, before)) => {
                let prev = message.prev;
                let follows = match before.replace(seq) {
                    Some(before) => prev == before,
                    None => prev <= expired,
                };
                if !follows {
                    report.fault(|| format!("{prev}, which {seq} follows, is not there"));
                }
            }
            None => report.fault(|| format!("the message {seq} is in no room")),
        }
    }
    for (id, (last, found)) in last {
        if last > expired && found != Some(last) {
            report.fault(|| format!("{last}, the last message of room {id}, is not there"));
        }
    }
    Ok(())
}

fn one_line(text: &str) -> String {
    text.lines().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fanout::Applier,
        log::{Action, AuditRecord},
        store::{Storage, open},
    };

    #[test]
    fn a_damaged_audit_record_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = Storage::Folder(folder.path().to_owned());
        let faults = || {
            crate::store::read_only::check(folder.path())
                .expect("readable")
                .faults
        };
        let (replica, _) = open(&storage, "a test").expect("a store");
        let mut log = Applier::local(replica).expect("a log");
        let kick = Action::Kick(AuditRecord {
            operator: "ana".into(),
            act: "kick".into(),
            target: "bob".into(),
            reason: "spam".into(),
        });
        log.apply_action(kick).expect("applied");
        assert_eq!(faults(), [""; 0]);
        let db = Connection::open(folder.path().join("chat.sqlite")).expect("the store");
        let damaged = db.execute("UPDATE audit SET reason = ''", []);
        assert_eq!(damaged.expect("written"), 1);
        assert_eq!(faults(), ["the audit record 1 is damaged"]);
    }
}
