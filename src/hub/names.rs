//! Who carries which name: owned, with all of the owner's connections, or
//! borrowed, as long as nobody owns it and nobody else carries it. Who borrows
//! has nothing to prove it with but the address: under the same name from the
//! same address it is the same person, back after a break or once more.
//!
//! What is owned stands in the history. It is decided by the writer, one claim
//! after the other, who gets a name; what is carried is known here alone.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::sleep;
use tracing::error;

use super::{BUSY_RETRY_MS, Hub, Order, Submission};
use crate::{
    history::{Changing, Owned, StoreError},
    protocol::{
        Refusal, RefusalCode, Seq,
        name::{Name, NameKey},
        secret::Secret,
    },
};

/// How often it is looked which names are in use.
const NOTED_EVERY: Duration = Duration::from_secs(12 * 60 * 60);

/// All names that are carried.
#[derive(Debug)]
pub(super) struct Names {
    carried: Mutex<HashMap<NameKey, Carriers>>,
    /// A name that nobody carries for so long is nobody's own any more.
    expiry: Duration,
}

/// Who carries a name.
#[derive(Debug)]
struct Carriers {
    /// How many connections.
    count: usize,
    /// The name and where all of them come from, where it is borrowed.
    borrowed: Option<(Name, IpAddr)>,
}

/// Who may carry a name beside others.
enum Beside {
    /// An owner: all connections that prove it.
    Owned,
    /// Who makes it their own: the only one, but for so many connections.
    New(usize),
    /// A borrower from this address.
    Borrowed(IpAddr),
}

impl Names {
    pub(super) fn new(expiry: Duration) -> Self {
        Names {
            carried: Mutex::default(),
            expiry,
        }
    }

    fn carried(&self) -> MutexGuard<'_, HashMap<NameKey, Carriers>> {
        self.carried.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has one more connection carry a name, where it may beside the others.
    fn carry(
        self: &Arc<Self>,
        name: &Name,
        beside: &Beside,
        inbox: Inbox,
    ) -> Result<Carried, Refusal> {
        let key = name.key();
        let mut carried = self.carried();
        let borrowed = match beside {
            Beside::Borrowed(addr) => Some((name.clone(), *addr)),
            Beside::Owned | Beside::New(_) => None,
        };
        if let Some(carriers) = carried.get_mut(&key) {
            let may = match beside {
                Beside::Owned => true,
                Beside::New(own) => carriers.count <= *own,
                Beside::Borrowed(_) => carriers.borrowed == borrowed,
            };
            if !may {
                return Err(carried_by_another(name));
            }
            carriers.count += 1;
            carriers.borrowed = borrowed;
        } else {
            let carriers = Carriers { count: 1, borrowed };
            carried.insert(key.clone(), carriers);
        }
        drop(carried);
        let names = Arc::clone(self);
        Ok(Carried { names, key, inbox })
    }

    fn count(&self, key: &NameKey) -> usize {
        self.carried().get(key).map_or(0, |carriers| carriers.count)
    }

    /// Whose own a name still is: not if it was not carried for long, and is not
    /// now, but by `own` connections.
    fn owned(&self, owned: Option<Owned>, key: &NameKey, own: usize) -> Option<Owned> {
        owned.filter(|owned| owned.unused() < self.expiry || self.count(key) > own)
    }
}

/// That one connection carries a name. Dropping it lays it down.
#[derive(Debug)]
pub struct Carried {
    names: Arc<Names>,
    key: NameKey,
    inbox: Inbox,
}

/// What of the private messages to a name is for who carries it.
#[derive(Clone, Copy, Debug)]
struct Inbox {
    /// Those after this number.
    since: Seq,
    /// Those up to this one were shown.
    shown: Seq,
}

impl Inbox {
    fn of(owned: &Owned) -> Self {
        Inbox {
            since: owned.since(),
            shown: owned.shown(),
        }
    }

    /// All that follow.
    fn from(seq: Seq) -> Self {
        Inbox {
            since: seq,
            shown: seq,
        }
    }
}

impl Carried {
    /// What the name is compared by.
    pub fn key(&self) -> &NameKey {
        &self.key
    }

    /// After which number private messages are to be shown: a number given, or
    /// that of the last that was shown; but none that was for somebody else.
    pub fn inbox(&self, after: Option<Seq>) -> Seq {
        after.unwrap_or(self.inbox.shown).max(self.inbox.since)
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        let mut carried = self.names.carried();
        if let Some(carriers) = carried.get_mut(&self.key) {
            carriers.count -= 1;
            if carriers.count == 0 {
                carried.remove(&self.key);
            }
        }
    }
}

