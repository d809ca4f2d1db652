//! Names: leased for as long as a connection uses them, or owned by a person with
//! the secret.
//!
//! What is owned stands in the store, and the log decides on one claim after the
//! other. What is in use is known to the registry alone. A lease is proved by
//! nothing but the address: a connection under the same name from the same address
//! is the same person, back after a break or once more.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tracing::error;

use super::{
    entries::{BUSY_RETRY_MS, Entries},
    registry::{Delivered, Grounds, Lease, Registry},
};
use crate::{
    fanout::History,
    log::{Action, Clock, ClockTime},
    net::Peer,
    protocol::{
        ConnectionId, Refusal, RefusalCode, Seq,
        name::{Name, NameKey},
        secret::Secret,
    },
    store::{Outcome, OwnedName},
};

/// How often it is looked which names are in use.
const NOTED_EVERY: Duration = Duration::from_secs(12 * 60 * 60);

/// For how long the use of a name is not noted again.
const USE_NOTED: Duration = Duration::from_secs(24 * 60 * 60);

/// A wish to have a name as one's own.
#[derive(Debug)]
pub struct Claim {
    /// The connection that wishes it.
    pub origin: ConnectionId,
    /// The name.
    pub name: Name,
    /// What proves it, or is to prove it from now on; where there is none, one
    /// is made.
    pub secret: Option<Secret>,
    /// The name that the connection goes by now.
    pub instead_of: Option<NameKey>,
    /// Whether it may be a name that is not one's own yet.
    pub may_be_new: bool,
}

/// A name that is one's own.
#[derive(Debug)]
pub struct Taken {
    /// The name, in use.
    pub lease: Lease,
    /// It was not one's own before.
    pub new: bool,
    /// The secret that was made for it.
    pub made: Option<Secret>,
}

/// Decides who gets which name.
#[derive(Clone)]
pub(super) struct Claims {
    registry: Registry,
    history: History,
    clock: Arc<Clock>,
    entries: Entries,
    /// A name that nobody uses for so long is nobody's own any more.
    expiry: Duration,
}

impl Claims {
    pub(super) fn new(
        registry: Registry,
        history: History,
        clock: Arc<Clock>,
        entries: Entries,
        expiry: Duration,
    ) -> Self {
        Claims {
            registry,
            history,
            clock,
            entries,
            expiry,
        }
    }

    /// Takes a name as one's own.
    pub(super) async fn claim(&self, claim: Claim) -> Result<Taken, Refusal> {
        let key = claim.name.key();
        let own = usize::from(claim.instead_of.as_ref() == Some(&key));
        // Another connection may claim it between the look and the entry, perhaps
        // by the same secret: then another look tells.
        for _ in 0..2 {
            let now = self.clock.now();
            if let Some(owned) = self.still_owned(&key, own, now).await? {
                return self.prove(&claim, &owned, now);
            }
            if let Some(taken) = self.make_own(&claim, &key, own).await? {
                return Ok(taken);
            }
        }
        Err(owned_by_another(&claim.name))
    }

    /// Takes a name that is owned, by its secret. It waits neither for the writer
    /// nor for a disk that takes nothing.
    fn prove(&self, claim: &Claim, owned: &OwnedName, now: ClockTime) -> Result<Taken, Refusal> {
        match &claim.secret {
            None => return Err(owned_by_another(&claim.name)),
            Some(secret) if !owned.is_proved_by(secret) => return Err(wrong_secret(&claim.name)),
            Some(_) => {}
        }
        let lease = self.take(&claim.name, Grounds::Owner, Delivered::of(owned))?;
        if owned.unused(now) >= USE_NOTED {
            let key = claim.name.key();
            self.entries.note(Action::Use { key });
        }
        Ok(Taken {
            lease,
            new: false,
            made: None,
        })
    }

    /// Makes a name one's own that is nobody's; `None` if somebody else did so at
    /// the same time.
    async fn make_own(
        &self,
        claim: &Claim,
        key: &NameKey,
        own: usize,
    ) -> Result<Option<Taken>, Refusal> {
        // Leased first, so that nobody else can take it meanwhile.
        let delivered = Delivered::from(self.history.head());
        let mut lease = self.take(&claim.name, Grounds::NewOwner(own), delivered)?;
        if !claim.may_be_new {
            let text =
                "You have made so many names your own on this connection that it may be no more.";
            return Err(Refusal::new(RefusalCode::NotAllowed, text));
        }
        let (Ok(salt), Ok(drawn)) = (random(), random()) else {
            return Err(unknown());
        };
        let made = claim.secret.is_none().then(|| Secret::of(drawn));
        let Some(secret) = made.as_ref().or(claim.secret.as_ref()) else {
            return Err(unknown());
        };
        let action = Action::Claim {
            name: claim.name.clone(),
            key: key.clone(),
            salt,
            tag: OwnedName::tag(secret, &salt),
        };
        match self.entries.act(claim.origin, action).await?.outcome {
            Outcome::Claimed { since } => {
                lease.begins(since);
                Ok(Some(Taken {
                    lease,
                    new: true,
                    made,
                }))
            }
            _ => Ok(None),
        }
    }

