//! Lists the rooms.

use super::registry::Registry;
use crate::{
    protocol::{Event, OwnerNumber, name::RoomName},
    store::{ListedRooms, Store, StoreError},
};

/// The event that lists the rooms with messages or members after one of them,
/// except unlisted rooms and those that the owner of a name may not enter.
///
/// # Errors
///
/// Fails if the store cannot be read.
pub(super) async fn list(
    store: &Store,
    registry: &Registry,
    owner: Option<OwnerNumber>,
    after: Option<RoomName>,
) -> Result<Event, StoreError> {
    let present = registry.present_rooms(owner);
    let listed = store.listed_rooms(present, owner, after).await?;
    let ListedRooms {
        mut rooms,
        total,
        more,
    } = listed;
    registry.count_members(&mut rooms, owner);
    Ok(Event::Rooms { rooms, total, more })
}
