//! Rows as they stand in the database, each with a checksum over all of it.
//!
//! A row that does not fit its checksum is never shown. CRC-32 finds every
//! flipped bit, and whatever else is wrong within 32 bits, for certain; any
//! other damage passes once in four thousand million rows. A longer sum would
//! cost every row more and find no flipped bit more.

use std::{fmt::Write, net::SocketAddr};

use crc32fast::Hasher;
use rusqlite::{
    Connection, OptionalExtension, Row, Statement,
    types::{ToSqlOutput, ValueRef},
};

use super::StoreError;
use crate::protocol::{At, Author, Entry, Epoch, Erased, Kind, Message, Seq, name::RoomName};

/// A message's row.
#[derive(Debug)]
pub(super) struct MessageRow<'a> {
    pub(super) seq: Seq,
    pub(super) room: i64,
    pub(super) prev: Seq,
    pub(super) at: i64,
    pub(super) name: Option<&'a str>,
    pub(super) addr: &'a str,
    pub(super) text: &'a str,
    pub(super) id: Option<&'a str>,
    pub(super) me: bool,
    /// Whom it is for, where it is for one person alone.
    pub(super) whom: Option<&'a str>,
}

/// What [`MessageRow::read`] reads.
macro_rules! message_columns {
    () => {
        "seq, room, prev, at, name, addr, text, id, me, whom, sum"
    };
}
pub(super) use message_columns;

/// How many these are.
pub(super) const MESSAGE_COLUMNS: usize = 11;

impl<'a> MessageRow<'a> {
    /// A row of [`message_columns`]; `None` of one that is damaged.
    pub(super) fn read(row: &'a Row<'_>) -> Option<Self> {
        let read = Self::unchecked(row)?;
        (integer(row, 10)? == read.sum()).then_some(read)
    }

    /// The same of a row that has no checksum yet.
    pub(super) fn unchecked(row: &'a Row<'_>) -> Option<Self> {
        Some(MessageRow {
            seq: from_db(integer(row, 0)?),
            room: integer(row, 1)?,
            prev: from_db(integer(row, 2)?),
            at: integer(row, 3)?,
            name: optional_text(row, 4)?,
            addr: text(row, 5)?,
            text: text(row, 6)?,
            id: optional_text(row, 7)?,
            me: integer(row, 8)? != 0,
            whom: optional_text(row, 9)?,
        })
    }

    /// Binds it to a statement that inserts [`message_columns`], as the row of
    /// this number, from 0 on.
    pub(super) fn bind(&self, insert: &mut Statement<'_>, number: usize) -> rusqlite::Result<()> {
        let mut at = number * MESSAGE_COLUMNS;
        let mut bind = |value: ToSqlOutput<'_>| {
            at += 1;
            insert.raw_bind_parameter(at, value)
        };
        let number = |number: i64| ToSqlOutput::from(number);
        let text = |text| ToSqlOutput::Borrowed(ValueRef::from(text));
        bind(number(to_db(self.seq)))?;
        bind(number(self.room))?;
        bind(number(to_db(self.prev)))?;
        bind(number(self.at))?;
        bind(text(self.name))?;
        bind(text(Some(self.addr)))?;
        bind(text(Some(self.text)))?;
        bind(text(self.id))?;
        bind(number(self.me.into()))?;
        bind(text(self.whom))?;
        bind(number(self.sum()))
    }

    pub(super) fn sum(&self) -> i64 {
        let texts = [self.name, Some(self.addr), Some(self.text), self.id];
        // Lengths keep one text from running into the next.
        let [name, addr, text, id] = texts.map(length);
        let (seq, prev, me) = (to_db(self.seq), to_db(self.prev), self.me.into());
        let (room, at) = (self.room, self.at);
        match self.whom {
            // As it was before there were any that had one.
            None => sum(&[seq, room, prev, at, me, name, addr, text, id], &texts),
            Some(whom) => {
                let [n, a, t, i] = texts;
                let texts = [n, a, t, i, Some(whom)];
                let whom = length(Some(whom));
                let numbers = [seq, room, prev, at, me, name, addr, text, id, whom];
                sum(&numbers, &texts)
            }
        }
    }

    /// Whether its text was erased: a message has one.
    pub(super) fn is_erased(&self) -> bool {
        self.text.is_empty()
    }

    /// What it holds; `None` where that is nothing by today's rules. `addr` is
    /// the address of the row read before.
    pub(super) fn entry(&self, room: &RoomName, addr: &mut Addr) -> Option<Entry> {
        let parse = |name: &str| name.parse().ok();
        let (seq, prev) = (self.seq, self.prev);
        let id = match self.id {
            Some(id) => Some(id.parse().ok()?),
            None => None,
        };
        if self.is_erased() {
            return Some(Entry::Erased(Erased { seq, prev, id }));
        }
        Some(Entry::Message(Message {
            seq,
            prev,
            room: room.clone(),
            at: At(self.at),
            from: Author {
                name: match self.name {
                    Some(name) => Some(parse(name)?),
                    None => None,
                },
                addr: addr.parse(self.addr)?,
            },
            text: self.text.to_owned().into(),
            id,
            kind: if self.me { Kind::Me } else { Kind::Said },
            to: match self.whom {
                Some(whom) => Some(parse(whom)?),
                None => None,
            },
        }))
    }
}

