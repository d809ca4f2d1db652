//! Reads private rooms and their members.

use rusqlite::Connection;
use tracing::error;

use super::{
    StoreError,
    access::AccessChange,
    row::{TableRow, find, owner_to_db, query},
    tables::{MEMBERSHIPS, MembershipRow, ROOMS, RoomRow},
};
use crate::protocol::{
    OwnerNumber,
    name::{Name, RoomName},
};

/// Whether a member of a private room owns the room; `None` if the owner of a
/// name is no member. A damaged membership is none.
///
/// # Errors
/// Fails if the database cannot be read.
pub(super) fn owns(
    db: &Connection,
    room: &RoomName,
    owner: OwnerNumber,
) -> Result<Option<bool>, StoreError> {
    let condition = "WHERE room = ?1 AND owner = ?2";
    let key = (room.as_str(), owner_to_db(owner));
    let found = find(db, &MEMBERSHIPS, condition, key, |row| {
        MembershipRow::read(row).map(|row| row.owns)
    })?;
    Ok(found.flatten())
}

/// All private rooms and memberships, as the changes that made them. A damaged
/// membership is reported and left out.
///
/// # Errors
/// Fails if the database cannot be read.
pub(super) fn all(db: &Connection) -> Result<Vec<AccessChange>, StoreError> {
    let mut all = Vec::new();
    let mut rooms = query(db, &ROOMS, "WHERE private")?;
    let mut rows = rooms.query([])?;
    while let Some(row) = rows.next()? {
        // The check at the start has found every room sound.
        let name = RoomRow::read(row).and_then(|row| RoomName::stored(row.name).ok());
        all.extend(name.map(|room| AccessChange::Closed { room }));
    }
    let mut members = query(db, &MEMBERSHIPS, "ORDER BY room, owner")?;
    let mut rows = members.query([])?;
    while let Some(row) = rows.next()? {
        let member = MembershipRow::read(row).and_then(|row| {
            Some(AccessChange::Member {
                room: RoomName::stored(row.room).ok()?,
                owner: row.owner,
                name: Name::stored(row.name).ok()?,
                owns: row.owns,
            })
        });
        if member.is_none() {
            error!("{} is damaged, and not valid", (MEMBERSHIPS.describe)(row));
        }
        all.extend(member);
    }
    Ok(all)
}
