//! A hook, with the digest of its token, never the token itself.

use rusqlite::{Connection, Row};

use super::{
    StoreError,
    row::{TableRow, find, owner_to_db, query},
    tables::{HOOKS, HookRow},
};
use crate::protocol::{
    OwnerNumber,
    name::{Name, RoomName},
};

/// A hook: a program that knows its token publishes in its room, under its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The room in which its messages appear.
    pub room: RoomName,
    /// The author of its messages.
    pub name: Name,
    /// The owner number of that name. Hooks of one name have one number.
    pub owner: OwnerNumber,
    /// The name or tag of the person who made it.
    pub author: String,
}

impl Hook {
    /// Reads a row; `None` if it is damaged.
    pub(super) fn read(row: &Row<'_>) -> Option<Self> {
        let row = HookRow::read(row)?;
        Some(Hook {
            room: RoomName::stored(row.room).ok()?,
            name: Name::stored(row.name).ok()?,
            owner: row.owner,
            author: row.author.to_owned(),
        })
    }
}

/// The hooks of a room, by name. Damaged ones are left out.
///
/// # Errors
/// Fails if the database cannot be read.
pub(super) fn all(db: &Connection, room: &RoomName) -> Result<Vec<Hook>, StoreError> {
    let mut rows = query(db, &HOOKS, "WHERE room = ?1 ORDER BY key")?;
    let mut rows = rows.query([room.as_str()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.extend(Hook::read(row));
    }
    Ok(found)
}

/// Whether a room has a hook of this owner number.
///
/// # Errors
/// Fails if the database cannot be read.
pub(super) fn publishes(
    db: &Connection,
    room: &RoomName,
    owner: OwnerNumber,
) -> Result<bool, StoreError> {
    let condition = "WHERE owner = ?2 AND room = ?1";
    let key = (room.as_str(), owner_to_db(owner));
    Ok(find(db, &HOOKS, condition, key, Hook::read)?
        .flatten()
        .is_some())
}
