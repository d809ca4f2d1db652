//! Applies entries on owned names: claims, uses and deliveries.

use std::iter;

use super::Applying;
use crate::{
    log::GuardedTime,
    protocol::{
        Seq,
        name::{Name, NameKey},
    },
    store::{
        Outcome, StoreError,
        row::{TableRow, find},
        tables::{NAMES, NameRow},
    },
};

/// How often the use of a name is noted, in milliseconds: once a day.
const USE_NOTED_MS: u64 = 24 * 60 * 60 * 1000;

impl Applying<'_> {
    /// Makes a name owned, unless it is owned and its owner has used it within
    /// the name expiry. A name with a damaged row stays taken.
    ///
    /// A name that has more than one look must be free under each. It reserves
    /// the others: their rows have its salt and an empty tag.
    ///
    /// # Errors
    /// Fails if the database cannot be read or written.
    pub(super) fn claim(
        &mut self,
        name: &Name,
        key: &NameKey,
        salt: &[u8; 16],
        tag: &[u8; 32],
    ) -> Result<Outcome, StoreError> {
        let (clock, expiry) = (self.state.clock, self.state.name_expiry_ms);
        let is_free = |row: &rusqlite::Row<'_>| {
            let row = NameRow::read(row)?;
            Some(clock.since(GuardedTime(row.used)) >= expiry)
        };
        let lookalikes: Vec<_> = key.lookalikes().collect();
        for look in iter::once(key).chain(&lookalikes) {
            let found = find(self.db, &NAMES, "WHERE key = ?1", [look.as_str()], is_free)?;
            if found.is_some_and(|free| free != Some(true)) {
                return Ok(Outcome::NameTaken);
            }
        }
        let since = self.state.head;
        let row = NameRow {
            key: key.as_str(),
            name: name.as_str(),
            salt,
            tag,
            used: clock.0,
            since,
            delivered: since,
        };
        row.put(self.db)?;
        self.ignore_nobody(key)?;
        for look in &lookalikes {
            NameRow {
                key: look.as_str(),
                tag: &[],
                ..row
            }
            .put(self.db)?;
        }
        Ok(Outcome::Claimed { since })
    }

    /// Notes that an owned name is in use, if that was not noted within a day.
    /// Its reserved looks stay reserved.
    ///
    /// # Errors
    /// Fails if the database cannot be read or written.
    pub(super) fn note_use(&mut self, key: &NameKey) -> Result<Outcome, StoreError> {
        let clock = self.state.clock;
        let mut owner = None;
        self.change_name(key, |row| {
            owner = Some(row.salt.to_vec());
            (clock.since(GuardedTime(row.used)) >= USE_NOTED_MS).then_some(NameRow {
                used: clock.0,
                ..row
            })
        })?;
        for look in key.lookalikes() {
            self.change_name(&look, |row| {
                let is_reserved = row.tag.is_empty() && owner.as_deref() == Some(row.salt);
                let is_due = clock.since(GuardedTime(row.used)) >= USE_NOTED_MS;
                (is_reserved && is_due).then_some(NameRow {
                    used: clock.0,
                    ..row
                })
            })?;
        }
        Ok(Outcome::Done)
    }

    /// Notes that every private message up to a number was delivered to the
    /// owner of a name.
    ///
    /// # Errors
    /// Fails if the database cannot be read or written.
    pub(super) fn note_delivered(
        &mut self,
        key: &NameKey,
        upto: Seq,
    ) -> Result<Outcome, StoreError> {
        self.change_name(key, |row| {
            (row.delivered < upto).then_some(NameRow {
                delivered: upto,
                ..row
            })
        })?;
        Ok(Outcome::Done)
    }

    /// Changes the row of an owned name, if it exists and is sound.
    fn change_name(
        &mut self,
        key: &NameKey,
        change: impl for<'r> FnOnce(NameRow<'r>) -> Option<NameRow<'r>>,
    ) -> Result<(), StoreError> {
        let db = self.db;
        let changed = find(db, &NAMES, "WHERE key = ?1", [key.as_str()], |row| {
            NameRow::read(row)
                .and_then(change)
                .map(|changed| changed.put(db))
        })?;
        changed.flatten().unwrap_or(Ok(()))
    }
}
