//! A room becomes a place of the owner that enters it.

use crate::{
    hub::Hub,
    protocol::{ConnectionId, Followed, OwnerNumber, Place, name::RoomName},
};

/// Has an owner follow the room that it is in, unless it does. Returns all its
/// places; none if they cannot be read.
///
/// All places are read once: they may be a thousand.
pub(super) async fn enter(
    hub: &Hub,
    owner: OwnerNumber,
    origin: ConnectionId,
    room: &RoomName,
) -> Vec<Followed> {
    let mut places = hub.places(owner).await.unwrap_or_default();
    let is_this = |followed: &Followed| matches!(&followed.place, Place::Room(it) if it == room);
    if places.iter().any(is_this) {
        return places;
    }
    // If the list is full, or nothing can be stored, the room is read without a
    // place.
    if hub.follow(owner, origin, room.clone(), None).await.is_ok()
        && let Ok(Some(place)) = hub.place(owner, room).await
    {
        let is_before =
            |followed: &Followed| matches!(&followed.place, Place::Room(it) if it < room);
        places.insert(places.partition_point(is_before), place);
    }
    places
}
