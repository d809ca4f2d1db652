//! Applies entries on places: follows and read positions.

use super::{Applying, place_rows::PlaceState};
use crate::{
    protocol::{FollowLevel, MAX_FOLLOWED, OwnerNumber, Seq, name::RoomName},
    store::{
        Denial, Outcome, StoreError, memberships,
        row::{owner_to_db, to_db},
    },
};

impl Applying<'_> {
    /// Has an owner follow a room. A new follower has read everything said so
    /// far.
    ///
    /// # Errors
    /// Fails if the database cannot be read or written.
    pub(super) fn follow(
        &mut self,
        owner: OwnerNumber,
        room: &RoomName,
        level: Option<FollowLevel>,
    ) -> Result<Outcome, StoreError> {
        if self.is_private(room)? && memberships::owns(self.db, room, owner)?.is_none() {
            return Ok(Outcome::Denied(Denial::NotMember));
        }
        let found = PlaceState::find(self.db, owner, room)?;
        if found.is_none() && self.followed(owner)? >= MAX_FOLLOWED {
            return Ok(Outcome::FollowsTooMany);
        }
        let mut state = found.unwrap_or_else(|| PlaceState::new(self.state.head));
        if let Some(level) = level {
            state.level = level.stored();
        }
        state.put(self.db, owner, room)?;
        Ok(Outcome::Follows(FollowLevel::from_stored(state.level)))
    }

    /// Has an owner follow a room no more.
    ///
    /// # Errors
    /// Fails if the database cannot be written.
    pub(super) fn unfollow(
        &mut self,
        owner: OwnerNumber,
        room: &RoomName,
    ) -> Result<Outcome, StoreError> {
        for table in ["places", "mentions"] {
            let delete = format!("DELETE FROM {table} WHERE owner = ?1 AND room = ?2");
            self.db
                .prepare_cached(&delete)?
                .execute((owner_to_db(owner), room.as_str()))?;
        }
        Ok(Outcome::Done)
    }

    /// Notes how far an owner has read a place. The position only rises, and
    /// never beyond the last number given.
    ///
    /// # Errors
    /// Fails if the database cannot be read or written.
    pub(super) fn read(
        &mut self,
        owner: OwnerNumber,
        room: &RoomName,
        upto: Seq,
    ) -> Result<Outcome, StoreError> {
        let upto = upto.min(self.state.head);
        let found = PlaceState::find(self.db, owner, room)?;
        let Some(mut state) = found.filter(|state| state.read < upto) else {
            return Ok(Outcome::ReadBefore);
        };
        state.read = upto;
        state.put(self.db, owner, room)?;
        self.db
            .prepare_cached("DELETE FROM mentions WHERE owner = ?1 AND room = ?2 AND seq <= ?3")?
            .execute((owner_to_db(owner), room.as_str(), to_db(upto)))?;
        Ok(Outcome::Done)
    }

    /// Removes the conversations and mentions whose messages have all expired.
    ///
    /// # Errors
    /// Fails if the database cannot be written.
    pub(super) fn expire_places(&mut self, upto: Seq) -> Result<(), StoreError> {
        for delete in [
            "DELETE FROM places WHERE last > 0 AND last <= ?1",
            "DELETE FROM mentions WHERE seq <= ?1",
        ] {
            self.db.prepare_cached(delete)?.execute([to_db(upto)])?;
        }
        Ok(())
    }

    /// Removes the places of a former owner, and the conversations of others
    /// with it.
    ///
    /// # Errors
    /// Fails if the database cannot be written.
    pub(super) fn leave_all_places(&mut self, owner: OwnerNumber) -> Result<(), StoreError> {
        for table in ["places", "mentions"] {
            let delete = format!("DELETE FROM {table} WHERE owner = ?1");
            let mut delete = self.db.prepare_cached(&delete)?;
            delete.execute([owner_to_db(owner)])?;
        }
        self.db
            .prepare_cached("DELETE FROM places WHERE room = ?1")?
            .execute([RoomName::inbox(owner).as_str()])?;
        Ok(())
    }

    /// Removes a room that just became private from the places of everybody but
    /// its first owner.
    ///
    /// # Errors
    /// Fails if the database cannot be read or written.
    pub(super) fn hide_place(
        &mut self,
        room: &RoomName,
        by: OwnerNumber,
    ) -> Result<(), StoreError> {
        let owners: Vec<i64> = self
            .db
            .prepare_cached("SELECT owner FROM places WHERE room = ?1 AND owner <> ?2")?
            .query_map((room.as_str(), owner_to_db(by)), |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for owner in owners {
            self.unfollow(OwnerNumber(owner.cast_unsigned()), room)?;
        }
        Ok(())
    }

    /// How many rooms an owner follows.
    fn followed(&self, owner: OwnerNumber) -> Result<usize, StoreError> {
        let count = "SELECT count(*) FROM places WHERE owner = ?1 AND room NOT GLOB '@*'";
        let mut count = self.db.prepare_cached(count)?;
        let count: u32 = count.query_row([owner_to_db(owner)], |row| row.get(0))?;
        Ok(count as usize)
    }
}

#[cfg(test)]
mod tests;
