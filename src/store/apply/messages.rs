//! Applies messages: gives numbers, creates rooms, finds repeated ids.

use std::{collections::HashMap, sync::LazyLock};

use rusqlite::{CachedStatement, Connection, params};

use crate::{
    log::{Draft, Entry},
    protocol::{
        ConnectionId, Message, MessageKind, Seq, WallTime,
        name::{MessageId, Name, RoomName},
    },
    store::{
        Outcome, StoreError,
        room::RoomState,
        row::{TableRow, find, query, to_db},
        tables::{MESSAGES, MessageRow, NAMES, NameRow, ROOMS},
        unread,
    },
};

/// How many messages one statement inserts. One statement for each message
/// would take half as long again.
const INSERTED_AT_ONCE: usize = 16;

static INSERT_ONE: LazyLock<String> = LazyLock::new(|| insertion(1));
static INSERT_SOME: LazyLock<String> = LazyLock::new(|| insertion(INSERTED_AT_ONCE));

/// The statement that inserts `count` messages, except those whose id their
/// room has already.
fn insertion(count: usize) -> String {
    let (table, columns) = (MESSAGES.name, MESSAGES.columns.join(", "));
    let row = format!("({})", vec!["?"; MESSAGES.columns.len() + 1].join(", "));
    let rows = vec![row; count].join(", ");
    format!(
        "INSERT INTO {table} ({columns}, sum) VALUES {rows} \
         ON CONFLICT (room, id) WHERE id IS NOT NULL DO NOTHING"
    )
}

/// The rooms of a batch, as they are after it.
type Rooms = Vec<(RoomName, RoomState)>;

/// Gives messages their numbers and stores them.
pub(super) struct MessageWriter<'a> {
    db: &'a Connection,
    /// Cached rooms, as they are before the batch.
    known: &'a HashMap<RoomName, RoomState>,
    at: WallTime,
    head: Seq,
    rooms: Rooms,
    /// The place of each room in `rooms`.
    places: HashMap<RoomName, usize>,
    /// The place of the room that was asked for last.
    last: Option<usize>,
    messages: Vec<Message>,
}

impl<'a> MessageWriter<'a> {
    /// Gives the numbers after `head`. `known` holds rooms whose rows need not
    /// be read.
    pub(super) fn after(
        head: Seq,
        db: &'a Connection,
        known: &'a HashMap<RoomName, RoomState>,
        at: WallTime,
    ) -> Self {
        MessageWriter {
            db,
            known,
            at,
            head,
            rooms: Vec::new(),
            places: HashMap::new(),
            last: None,
            messages: Vec::new(),
        }
    }

    /// The last number given.
    pub(super) fn head(&self) -> Seq {
        self.head
    }

    /// Writes the rooms' last numbers; returns the rooms and the stored
    /// messages.
    ///
    /// # Errors
    /// Fails if the database cannot be written.
    pub(super) fn finish(self) -> Result<(Rooms, Vec<Message>), StoreError> {
        let mut update = self
            .db
            .prepare_cached("UPDATE rooms SET last = ?2, sum = ?3 WHERE id = ?1")?;
        for (name, room) in &self.rooms {
            let sum = room.row(name).sum();
            update.execute((room.id, to_db(room.last), sum))?;
        }
        Ok((self.rooms, self.messages))
    }

    /// Stores entries, which are all messages, and adds the outcome of each.
    ///
    /// # Errors
    /// Fails if the database cannot be read or written, or the row of a room or
    /// the original of a repeat is damaged.
    pub(super) fn store(
        &mut self,
        entries: &[Entry],
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), StoreError> {
        self.messages.reserve(entries.len());
        let mut one = self.db.prepare_cached(&INSERT_ONE)?;
        let mut some = self.db.prepare_cached(&INSERT_SOME)?;
        for entries in entries.chunks(INSERTED_AT_ONCE) {
            let whole = entries.len() == INSERTED_AT_ONCE;
            if whole && self.insert_together(&mut some, entries)? {
                let new = &self.messages[self.messages.len() - entries.len()..];
                outcomes.extend(new.iter().map(|message| Outcome::Stored(message.seq)));
                continue;
            }
            for (connection, draft) in drafts(entries) {
                outcomes.push(self.insert(&mut one, connection, draft)?);
            }
        }
        Ok(())
    }

    /// The place of a room in `rooms`. Creates the room if it has no row.
    fn place(&mut self, name: &RoomName) -> Result<usize, StoreError> {
        // Most drafts follow one of the same room.
        if let Some(place) = self.last.filter(|last| self.rooms[*last].0 == *name) {
            return Ok(place);
        }
        let place = self.find_place(name)?;
        self.last = Some(place);
        Ok(place)
    }

