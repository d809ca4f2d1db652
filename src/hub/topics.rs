//! The topics of rooms.

use super::{actions::ActionSubmitter, registry::Registry};
use crate::{
    log::Action,
    protocol::{ConnectionId, Refusal, Topic, name::RoomName, text::Text},
    store::{Outcome, Store, StoreError},
};

/// Sets the topic of a room. All its members are told except the one that set
/// it.
///
/// # Errors
///
/// Refuses if the server stops or the topic cannot be stored.
pub(super) async fn set(
    actions: ActionSubmitter,
    origin: ConnectionId,
    room: RoomName,
    text: Text,
    by: String,
) -> Result<Topic, Refusal> {
    let action = Action::Topic { room, text, by };
    match actions.act(origin, action).await?.outcome {
        Outcome::Topic(topic) => Ok(topic),
        _ => Ok(Topic::none()),
    }
}

/// Looks up the topic of a room, unless it is known. The registry keeps it
/// while the room has members.
///
/// # Errors
///
/// Fails if the store cannot be read.
pub(super) async fn load(
    store: &Store,
    registry: &Registry,
    room: &RoomName,
) -> Result<(), StoreError> {
    if registry.topic(room).is_none() {
        let found = store.topic(room).await?;
        registry.cache_topic(room, &found);
    }
    Ok(())
}
