//! Storing a batch: numbers, rooms and repeated ids.

use std::{collections::HashMap, sync::LazyLock};

use rusqlite::{CachedStatement, Connection, params};

use super::now;
use crate::{
    history::{
        Draft, Outcome, StoreError,
        row::{Addr, MESSAGE_COLUMNS, MessageRow, RoomRow, message_columns, to_db},
    },
    protocol::{
        At, Kind, Message, Seq,
        name::{MessageId, Name, RoomName},
    },
};

/// How many messages one statement inserts, where there are so many: a statement
/// for each takes half as long again.
const INSERTED_AT_ONCE: usize = 16;

static INSERT_ONE: LazyLock<String> = LazyLock::new(|| insertion(1));
static INSERT_SOME: LazyLock<String> = LazyLock::new(|| insertion(INSERTED_AT_ONCE));

/// The statement that inserts so many messages, but none with an id that its room
/// has.
fn insertion(count: usize) -> String {
    let row = format!("({})", ["?"; MESSAGE_COLUMNS].join(", "));
    let rows = vec![row; count].join(", ");
    let columns = message_columns!();
    format!(
        "INSERT INTO messages ({columns}) VALUES {rows} \
         ON CONFLICT (room, id) WHERE id IS NOT NULL DO NOTHING"
    )
}

/// A batch on its way into the database.
pub(super) struct Appending<'a> {
    db: &'a Connection,
    /// Rooms as they were before.
    known: &'a HashMap<RoomName, RoomRow>,
    at: At,
    head: Seq,
    /// Rooms as they become.
    rooms: Vec<(RoomName, RoomRow)>,
    /// Where each of them stands.
    places: HashMap<RoomName, usize>,
    /// Where the one stands that was asked for last.
    last: Option<usize>,
    messages: Vec<Message>,
}

impl<'a> Appending<'a> {
    /// What is stored after `head`; some rooms are known.
    pub(super) fn after(
        head: Seq,
        db: &'a Connection,
        known: &'a HashMap<RoomName, RoomRow>,
    ) -> Self {
        Appending {
            db,
            known,
            at: now(),
            head,
            rooms: Vec::new(),
            places: HashMap::new(),
            last: None,
            messages: Vec::new(),
        }
    }

    /// The rooms as they have become, and the messages.
    pub(super) fn stored(self) -> (Vec<(RoomName, RoomRow)>, Vec<Message>) {
        (self.rooms, self.messages)
    }

    /// Stores drafts, and says what became of each.
    pub(super) fn store(&mut self, drafts: &[Draft]) -> Result<Vec<Outcome>, StoreError> {
        self.messages.reserve(drafts.len());
        let mut outcomes = Vec::with_capacity(drafts.len());
        let mut addr = Addr::default();
        let mut one = self.db.prepare_cached(&INSERT_ONE)?;
        let mut some = self.db.prepare_cached(&INSERT_SOME)?;
        for drafts in drafts.chunks(INSERTED_AT_ONCE) {
            let whole = drafts.len() == INSERTED_AT_ONCE;
            if whole && self.insert_together(&mut some, drafts, &mut addr)? {
                let new = &self.messages[self.messages.len() - drafts.len()..];
                outcomes.extend(new.iter().map(|message| Outcome::Stored(message.seq)));
                continue;
            }
            for draft in drafts {
                outcomes.push(self.insert(&mut one, draft, &mut addr)?);
            }
        }
        let mut update = self
            .db
            .prepare_cached("UPDATE rooms SET last = ?2, sum = ?3 WHERE id = ?1")?;
        for (name, room) in &self.rooms {
            update.execute((room.id, to_db(room.last), room.sum(name)))?;
        }
        Ok(outcomes)
    }

