//! Names: owned by the person with the secret, or leased while a connection
//! uses them.
//!
//! The store holds the owned names, and the log decides claims one after the
//! other. Only the registry knows which names are in use. A lease has no proof
//! but the address. A second connection with the same name and address counts
//! as the same person: back after a break, or connected twice.

use std::{io, sync::Arc, time::Duration};

use tokio::time::sleep;
use tracing::error;

use super::{
    actions::{ActionSubmitter, BUSY_RETRY_MS},
    registry::{Budget, Grounds, NameUse, Registry},
    secrets::Secrets,
    wrong_secrets::WrongSecrets,
};
use crate::{
    fanout::History,
    log::{Action, GuardedClock, GuardedTime, Recipient},
    net::Peer,
    protocol::{
        ConnectionId, OwnerNumber, Refusal, RefusalCode, Seq,
        name::{Name, NameKey},
        secret::Secret,
    },
    store::{Outcome, OwnedName, Ownership, StoreError, Unread},
};

/// How often the use of all names in use is noted.
const NOTED_EVERY: Duration = Duration::from_secs(12 * 60 * 60);

/// The use of a name is noted again only after this time.
const USE_NOTED: Duration = Duration::from_secs(24 * 60 * 60);

/// A connection's request to use a name as its owner.
#[derive(Debug)]
pub struct Claim {
    /// The peer that asks.
    pub peer: Peer,
    /// The budget of the peer, if it is limited.
    pub budget: Option<Arc<Budget>>,
    /// The name.
    pub name: Name,
    /// The secret that proves an owned name, or will prove a new one. If
    /// absent, the server makes a secret for a new name.
    pub secret: Option<Secret>,
    /// The name that the connection uses now.
    pub current_name: Option<NameKey>,
    /// The refusal if the claim may not make a free name owned.
    pub new: Result<(), Refusal>,
}

/// A successful claim.
#[derive(Debug)]
pub struct Claimed {
    /// The use of the name by the connection.
    pub name_use: NameUse,
    /// Whether the claim made the name owned.
    pub new: bool,
    /// The secret, if the server made one.
    pub new_secret: Option<Secret>,
}

/// Decides which connection may use or own which name.
#[derive(Clone)]
pub(super) struct Claims {
    pub(super) registry: Registry,
    pub(super) history: History,
    pub(super) clock: Arc<GuardedClock>,
    pub(super) actions: ActionSubmitter,
    pub(super) secrets: Secrets,
    pub(super) wrong_secrets: WrongSecrets,
    /// An owned name is free again after it was not used for this long.
    pub(super) expiry: Duration,
}

impl Claims {
    /// # Errors
    ///
    /// Fails if the system gives no random bytes.
    pub(super) fn new(
        registry: Registry,
        history: History,
        clock: Arc<GuardedClock>,
        actions: ActionSubmitter,
        wrong_secrets: WrongSecrets,
        expiry: Duration,
    ) -> io::Result<Self> {
        Ok(Claims {
            registry,
            history,
            clock,
            actions,
            secrets: Secrets::new()?,
            wrong_secrets,
            expiry,
        })
    }

    /// Has a connection use a name as its owner: it proves an owned name, or
    /// makes a free name owned.
    ///
    /// # Errors
    ///
    /// Refuses a name that another person owns or uses, a wrong secret, and any
    /// secret after too many wrong ones. Refuses a new name if the claim allows
    /// none, or if the peer's address is muted. Also refuses if the store cannot
    /// be read or written.
    pub(super) async fn claim(&self, claim: Claim) -> Result<Claimed, Refusal> {
        check_free(&claim.name)?;
        let key = claim.name.key();
        let own_uses = usize::from(claim.current_name.as_ref() == Some(&key));
        // Another connection may claim the name between the lookup and the
        // entry, perhaps with the same secret. A second lookup finds that out.
        for _ in 0..2 {
            let now = self.clock.now();
            if let Some(owned) = self.still_owned(&key, own_uses, now).await? {
                self.check_lookalikes(&claim.name, &key, Some(&owned), now)
                    .await?;
                return self.prove(&claim, &owned, now).await;
            }
            if let Some(taken) = self.claim_free(&claim, &key, own_uses).await? {
                return Ok(taken);
            }
        }
        Err(owned_by_another(&claim.name))
    }

    /// Takes an owned name by its secret. Waits neither for the writer nor for
    /// a failing disk.
    ///
    /// # Errors
    ///
    /// Refuses a wrong secret, and if too many secrets wait to be hashed.
    pub(super) async fn prove(
        &self,
        claim: &Claim,
        owned: &OwnedName,
        now: GuardedTime,
    ) -> Result<Claimed, Refusal> {
        let Some(secret) = &claim.secret else {
            return Err(owned_by_another(&claim.name));
        };
        let (prefix, key) = (claim.peer.prefix(), claim.name.key());
        let check = || self.registry.check_guesses(prefix, Some(&key));
        check()?;
        if !self.secrets.prove(owned, secret, check).await? {
            self.registry.count_wrong_secret(prefix, Some(&key));
            let what = format!("the name {}", claim.name);
            self.wrong_secrets.count(claim.peer, &what);
            return Err(wrong_secret(&claim.name));
        }
        let name_use = self.take(&claim.name, Grounds::Owner, owned.ownership())?;
        if owned.unused_for(now) >= USE_NOTED {
            let key = owned.claimed_key().unwrap_or(key);
            self.actions.note(Action::Use { key });
        }
        Ok(Claimed {
            name_use,
            new: false,
            new_secret: None,
        })
    }

