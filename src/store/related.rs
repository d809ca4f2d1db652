//! What other rows say of a message: the message that it answers, and the
//! reactions to it.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use rusqlite::{Connection, params};

use super::{
    StoreError,
    row::{TableRow, find, query, to_db},
    tables::{MESSAGES, MessageRow},
};
use crate::protocol::{ChangeKind, Quote, Reaction, Seq, Slot, text::Text};

/// How many names of people with the same reaction are listed.
const NAMED: u32 = 20;

/// How many names the reactions of a change list in all. Each reader of the room
/// is sent them.
const NAMED_IN_CHANGE: u32 = 2 * NAMED;

/// Completes slots of the same view of the store.
pub(super) struct RelatedRows<'db> {
    db: &'db Connection,
    /// The quotes that were read: many replies may be about one message.
    quotes: HashMap<Seq, Option<Box<Quote>>>,
    /// The reactions that were read, by their message and the changed one: many
    /// changes may be about one message.
    reactions: HashMap<(Seq, Text), Option<Arc<[Reaction]>>>,
}

impl<'db> RelatedRows<'db> {
    pub(super) fn new(db: &'db Connection) -> Self {
        RelatedRows {
            db,
            quotes: HashMap::new(),
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
                    message.quote = self.quote(about)?;
                }
                if row.reacted {
                    let reactions = reactions(self.db, row.seq, None)?;
                    message.reactions = Some(reactions).filter(|some| !some.is_empty());
                }
            }
            Slot::Changed(change) if change.kind == ChangeKind::Edit => {
                let text = |row: &MessageRow<'_>| Some(Text::stored(row.text));
                change.text = target(self.db, change.about, text)?;
            }
            Slot::Changed(change) => {
                let Some(text) = &change.text else {
                    return Ok(());
                };
                let key = (change.about, text.clone());
                let reactions = match self.reactions.entry(key) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => {
                        let is_there = target(self.db, change.about, |_| Some(()))?.is_some();
                        let found = is_there
                            .then(|| reactions(self.db, change.about, Some(text)))
                            .transpose()?;
                        new.insert(found)
                    }
                };
                change.reactions.clone_from(reactions);
            }
            Slot::Redacted(_) => {}
        }
        Ok(())
    }

    fn quote(&mut self, about: Seq) -> Result<Option<Box<Quote>>, StoreError> {
        let quote = match self.quotes.entry(about) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                new.insert(target(self.db, about, |row| quote(row).map(Box::new))?)
            }
        };
        Ok(quote.clone())
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

/// The reactions to a message, the first one first. With a `changed` one, the
/// names of others are left out if there are too many: they are as before.
///
/// # Errors
/// Fails if the database cannot be read.
pub(super) fn reactions(
    db: &Connection,
    about: Seq,
    changed: Option<&str>,
) -> Result<Arc<[Reaction]>, StoreError> {
    let mut texts = db.prepare_cached(
        "SELECT text, count(*) FROM messages WHERE about = ?1 AND kind = 5 \
         GROUP BY text ORDER BY min(seq)",
    )?;
    let texts = texts.query_map([to_db(about)], |row| {
        let count: i64 = row.get(1)?;
        Ok((row.get(0)?, usize::try_from(count).unwrap_or(0)))
    })?;
    let texts: Vec<(String, usize)> = texts.collect::<Result<_, _>>()?;
    let is_changed = |text: &str| changed == Some(text);
    let own = texts.iter().find(|(text, _)| is_changed(text));
    let listed = |count: usize| u32::try_from(count).map_or(NAMED, |count| NAMED.min(count));
    let mut left = NAMED_IN_CHANGE - own.map_or(0, |(_, count)| listed(*count));
    let mut reactions = Vec::new();
    for (text, count) in texts {
        if changed.is_some() && !is_changed(&text) {
            let Some(rest) = left.checked_sub(listed(count)) else {
                reactions.push(Reaction {
                    text: Text::stored(&text),
                    count,
                    names: Vec::new(),
                });
                continue;
            };
            left = rest;
        }
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
                count,
                names,
            });
        }
    }
    Ok(reactions.into())
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;
    use crate::{
        log::{Draft, Entry},
        protocol::{About, AboutKind, WallTime, name::RoomName},
        store::{database::Database, pages::Slots},
    };

    fn about(kind: AboutKind, name: usize, text: &str) -> Entry {
        let mut draft = Draft::of("lobby", text);
        draft.from.name = format!("n{name}").parse().ok();
        draft.about = Some(About { seq: Seq(1), kind });
        draft.entry()
    }

    // Verified to fail when each reply looks its quote up.
    #[test]
    fn a_page_looks_each_quote_up_once() {
        let mut database = Database::in_memory().expect("a store");
        let mut entries = vec![Draft::of("lobby", "tea?").entry()];
        entries.extend((0..50).map(|n| about(AboutKind::Reply, n, "yes")));
        database.apply_next(WallTime(1), entries);
        let lookups = |database: &Database| {
            let query = query(database.db(), &MESSAGES, "WHERE seq = ?1").expect("a query");
            query.get_status(StatementStatus::Run)
        };
        let before = lookups(&database);
        let span = (Seq::START, Seq(51));
        let page = database.page(&RoomName::lobby(), span, Slots::All);
        let page = page.expect("readable");
        let quotes = page.slots.iter().filter_map(Slot::message);
        let quotes = quotes.filter_map(|message| message.quote.as_ref());
        assert!(quotes.clone().all(|quote| &*quote.text == "tea?"));
        assert_eq!((quotes.count(), lookups(&database) - before), (50, 1));
    }

    // Verified to fail when a change names everybody.
    #[test]
    fn a_change_names_a_bounded_number_of_people() {
        let mut database = Database::in_memory().expect("a store");
        database.apply_next(WallTime(1), vec![Draft::of("lobby", "tea?").entry()]);
        // Twenty texts: the first of two people, the others of 25 each.
        for text in 0..20 {
            let people = if text == 0 { 2 } else { 25 };
            let reacts = |n| about(AboutKind::React, n, &format!("t{text}"));
            let applied = database.apply_next(WallTime(1), (0..people).map(reacts).collect());
            for slot in &applied.messages {
                let Slot::Changed(change) = slot else {
                    panic!("a change")
                };
                let reactions = change.reactions.as_deref().expect("some");
                assert_eq!(reactions.len(), text + 1);
                let names = |it: &Reaction| it.names.len();
                assert!(reactions.iter().map(names).sum::<usize>() <= 40);
                let own = reactions.last().expect("the changed one");
                assert_eq!(names(own), own.count.min(20));
            }
        }
        let all = reactions(database.db(), Seq(1), None).expect("readable");
        assert!(all[1..].iter().all(|it| it.names.len() == 20));
        let of_change = reactions(database.db(), Seq(1), Some("t5")).expect("readable");
        let counts = |all: &[Reaction]| all.iter().map(|it| it.count).collect::<Vec<_>>();
        assert_eq!(counts(&of_change), counts(&all));
        let named = |all: &[Reaction]| {
            let named = all.iter().filter(|it| !it.names.is_empty());
            named.map(|it| it.text.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(named(&of_change), ["t0", "t5"]);
    }
}