    /// The place of a room among those of the batch; where there is no such
    /// room, it is made.
    fn place(&mut self, name: &RoomName) -> Result<usize, StoreError> {
        // Most drafts come with those of the same room.
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
            None => RoomRow::find(self.db, name)?,
        };
        let room = if let Some(room) = found {
            room
        } else {
            self.db
                .prepare_cached("INSERT INTO rooms (name) VALUES (?1)")?
                .execute([name.as_str()])?;
            RoomRow {
                id: self.db.last_insert_rowid(),
                last: Seq::START,
            }
        };
        let place = self.rooms.len();
        self.rooms.push((name.clone(), room));
        self.places.insert(name.clone(), place);
        Ok(place)
    }

    /// Inserts all of them, or none where that is not all there is to do: where
    /// one is for one person alone, or was stored before.
    fn insert_together(
        &mut self,
        insert: &mut CachedStatement<'_>,
        drafts: &[Draft],
        addr: &mut Addr,
    ) -> Result<bool, StoreError> {
        if drafts.iter().any(|draft| draft.to.is_some()) {
            return Ok(false);
        }
        let (head, count) = (self.head, self.messages.len());
        let mut before = Vec::with_capacity(drafts.len());
        for (number, draft) in drafts.iter().enumerate() {
            let (place, id) = (self.place(&draft.room)?, draft.id.as_ref());
            before.push((place, self.rooms[place].1.last));
            self.row(draft, place, id, addr).bind(insert, number)?;
            self.take(draft, place, id);
        }
        if insert.raw_execute()? == drafts.len() {
            return Ok(true);
        }
        // Which one it was shows one by one; those after it have other numbers.
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

    /// Inserts one, with the other one's copy where it is for one person alone.
    fn insert(
        &mut self,
        insert: &mut CachedStatement<'_>,
        draft: &Draft,
        addr: &mut Addr,
    ) -> Result<Outcome, StoreError> {
        let (place, id) = (self.place(&draft.room)?, draft.id.as_ref());
        let row = self.row(draft, place, id, addr);
        row.bind(insert, 0)?;
        if insert.raw_execute()? == 0 {
            return original(self.db, &row);
        }
        let stored = Outcome::Stored(self.take(draft, place, id));
        if let Some(to) = &draft.to {
            let inbox = RoomName::inbox(&to.key());
            if inbox != draft.room {
                // Told from a repeat by the first.
                let place = self.place(&inbox)?;
                self.row(draft, place, None, addr).bind(insert, 0)?;
                insert.raw_execute()?;
                self.take(draft, place, None);
            }
        }
        Ok(stored)
    }

    /// The row that a draft becomes.
    fn row<'b>(
        &self,
        draft: &'b Draft,
        place: usize,
        id: Option<&'b MessageId>,
        addr: &'b mut Addr,
    ) -> MessageRow<'b> {
        let room = &self.rooms[place].1;
        MessageRow {
            seq: self.head.next(),
            room: room.id,
            prev: room.last,
            at: self.at.0,
            name: draft.from.name.as_ref().map(Name::as_str),
            addr: addr.show(draft.from.addr),
            text: &draft.text,
            id: id.map(MessageId::as_str),
            me: draft.kind == Kind::Me,
            whom: draft.to.as_ref().map(Name::as_str),
        }
    }

    /// Takes a draft for stored, as the row that it became.
    fn take(&mut self, draft: &Draft, place: usize, id: Option<&MessageId>) -> Seq {
        let (name, room) = &mut self.rooms[place];
        let seq = self.head.next();
        self.messages.push(Message {
            seq,
            prev: room.last,
            room: name.clone(),
            at: self.at,
            from: draft.from.clone(),
            text: draft.text.clone(),
            id: id.cloned(),
            kind: draft.kind,
            to: draft.to.clone(),
        });
        self.head = seq;
        room.last = seq;
        seq
    }
}

/// The message that was stored under the same id before. Told from a damaged
/// index: a receipt for what is not stored would lose a message.
fn original(db: &Connection, repeated: &MessageRow<'_>) -> Result<Outcome, StoreError> {
    let mut find = db.prepare_cached(concat!(
        "SELECT ",
        message_columns!(),
        " FROM messages WHERE room = ?1 AND id = ?2"
    ))?;
    let mut found = find.query(params![repeated.room, repeated.id])?;
    let original = match found.next()? {
        Some(row) => MessageRow::read(row)
            .filter(|row| (row.room, row.id) == (repeated.room, repeated.id))
            .map(|row| row.seq),
        None => None,
    };
    original.map(Outcome::Duplicate).ok_or_else(|| {
        let id = repeated.id.unwrap_or_default();
        StoreError::damaged(format!(
            "the message with the id {id:?}, or the index of ids,"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{check, store::Store};

    fn draft(room: &str, id: Option<u64>) -> Draft {
        Draft {
            id: id.map(|id| format!("id-{id}").parse().unwrap()),
            ..Draft::of(room, "text")
        }
    }

    /// Many are inserted together, and are what they are one by one. Broken to
    /// see it fail: a room's last number left as it was in the first attempt; a
    /// repeat taken for stored.
    #[test]
    fn together_and_one_by_one_are_the_same() {
        let rooms = ["a", "b", "c"];
        // Ids with repeats: in one statement, in one batch, from one before.
        let patterns: [fn(u64) -> Option<u64>; 5] = [
            |_| None,
            Some,
            |n| (n % 3 == 0).then_some(n / 2),
            |n| Some(n % 20),
            |n| Some(if n == 7 { 500 } else { n + 490 }),
        ];
        for spread in [1, 2, 3] {
            let (mut together, mut alone) =
                (Store::in_memory().unwrap(), Store::in_memory().unwrap());
            let (mut heads, mut shown) = ([Seq::START; 2], [Vec::new(), Vec::new()]);
            for pattern in patterns {
                let drafts: Vec<_> = (0..100)
                    .map(|n: u64| {
                        let room = usize::try_from(n).unwrap() / 5 % spread;
                        draft(rooms[room], pattern(n))
                    })
                    .collect();
                let mut append = |which: usize, store: &mut Store, drafts: &[Draft]| {
                    let (messages, outcomes) = store.append(heads[which], drafts).unwrap();
                    heads[which] = messages.last().map_or(heads[which], |last| last.seq);
                    let seen = messages.into_iter().map(|m| (m.seq, m.prev, m.room, m.id));
                    shown[which].extend(seen);
                    outcomes
                };
                let one = append(0, &mut together, &drafts);
                let each = drafts.iter().map(std::slice::from_ref);
                let other: Vec<_> = each
                    .flat_map(|draft| append(1, &mut alone, draft))
                    .collect();
                assert_eq!(one, other);
            }
            assert_eq!(shown[0], shown[1]);
            assert_eq!(together.since, Seq::START);
            let head = check::end(&together.db, Seq::START, heads[0]).unwrap();
            assert_eq!(head, heads[0]);
        }
    }
}
