//! Applies entries on the names that an owner ignores.

use super::Applying;
use crate::{
    protocol::{
        ignored::MAX_IGNORED,
        name::{Name, NameKey},
    },
    store::{Outcome, StoreError, row::TableRow, tables::IgnoredRow},
};

impl Applying<'_> {
    /// Adds a name to those that an owner ignores, or removes it.
    ///
    /// # Errors
    /// Fails if the database cannot be read or written.
    pub(super) fn ignore(
        &mut self,
        owner: &NameKey,
        name: &Name,
        key: &NameKey,
        ignored: bool,
    ) -> Result<Outcome, StoreError> {
        let (owner, key) = (owner.as_str(), key.as_str());
        if !ignored {
            self.db
                .prepare_cached("DELETE FROM ignored WHERE owner = ?1 AND key = ?2")?
                .execute([owner, key])?;
            return Ok(Outcome::Done);
        }
        let mut others = self
            .db
            .prepare_cached("SELECT count(*) FROM ignored WHERE owner = ?1 AND key <> ?2")?;
        let others: usize = others.query_row([owner, key], |row| row.get::<_, u32>(0))? as usize;
        if others >= MAX_IGNORED {
            return Ok(Outcome::IgnoresTooMany);
        }
        let name = name.as_str();
        IgnoredRow { owner, key, name }.put(self.db)?;
        Ok(Outcome::Done)
    }

    /// Forgets the names that an earlier owner of a name ignored.
    ///
    /// # Errors
    /// Fails if the database cannot be written.
    pub(super) fn ignore_nobody(&mut self, owner: &NameKey) -> Result<(), StoreError> {
        self.db
            .prepare_cached("DELETE FROM ignored WHERE owner = ?1")?
            .execute([owner.as_str()])?;
        Ok(())
    }
}
