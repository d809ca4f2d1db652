//! Applies entries on owned names: claims, uses and deliveries.

use std::iter;

use super::Applying;
use crate::{
    log::{AuditRecord, GuardedTime, Standing},
    protocol::{
        OwnerNumber, Seq,
        name::{Name, NameKey},
    },
    store::{
        AccessChange, Outcome, Ownership, StoreError,
        row::{TableRow, find, owner_to_db},
        tables::{NAMES, NameRow},
    },
};

/// How often the use of a name is noted, in milliseconds: once a day.
const USE_NOTED_MS: u64 = 24 * 60 * 60 * 1000;

impl Applying<'_> {
    /// Makes a name owned, as its owner asks: as [`Applying::own`], used now.
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
        self.own(name, key, salt, tag, self.state.clock.0)
    }

    /// Makes a name owned, unless it is owned and its owner has used it within
    /// the name expiry. A name with a damaged row stays taken.
    ///
    /// A name that has more than one look must be free under each. It reserves
    /// the others: their rows have its owner number and an empty tag.
    ///
    /// # Errors
    /// Fails if the database cannot be read or written.
    pub(super) fn own(
        &mut self,
        name: &Name,
        key: &NameKey,
        salt: &[u8; 16],
        tag: &[u8; 32],
        used: i64,
    ) -> Result<Outcome, StoreError> {
        let (clock, expiry) = (self.state.clock, self.state.name_expiry_ms);
        let is_free = |row: &rusqlite::Row<'_>| {
            let row = NameRow::read(row)?;
            let is_free = clock.since(GuardedTime(row.used)) >= expiry;
            // The owner of a reserved look may still own the name itself.
            is_free.then_some((!row.is_reserved()).then_some(row.owner))
        };
        let lookalikes: Vec<_> = key.lookalikes().collect();
        let mut former_owners = Vec::new();
        for look in iter::once(key).chain(&lookalikes) {
            let found = find(self.db, &NAMES, "WHERE key = ?1", [look.as_str()], is_free)?;
            match found {
                None => {}
                Some(None) => return Ok(Outcome::NameTaken),
                Some(Some(former)) => former_owners.extend(former),
            }
        }
        for former in former_owners {
            self.end_ownership(former)?;
        }
        self.state.owners = self.state.owners.next();
        let ownership = Ownership {
            owner: self.state.owners,
            delivered: self.state.head,
            standing: Standing::Claimed,
        };
        let row = NameRow {
            key: key.as_str(),
            name: name.as_str(),
            owner: ownership.owner,
            salt,
            tag,
            used,
            delivered: ownership.delivered,
            standing: ownership.standing.stored(),
        };
        row.put(self.db)?;
        for look in &lookalikes {
            NameRow {
                key: look.as_str(),
                tag: &[],
                ..row
            }
            .put(self.db)?;
        }
        Ok(Outcome::Claimed(ownership))
    }

    /// Removes the row of a name whose ownership ended long ago. With the name
    /// itself goes all that belonged to its owner. A damaged row stays.
    ///
    /// # Errors
    /// Fails if the database cannot be read or written.
    pub(super) fn expire_name(&mut self, key: &NameKey) -> Result<Outcome, StoreError> {
        let row = find(self.db, &NAMES, "WHERE key = ?1", [key.as_str()], |row| {
            let row = NameRow::read(row).filter(|row| self.state.is_name_over(row))?;
            Some((row.owner, row.is_reserved()))
        })?;
        let Some((owner, is_reserved)) = row.flatten() else {
            return Ok(Outcome::Done);
        };
        self.db
            .prepare_cached("DELETE FROM names WHERE key = ?1")?
            .execute([key.as_str()])?;
        if !is_reserved {
            self.end_ownership(owner)?;
        }
        Ok(Outcome::Done)
    }

    /// Ends the ownership of a name, which is free from then on.
    ///
    /// # Errors
    /// Fails if the database cannot be read or written.
    pub(super) fn release(
        &mut self,
        key: &NameKey,
        audit: &AuditRecord,
    ) -> Result<Outcome, StoreError> {
        let owner = find(self.db, &NAMES, "WHERE key = ?1", [key.as_str()], |row| {
            let row = NameRow::read(row).filter(|row| !row.is_reserved());
            row.map(|row| row.owner)
        })?;
        let Some(owner) = owner.flatten() else {
            return Ok(Outcome::NotHere);
        };
        self.free_names(owner)?;
        self.record(audit)?;
        Ok(Outcome::Done)
    }

    /// Frees the name of an owner number, with all looks that it reserves.
    ///
    /// # Errors
    /// Fails if the database cannot be read or written.
    pub(super) fn free_names(&mut self, owner: OwnerNumber) -> Result<(), StoreError> {
        self.db
            .prepare_cached("DELETE FROM names WHERE owner = ?1")?
            .execute([owner_to_db(owner)])?;
        self.end_ownership(owner)
    }

    /// Removes what belonged to the owner of a name: the names that it ignored,
    /// its memberships, its places, its invitations, and the hooks under the name.
    fn end_ownership(&mut self, owner: OwnerNumber) -> Result<(), StoreError> {
        self.ignore_nobody(owner)?;
        self.leave_all_rooms(owner)?;
        self.leave_all_places(owner)?;
        self.delete_invitations("owner = ?1", [owner_to_db(owner)])?;
        for deletion in [
            "DELETE FROM admissions WHERE owner = ?1",
            "DELETE FROM hooks WHERE owner = ?1",
        ] {
            self.db
                .prepare_cached(deletion)?
                .execute([owner_to_db(owner)])?;
        }
        self.access_changes.push(AccessChange::Ended(owner));
        Ok(())
    }

    /// Changes the standing of an owned name, as the server's user asks.
    ///
    /// # Errors
    /// Fails if the database cannot be read or written.
    pub(super) fn set_operator(
        &mut self,
        key: &NameKey,
        operator: bool,
    ) -> Result<Outcome, StoreError> {
        let standing = if operator {
            Standing::Operator
        } else {
            Standing::Admitted
        };
        let mut outcome = Outcome::NotHere;
        let mut promoted = None;
        let mut name = String::new();
        self.change_name(key, |row| {
            if row.is_reserved() {
                return None;
            }
            outcome = Outcome::Done;
            // Another person than an operator keeps the standing.
            let changes = operator != (row.standing == Standing::Operator.stored());
            promoted = changes.then_some(row.owner);
            row.name.clone_into(&mut name);
            changes.then_some(NameRow {
                standing: standing.stored(),
                ..row
            })
        })?;
        if let Some(owner) = promoted {
            self.access_changes.push(AccessChange::Standing(owner));
            let change = if operator { "add" } else { "remove" };
            self.record(&AuditRecord {
                operator: Name::of_server().to_string(),
                act: format!("operator {change}"),
                target: name,
                reason: String::new(),
            })?;
        }
        Ok(outcome)
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
            owner = Some(row.owner);
            (clock.since(GuardedTime(row.used)) >= USE_NOTED_MS).then_some(NameRow {
                used: clock.0,
                ..row
            })
        })?;
        for look in key.lookalikes() {
            self.change_name(&look, |row| {
                let is_reserved = row.is_reserved() && owner == Some(row.owner);
                let is_due = clock.since(GuardedTime(row.used)) >= USE_NOTED_MS;
                (is_reserved && is_due).then_some(NameRow {
                    used: clock.0,
                    ..row
                })
            })?;
        }
        Ok(Outcome::Done)
    }

    /// Notes that every private message up to a number was delivered to an
    /// owner of a name, if it still is the owner.
    ///
    /// # Errors
    /// Fails if the database cannot be read or written.
    pub(super) fn note_delivered(
        &mut self,
        key: &NameKey,
        owner: OwnerNumber,
        upto: Seq,
    ) -> Result<Outcome, StoreError> {
        self.change_name(key, |row| {
            (row.owner == owner && row.delivered < upto).then_some(NameRow {
                delivered: upto,
                ..row
            })
        })?;
        Ok(Outcome::Done)
    }

    /// Changes the row of an owned name, if it exists and is sound.
    pub(super) fn change_name(
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
