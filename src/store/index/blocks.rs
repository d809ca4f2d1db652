//! The blocks of the index, each with the words of messages in a row.
//!
//! Each block is a table of its own. Dropping a table needs neither the texts
//! of its messages nor one step for each of them, as removing them does.

use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Transaction, params};

use super::{
    indexed_message::IndexedMessage,
    words::{TOKENIZER, words_of_room},
};
use crate::{
    protocol::Seq,
    store::{
        StoreError,
        row::{from_db, to_db},
    },
};

/// The tables of the whole index: its blocks, the last number indexed, and the
/// messages before it whose words were removed.
pub(super) const SCHEMA: &str = "
CREATE TABLE blocks (
    first INTEGER PRIMARY KEY, last INTEGER NOT NULL, at INTEGER NOT NULL,
    messages INTEGER NOT NULL, bytes INTEGER NOT NULL
);
CREATE TABLE about (epoch TEXT NOT NULL, upto INTEGER NOT NULL);
CREATE TABLE removed (seq INTEGER PRIMARY KEY);
";

/// The size of a block. A block takes no message beyond any of these limits.
///
/// The words of a message leave the index only when its whole block has
/// expired. Each search looks into each block. So a block must be neither large
/// nor small.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct BlockLimits {
    /// The most messages.
    pub(in crate::store) messages: i64,
    /// A block with this many bytes of text takes no further message.
    pub(in crate::store) bytes: i64,
    /// How much later than the first message any other was sealed, in
    /// milliseconds. Without an age limit for messages it has no use, and blocks
    /// of one day would grow in number with the age of the chat.
    pub(in crate::store) span_ms: i64,
}

/// If the size of the store is limited, a block takes this part of it.
const BLOCKS_OF_SIZE: u64 = 32;

/// About what a short message takes in the store and the index, in bytes.
const ROW_BYTES: i64 = 256;

/// The fewest messages at which a block may end: an empty one takes 20 KiB.
const MIN_BLOCK_MESSAGES: i64 = 128;

/// How many messages get their words back in one step.
const PUT_BACK_AT_ONCE: u32 = 500;

/// The span of a block if messages expire by age, in milliseconds: a day.
pub(in crate::store) const SPAN_MS: i64 = 24 * 60 * 60 * 1000;

impl BlockLimits {
    /// Limits at which a store of about this size has many blocks: expired words
    /// leave the index while later ones stay.
    pub(in crate::store) fn for_size(bytes: u64) -> Self {
        let default = BlockLimits::default();
        let part = i64::try_from(bytes / BLOCKS_OF_SIZE).unwrap_or(i64::MAX);
        BlockLimits {
            messages: (part / ROW_BYTES).clamp(MIN_BLOCK_MESSAGES, default.messages),
            bytes: part.clamp(MIN_BLOCK_MESSAGES * ROW_BYTES, default.bytes),
            ..default
        }
    }
}

impl Default for BlockLimits {
    fn default() -> Self {
        BlockLimits {
            messages: 32_768,
            bytes: 8 << 20,
            span_ms: i64::MAX,
        }
    }
}

/// A block of the index.
#[derive(Debug)]
pub(super) struct IndexBlock {
    /// The numbers of its first and its last message.
    first: Seq,
    last: Seq,
    /// When its first message was sealed, by the wall clock, in milliseconds.
    at: i64,
    messages: i64,
    bytes: i64,
}