/// A wish to have a name as one's own.
#[derive(Debug)]
pub struct Claim {
    /// The name.
    pub name: Name,
    /// What proves it, or is to prove it from now on; where there is none, one
    /// is made.
    pub secret: Option<Secret>,
    /// What the connection that wishes it carries now.
    pub instead_of: Option<NameKey>,
    /// Whether it may be a name that is not one's own yet.
    pub may_be_new: bool,
}

/// A name that is one's own.
#[derive(Debug)]
pub struct Taken {
    /// The name, carried.
    pub carried: Carried,
    /// It was not one's own before.
    pub new: bool,
    /// The secret that was made for it.
    pub made: Option<Secret>,
}

impl Claim {
    /// Decides, in the one order of all claims.
    fn decide(
        self,
        names: &Arc<Names>,
        log: &mut Changing<'_>,
    ) -> Result<Result<Taken, Refusal>, StoreError> {
        let key = self.name.key();
        let own = usize::from(self.instead_of.as_ref() == Some(&key));
        let owned = names.owned(log.owned(&key)?, &key, own);
        if let Some(owned) = owned {
            return match self.secret {
                Some(secret) if owned.is_proved_by(&secret) => {
                    let inbox = Inbox::of(&owned);
                    log.note_use(owned)?;
                    Ok(names
                        .carry(&self.name, &Beside::Owned, inbox)
                        .map(|carried| Taken {
                            carried,
                            new: false,
                            made: None,
                        }))
                }
                Some(_) => Ok(Err(wrong_secret(&self.name))),
                None => Ok(Err(owned_by_another(&self.name))),
            };
        }
        let carried = match names.carry(&self.name, &Beside::New(own), Inbox::from(log.head()?)) {
            Ok(carried) => carried,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if !self.may_be_new {
            let text =
                "You have made so many names your own on this connection that it may be no more.";
            return Ok(Err(Refusal::new(RefusalCode::NotAllowed, text)));
        }
        let (Ok(salt), Ok(random)) = (random(), random()) else {
            return Ok(Err(unknown()));
        };
        let made = self.secret.is_none().then(|| Secret::of(random));
        if let Some(secret) = made.as_ref().or(self.secret.as_ref()) {
            log.own(&self.name, secret, salt)?;
        }
        Ok(Ok(Taken {
            carried,
            new: true,
            made,
        }))
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

fn carried_by_another(name: &Name) -> Refusal {
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

impl Hub {
    /// Takes a name as one's own.
    pub async fn claim(&self, claim: Claim) -> Result<Taken, Refusal> {
        let names = Arc::clone(&self.shared.names);
        // What is one's own already need not wait for the writer, nor for a
        // disk that takes nothing.
        if let Some(secret) = &claim.secret {
            let owned = self.owned(&claim.name.key()).await?;
            let proved = |o: &Owned| o.unused() < names.expiry && o.is_proved_by(secret);
            if let Some(owned) = owned.filter(proved) {
                return Ok(Taken {
                    carried: names.carry(&claim.name, &Beside::Owned, Inbox::of(&owned))?,
                    new: false,
                    made: None,
                });
            }
        }
        self.change(move |log| claim.decide(&names, log)).await?
    }

    /// Carries the name that somebody comes with: with a secret as their own;
    /// else a name that nobody owns and nobody from elsewhere carries, for as
    /// long as what is returned is kept.
    pub async fn carry(
        &self,
        name: &Name,
        secret: Option<Secret>,
        from: IpAddr,
    ) -> Result<Carried, Refusal> {
        if secret.is_some() {
            let claim = Claim {
                name: name.clone(),
                secret,
                instead_of: None,
                may_be_new: true,
            };
            return self.claim(claim).await.map(|taken| taken.carried);
        }
        let names = &self.shared.names;
        // First carried, then looked up: who claims it meanwhile finds it so.
        let inbox = Inbox::from(self.history().head());
        let carried = names.carry(name, &Beside::Borrowed(from.to_canonical()), inbox)?;
        let owned = self.owned(&carried.key).await?;
        match names.owned(owned, &carried.key, 1) {
            Some(_) => Err(owned_by_another(name)),
            None => Ok(carried),
        }
    }

    /// Whether somebody is to get what is said to a name: who carries it, or owns
    /// it.
    pub fn reaches(&self, name: &Name) -> impl Future<Output = Result<(), Refusal>> + use<> {
        let (hub, name) = (self.clone(), name.clone());
        async move {
            let (key, names) = (name.key(), &hub.shared.names);
            if names.count(&key) > 0 || names.owned(hub.owned(&key).await?, &key, 0).is_some() {
                return Ok(());
            }
            let why = format!("Nobody is called {name} here: /members says who is in the room.");
            Err(Refusal::new(RefusalCode::NotHere, why))
        }
    }

    /// Notes that the owner of a name was shown every private message up to a
    /// number: not waited for, and left off where nothing can be written. Then
    /// some are shown once more.
    pub fn note_shown(&self, key: &NameKey, upto: Seq) {
        let key = key.clone();
        let (order, _) = Order::new(move |log| log.note_shown(&key, upto), |()| {});
        if let Some(publisher) = self.publisher() {
            let _ = publisher.try_send(Submission::Change(order));
        }
    }

    async fn owned(&self, key: &NameKey) -> Result<Option<Owned>, Refusal> {
        self.history().owned(key).await.map_err(|why| {
            error!("the log cannot be read: {why}");
            unknown()
        })
    }

    /// Notes now and then that the names carried are in use; ends only when it
    /// is dropped.
    pub async fn note_names(&self) {
        loop {
            sleep(NOTED_EVERY).await;
            let keys: Vec<_> = self.shared.names.carried().keys().cloned().collect();
            for key in keys {
                let note = move |log: &mut Changing<'_>| match log.owned(&key)? {
                    Some(owned) => log.note_use(owned),
                    None => Ok(()),
                };
                // Where nothing can be written, the next time will do.
                let _ = self.change(note).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{self, Storage, Writer};

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn log() -> Writer {
        history::open(&Storage::Memory, "a test").expect("a log").0
    }

    fn claim(
        log: &mut Writer,
        names: &Arc<Names>,
        name: &str,
        secret: Option<&str>,
    ) -> Result<Taken, Refusal> {
        let claim = Claim {
            name: name.parse().expect("a name"),
            secret: secret.map(|secret| secret.parse().expect("a secret")),
            instead_of: None,
            may_be_new: true,
        };
        log.change(|log| claim.decide(names, log)).expect("written")
    }

    fn code(claimed: Result<Taken, Refusal>) -> Option<RefusalCode> {
        claimed.err().map(|refusal| refusal.code)
    }

    #[test]
    fn a_name_is_proved_by_its_secret() {
        let (mut log, names) = (log(), Arc::new(Names::new(90 * DAY)));
        let first = claim(&mut log, &names, "ana", None).expect("free");
        let secret = first.made.as_ref().expect("made").reveal().to_owned();
        assert!(first.new);
        // Beside a ghost, and after it.
        for _ in 0..2 {
            let again = claim(&mut log, &names, "Ana", Some(&secret)).expect("one's own");
            assert_eq!((again.new, again.made), (false, None));
        }
        drop(first);
        for (name, secret) in [
            ("ana", None),
            ("аna", None),
            ("ana", Some("another-secret-of-ana".to_owned())),
            ("ana", Some(format!("{secret}x"))),
        ] {
            let refused = claim(&mut log, &names, name, secret.as_deref());
            assert_eq!(code(refused), Some(RefusalCode::NameTaken), "{name}");
        }
        assert!(names.carried().is_empty(), "{:?}", names.carried());
    }

    #[test]
    fn what_another_carries_cannot_be_made_ones_own() {
        let (mut log, names) = (log(), Arc::new(Names::new(90 * DAY)));
        let borrow = |name: &str, from: [u8; 4]| {
            let name = name.parse().expect("a name");
            names.carry(
                &name,
                &Beside::Borrowed(from.into()),
                Inbox::from(Seq::START),
            )
        };
        let (here, elsewhere) = ([127, 0, 0, 1], [192, 0, 2, 1]);
        let borrowed = borrow("ana", here).expect("free");
        assert!(borrow("ANA", here).is_err());
        assert!(borrow("ana", elsewhere).is_err());
        let again = borrow("ana", here).expect("the same person");
        let refused = claim(&mut log, &names, "ana", None);
        assert_eq!(code(refused), Some(RefusalCode::NameTaken));
        drop(borrowed);
        assert!(borrow("ana", elsewhere).is_err(), "one is still there");
        drop(again);
        assert!(claim(&mut log, &names, "ana", None).is_ok());
    }

    #[test]
    fn a_name_that_is_not_used_is_free_again() {
        let (mut log, names) = (log(), Arc::new(Names::new(Duration::ZERO)));
        let own = claim(&mut log, &names, "ana", None).expect("free");
        let refused = claim(&mut log, &names, "ana", None);
        assert_eq!(code(refused), Some(RefusalCode::NameTaken), "it is carried");
        drop(own);
        assert!(
            claim(&mut log, &names, "ana", None)
                .expect("free again")
                .new
        );
    }
}