    fn find_place(&mut self, name: &RoomName) -> Result<usize, StoreError> {
        if let Some(place) = self.places.get(name) {
            return Ok(*place);
        }
        let found = match self.known.get(name) {
            Some(room) => Some(*room),
            None => RoomState::find(self.db, name)?,
        };
        let room = if let Some(room) = found {
            room
        } else {
            let last = find(self.db, &ROOMS, "ORDER BY id DESC LIMIT 1", [], |row| {
                row.get::<_, i64>(0)
            })?;
            let room = RoomState {
                id: last.transpose()?.unwrap_or(0) + 1,
                last: Seq::START,
            };
            room.row(name).put(self.db)?;
            room
        };
        let place = self.rooms.len();
        self.rooms.push((name.clone(), room));
        self.places.insert(name.clone(), place);
        Ok(place)
    }

    /// Inserts all entries with one statement. Inserts none and returns false
    /// if one is private or a repeat.
    fn insert_together(
        &mut self,
        insert: &mut CachedStatement<'_>,
        entries: &[Entry],
    ) -> Result<bool, StoreError> {
        if drafts(entries).any(|(_, draft)| draft.to.is_some()) {
            return Ok(false);
        }
        let (head, count) = (self.head, self.messages.len());
        let mut before = Vec::with_capacity(entries.len());
        for (number, (connection, draft)) in drafts(entries).enumerate() {
            let (place, id) = (self.place(&draft.room)?, draft.id.as_ref());
            before.push((place, self.rooms[place].1.last));
            self.row(connection, draft, place, id)
                .bind(insert, number)?;
            self.record_stored(connection, draft, place, id);
        }
        if insert.raw_execute()? == entries.len() {
            return Ok(true);
        }
        // The caller inserts one by one: only that shows which one is a repeat,
        // and the messages after it get other numbers.
        self.db
            .prepare_cached("DELETE FROM messages WHERE seq > ?1")?
            .execute([to_db(head)])?;
        self.head = head;
        self.messages.truncate(count);
        for (place, last) in before.into_iter().rev() {
            self.rooms[place].1.last = last;
        }
        Ok(false)
    }

    /// Inserts one message; a private message also into its reader's inbox.
    fn insert(
        &mut self,
        insert: &mut CachedStatement<'_>,
        connection: ConnectionId,
        draft: &Draft,
    ) -> Result<Outcome, StoreError> {
        let (place, id) = (self.place(&draft.room)?, draft.id.as_ref());
        let row = self.row(connection, draft, place, id);
        if self.is_inbox_full(draft)? && !is_repeat(self.db, &row)? {
            return Ok(Outcome::InboxFull);
        }
        row.bind(insert, 0)?;
        if insert.raw_execute()? == 0 {
            return original(self.db, &row);
        }
        let stored = Outcome::Stored(self.record_stored(connection, draft, place, id));
        if let Some(to) = &draft.to
            && to.inbox != draft.room
            && !to.ignores
        {
            // Only the author's row has the id, which shows a repeat.
            let place = self.place(&to.inbox)?;
            self.row(connection, draft, place, None).bind(insert, 0)?;
            insert.raw_execute()?;
            self.record_stored(connection, draft, place, None);
        }
        Ok(stored)
    }

    /// Whether too many messages are unread in the inbox of an absent reader.
    fn is_inbox_full(&self, draft: &Draft) -> Result<bool, StoreError> {
        let Some((to, limit)) = draft.to.as_ref().and_then(|to| Some((to, to.unread?))) else {
            return Ok(false);
        };
        if to.ignores || to.inbox == draft.room {
            return Ok(false);
        }
        let key = to.inbox.as_str().trim_start_matches('@');
        let delivered = find(self.db, &NAMES, "WHERE key = ?1", [key], |row| {
            NameRow::read(row).map(|row| row.delivered)
        })?;
        let delivered = delivered.flatten().unwrap_or(Seq::START);
        let unread = unread::read(self.db, &to.inbox, delivered, limit.of_all)?;
        Ok(unread.is_full_for(&draft.room, limit))
    }

