//! The private messages that an owner was not delivered yet.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::{
    StoreError,
    room::RoomState,
    row::{from_db, to_db},
};
use crate::{
    log::UnreadLimit,
    protocol::{OwnerNumber, Seq, name::RoomName},
};

/// How many unread messages are counted at most.
pub(super) const MAX_COUNTED: u32 = 10_000;

/// How many of the unread messages a returning owner is sent at once.
const SHOWN: u32 = 50;

/// The unread messages of an inbox. The owner's own messages do not count.
#[derive(Debug, Default)]
pub struct Unread {
    /// How many there are.
    pub count: u32,
    /// How many of each author.
    by_author: HashMap<OwnerNumber, u32>,
    /// The number after which the last ones begin: all that are sent at once.
    pub start: Seq,
}

impl Unread {
    /// Whether one more message of this author would be too many.
    pub(super) fn is_full_for(&self, author: OwnerNumber, limit: UnreadLimit) -> bool {
        let own = self.by_author.get(&author).copied().unwrap_or(0);
        self.count >= limit.of_all || own >= limit.of_sender
    }

    /// Counts one more message.
    pub(super) fn note(&mut self, author: OwnerNumber) {
        *self.by_author.entry(author).or_default() += 1;
        self.count += 1;
    }

    /// Whether some author's next message would have been too many.
    pub fn is_full(&self, limit: UnreadLimit) -> bool {
        self.by_author
            .keys()
            .any(|author| self.is_full_for(*author, limit))
    }

    /// Whether some of them are not sent at once.
    pub fn has_earlier(&self) -> bool {
        self.count > SHOWN
    }
}

/// The private messages in the inbox of an owner after a number, at most `most`
/// of them. Twice as many of the last rows are read, the owner's own included.
///
/// # Errors
/// Fails if the database cannot be read.
pub(super) fn read(
    db: &Connection,
    owner: OwnerNumber,
    after: Seq,
    most: u32,
) -> Result<Unread, StoreError> {
    let mut unread = Unread {
        start: after,
        ..Unread::default()
    };
    let Some(room) = RoomState::find(db, &RoomName::inbox(owner))? else {
        return Ok(unread);
    };
    let mut rows = db.prepare_cached(
        "SELECT seq, owner FROM messages WHERE room = ?1 AND kind < 2 AND seq > ?2 \
         ORDER BY seq DESC LIMIT ?3",
    )?;
    let read = most.saturating_mul(2).min(MAX_COUNTED);
    let mut rows = rows.query(params![room.id, to_db(after), read])?;
    while unread.count < most
        && let Some(row) = rows.next()?
    {
        let seq = from_db(row.get(0)?);
        let author = OwnerNumber(row.get::<_, i64>(1)?.cast_unsigned());
        if author == owner {
            continue;
        }
        unread.note(author);
        if unread.count == SHOWN {
            unread.start = Seq(seq.0.saturating_sub(1));
        }
    }
    if !unread.has_earlier() {
        unread.start = after;
    }
    Ok(unread)
}
