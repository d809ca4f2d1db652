//! What other rows say of a message: the message that it answers, and the
//! reactions to it.

use std::{collections::HashMap, sync::Arc};

use rusqlite::{Connection, params};

use super::{
    StoreError,
    row::{TableRow, find, query, to_db},
    tables::{MESSAGES, MessageRow},
};
use crate::protocol::{ChangeKind, Quote, Reaction, Seq, Slot, text::Text};

/// How many names of people with the same reaction are listed.
const NAMED: u32 = 20;

/// Completes slots of the same view of the store.
pub(super) struct RelatedRows<'db> {
    db: &'db Connection,
    /// The reactions that were read: many changes may be about one message.
    reactions: HashMap<Seq, Option<Arc<[Reaction]>>>,
}

impl<'db> RelatedRows<'db> {
    pub(super) fn new(db: &'db Connection) -> Self {
        RelatedRows {
            db,
            reactions: HashMap::new(),
        }
    }

    /// Adds to the slot of a row what other rows say of it.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub(super) fn complete(
        &mut self,
        row: &MessageRow<'_>,
        slot: &mut Slot,
    ) -> Result<(), StoreError> {
        match slot {
            Slot::Message(message) => {
                if let Some(about) = row.about {
                    message.quote = target(self.db, about, |row| quote(row).map(Box::new))?;
                }
                if row.reacted {
                    let reactions = reactions(self.db, row.seq)?;
                    message.reactions = Some(reactions).filter(|some| !some.is_empty());
                }
            }
            Slot::Changed(change) if change.kind == ChangeKind::Edit => {
                let text = |row: &MessageRow<'_>| Some(Text::stored(row.text));
                change.text = target(self.db, change.about, text)?;
            }
            Slot::Changed(change) => {
                if let Some(known) = self.reactions.get(&change.about) {
                    change.reactions.clone_from(known);
                    return Ok(());
                }
                let is_there = target(self.db, change.about, |_| Some(()))?.is_some();
                if is_there {
                    change.reactions = Some(reactions(self.db, change.about)?);
                }
                let known = change.reactions.clone();
                self.reactions.insert(change.about, known);
            }
            Slot::Redacted(_) => {}
        }
        Ok(())
    }
}

/// The quote of a message.
pub(super) fn quote(row: &MessageRow<'_>) -> Option<Quote> {
    Some(Quote {
        from: row.author(None)?,
        text: Quote::beginning(row.text),
    })
}

/// Reads a message that another one refers to; `None` if it is redacted, has
/// expired or is damaged.
fn target<T>(
    db: &Connection,
    seq: Seq,
    read: impl FnOnce(&MessageRow<'_>) -> Option<T>,
) -> Result<Option<T>, StoreError> {
    let found = find(db, &MESSAGES, "WHERE seq = ?1", [to_db(seq)], |row| {
        let row = MessageRow::read(row)?;
        if row.seq != seq || row.is_redacted() {
            return None;
        }
        read(&row)
    })?;
    Ok(found.flatten())
}

/// The reactions to a message, the first one first.
///
/// # Errors
/// Fails if the database cannot be read.
pub(super) fn reactions(db: &Connection, about: Seq) -> Result<Arc<[Reaction]>, StoreError> {
    let mut texts = db.prepare_cached(
        "SELECT text, count(*) FROM messages WHERE about = ?1 AND kind = 5 \
         GROUP BY text ORDER BY min(seq)",
    )?;
    let mut texts = texts.query([to_db(about)])?;
    let mut reactions = Vec::new();
    while let Some(row) = texts.next()? {
        let (text, count): (String, i64) = (row.get(0)?, row.get(1)?);
        // The rows are checked, the index is not.
        let mut rows = query(
            db,
            &MESSAGES,
            "WHERE seq IN (SELECT seq FROM messages WHERE about = ?1 AND kind = 5 AND text = ?2 \
             ORDER BY seq LIMIT ?3) ORDER BY seq",
        )?;
        let mut rows = rows.query(params![to_db(about), &text, NAMED])?;
        let mut names = Vec::new();
        while let Some(row) = rows.next()? {
            let row = MessageRow::read(row).filter(|row| row.text == text);
            names.extend(row.and_then(|row| row.name).map(str::to_owned));
        }
        if !names.is_empty() {
            reactions.push(Reaction {
                text: Text::stored(&text),
                count: usize::try_from(count).unwrap_or(0),
                names,
            });
        }
    }
    Ok(reactions.into())
}
