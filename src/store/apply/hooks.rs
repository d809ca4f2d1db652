//! Applies entries on hooks.
//!
//! The name of a hook is an owned name, so no person can take it. No secret
//! proves it, and it does not expire.

use super::Applying;
use crate::{
    log::HookDraft,
    protocol::{
        OwnerNumber,
        name::{NameKey, RoomName},
    },
    store::{
        Denial, Hook, Outcome, StoreError, hook,
        row::{TableRow, find, owner_to_db},
        tables::{HOOKS, HookRow},
    },
};

/// How many hooks a room may have.
const MAX_HOOKS: u32 = 20;

/// The last use of a name that does not expire, by the log's clock.
const ALWAYS: i64 = i64::MAX;

impl Applying<'_> {
    /// Makes a hook. One of the same name in the room gets the new token.
    ///
    /// # Errors
    /// Fails if the database cannot be read or written.
    pub(super) fn add_hook(&mut self, new: &HookDraft) -> Result<Outcome, StoreError> {
        if !self.manages(&new.room, new.by, new.operator)? {
            return Ok(Outcome::Denied(Denial::NotRoomOwner));
        }
        let owner = if let Some(owner) = self.hook_owner(
            "WHERE key = ?1 AND room = ?2",
            (new.key.as_str(), new.room.as_str()),
        )? {
            owner
        } else {
            if self.hook_count(&new.room)? >= MAX_HOOKS {
                return Ok(Outcome::Denied(Denial::TooManyHooks));
            }
            // Only an operator has one name speak in several rooms.
            let known = if new.operator {
                self.hook_owner("WHERE key = ?1 LIMIT 1", [new.key.as_str()])?
            } else {
                None
            };
            match known {
                Some(owner) => owner,
                // The digest of a token is the tag of no secret.
                None => match self.own(&new.name, &new.key, &[0; 16], &new.token, ALWAYS)? {
                    Outcome::Claimed(ownership) => ownership.owner,
                    refused => return Ok(refused),
                },
            }
        };
        HookRow {
            room: new.room.as_str(),
            key: new.key.as_str(),
            name: new.name.as_str(),
            owner,
            token: &new.token,
            author: &new.author,
        }
        .put(self.db)?;
        Ok(Outcome::Done)
    }

    /// Ends a hook. The name of the last one of its owner number is free again.
    ///
    /// # Errors
    /// Fails if the database cannot be read or written.
    pub(super) fn remove_hook(
        &mut self,
        room: &RoomName,
        key: &NameKey,
        by: OwnerNumber,
        operator: bool,
    ) -> Result<Outcome, StoreError> {
        if !self.manages(room, by, operator)? {
            return Ok(Outcome::Denied(Denial::NotRoomOwner));
        }
        let condition = "WHERE room = ?1 AND key = ?2";
        let found = find(
            self.db,
            &HOOKS,
            condition,
            (room.as_str(), key.as_str()),
            Hook::read,
        )?;
        let Some(found) = found.flatten() else {
            return Ok(Outcome::NotHere);
        };
        self.end_hook(&found)?;
        Ok(Outcome::Done)
    }

    /// Ends all hooks of a room.
    ///
    /// # Errors
    /// Fails if the database cannot be read or written.
    pub(super) fn end_hooks(&mut self, room: &RoomName) -> Result<(), StoreError> {
        for found in hook::all(self.db, room)? {
            self.end_hook(&found)?;
        }
        Ok(())
    }

    fn end_hook(&mut self, ended: &Hook) -> Result<(), StoreError> {
        let owner = owner_to_db(ended.owner);
        self.db
            .prepare_cached("DELETE FROM hooks WHERE room = ?1 AND owner = ?2")?
            .execute((ended.room.as_str(), owner))?;
        if find(self.db, &HOOKS, "WHERE owner = ?1", [owner], |_| ())?.is_none() {
            self.free_names(ended.owner)?;
        }
        Ok(())
    }

    /// The owner number of a hook under a condition.
    fn hook_owner(
        &self,
        condition: &'static str,
        key: impl rusqlite::Params,
    ) -> Result<Option<OwnerNumber>, StoreError> {
        let found = find(self.db, &HOOKS, condition, key, Hook::read)?;
        Ok(found.flatten().map(|hook| hook.owner))
    }

    fn hook_count(&self, room: &RoomName) -> Result<u32, StoreError> {
        let count = "SELECT count(*) FROM hooks WHERE room = ?1";
        let mut count = self.db.prepare_cached(count)?;
        Ok(count.query_row([room.as_str()], |row| row.get(0))?)
    }
}