impl IndexBlock {
    /// Begins a block with a message, which it does not hold yet.
    fn begin(db: &Connection, first: &IndexedMessage) -> Result<Self, StoreError> {
        let block = IndexBlock {
            first: first.seq,
            last: first.seq,
            at: first.at,
            messages: 0,
            bytes: 0,
        };
        // The words without the texts (`content=''`) and without the number of
        // words of each message (`columnsize=0`), by which FTS5 would rank
        // matches. With `secure-delete`, removed words leave the file.
        let table = block.table();
        db.execute_batch(&format!(
            "CREATE VIRTUAL TABLE {table} USING fts5 (
                text, content='', columnsize=0, tokenize=\"{TOKENIZER}\"
            );
            INSERT INTO {table} ({table}, rank) VALUES ('secure-delete', 1);"
        ))?;
        Ok(block)
    }

    /// The block that takes a message: the last one, or else a new one.
    fn for_message(
        db: &Connection,
        entry: &IndexedMessage,
        limits: BlockLimits,
    ) -> Result<Self, StoreError> {
        match IndexBlock::find(db, "ORDER BY first DESC LIMIT 1", [])? {
            Some(last) if last.takes(entry, limits) => Ok(last),
            _ => IndexBlock::begin(db, entry),
        }
    }

    /// The first block under a condition.
    fn find(
        db: &Connection,
        condition: &str,
        params: impl Params,
    ) -> Result<Option<Self>, StoreError> {
        let select = "SELECT first, last, at, messages, bytes FROM blocks";
        let mut find = db.prepare_cached(&format!("{select} {condition}"))?;
        let found = find.query_row(params, |row| {
            Ok(IndexBlock {
                first: from_db(row.get(0)?),
                last: from_db(row.get(1)?),
                at: row.get(2)?,
                messages: row.get(3)?,
                bytes: row.get(4)?,
            })
        });
        Ok(found.optional()?)
    }

    /// Whether the block takes another message.
    fn takes(&self, entry: &IndexedMessage, limits: BlockLimits) -> bool {
        self.messages < limits.messages
            && self.bytes < limits.bytes
            && entry.at.saturating_sub(self.at) < limits.span_ms
    }

    /// The statement that adds the words of a message.
    fn insertion<'db>(&self, db: &'db Connection) -> rusqlite::Result<CachedStatement<'db>> {
        let table = self.table();
        db.prepare_cached(&format!(
            "INSERT INTO {table} (rowid, text) VALUES (?1, ?2)"
        ))
    }

    /// Adds the words of a message by that statement.
    fn add(
        &mut self,
        insert: &mut CachedStatement<'_>,
        entry: &IndexedMessage,
    ) -> Result<(), StoreError> {
        let words = words_of_room(entry.room, &entry.text);
        insert.execute(params![to_db(entry.seq), words])?;
        self.last = entry.seq;
        self.messages += 1;
        let bytes = i64::try_from(entry.text.len()).unwrap_or(i64::MAX);
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }

    fn save(&self, db: &Connection) -> Result<(), StoreError> {
        let mut save =
            db.prepare_cached("INSERT OR REPLACE INTO blocks VALUES (?1, ?2, ?3, ?4, ?5)")?;
        save.execute(params![
            to_db(self.first),
            to_db(self.last),
            self.at,
            self.messages,
            self.bytes
        ])?;
        Ok(())
    }

    fn table(&self) -> String {
        table(self.first)
    }
}

/// The name of the table of the block that begins with a number.
pub(super) fn table(first: Seq) -> String {
    format!("words_{first}")
}

/// The first numbers of the blocks that may have messages between two numbers,
/// newest first.
///
/// # Errors
/// Fails if the index cannot be read.
pub(super) fn between(db: &Connection, after: Seq, before: Seq) -> Result<Vec<Seq>, StoreError> {
    let mut blocks = db.prepare_cached(
        "SELECT first FROM blocks WHERE first < ?2 AND last > ?1 ORDER BY first DESC",
    )?;
    let blocks = blocks.query_map([to_db(after), to_db(before)], |row| row.get(0))?;
    let blocks: Result<Vec<i64>, _> = blocks.collect();
    Ok(blocks?.into_iter().map(from_db).collect())
}

/// The number up to which every message is indexed.
///
/// # Errors
/// Fails if the index cannot be read.
pub(in crate::store) fn indexed_upto(db: &Connection) -> Result<Seq, StoreError> {
    let mut upto = db.prepare_cached("SELECT upto FROM about")?;
    Ok(from_db(upto.query_row([], |row| row.get(0))?))
}

/// Adds messages, after which every message up to `upto` is indexed.
///
/// # Errors
/// Fails if the index cannot be written.
pub(super) fn add(
    db: &Connection,
    limits: BlockLimits,
    entries: &[IndexedMessage],
    upto: Seq,
) -> Result<(), StoreError> {
    let step = db.unchecked_transaction()?;
    let mut entries = entries.iter().peekable();
    while let Some(first) = entries.peek() {
        let mut block = IndexBlock::for_message(&step, first, limits)?;
        let mut insert = block.insertion(&step)?;
        while let Some(entry) = entries.next_if(|entry| block.takes(entry, limits)) {
            block.add(&mut insert, entry)?;
        }
        block.save(&step)?;
    }
    step.prepare_cached("UPDATE about SET upto = ?1")?
        .execute([to_db(upto)])?;
    Ok(step.commit()?)
}

/// Removes the words of some messages from their blocks, and notes these
/// messages as [`removed`].
///
/// # Errors
/// Fails if the index cannot be written.
pub(super) fn remove<'a>(
    db: &Connection,
    entries: impl Iterator<Item = &'a IndexedMessage>,
) -> Result<(), StoreError> {
    let indexed = indexed(db, entries)?;
    if indexed.is_empty() {
        return Ok(());
    }
    removing(db, |step| {
        for (entry, block) in indexed {
            let table = block.table();
            let note = "INSERT OR IGNORE INTO removed VALUES (?1)";
            if step.execute(note, [to_db(entry.seq)])? == 0 {
                // Removing words twice would damage the statistics of a block.
                continue;
            }
            let delete =
                format!("INSERT INTO {table} ({table}, rowid, text) VALUES ('delete', ?1, ?2)");
            let words = words_of_room(entry.room, &entry.text);
            step.prepare(&delete)?
                .execute(params![to_db(entry.seq), words])?;
        }
        Ok(())
    })
}