/// A room's row.
#[derive(Clone, Copy, Debug)]
pub(super) struct RoomRow {
    pub(super) id: i64,
    /// The last number in the room; it stays when that message is erased.
    pub(super) last: Seq,
}

impl RoomRow {
    /// The row of a room, where it has one.
    pub(super) fn find(db: &Connection, name: &RoomName) -> Result<Option<Self>, StoreError> {
        let found = db
            .prepare_cached("SELECT id, name, last, sum FROM rooms WHERE name = ?1")?
            .query_row([name.as_str()], |row| {
                Ok(Self::read(row).map(|(found, _)| found))
            })
            .optional()?;
        found
            .map(|row| row.ok_or_else(|| StoreError::damaged(format!("the row of room {name}"))))
            .transpose()
    }

    /// A row of `id, name, last, sum`, and the name; `None` of a damaged one.
    pub(super) fn read(row: &Row<'_>) -> Option<(Self, RoomName)> {
        let name = RoomName::stored(text(row, 1)?).ok()?;
        let read = RoomRow {
            id: integer(row, 0)?,
            last: from_db(integer(row, 2)?),
        };
        (integer(row, 3)? == read.sum(&name)).then_some((read, name))
    }

    pub(super) fn sum(&self, name: &RoomName) -> i64 {
        sum(&[self.id, to_db(self.last)], &[Some(name.as_str())])
    }
}

/// The one row of the log as a whole.
#[derive(Clone, Debug)]
pub(super) struct LogRow {
    pub(super) epoch: Epoch,
    /// Everything up to this number was erased.
    pub(super) erased: Seq,
}

impl LogRow {
    pub(super) fn find(db: &Connection) -> Result<Self, StoreError> {
        let read = |row: &Row<'_>| {
            let read = LogRow {
                epoch: Epoch(text(row, 0)?.into()),
                erased: from_db(integer(row, 1)?),
            };
            (integer(row, 2)? == read.sum()).then_some(read)
        };
        db.prepare_cached("SELECT epoch, erased, sum FROM log")?
            .query_row([], |row| Ok(read(row)))?
            .ok_or_else(|| StoreError::damaged("the row of the log"))
    }

    pub(super) fn write(&self, db: &Connection) -> rusqlite::Result<()> {
        db.prepare_cached("UPDATE log SET epoch = ?1, erased = ?2, sum = ?3")?
            .execute((&*self.epoch.0, to_db(self.erased), self.sum()))?;
        Ok(())
    }

    fn sum(&self) -> i64 {
        sum(&[to_db(self.erased)], &[Some(&*self.epoch.0)])
    }
}

/// The row of a name that somebody owns.
#[derive(Clone, Debug)]
pub(super) struct NameRow {
    pub(super) key: String,
    pub(super) name: String,
    /// Salt and sum of the secret.
    pub(super) proof: Vec<u8>,
    /// When it was carried last, in milliseconds.
    pub(super) used: i64,
    /// Where the log ended when it became somebody's own.
    pub(super) since: Seq,
    /// Its owner was shown every private message up to this number.
    pub(super) shown: Seq,
}

impl NameRow {
    /// A row of `key, name, proof, used, since, shown, sum`; `None` of a damaged
    /// one.
    pub(super) fn read(row: &Row<'_>) -> Option<Self> {
        let read = NameRow {
            key: text(row, 0)?.to_owned(),
            name: text(row, 1)?.to_owned(),
            proof: row.get_ref(2).ok()?.as_blob().ok()?.to_owned(),
            used: integer(row, 3)?,
            since: from_db(integer(row, 4)?),
            shown: from_db(integer(row, 5)?),
        };
        (integer(row, 6)? == read.sum()).then_some(read)
    }

    pub(super) fn sum(&self) -> i64 {
        let (key, name) = (Some(&*self.key), Some(&*self.name));
        let [key_length, name_length] = [key, name].map(length);
        let parts = [key, name].map(|text| text.map(str::as_bytes));
        let parts = [parts[0], parts[1], Some(&*self.proof)];
        let (since, shown) = (to_db(self.since), to_db(self.shown));
        if shown == 0 {
            // As it was before anything was remembered of that.
            sum(&[self.used, key_length, name_length], &parts)
        } else {
            sum(&[self.used, since, shown, key_length, name_length], &parts)
        }
    }
}

/// The row of what a room is about.
#[derive(Clone, Debug)]
pub(super) struct TopicRow {
    pub(super) room: String,
    pub(super) text: String,
    pub(super) author: String,
    pub(super) at: i64,
}

