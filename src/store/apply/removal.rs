//! Applies redactions and expiry, which remove words.
//!
//! Redacted words leave the search index first: no redacted word that is gone
//! from the store is still in the index. Expired words leave the index later, in
//! whole blocks; until then no search finds them.

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
    /// Redacts a message. Its number, author and id stay. The digest of its
    /// content goes with the words, so that any repeat of its id is a repeat.
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
                    index.remove(&IndexedMessage::unchecked(&message))?;
                }
                let redacted = MessageRow {
                    text: "",
                    content: None,
                    ..message
                };
                (whose, Some(redacted.sum()))
            }
            // The room and the words of a damaged row are unknown. Its text is
            // emptied, it stays damaged, and the index is made again.
            None => {
                if let Some(index) = &mut self.index {
                    index.delete_files()?;
                }
                (String::new(), None)
            }
        };
        drop(found);
        let update = "UPDATE messages SET text = '', content = NULL, sum = ifnull(?2, sum) \
                      WHERE seq = ?1";
        db.prepare_cached(update)?
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
    /// Fails if the database cannot be read or written.
    pub(super) fn expire(&mut self, upto: Seq) -> Result<Outcome, StoreError> {
        let upto = upto.min(self.state.head);
        if upto <= self.state.expired {
            return Ok(Outcome::Done);
        }
        self.db
            .prepare_cached("DELETE FROM messages WHERE seq <= ?1")?
            .execute([to_db(upto)])?;
        self.expire_places(upto)?;
        self.state.expired = upto;
        self.removed = true;
        Ok(Outcome::Expired(upto))
    }
}

#[cfg(test)]
mod tests;