    /// Has a connection use the name that it comes with: with a secret as its own;
    /// else a name that nobody owns and nobody from elsewhere uses.
    pub(super) async fn lease(
        &self,
        name: &Name,
        secret: Option<Secret>,
        peer: Peer,
    ) -> Result<Lease, Refusal> {
        if secret.is_some() {
            let claim = Claim {
                origin: peer.id,
                name: name.clone(),
                secret,
                instead_of: None,
                may_be_new: true,
            };
            return self.claim(claim).await.map(|taken| taken.lease);
        }
        // The name is leased before its owner is looked up: a claim made meanwhile
        // finds it so.
        let delivered = Delivered::from(self.history.head());
        let lease = self.take(name, Grounds::Lease(peer.ip()), delivered)?;
        match self.still_owned(lease.key(), 1, self.clock.now()).await? {
            Some(_) => Err(owned_by_another(name)),
            None => Ok(lease),
        }
    }

    /// Whether somebody is to get what is said to a name: who uses it, or owns it.
    pub(super) async fn reaches(&self, name: &Name) -> Result<(), Refusal> {
        let key = name.key();
        let now = self.clock.now();
        if self.registry.users(&key) > 0 || self.still_owned(&key, 0, now).await?.is_some() {
            return Ok(());
        }
        let why = format!("Nobody is called {name} here: /members says who is in the room.");
        Err(Refusal::new(RefusalCode::NotHere, why))
    }

    /// Notes that the owner of a name was shown every private message up to a
    /// number. Where that is left off, some are shown once more.
    pub(super) fn note_shown(&self, key: &NameKey, upto: Seq) {
        let key = key.clone();
        self.entries.note(Action::Delivered { key, upto });
    }

    /// Notes now and then which names are in use; ends only when it is dropped.
    pub(super) async fn note_use(&self) {
        loop {
            sleep(NOTED_EVERY).await;
            for key in self.registry.names_in_use() {
                // Where nothing can be written, the next time will do.
                let noted = self.entries.act(ConnectionId::SERVER, Action::Use { key });
                let _ = noted.await;
            }
        }
    }

    /// The owner of a name, if it still has one: not if it was not used for long,
    /// and is not now but by `own` connections.
    async fn still_owned(
        &self,
        key: &NameKey,
        own: usize,
        now: ClockTime,
    ) -> Result<Option<OwnedName>, Refusal> {
        let owned = self.history.store().owned(key).await.map_err(|why| {
            error!("the log cannot be read: {why}");
            unknown()
        })?;
        let is_used =
            |owned: &OwnedName| owned.unused(now) < self.expiry || self.registry.users(key) > own;
        Ok(owned.filter(is_used))
    }

    fn take(&self, name: &Name, grounds: Grounds, delivered: Delivered) -> Result<Lease, Refusal> {
        let taken = self.registry.take_name(name, grounds, delivered);
        taken.ok_or_else(|| used_by_another(name))
    }
}

fn random() -> Result<[u8; 16], getrandom::Error> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)?;
    Ok(random)
}

fn taken(text: String) -> Refusal {
    Refusal::new(RefusalCode::NameTaken, text)
}

fn owned_by_another(name: &Name) -> Refusal {
    taken(format!(
        "{name} is somebody's own name: choose another, or prove with its secret that it is yours."
    ))
}

fn wrong_secret(name: &Name) -> Refusal {
    taken(format!(
        "{name} is somebody's own name, and this is not its secret: choose another."
    ))
}

fn used_by_another(name: &Name) -> Refusal {
    taken(format!(
        "Somebody else is called {name} just now: choose another name, or prove with its secret that it is yours."
    ))
}

fn unknown() -> Refusal {
    let text = "Nobody can tell just now whose this name is; ask again in a while.";
    Refusal {
        retry_ms: Some(BUSY_RETRY_MS),
        ..Refusal::new(RefusalCode::Busy, text)
    }
}
