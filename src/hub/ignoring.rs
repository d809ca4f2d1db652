//! The names that owners ignore.

use tracing::error;

use super::{
    Hub,
    actions::{ActionSubmitter, BUSY_RETRY_MS},
};
use crate::{
    log::Action,
    protocol::{
        ConnectionId, OwnerNumber, Refusal, RefusalCode,
        ignored::{self, IgnoredNames},
        name::Name,
    },
    store::{Outcome, Store, StoreError},
};

impl Hub {
    /// The names that an owner ignores.
    ///
    /// # Errors
    ///
    /// Refuses if the store cannot be read.
    pub async fn ignored(&self, owner: OwnerNumber) -> Result<IgnoredNames, Refusal> {
        let found = self.history().store().ignored(owner).await;
        found.map_err(|why| unknown(&why))
    }

    /// Adds the names that a connection ignored before it owned a name. Returns
    /// all names that the owner ignores.
    ///
    /// # Errors
    ///
    /// As [`Hub::ignore`].
    pub async fn adopt_ignored(
        &self,
        owner: OwnerNumber,
        origin: ConnectionId,
        names: IgnoredNames,
    ) -> Result<IgnoredNames, Refusal> {
        for name in names.names() {
            self.ignore(owner, origin, name, true).await?;
        }
        self.ignored(owner).await
    }

    /// Adds a name to those that an owner ignores, or removes it. Returns all
    /// of them.
    ///
    /// # Errors
    ///
    /// Refuses one name too many, and if the change cannot be stored or read.
    pub fn ignore(
        &self,
        owner: OwnerNumber,
        origin: ConnectionId,
        name: Name,
        is_ignored: bool,
    ) -> impl Future<Output = Result<IgnoredNames, Refusal>> + use<> {
        let (actions, store) = (self.actions(), self.history().store().clone());
        async move { change(actions, &store, origin, owner, name, is_ignored).await }
    }
}

/// Adds a name to those that an owner ignores, or removes it. Returns all of
/// them.
///
/// # Errors
///
/// Refuses one name too many, and if the change cannot be stored or read.
async fn change(
    actions: ActionSubmitter,
    store: &Store,
    origin: ConnectionId,
    owner: OwnerNumber,
    name: Name,
    is_ignored: bool,
) -> Result<IgnoredNames, Refusal> {
    let action = Action::Ignore {
        key: name.key(),
        name,
        owner,
        ignored: is_ignored,
    };
    match actions.act(origin, action).await?.outcome {
        Outcome::IgnoresTooMany => Err(ignored::too_many()),
        _ => store.ignored(owner).await.map_err(|why| unknown(&why)),
    }
}

fn unknown(why: &StoreError) -> Refusal {
    error!("the message store cannot be read: {why}");
    let text = "The server cannot tell just now whom you ignore; try again in a while.";
    Refusal {
        retry_ms: Some(BUSY_RETRY_MS),
        ..Refusal::new(RefusalCode::Busy, text)
    }
}
