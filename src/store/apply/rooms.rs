//! Applies the expiry of rooms.

use rusqlite::Connection;

use crate::{
    protocol::name::RoomName,
    store::{
        StoreError,
        room::RoomState,
        row::{TableRow, find},
        state::ReplicaState,
        tables::{TOPICS, TopicRow},
    },
};

/// Removes the row of a room that [is over](RoomState::is_over), and the old
/// topic of a room without a row. Returns whether a room's row is removed. A
/// damaged row stays.
///
/// # Errors
/// Fails if the database cannot be read or written.
pub(super) fn expire(
    db: &Connection,
    state: &mut ReplicaState,
    name: &RoomName,
) -> Result<bool, StoreError> {
    let room = match RoomState::find(db, name) {
        Err(why) if why.is_damage() => return Ok(false),
        room => room?,
    };
    if let Some(room) = room {
        if !room.is_over(db, name, state)? {
            return Ok(false);
        }
        db.prepare_cached("DELETE FROM rooms WHERE id = ?1")?
            .execute([room.id])?;
        if !name.is_inbox() {
            state.swept = state.swept.max(room.last);
        }
    }
    let is_topic_over = find(db, &TOPICS, "WHERE room = ?1", [name.as_str()], |row| {
        TopicRow::read(row).is_some_and(|row| state.is_topic_over(&row))
    })?;
    if is_topic_over == Some(true) {
        db.prepare_cached("DELETE FROM topics WHERE room = ?1")?
            .execute([name.as_str()])?;
    }
    Ok(room.is_some())
}
