//! A room's row, as the replica caches it.

use rusqlite::Connection;

use super::{
    StoreError,
    row::{TableRow, find},
    state::ReplicaState,
    tables::{ROOMS, RoomRow},
};
use crate::protocol::{Seq, name::RoomName};

/// A room, or an inbox.
#[derive(Clone, Copy, Debug)]
pub(super) struct RoomState {
    pub(super) id: i64,
    /// The last number in it; it stays when that message expires.
    pub(super) last: Seq,
    /// How many messages it ever had; 0 for an inbox.
    pub(super) messages: i64,
    /// Whether only its members may enter.
    pub(super) private: bool,
    /// The number of the last message that is no change of another one.
    pub(super) said: Seq,
}

impl RoomState {
    /// The room of this name, if it has a row.
    ///
    /// # Errors
    /// Fails if the row is damaged or the database cannot be read.
    pub(super) fn find(db: &Connection, name: &RoomName) -> Result<Option<Self>, StoreError> {
        let found = find(db, &ROOMS, "WHERE name = ?1", [name.as_str()], |row| {
            RoomRow::read(row).map(RoomState::of)
        })?;
        found
            .map(|room| room.ok_or_else(|| StoreError::damaged(format!("the row of room {name}"))))
            .transpose()
    }

    /// The state in a row.
    pub(super) fn of(row: RoomRow<'_>) -> Self {
        let RoomRow {
            id,
            last,
            messages,
            private,
            said,
            ..
        } = row;
        RoomState {
            id,
            last,
            messages,
            private,
            said,
        }
    }

    /// Whether the row is no longer needed: all its messages have expired. The
    /// row of an inbox is needed as long as the inbox has an owner. That of a
    /// private room is needed as long as the room has a member.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub(super) fn is_over(
        &self,
        db: &Connection,
        name: &RoomName,
        state: &ReplicaState,
    ) -> Result<bool, StoreError> {
        if self.last > state.expired {
            return Ok(false);
        }
        let Some(owner) = name.inbox_owner() else {
            let mut members = db.prepare_cached("SELECT 1 FROM memberships WHERE room = ?1")?;
            return Ok(!self.private || !members.exists([name.as_str()])?);
        };
        let mut find = db.prepare_cached("SELECT 1 FROM names WHERE owner = ?1")?;
        Ok(!find.exists([owner.0.cast_signed()])?)
    }

    /// The row of the room.
    pub(super) fn row<'a>(&self, name: &'a RoomName) -> RoomRow<'a> {
        RoomRow {
            id: self.id,
            name: name.as_str(),
            last: self.last,
            messages: self.messages,
            private: self.private,
            said: self.said,
        }
    }
}
