//! Applies entries on private rooms and their members.

use super::Applying;
use crate::{
    protocol::{
        OwnerNumber,
        name::{Name, RoomName},
    },
    store::{
        AccessChange, Denial, Outcome, StoreError, memberships,
        row::{TableRow, find, owner_to_db, query},
        tables::{MEMBERSHIPS, MembershipRow},
    },
};

/// How many private rooms a name may own.
const MAX_OWNED_ROOMS: u32 = 20;

/// How many members a private room may have. All of them are in memory.
const MAX_MEMBERS: u32 = 5000;

/// How many messages of a room are looked at for those of other people.
const MAX_LOOKED_AT: u32 = 1000;

impl Applying<'_> {
    /// Makes a room private, with its first owner. Without an operator, the
    /// room must have no message of anybody else.
    ///
    /// # Errors
    /// Fails if the database cannot be read or written.
    pub(super) fn make_private(
        &mut self,
        room: &RoomName,
        by: OwnerNumber,
        name: &Name,
        operator: bool,
    ) -> Result<Outcome, StoreError> {
        let state = self.numbering.room(room)?;
        if state.is_some_and(|state| state.private) {
            let denied = self.denial(room, by)?;
            return Ok(denied.map_or(Outcome::Done, Outcome::Denied));
        }
        if let Some(state) = state
            && !operator
            && !self.has_only_messages_of(state.id, by)?
        {
            return Ok(Outcome::Denied(Denial::OthersSpoke));
        }
        if self.owned_rooms(by)? >= MAX_OWNED_ROOMS {
            return Ok(Outcome::Denied(Denial::TooManyRooms));
        }
        self.numbering.set_private(room, true)?;
        self.hide_place(room, by)?;
        let room = room.clone();
        self.access_changes
            .push(AccessChange::Closed { room: room.clone() });
        self.put_member(&room, by, name, true)?;
        Ok(Outcome::Done)
    }

    /// Makes a private room public. Its memberships, invitations and hooks end.
    ///
    /// # Errors
    /// Fails if the database cannot be read or written.
    pub(super) fn make_public(
        &mut self,
        room: &RoomName,
        by: OwnerNumber,
    ) -> Result<Outcome, StoreError> {
        if !self.is_private(room)? {
            return Ok(Outcome::Done);
        }
        if let Some(denied) = self.denial(room, by)? {
            return Ok(Outcome::Denied(denied));
        }
        self.numbering.set_private(room, false)?;
        self.db
            .prepare_cached("DELETE FROM memberships WHERE room = ?1")?
            .execute([room.as_str()])?;
        self.end_invitations(room)?;
        self.end_hooks(room)?;
        let room = room.clone();
        self.access_changes.push(AccessChange::Opened { room });
        Ok(Outcome::Done)
    }

    /// Removes a member from a private room, as one of its owners or the member
    /// asks.
    ///
    /// # Errors
    /// Fails if the database cannot be read or written.
    pub(super) fn remove_member(
        &mut self,
        room: &RoomName,
        member: OwnerNumber,
        by: OwnerNumber,
    ) -> Result<Outcome, StoreError> {
        if !self.is_private(room)? {
            return Ok(Outcome::Denied(Denial::NotPrivate));
        }
        if member != by
            && let Some(denied) = self.denial(room, by)?
        {
            return Ok(Outcome::Denied(denied));
        }
        if memberships::owns(self.db, room, member)?.is_none() {
            return Ok(Outcome::Denied(Denial::NoSuchMember));
        }
        if self.members(room)? == 1 {
            return Ok(Outcome::Denied(Denial::LastMember));
        }
        self.leave_room(room, member)?;
        Ok(Outcome::Done)
    }

    /// Makes a member of a private room one of its owners.
    ///
    /// # Errors
    /// Fails if the database cannot be read or written.
    pub(super) fn add_room_owner(
        &mut self,
        room: &RoomName,
        member: OwnerNumber,
        by: OwnerNumber,
    ) -> Result<Outcome, StoreError> {
        if !self.is_private(room)? {
            return Ok(Outcome::Denied(Denial::NotPrivate));
        }
        if let Some(denied) = self.denial(room, by)? {
            return Ok(Outcome::Denied(denied));
        }
        let Some(name) = self.member_name(room, member)? else {
            return Ok(Outcome::Denied(Denial::NoSuchMember));
        };
        if self.owned_rooms(member)? >= MAX_OWNED_ROOMS {
            return Ok(Outcome::Denied(Denial::TooManyRooms));
        }
        self.put_member(room, member, &name, true)?;
        Ok(Outcome::Done)
    }

    /// Adds a member to a private room, unless it is one.
    ///
    /// # Errors
    /// Fails if the database cannot be read or written.
    pub(super) fn add_member(
        &mut self,
        room: &RoomName,
        owner: OwnerNumber,
        name: &Name,
    ) -> Result<(), StoreError> {
        if memberships::owns(self.db, room, owner)?.is_none() {
            self.put_member(room, owner, name, false)?;
        }
        Ok(())
    }

    /// Whether a private room has the most members allowed.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub(super) fn is_full(&self, room: &RoomName) -> Result<bool, StoreError> {
        Ok(self.members(room)? >= MAX_MEMBERS)
    }

    /// Removes the owner of a name from all private rooms.
    ///
    /// # Errors
    /// Fails if the database cannot be read or written.
    pub(super) fn leave_all_rooms(&mut self, owner: OwnerNumber) -> Result<(), StoreError> {
        let rooms: Vec<String> = self
            .db
            .prepare_cached("SELECT room FROM memberships WHERE owner = ?1 ORDER BY room")?
            .query_map([owner_to_db(owner)], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for room in rooms {
            if let Ok(room) = RoomName::stored(&room) {
                self.leave_room(&room, owner)?;
            }
        }
        Ok(())
    }

    /// Removes a member. If no owner is left, the member with the oldest name
    /// becomes the owner of the room. With the last member, the invitations and
    /// hooks end.
    fn leave_room(&mut self, room: &RoomName, owner: OwnerNumber) -> Result<(), StoreError> {
        self.db
            .prepare_cached("DELETE FROM memberships WHERE room = ?1 AND owner = ?2")?
            .execute((room.as_str(), owner_to_db(owner)))?;
        // Else an invitation of one's own would let one in again.
        self.delete_invitations(
            "member AND room = ?1 AND owner = ?2",
            (room.as_str(), owner_to_db(owner)),
        )?;
        self.unfollow(owner, room)?;
        self.access_changes.push(AccessChange::Left {
            room: room.clone(),
            owner,
        });
        let condition = "WHERE room = ?1 ORDER BY owns DESC, owner LIMIT 1";
        let first = find(self.db, &MEMBERSHIPS, condition, [room.as_str()], |row| {
            let row = MembershipRow::read(row)?;
            Some((row.owner, Name::stored(row.name).ok()?, row.owns))
        })?;
        match first {
            None => {
                self.end_invitations(room)?;
                self.end_hooks(room)
            }
            Some(Some((oldest, name, false))) => self.put_member(room, oldest, &name, true),
            Some(_) => Ok(()),
        }
    }

    fn put_member(
        &mut self,
        room: &RoomName,
        owner: OwnerNumber,
        name: &Name,
        owns: bool,
    ) -> Result<(), StoreError> {
        MembershipRow {
            room: room.as_str(),
            owner,
            name: name.as_str(),
            owns,
        }
        .put(self.db)?;
        self.access_changes.push(AccessChange::Member {
            room: room.clone(),
            owner,
            name: name.clone(),
            owns,
        });
        Ok(())
    }

    /// Whether a room is private.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub(super) fn is_private(&mut self, room: &RoomName) -> Result<bool, StoreError> {
        let state = self.numbering.room(room)?;
        Ok(state.is_some_and(|state| state.private))
    }

    /// Whether this person manages a room: lets people in, and programs publish.
    /// Owners of a private room do, and operators who may enter the room.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub(super) fn manages(
        &mut self,
        room: &RoomName,
        by: OwnerNumber,
        operator: bool,
    ) -> Result<bool, StoreError> {
        if !self.is_private(room)? {
            return Ok(operator);
        }
        let owns = memberships::owns(self.db, room, by)?;
        Ok(owns.is_some_and(|owns| owns || operator))
    }

    /// Why the owner of a name may not act as an owner of a private room.
    fn denial(&self, room: &RoomName, by: OwnerNumber) -> Result<Option<Denial>, StoreError> {
        Ok(match memberships::owns(self.db, room, by)? {
            Some(true) => None,
            Some(false) => Some(Denial::NotRoomOwner),
            None => Some(Denial::NotMember),
        })
    }

    fn member_name(
        &self,
        room: &RoomName,
        member: OwnerNumber,
    ) -> Result<Option<Name>, StoreError> {
        let condition = "WHERE room = ?1 AND owner = ?2";
        let key = (room.as_str(), owner_to_db(member));
        let found = find(self.db, &MEMBERSHIPS, condition, key, |row| {
            MembershipRow::read(row).and_then(|row| Name::stored(row.name).ok())
        })?;
        Ok(found.flatten())
    }

    fn members(&self, room: &RoomName) -> Result<u32, StoreError> {
        let count = "SELECT count(*) FROM memberships WHERE room = ?1";
        let mut count = self.db.prepare_cached(count)?;
        Ok(count.query_row([room.as_str()], |row| row.get(0))?)
    }

    fn owned_rooms(&self, owner: OwnerNumber) -> Result<u32, StoreError> {
        let mut memberships = query(self.db, &MEMBERSHIPS, "WHERE owner = ?1")?;
        let mut rows = memberships.query([owner_to_db(owner)])?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            count += u32::from(MembershipRow::read(row).is_some_and(|row| row.owns));
        }
        Ok(count)
    }

    /// Whether a room has no message of anybody else. A room with many messages
    /// may have one.
    fn has_only_messages_of(&self, room: i64, by: OwnerNumber) -> Result<bool, StoreError> {
        let looked_at = "SELECT count(*), ifnull(sum(owner <> ?2), 0) \
                         FROM (SELECT owner FROM messages WHERE room = ?1 AND kind < 2 LIMIT ?3)";
        let mut looked_at = self.db.prepare_cached(looked_at)?;
        let key = (room, owner_to_db(by), MAX_LOOKED_AT);
        let (all, others): (u32, u32) =
            looked_at.query_row(key, |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(others == 0 && all < MAX_LOOKED_AT)
    }
}