    /// Makes a free name owned; `None` if another connection did so at the same
    /// time.
    async fn claim_free(
        &self,
        claim: &Claim,
        key: &NameKey,
        own_uses: usize,
    ) -> Result<Option<Claimed>, Refusal> {
        // The name is leased first, so that no other connection can take it
        // before the entry is stored.
        let mut name_use = self.take(&claim.name, Grounds::NewOwner(own_uses), None)?;
        claim.new.clone()?;
        self.registry.check_mute(claim.peer)?;
        if let Some(budget) = &claim.budget {
            budget.new_name()?;
        }
        let (Ok(salt), Ok(drawn)) = (random(), random()) else {
            return Err(unknown());
        };
        let new_secret = claim.secret.is_none().then(|| Secret::from_random(drawn));
        let Some(secret) = new_secret.as_ref().or(claim.secret.as_ref()) else {
            return Err(unknown());
        };
        let hardened = self.secrets.harden(secret, &salt, || Ok(())).await?;
        let hardened = hardened.ok_or_else(unknown)?;
        let action = Action::Claim {
            name: claim.name.clone(),
            key: key.clone(),
            salt,
            tag: hardened.tag(&salt),
        };
        match self.actions.act(claim.peer.id, action).await?.outcome {
            Outcome::Claimed(ownership) => {
                name_use.set_ownership(ownership);
                self.secrets.keep(secret, &salt, hardened);
                Ok(Some(Claimed {
                    name_use,
                    new: true,
                    new_secret,
                }))
            }
            _ => Ok(None),
        }
    }

    /// Has a connection use the name that it asks for at its start. With a
    /// secret it claims the name. Without one the name must have no owner, and
    /// no user at another address.
    ///
    /// # Errors
    ///
    /// Refuses a name that another person owns or uses, and a wrong secret.
    /// Also refuses if the store cannot be read or written.
    pub(super) async fn use_name(
        &self,
        name: &Name,
        secret: Option<Secret>,
        peer: Peer,
        budget: Option<Arc<Budget>>,
    ) -> Result<NameUse, Refusal> {
        if secret.is_some() {
            let claim = Claim {
                peer,
                budget,
                name: name.clone(),
                secret,
                current_name: None,
                new: Ok(()),
            };
            return self.claim(claim).await.map(|taken| taken.name_use);
        }
        check_free(name)?;
        self.registry.check_mute(peer)?;
        // The name is leased before its owner is looked up, so that a claim
        // made meanwhile finds it in use.
        let lease = self.take(name, Grounds::Lease(peer.ip()), None)?;
        let now = self.clock.now();
        if self.still_owned(lease.key(), 1, now).await?.is_some() {
            return Err(owned_by_another(name));
        }
        self.check_lookalikes(name, lease.key(), None, now).await?;
        Ok(lease)
    }

    /// Checks that no other name with a common look is owned. Looks that the
    /// owner of this name has reserved do not count.
    ///
    /// # Errors
    ///
    /// Refuses if somebody does, and if the store cannot be read.
    pub(super) async fn check_lookalikes(
        &self,
        name: &Name,
        key: &NameKey,
        owned: Option<&OwnedName>,
        now: GuardedTime,
    ) -> Result<(), Refusal> {
        for look in key.lookalikes() {
            let other = self.still_owned(&look, 0, now).await?;
            let is_reserved =
                |other: &OwnedName| owned.is_some_and(|owned| other.is_reserved_for(owned));
            if other.is_some_and(|other| !is_reserved(&other)) {
                return Err(owned_by_another(name));
            }
        }
        Ok(())
    }

    /// Finds the recipient of a private message: the owner of a name.
    ///
    /// # Errors
    ///
    /// Refuses a name without an owner, and if the store cannot be read.
    pub(super) async fn find_recipient(
        &self,
        name: Name,
        author: &NameKey,
    ) -> Result<Recipient, Refusal> {
        let now = self.clock.now();
        let found = self.still_owned(&name.key(), 0, now).await?;
        let Some(found) = found.filter(|found| !found.is_reserved()) else {
            let why = format!(
                "Nobody owns the name {name}, and a private message needs an owned name: /name {name} makes it a person's own."
            );
            return Err(Refusal::new(RefusalCode::NotHere, why));
        };
        let Ownership { owner, .. } = found.ownership().ok_or_else(unknown)?;
        let ignores = self.history.store().ignores(owner, author).await;
        let ignores = ignores.map_err(|why| {
            error!("the message store cannot be read: {why}");
            unknown()
        })?;
        let is_here = self.registry.owners(&name.key()) > 0;
        Ok(Recipient {
            name,
            owner,
            ignores,
            unread: (!is_here).then(|| self.registry.unread_limit()).flatten(),
        })
    }

