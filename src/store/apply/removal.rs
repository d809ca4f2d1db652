//! Applies redactions and expiry, which remove words.
//!
//! Redacted words leave the search index before the commit: no redacted word that
//! is gone from the store is still in the index. Expired words leave the index later, in
//! whole blocks; until then no search finds them.

use rusqlite::params;

use super::{Applying, place_rows};
use crate::{
    log::AuditRecord,
    protocol::{ConnectionId, OwnerNumber, Seq, name::RoomName},
    store::{
        Asker, Outcome, StoreError,
        index::IndexedMessage,
        room::RoomState,
        row::{TableRow, query, to_db},
        tables::{MESSAGES, MessageRow},
    },
};

impl Applying<'_> {
    /// Redacts a message as an operator asks.
    ///
    /// # Errors
    /// Fails if the index or the database cannot be read or written.
    pub(super) fn redact(
        &mut self,
        room: &RoomName,
        seq: Seq,
        by: &str,
    ) -> Result<Outcome, StoreError> {
        let (outcome, whose) = self.remove_words(room, seq, None)?;
        if outcome == Outcome::Redacted {
            self.record(&AuditRecord {
                operator: by.to_owned(),
                act: format!("erase {seq}"),
                target: whose,
                reason: String::new(),
            })?;
        }
        Ok(outcome)
    }

    /// Redacts a message as its author asks.
    ///
    /// # Errors
    /// As [`Applying::redact`].
    pub(super) fn retract(
        &mut self,
        room: &RoomName,
        seq: Seq,
        connection: ConnectionId,
        owner: OwnerNumber,
    ) -> Result<Outcome, StoreError> {
        let author = Asker {
            connection,
            owner: Some(owner).filter(|owner| *owner != OwnerNumber::NONE),
            at: self.stamp.wall,
        };
        let (outcome, _) = self.remove_words(room, seq, Some(author))?;
        Ok(outcome)
    }

    /// Removes the words of a message, if it is by the given author. Its number,
    /// author and id stay. The digest of its content goes with the words, so
    /// that any repeat of its id is a repeat. Returns whose message it was.
    fn remove_words(
        &mut self,
        room: &RoomName,
        seq: Seq,
        author: Option<Asker>,
    ) -> Result<(Outcome, String), StoreError> {
        let db = self.db;
        let refused = |outcome| Ok((outcome, String::new()));
        let here = RoomState::find(db, room)?.map(|room| room.id);
        let mut find = query(db, &MESSAGES, "WHERE seq = ?1")?;
        let mut found = find.query([to_db(seq)])?;
        let Some(row) = found.next()? else {
            return refused(Outcome::NotHere);
        };
        let (whose, sum) = match MessageRow::read(row) {
            Some(message) if Some(message.room) != here || message.is_change() => {
                return refused(Outcome::NotHere);
            }
            Some(message) if message.is_redacted() => return refused(Outcome::RedactedBefore),
            Some(message) => {
                let window = self.state.edit_window_ms;
                let denial = author.and_then(|author| author.denial(&message, window));
                if let Some(denial) = denial {
                    return refused(Outcome::Denied(denial));
                }
                let whose = message.name.unwrap_or(message.addr).to_owned();
                let indexed = IndexedMessage::unchecked(&message);
                self.numbering.removed_words.add(indexed);
                let redacted = MessageRow {
                    text: "",
                    content: None,
                    ..message
                };
                (whose, Some(redacted.sum()))
            }
            None if author.is_some() => return refused(Outcome::NotHere),
            // The room and the words of a damaged row are unknown. Its text is
            // emptied, it stays damaged, and the index is made again.
            None => {
                self.numbering.removed_words.add_unknown();
                (String::new(), None)
            }
        };
        drop(found);
        let update = "UPDATE messages SET text = '', content = NULL, sum = ifnull(?2, sum) \
                      WHERE seq = ?1";
        db.prepare_cached(update)?
            .execute(params![to_db(seq), sum])?;
        self.forget_edits(seq)?;
        place_rows::forget_mentions(db, seq)?;
        Ok((Outcome::Redacted, whose))
    }

    /// Forgets the contents of the corrections of a redacted message.
    ///
    /// # Errors
    /// Fails if the database cannot be read or written.
    pub(super) fn forget_edits(&self, about: Seq) -> Result<(), StoreError> {
        let mut edits = query(
            self.db,
            &MESSAGES,
            "WHERE about = ?1 AND kind = 2 AND content IS NOT NULL",
        )?;
        let mut rows = edits.query([to_db(about)])?;
        let mut forgotten = Vec::new();
        while let Some(row) = rows.next()? {
            if let Some(edit) = MessageRow::read(row) {
                let content = None;
                forgotten.push((edit.seq, MessageRow { content, ..edit }.sum()));
            }
        }
        drop(rows);
        let update = "UPDATE messages SET content = NULL, sum = ?2 WHERE seq = ?1";
        let mut update = self.db.prepare_cached(update)?;
        for (seq, sum) in forgotten {
            update.execute(params![to_db(seq), sum])?;
        }
        Ok(())
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
        self.expired = true;
        Ok(Outcome::Expired(upto))
    }
}

#[cfg(test)]
mod tests;