    /// The row that a draft becomes.
    fn row<'b>(
        &self,
        origin: ConnectionId,
        draft: &'b Draft,
        place: usize,
        id: Option<&'b MessageId>,
    ) -> MessageRow<'b> {
        let room = &self.rooms[place].1;
        MessageRow {
            seq: self.head.next(),
            room: room.id,
            prev: room.last,
            at: self.at.0,
            origin,
            name: draft.from.name.as_ref().map(Name::as_str),
            addr: draft.from.addr.as_str(),
            text: &draft.text,
            id: id.map(MessageId::as_str),
            me: draft.kind == MessageKind::Me,
            recipient: draft.to.as_ref().map(|to| to.name.as_str()),
        }
    }

    /// Counts a draft as stored, and returns its number.
    fn record_stored(
        &mut self,
        origin: ConnectionId,
        draft: &Draft,
        place: usize,
        id: Option<&MessageId>,
    ) -> Seq {
        let (name, room) = &mut self.rooms[place];
        let seq = self.head.next();
        self.messages.push(Message {
            seq,
            prev: room.last,
            room: name.clone(),
            at: self.at,
            connection: origin,
            from: draft.from.clone(),
            text: draft.text.clone(),
            id: id.cloned(),
            kind: draft.kind,
            to: draft.to.as_ref().map(|to| to.name.clone()),
        });
        self.head = seq;
        room.last = seq;
        seq
    }
}

/// The drafts of entries that are all messages.
fn drafts(entries: &[Entry]) -> impl Iterator<Item = (ConnectionId, &Draft)> {
    entries
        .iter()
        .filter_map(|entry| Some((entry.connection, entry.action.message()?)))
}

/// Whether a message with the same id was stored before.
fn is_repeat(db: &Connection, row: &MessageRow<'_>) -> Result<bool, StoreError> {
    let mut find = db.prepare_cached("SELECT 1 FROM messages WHERE room = ?1 AND id = ?2")?;
    Ok(row.id.is_some() && find.exists(params![row.room, row.id])?)
}

/// The number of the message that was stored under the same id before. A
/// damaged index is an error: a receipt for a message that is not stored would
/// lose it.
fn original(db: &Connection, repeated: &MessageRow<'_>) -> Result<Outcome, StoreError> {
    let mut find = query(db, &MESSAGES, "WHERE room = ?1 AND id = ?2")?;
    let mut found = find.query(params![repeated.room, repeated.id])?;
    let original = match found.next()? {
        Some(row) => MessageRow::read(row)
            .filter(|row| (row.room, row.id) == (repeated.room, repeated.id))
            .map(|row| row.seq),
        None => None,
    };
    original.map(Outcome::Repeat).ok_or_else(|| {
        let id = repeated.id.unwrap_or_default();
        StoreError::damaged(format!(
            "the message with the id {id:?}, or the index of ids,"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{check, database::Database, digest::digests};

    fn draft(room: &str, id: Option<u64>) -> Draft {
        Draft {
            id: id.map(|id| format!("id-{id}").parse().unwrap()),
            ..Draft::of(room, "text")
        }
    }

    /// The digests of the messages and their rooms.
    fn stored(database: &Database) -> Vec<(&'static str, String)> {
        let mut digests = digests(database.db()).unwrap();
        digests.retain(|(table, _)| [MESSAGES.name, ROOMS.name].contains(table));
        digests
    }

    /// Verified to fail when a failed attempt to insert together keeps a room's
    /// last number, and when a repeat counts as stored.
    #[test]
    fn messages_are_stored_alike_together_and_one_by_one() {
        let rooms = ["a", "b", "c"];
        // Ids repeat within a statement, within a batch, or from an earlier
        // batch.
        let patterns: [fn(u64) -> Option<u64>; 5] = [
            |_| None,
            Some,
            |n| (n % 3 == 0).then_some(n / 2),
            |n| Some(n % 20),
            |n| Some(if n == 7 { 500 } else { n + 490 }),
        ];
        for spread in [1, 2, 3] {
            let (mut together, mut alone) =
                (Database::empty().unwrap(), Database::empty().unwrap());
            let mut shown = [Vec::new(), Vec::new()];
            for pattern in patterns {
                let entries: Vec<_> = (0..100)
                    .map(|n: u64| {
                        let room = usize::try_from(n).unwrap() / 5 % spread;
                        draft(rooms[room], pattern(n)).entry()
                    })
                    .collect();
                let mut apply = |which: usize, database: &mut Database, entries: Vec<Entry>| {
                    let applied = database.apply_next(WallTime(0), entries);
                    let messages = applied.messages.into_iter();
                    shown[which].extend(messages.map(|m| (m.seq, m.prev, m.room, m.id)));
                    applied.outcomes
                };
                let one = apply(0, &mut together, entries.clone());
                let other: Vec<_> = entries
                    .into_iter()
                    .flat_map(|entry| apply(1, &mut alone, vec![entry]))
                    .collect();
                assert_eq!(one, other);
            }
            assert_eq!(shown[0], shown[1]);
            assert_eq!(stored(&together), stored(&alone));
            let head = together.state().head;
            let end = check::recent_messages(together.db(), Seq::START, head).unwrap();
            assert_eq!(end, head);
        }
    }
}
