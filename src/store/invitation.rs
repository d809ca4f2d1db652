//! An invitation, with the digest of its token, never the token itself.

use rusqlite::Row;

use super::{row::TableRow, tables::InvitationRow};
use crate::{
    log::{GuardedTime, Standing},
    protocol::{OwnerNumber, name::RoomName},
};

/// An invitation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Its number.
    pub id: u64,
    /// The room that it leads to.
    pub room: RoomName,
    /// The name or tag of its author.
    pub author: String,
    /// The owner number of the author.
    pub owner: OwnerNumber,
    /// The standing that it gives to a name.
    pub gives: Standing,
    /// Whether it also makes a member of the room.
    pub member: bool,
    /// How many more names it admits.
    pub uses: u32,
    /// When it ends, by the log's clock.
    pub until: GuardedTime,
}

impl Invitation {
    /// Reads a row; `None` if it is damaged.
    pub(super) fn read(row: &Row<'_>) -> Option<Self> {
        let row = InvitationRow::read(row)?;
        Some(Invitation {
            id: row.id.cast_unsigned(),
            room: RoomName::stored(row.room).ok()?,
            author: row.author.to_owned(),
            owner: row.owner,
            gives: Standing::from_stored(row.gives),
            member: row.member,
            uses: u32::try_from(row.uses).ok()?,
            until: GuardedTime(row.until),
        })
    }

    /// Whether it admits another name at this time.
    pub fn is_open(&self, now: GuardedTime) -> bool {
        self.uses > 0 && now < self.until
    }
}