/// Some of the messages whose words were removed and not put back.
///
/// # Errors
/// Fails if the index cannot be read.
pub(in crate::store) fn removed(db: &Connection) -> Result<Vec<Seq>, StoreError> {
    let mut removed = db.prepare_cached("SELECT seq FROM removed ORDER BY seq LIMIT ?1")?;
    let removed = removed.query_map([PUT_BACK_AT_ONCE], |row| row.get(0))?;
    let removed: Result<Vec<i64>, _> = removed.collect();
    Ok(removed?.into_iter().map(from_db).collect())
}

/// Adds the present words of messages whose words were removed. `seqs` has the
/// numbers of these messages, and also of those that have no words now.
///
/// # Errors
/// Fails if the index cannot be written.
pub(super) fn put_back(
    db: &Connection,
    seqs: &[Seq],
    entries: &[IndexedMessage],
) -> Result<(), StoreError> {
    let step = db.unchecked_transaction()?;
    for seq in seqs {
        step.prepare_cached("DELETE FROM removed WHERE seq = ?1")?
            .execute([to_db(*seq)])?;
    }
    for (entry, block) in indexed(&step, entries.iter())? {
        let words = words_of_room(entry.room, &entry.text);
        block
            .insertion(&step)?
            .execute(params![to_db(entry.seq), words])?;
    }
    Ok(step.commit()?)
}

/// The messages that are indexed, each with its block.
fn indexed<'a>(
    db: &Connection,
    entries: impl Iterator<Item = &'a IndexedMessage>,
) -> Result<Vec<(&'a IndexedMessage, IndexBlock)>, StoreError> {
    let mut indexed = Vec::new();
    for entry in entries {
        let condition = "WHERE first <= ?1 AND last >= ?1";
        let block = IndexBlock::find(db, condition, [to_db(entry.seq)])?;
        indexed.extend(block.map(|block| (entry, block)));
    }
    Ok(indexed)
}

/// The oldest block, if its last message has a number up to `expired`.
///
/// # Errors
/// Fails if the index cannot be read.
pub(super) fn oldest_expired(
    db: &Connection,
    expired: Seq,
) -> Result<Option<IndexBlock>, StoreError> {
    let oldest = IndexBlock::find(db, "ORDER BY first LIMIT 1", [])?;
    Ok(oldest.filter(|block| block.last <= expired))
}

/// Drops the oldest block if its last message has a number up to `expired`;
/// false if it has not.
///
/// # Errors
/// Fails if the index cannot be written.
pub(super) fn drop_expired(db: &Connection, expired: Seq) -> Result<bool, StoreError> {
    let Some(block) = oldest_expired(db, expired)? else {
        return Ok(false);
    };
    removing(db, |step| {
        step.execute_batch(&format!("DROP TABLE {}", block.table()))?;
        step.execute("DELETE FROM blocks WHERE first = ?1", [to_db(block.first)])?;
        step.execute("DELETE FROM removed WHERE seq <= ?1", [to_db(block.last)])?;
        Ok(true)
    })
}

/// Runs `work`, which removes words, in one transaction. The words neither come
/// back after a power cut nor stay in the write-ahead log.
fn removing<T>(
    db: &Connection,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    db.pragma_update(None, "synchronous", "full")?;
    let step = db.unchecked_transaction()?;
    let done = work(&step)?;
    step.commit()?;
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    db.query_row(checkpoint, [], |_| Ok(()))?;
    db.pragma_update(None, "synchronous", "normal")?;
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verified to fail without the limit of time.
    #[test]
    fn a_block_ends_at_each_of_its_limits() {
        let limits = BlockLimits {
            messages: 3,
            bytes: 10,
            span_ms: 100,
        };
        let message = |seq: u64, at: i64, text: &str| IndexedMessage {
            seq: Seq(seq),
            room: 1,
            at,
            text: text.to_owned(),
        };
        let db = Connection::open_in_memory().expect("a database");
        db.execute_batch(SCHEMA).expect("the tables");
        let entries = [
            // Three messages.
            message(1, 0, "a"),
            message(2, 0, "a"),
            message(3, 0, "a"),
            // Ten bytes of text.
            message(5, 0, "a"),
            message(6, 0, "eleven bytes"),
            // A tenth of a second; then the clock goes back.
            message(7, 0, "a"),
            message(8, 100, "a"),
            message(9, 50, "a"),
        ];
        add(&db, limits, &entries[..5], Seq(6)).expect("written");
        add(&db, limits, &entries[5..], Seq(10)).expect("written");
        let blocks = between(&db, Seq(0), Seq(u64::MAX)).expect("readable");
        assert_eq!(blocks, [8, 7, 5, 1].map(Seq));
        let blocks = between(&db, Seq(3), Seq(8)).expect("readable");
        assert_eq!(blocks, [7, 5].map(Seq));
        for (expired, dropped) in [(2, false), (4, true), (4, false), (5, false), (9, true)] {
            let done = drop_expired(&db, Seq(expired)).expect("written");
            assert_eq!(done, dropped, "{expired}");
        }
        let blocks = between(&db, Seq(0), Seq(u64::MAX)).expect("readable");
        assert_eq!(blocks, [8, 7].map(Seq));
    }
}
