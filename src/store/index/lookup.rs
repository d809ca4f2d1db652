//! Looks words up in the index.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use rusqlite::{Connection, params};

use super::{
    blocks::{between, indexed_upto, table},
    words::Words,
};
use crate::{
    protocol::Seq,
    store::{
        StoreError,
        row::{from_db, to_db},
    },
};

/// How many steps of SQLite's virtual machine run between two checks whether a
/// search must stop. Reading a page of the index takes several steps.
const STEPS: i32 = 10;

/// What to look up: the newest messages of a room that have all words, and
/// numbers between two others.
#[derive(Clone, Debug)]
pub(in crate::store) struct Lookup {
    /// The id of the room.
    pub(in crate::store) room: i64,
    pub(in crate::store) words: Words,
    /// Every message up to this number has expired. A block that has not
    /// expired as a whole still has the words of some of them.
    pub(in crate::store) after: Seq,
    pub(in crate::store) before: Seq,
    /// The most numbers to find.
    pub(in crate::store) limit: usize,
}

/// How a lookup in the index ended.
#[derive(Debug, PartialEq)]
pub(in crate::store) enum IndexLookup {
    /// The numbers of the messages, newest first, and the number up to which
    /// every message is indexed.
    Found(Vec<Seq>, Seq),
    /// It took too long.
    TooLong,
    /// It stopped so that words can be removed.
    MadeWay,
}

/// Looks words up. Stops when one of the two functions returns true.
///
/// # Errors
/// Fails if the index cannot be read.
pub(in crate::store) fn find_until(
    db: &mut Connection,
    lookup: &Lookup,
    is_over: impl Fn() -> bool + Send + Sync + 'static,
    is_removing: impl Fn() -> bool + Send + Sync + 'static,
) -> Result<IndexLookup, StoreError> {
    let over = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&over);
    let stop = Arc::new(move || {
        let is_over = is_over();
        ended.fetch_or(is_over, Ordering::Relaxed);
        is_over || is_removing()
    });
    let handler = Arc::clone(&stop);
    db.progress_handler(STEPS, Some(move || handler()))?;
    let found = find(db, lookup, &*stop);
    db.progress_handler(0, None::<fn() -> bool>)?;
    match found {
        Ok(Some((seqs, indexed))) => Ok(IndexLookup::Found(seqs, indexed)),
        Err(why) if !why.is_interruption() => Err(why),
        _ if over.load(Ordering::Relaxed) => Ok(IndexLookup::TooLong),
        _ => Ok(IndexLookup::MadeWay),
    }
}

/// The numbers found, and the number up to which every message is indexed;
/// `None` if the search must stop between two blocks.
fn find(
    db: &Connection,
    lookup: &Lookup,
    stop: impl Fn() -> bool,
) -> Result<Option<(Vec<Seq>, Seq)>, StoreError> {
    let view = db.unchecked_transaction()?;
    let Lookup {
        room,
        words,
        after,
        before,
        limit,
    } = lookup;
    let query = words.query(*room);
    let mut seqs = Vec::new();
    for block in between(&view, *after, *before)? {
        if seqs.len() >= *limit {
            break;
        }
        // A lookup in a small block may end before SQLite checks.
        if stop() {
            return Ok(None);
        }
        let table = table(block);
        let mut found = view.prepare(&format!(
            "SELECT rowid FROM {table} WHERE {table} MATCH ?1 AND rowid < ?2 AND rowid > ?3 \
             ORDER BY rowid DESC LIMIT ?4"
        ))?;
        let left = i64::try_from(limit - seqs.len()).unwrap_or(i64::MAX);
        let found = found
            .query_map(params![query, to_db(*before), to_db(*after), left], |row| {
                row.get(0)
            })?;
        for seq in found {
            seqs.push(from_db(seq?));
        }
    }
    Ok(Some((seqs, indexed_upto(&view)?)))
}
