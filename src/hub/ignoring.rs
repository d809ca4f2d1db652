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
    store::{Outcome, StoreError},
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

    /// Adds the names that a connection ignored before it owned a name, as many
    /// as the owner may ignore. Returns all names that the owner ignores.
    ///
    /// # Errors
    ///
    /// Refuses if they cannot be read.
    pub async fn adopt_ignored(
        &self,
        owner: OwnerNumber,
        origin: ConnectionId,
        names: IgnoredNames,
    ) -> Result<IgnoredNames, Refusal> {
        let actions = self.actions();
        for name in names.names() {
            if submit(&actions, origin, owner, name, true).await.is_err() {
                break;
            }
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
        async move {
            submit(&actions, origin, owner, name, is_ignored).await?;
            store.ignored(owner).await.map_err(|why| unknown(&why))
        }
    }
}

/// Adds a name to those that an owner ignores, or removes it.
///
/// # Errors
///
/// Refuses one name too many, and if the change cannot be stored.
async fn submit(
    actions: &ActionSubmitter,
    origin: ConnectionId,
    owner: OwnerNumber,
    name: Name,
    is_ignored: bool,
) -> Result<(), Refusal> {
    let action = Action::Ignore {
        key: name.key(),
        name,
        owner,
        ignored: is_ignored,
    };
    match actions.act(origin, action).await?.outcome {
        Outcome::IgnoresTooMany => Err(ignored::too_many()),
        _ => Ok(()),
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
