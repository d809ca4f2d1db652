//! Applies redactions and expiry, which remove words.
//!
//! The words leave the search index first: no word that is gone from the store
//! is still in the index.

use rusqlite::params;

use super::Applying;
use crate::{
    log::AuditRecord,
    protocol::{Seq, name::RoomName},
    store::{
        Outcome, StoreError,
        index::IndexedMessage,
        room::RoomState,
        row::{TableRow, query, to_db},
        tables::{MESSAGES, MessageRow},
    },
};

impl Applying<'_> {
    /// Redacts a message. Its number, author and id stay: a repeat of its id is
    /// still a repeat.
    ///
    /// # Errors
    /// Fails if the index or the database cannot be read or written.
    pub(super) fn redact(
        &mut self,
        room: &RoomName,
        seq: Seq,
        by: &str,
    ) -> Result<Outcome, StoreError> {
        let db = self.db;
        let here = RoomState::find(db, room)?.map(|room| room.id);
        let mut find = query(db, &MESSAGES, "WHERE seq = ?1")?;
        let mut found = find.query([to_db(seq)])?;
        let Some(row) = found.next()? else {
            return Ok(Outcome::NotHere);
        };
        let (whose, sum) = match MessageRow::read(row) {
            Some(message) if Some(message.room) != here => return Ok(Outcome::NotHere),
            Some(message) if message.is_redacted() => return Ok(Outcome::RedactedBefore),
            Some(message) => {
                let whose = message.name.unwrap_or(message.addr).to_owned();
                if let Some(index) = &mut self.index {
                    index.remove_one(&IndexedMessage::always(&message))?;
                }
                let text = "";
                (whose, Some(MessageRow { text, ..message }.sum()))
            }
            // The room and the words of a damaged row are unknown. Its text is
            // emptied, it stays damaged, and the index is made again.
            None => {
                if let Some(index) = &mut self.index {
                    index.delete()?;
                }
                (String::new(), None)
            }
        };
        drop(found);
        db.prepare_cached("UPDATE messages SET text = '', sum = ifnull(?2, sum) WHERE seq = ?1")?
            .execute(params![to_db(seq), sum])?;
        self.removed = true;
        self.record(&AuditRecord {
            operator: by.to_owned(),
            act: format!("erase {seq}"),
            target: whose,
            reason: String::new(),
        })?;
        Ok(Outcome::Redacted)
    }

    /// Expires every message up to a number.
    ///
    /// # Errors
    /// Fails if the index or the database cannot be read or written.
    pub(super) fn expire(&mut self, upto: Seq) -> Result<Outcome, StoreError> {
        let upto = upto.min(self.state.head);
        if upto <= self.state.expired {
            return Ok(Outcome::Done);
        }
        self.unindex_upto(upto)?;
        self.db
            .prepare_cached("DELETE FROM messages WHERE seq <= ?1")?
            .execute([to_db(upto)])?;
        self.state.expired = upto;
        self.removed = true;
        Ok(Outcome::Expired(upto))
    }

    /// Removes every message up to a number from the index.
    fn unindex_upto(&mut self, upto: Seq) -> Result<(), StoreError> {
        let Some(index) = &mut self.index else {
            return Ok(());
        };
        let mut rows = query(self.db, &MESSAGES, "WHERE seq <= ?1 ORDER BY seq")?;
        let mut rows = rows.query([to_db(upto)])?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            let Some(message) = MessageRow::read(row) else {
                // The words of a damaged message are unknown.
                return index.delete();
            };
            entries.extend(IndexedMessage::of(&message));
        }
        index.remove(&entries)
    }
}

#[cfg(test)]
mod tests;