    /// Finds the owner of a name, for a private conversation with it.
    ///
    /// # Errors
    ///
    /// Refuses a name without an owner, and if the store cannot be read.
    pub(super) async fn find_partner(&self, name: Name) -> Result<OwnerNumber, Refusal> {
        let found = self.still_owned(&name.key(), 0, self.clock.now()).await?;
        let Some(found) = found.filter(|found| !found.is_reserved()) else {
            let why = format!("Nobody owns the name {name}, so you have no conversation with it.");
            return Err(Refusal::new(RefusalCode::NotHere, why));
        };
        Ok(found.ownership().ok_or_else(unknown)?.owner)
    }

    /// The private messages that an owner was not delivered yet, and whether
    /// more would have been refused.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    pub(super) async fn unread(&self, own: Ownership) -> Result<(Unread, bool), StoreError> {
        let store = self.history.store();
        let unread = store.unread(own.owner, own.delivered).await?;
        let limit = self.registry.unread_limit();
        let is_full = limit.is_some_and(|limit| unread.is_full(limit));
        Ok((unread, is_full))
    }

    /// Notes that every private message up to a number was delivered to the
    /// owner of a name. If the note is lost, some messages are shown once more.
    pub(super) fn note_delivered(&self, key: &NameKey, owner: OwnerNumber, upto: Seq) {
        let key = key.clone();
        self.actions.note(Action::Delivered { key, owner, upto });
    }

    /// Notes which names are in use, once every [`NOTED_EVERY`]. Never returns.
    pub(super) async fn note_names_in_use(&self) {
        loop {
            sleep(NOTED_EVERY).await;
            for key in self.registry.owned_names_in_use() {
                // If this cannot be read or stored, the next round notes it.
                let Ok(Some(owned)) = self.history.store().owned(&key).await else {
                    continue;
                };
                let key = owned.claimed_key().unwrap_or(key);
                let noted = self.actions.act(ConnectionId::SERVER, Action::Use { key });
                let _ = noted.await;
            }
        }
    }

    /// The owned name of a key, if it is still owned. Ownership ends if the
    /// name was unused for `expiry`, and at most `own_uses` connections use it
    /// as its owner now.
    pub(super) async fn still_owned(
        &self,
        key: &NameKey,
        own_uses: usize,
        now: GuardedTime,
    ) -> Result<Option<OwnedName>, Refusal> {
        let owned = self.history.store().owned(key).await.map_err(|why| {
            error!("the message store cannot be read: {why}");
            unknown()
        })?;
        let is_used = |owned: &OwnedName| {
            owned.unused_for(now) < self.expiry || self.registry.owners(key) > own_uses
        };
        Ok(owned.filter(is_used))
    }

    pub(super) fn take(
        &self,
        name: &Name,
        grounds: Grounds,
        ownership: Option<Ownership>,
    ) -> Result<NameUse, Refusal> {
        let taken = self.registry.take_name(name, grounds, ownership);
        taken.ok_or_else(|| used_by_another(name))
    }
}

pub(super) fn random() -> Result<[u8; 16], getrandom::Error> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)?;
    Ok(random)
}

/// Checks that a client may take the name.
///
/// # Errors
///
/// Refuses reserved names and addresses.
pub(super) fn check_free(name: &Name) -> Result<(), Refusal> {
    let refused = |rule| Refusal::new(RefusalCode::BadName, format!("{name}: {rule}."));
    name.check_free().map_err(refused)
}

fn taken(text: String) -> Refusal {
    Refusal::new(RefusalCode::NameTaken, text)
}

pub(super) fn owned_by_another(name: &Name) -> Refusal {
    taken(format!(
        "{name} belongs to another person: choose another name. {}",
        if_yours(name)
    ))
}

/// The advice to a person whose own name is refused.
fn if_yours(name: &Name) -> String {
    format!(
        "If it is yours, /link on the device where you took it brings it here. If its secret is lost, an operator frees it: /release {name}."
    )
}

fn wrong_secret(name: &Name) -> Refusal {
    taken(format!(
        "{name} belongs to another person, and this is not its secret: choose another name. {}",
        if_yours(name)
    ))
}

fn used_by_another(name: &Name) -> Refusal {
    taken(format!(
        "{name} is in use: choose another name, or prove with its secret that it is yours."
    ))
}

pub(super) fn unknown() -> Refusal {
    let text = "The server cannot tell just now whose name this is; try again in a while.";
    Refusal {
        retry_ms: Some(BUSY_RETRY_MS),
        ..Refusal::new(RefusalCode::Busy, text)
    }
}