impl TopicRow {
    /// A row of `room, text, author, at, sum`; `None` of a damaged one.
    pub(super) fn read(row: &Row<'_>) -> Option<Self> {
        let read = TopicRow {
            room: text(row, 0)?.to_owned(),
            text: text(row, 1)?.to_owned(),
            author: text(row, 2)?.to_owned(),
            at: integer(row, 3)?,
        };
        (integer(row, 4)? == read.sum()).then_some(read)
    }

    pub(super) fn sum(&self) -> i64 {
        let texts = [&self.room, &self.text, &self.author].map(|text| Some(text.as_str()));
        let [room, text, author] = texts.map(length);
        sum(&[self.at, room, text, author], &texts)
    }
}

/// The row of who is kept out, or from speaking.
#[derive(Clone, Debug)]
pub(super) struct MeasureRow {
    pub(super) what: String,
    pub(super) whom: String,
    pub(super) until: Option<i64>,
    pub(super) why: String,
}

impl MeasureRow {
    /// A row of `what, whom, until, why, sum`; `None` of a damaged one.
    pub(super) fn read(row: &Row<'_>) -> Option<Self> {
        let read = MeasureRow {
            what: text(row, 0)?.to_owned(),
            whom: text(row, 1)?.to_owned(),
            until: match row.get_ref(2).ok()? {
                ValueRef::Null => None,
                value => Some(value.as_i64().ok()?),
            },
            why: text(row, 3)?.to_owned(),
        };
        (integer(row, 4)? == read.sum()).then_some(read)
    }

    pub(super) fn sum(&self) -> i64 {
        let texts = [&self.what, &self.whom, &self.why].map(|text| Some(text.as_str()));
        let [what, whom, why] = texts.map(length);
        let until = self.until.unwrap_or(-1);
        sum(&[until, what, whom, why], &texts)
    }
}

/// The row of something an operator did.
#[derive(Clone, Debug)]
pub(super) struct AuditRow {
    pub(super) at: i64,
    pub(super) operator: String,
    pub(super) what: String,
    pub(super) whom: String,
    pub(super) why: String,
}

impl AuditRow {
    /// A row of `at, operator, what, whom, why, sum`; `None` of a damaged one.
    pub(super) fn read(row: &Row<'_>) -> Option<Self> {
        let read = AuditRow {
            at: integer(row, 0)?,
            operator: text(row, 1)?.to_owned(),
            what: text(row, 2)?.to_owned(),
            whom: text(row, 3)?.to_owned(),
            why: text(row, 4)?.to_owned(),
        };
        (integer(row, 5)? == read.sum()).then_some(read)
    }

    pub(super) fn sum(&self) -> i64 {
        let texts = [&self.operator, &self.what, &self.whom, &self.why];
        let texts = texts.map(|text| Some(text.as_str()));
        let [operator, what, whom, why] = texts.map(length);
        sum(&[self.at, operator, what, whom, why], &texts)
    }
}

fn length(text: Option<&str>) -> i64 {
    text.map_or(-1, |text| i64::try_from(text.len()).unwrap_or(i64::MAX))
}

/// The checksum of a row's fields. As a signed number it takes four bytes.
fn sum<const N: usize>(numbers: &[i64; N], parts: &[Option<impl AsRef<[u8]>>]) -> i64 {
    let mut sum = Hasher::new();
    sum.update(numbers.map(i64::to_le_bytes).as_flattened());
    for part in parts.iter().flatten() {
        sum.update(part.as_ref());
    }
    sum.finalize().cast_signed().into()
}

/// Addresses as text and as such: most messages come with others of the same.
#[derive(Debug, Default)]
pub(super) struct Addr {
    addr: Option<SocketAddr>,
    text: String,
}

impl Addr {
    pub(super) fn show(&mut self, addr: SocketAddr) -> &str {
        if self.addr.replace(addr) != Some(addr) {
            self.text.clear();
            // Writing to a String cannot fail.
            let _ = write!(self.text, "{addr}");
        }
        &self.text
    }

    fn parse(&mut self, text: &str) -> Option<SocketAddr> {
        if self.text != text {
            self.addr = text.parse().ok();
            self.text.clear();
            self.text.push_str(text);
        }
        self.addr
    }
}

fn integer(row: &Row<'_>, column: usize) -> Option<i64> {
    row.get_ref(column).ok()?.as_i64().ok()
}

fn text<'a>(row: &'a Row<'_>, column: usize) -> Option<&'a str> {
    row.get_ref(column).ok()?.as_str().ok()
}

/// `None` of what is no text, `Some(None)` where there is none.
#[allow(clippy::option_option)]
fn optional_text<'a>(row: &'a Row<'_>, column: usize) -> Option<Option<&'a str>> {
    match row.get_ref(column).ok()? {
        ValueRef::Null => Some(None),
        value => value.as_str().ok().map(Some),
    }
}

/// SQLite's integers are signed; a log does not reach 2⁶³ messages.
pub(super) fn to_db(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}

pub(super) fn from_db(seq: i64) -> Seq {
    Seq(u64::try_from(seq).unwrap_or(0))
}
