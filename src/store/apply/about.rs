//! Applies replies, corrections and reactions.

use rusqlite::params;

use super::{messages::MessageWriter, relation::Related};
use crate::{
    log::Draft,
    protocol::{About, AboutKind, ConnectionId, OwnerNumber, Quote, Seq, name::Name},
    store::{
        Asker, Denial, Outcome, StoreError,
        index::IndexedMessage,
        related::{quote, reactions},
        row::{TableRow, find, from_db, owner_to_db, to_db},
        tables::{MESSAGES, MessageRow, RowKind},
    },
};

/// The most corrections of one message. A redaction looks at each.
const MAX_EDITS: u32 = 100;

/// The most reactions to one message, and how many of them have another text
/// than the others. Each reader of the message counts them.
const MAX_REACTIONS: u32 = 1000;
const MAX_REACTION_TEXTS: u32 = 20;

/// The facts of a message that a draft about it needs.
struct Target {
    denial: Option<Denial>,
    quote: Option<Box<Quote>>,
}

/// A change of a row.
#[derive(Clone, Copy)]
enum RowChange<'a> {
    /// The message has another text, since a time.
    Reworded(&'a str, i64),
    /// The message has a reaction.
    Reacted,
    /// The reaction is no longer in force.
    Ended,
}

impl<'a> RowChange<'a> {
    /// The row after the change.
    fn of(self, row: MessageRow<'a>) -> MessageRow<'a> {
        match self {
            RowChange::Reworded(text, at) => MessageRow {
                text,
                edited: Some(at),
                ..row
            },
            RowChange::Reacted => MessageRow {
                reacted: true,
                ..row
            },
            RowChange::Ended => MessageRow {
                kind: RowKind::PastReaction.number(),
                ..row
            },
        }
    }
}

impl MessageWriter<'_> {
    /// Decides whether a draft may be about a message of its room.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub(super) fn relate(
        &self,
        connection: ConnectionId,
        draft: &Draft,
        about: About,
        room: i64,
    ) -> Result<Result<Related, Outcome>, StoreError> {
        let asker = Asker {
            connection,
            owner: draft.from.owner,
            at: self.batch.stamp.wall,
        };
        let target = find(
            self.db,
            &MESSAGES,
            "WHERE seq = ?1",
            [to_db(about.seq)],
            |row| {
                let row = MessageRow::read(row)?;
                let is_here = row.room == room && !row.is_redacted() && !row.is_change();
                let quoted = about.kind == AboutKind::Reply;
                is_here.then(|| Target {
                    denial: asker.denial(&row, self.edit_window_ms),
                    quote: quote(&row).filter(|_| quoted).map(Box::new),
                })
            },
        )?;
        let Some(target) = target.flatten() else {
            return Ok(Err(Outcome::NotHere));
        };
        let denied = |denial| Ok(Err(Outcome::Denied(denial)));
        let mut related = Related::default();
        match about.kind {
            AboutKind::Reply => related.quote = target.quote,
            AboutKind::Edit => {
                if let Some(denial) = target.denial {
                    return denied(denial);
                }
                let edits = "SELECT count(*) FROM messages WHERE about = ?1 AND kind = 2";
                let mut edits = self.db.prepare_cached(edits)?;
                let edits: u32 = edits.query_row([to_db(about.seq)], |row| row.get(0))?;
                if edits >= MAX_EDITS {
                    return denied(Denial::TooManyEdits);
                }
            }
            AboutKind::React => {
                if let Some(same) = self.reaction(draft, about.seq)? {
                    return Ok(Err(Outcome::Repeat(same)));
                }
                if !self.takes_reaction(draft, about.seq)? {
                    return denied(Denial::TooManyReactions);
                }
            }
            AboutKind::Unreact => match self.reaction(draft, about.seq)? {
                Some(ended) => related.ended = Some(ended),
                // There is nothing to end: this says so of the message.
                None => return Ok(Err(Outcome::Repeat(about.seq))),
            },
        }
        Ok(Ok(related))
    }

    /// Changes the message that a stored draft is about.
    ///
    /// # Errors
    /// Fails if the database cannot be read or written.
    pub(super) fn carry_out(
        &mut self,
        draft: &Draft,
        about: About,
        related: &mut Related,
    ) -> Result<(), StoreError> {
        match about.kind {
            AboutKind::Reply => return Ok(()),
            AboutKind::Edit => return self.reword(draft, about.seq),
            AboutKind::React => {
                self.update(about.seq, RowChange::Reacted)?;
            }
            AboutKind::Unreact => {
                if let Some(ended) = related.ended {
                    self.update(ended, RowChange::Ended)?;
                }
            }
        }
        related.reactions = Some(reactions(self.db, about.seq, Some(&draft.text))?);
        Ok(())
    }

    /// The same reaction of the same person, if it is in force.
    fn reaction(&self, draft: &Draft, about: Seq) -> Result<Option<Seq>, StoreError> {
        let condition = "WHERE about = ?1 AND kind = 5 AND text = ?2 AND owner = ?3 \
                         AND (owner <> 0 OR name = ?4)";
        let owner = owner_to_db(draft.from.owner.unwrap_or(OwnerNumber::NONE));
        let name = draft.from.name.as_ref().map(Name::as_str);
        let key = params![to_db(about), &*draft.text, owner, name];
        find(self.db, &MESSAGES, condition, key, |row| {
            row.get(0).map(from_db)
        })?
        .transpose()
        .map_err(Into::into)
    }

    /// Whether a message takes another reaction.
    fn takes_reaction(&self, draft: &Draft, about: Seq) -> Result<bool, StoreError> {
        let count = "SELECT count(*), count(DISTINCT text), ifnull(max(text = ?2), 0) \
                     FROM messages WHERE about = ?1 AND kind = 5";
        let mut count = self.db.prepare_cached(count)?;
        let (all, texts, has_text): (u32, u32, bool) = count
            .query_row(params![to_db(about), &*draft.text], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
        Ok(all < MAX_REACTIONS && (has_text || texts < MAX_REACTION_TEXTS))
    }

    /// Gives a message the text of its correction.
    fn reword(&mut self, draft: &Draft, seq: Seq) -> Result<(), StoreError> {
        let change = RowChange::Reworded(&draft.text, self.batch.stamp.wall.0);
        if let Some(before) = self.update(seq, change)? {
            self.removed_words.add(before);
        }
        Ok(())
    }

    /// Updates the row of a message or a change; returns its words before, if
    /// they are indexed.
    fn update(
        &self,
        seq: Seq,
        change: RowChange<'_>,
    ) -> Result<Option<IndexedMessage>, StoreError> {
        let mut update = self.db.prepare_cached(
            "UPDATE messages SET text = ?2, kind = ?3, edited = ?4, reacted = ?5, sum = ?6 \
             WHERE seq = ?1",
        )?;
        let new = find(self.db, &MESSAGES, "WHERE seq = ?1", [to_db(seq)], |row| {
            let old = MessageRow::read(row)?;
            let before = IndexedMessage::of(&old);
            let new = change.of(old);
            let fields = (new.text.to_owned(), new.kind, new.edited, new.reacted);
            Some((before, fields, new.sum(), new.sum() == old.sum()))
        })?;
        let Some((before, (text, kind, edited, reacted), sum, is_same)) = new.flatten() else {
            return Err(StoreError::damaged(format!("the message {seq}")));
        };
        if is_same {
            return Ok(None);
        }
        update.execute(params![to_db(seq), text, kind, edited, reacted, sum])?;
        Ok(before)
    }
}
