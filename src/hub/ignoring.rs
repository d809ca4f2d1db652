//! The names that owners ignore.

use tracing::error;

use super::actions::{ActionSubmitter, BUSY_RETRY_MS};
use crate::{
    log::Action,
    protocol::{
        ConnectionId, Refusal, RefusalCode,
        ignored::{self, IgnoredNames},
        name::{Name, NameKey},
    },
    store::{Outcome, Store, StoreError},
};

/// Adds a name to those that an owner ignores, or removes it. Returns all of
/// them.
///
/// # Errors
///
/// Refuses one name too many, and if the change cannot be stored or read.
pub(super) async fn change(
    actions: ActionSubmitter,
    store: &Store,
    origin: ConnectionId,
    owner: NameKey,
    name: Name,
    is_ignored: bool,
) -> Result<IgnoredNames, Refusal> {
    let action = Action::Ignore {
        key: name.key(),
        name,
        owner: owner.clone(),
        ignored: is_ignored,
    };
    match actions.act(origin, action).await?.outcome {
        Outcome::IgnoresTooMany => Err(ignored::too_many()),
        _ => store.ignored(&owner).await.map_err(|why| unknown(&why)),
    }
}

pub(super) fn unknown(why: &StoreError) -> Refusal {
    error!("the message store cannot be read: {why}");
    let text = "The server cannot tell just now whom you ignore; try again in a while.";
    Refusal {
        retry_ms: Some(BUSY_RETRY_MS),
        ..Refusal::new(RefusalCode::Busy, text)
    }
}
