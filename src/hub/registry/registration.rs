//! What a connection holds of the registry, and gives back when it is dropped.

use std::{fmt, sync::Arc};

use tokio::sync::{Mutex as FairMutex, OwnedMutexGuard as OwnedFairGuard, oneshot};

use super::{rate::Budget, tables::Shared};
use crate::{
    fanout::Handle,
    net::{Peer, Prefix},
    protocol::{
        Author, Refusal, Seq,
        close::CloseReason,
        name::{Name, NameKey, RoomName},
    },
    store::OwnedName,
};

/// One connection's place among all. Dropped, it is given back, and the connection
/// is in no room and has no name any more.
pub struct Registration {
    shared: Arc<Shared>,
    peer: Peer,
    budget: Option<Arc<Budget>>,
}

impl Registration {
    /// The registration of a connection that is in the tables.
    pub(super) fn new(shared: &Arc<Shared>, peer: Peer, budget: Option<Arc<Budget>>) -> Self {
        Registration {
            shared: Arc::clone(shared),
            peer,
            budget,
        }
    }

    /// Whose connection it is.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// What its prefix has used of its rates, if these are limited.
    pub fn budget(&self) -> Option<&Arc<Budget>> {
        self.budget.as_ref()
    }

    /// Refuses a peer that is banned, by its address or by the name it asks for.
    ///
    /// # Errors
    ///
    /// Refuses with the reason of the ban.
    pub fn admits(&self, name: Option<&Name>) -> Result<(), Refusal> {
        self.shared.ask(|sanctions| {
            let key = name.map(Name::key);
            sanctions.admits(self.peer.ip(), key.as_ref())
        })
    }

    /// Refuses a message of a peer that is muted, by its address or by its name.
    ///
    /// # Errors
    ///
    /// Refuses with the reason of the mute.
    pub fn hears(&self, name: Option<&Name>) -> Result<(), Refusal> {
        self.shared.ask(|sanctions| {
            let key = name.map(Name::key);
            sanctions.hears(self.peer.ip(), key.as_ref())
        })
    }

    /// Queues up for a search.
    ///
    /// # Errors
    ///
    /// Refuses where many of its prefix are under way or wait.
    pub fn search(&self) -> Result<Searching, Refusal> {
        let prefix = self.peer.prefix();
        let turn = self.shared.lock().prefixes.queue(prefix)?;
        Ok(Searching {
            shared: Arc::clone(&self.shared),
            prefix,
            turn,
        })
    }

    /// Begins a conversation, under a name or none, in a room. The receiver tells
    /// when an operator ends it, and why; at once where the peer is banned.
    pub fn begin(
        &self,
        author: Author,
        lease: Option<Lease>,
        room: &RoomName,
        subscriber: Handle,
    ) -> oneshot::Receiver<CloseReason> {
        let (end, ended) = oneshot::channel();
        let name = lease.map(Lease::keep);
        let mut tables = self.shared.lock();
        tables.begin(self.peer.id, author, name, room, subscriber, end);
        ended
    }

    /// Goes to another room.
    pub fn join(&self, room: &RoomName, author: Author) {
        self.shared.lock().join(self.peer.id, room, author);
    }

    /// Goes by another name, or by its own written in another way where there is no
    /// lease. Its conversation ends where that name is banned.
    pub fn rename(&self, name: &Name, lease: Option<Lease>) {
        let taken = lease.map(Lease::keep);
        self.shared.lock().rename(self.peer.id, name, taken);
    }

    /// Leaves the room and the name at the end of the conversation; the connection
    /// keeps its place.
    pub fn leave(&self) {
        self.shared.lock().leave(self.peer.id);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let left = self.shared.lock().disconnect(self.peer);
        drop(left);
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// A name in use by one more connection, until it is that of a registration.
/// Dropping it releases the name.
#[derive(Debug)]
pub struct Lease {
    shared: Arc<Shared>,
    key: NameKey,
    delivered: Delivered,
    /// A registration releases it.
    kept: bool,
}

/// Which private messages to a name are for its user.
#[derive(Clone, Copy, Debug)]
pub(in crate::hub) struct Delivered {
    /// Those after this number.
    since: Seq,
    /// Those up to this one were shown.
    shown: Seq,
}

impl Delivered {
    /// As is known of an owned name.
    pub(in crate::hub) fn of(owned: &OwnedName) -> Self {
        Delivered {
            since: owned.since(),
            shown: owned.delivered(),
        }
    }

    /// All that follow a number.
    pub(in crate::hub) fn from(seq: Seq) -> Self {
        Delivered {
            since: seq,
            shown: seq,
        }
    }
}

impl Lease {
    /// The lease of a name that was taken in the tables.
    pub(super) fn new(shared: &Arc<Shared>, key: NameKey, delivered: Delivered) -> Self {
        Lease {
            shared: Arc::clone(shared),
            key,
            delivered,
            kept: false,
        }
    }

    /// The name is owned from after this number on.
    pub(in crate::hub) fn begins(&mut self, since: Seq) {
        self.delivered = Delivered::from(since);
    }

    /// What the name is compared by.
    pub fn key(&self) -> &NameKey {
        &self.key
    }

    /// After which number private messages are to be shown: a number given, or
    /// that of the last that was shown; but none that was for somebody else.
    pub fn inbox(&self, after: Option<Seq>) -> Seq {
        let Delivered { since, shown } = self.delivered;
        after.unwrap_or(shown).max(since)
    }

    fn keep(mut self) -> NameKey {
        self.kept = true;
        self.key.clone()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.kept {
            self.shared.lock().names.release(&self.key);
        }
    }
}

/// A place in the queue of searches of a prefix. Dropping it leaves the queue.
#[derive(Debug)]
pub struct Searching {
    shared: Arc<Shared>,
    prefix: Option<Prefix>,
    turn: Arc<FairMutex<()>>,
}

impl Searching {
    /// Waits for its turn, which lasts for as long as what is returned.
    pub async fn turn(&self) -> OwnedFairGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }
}

impl Drop for Searching {
    fn drop(&mut self) {
        self.shared.lock().prefixes.leave_queue(self.prefix);
    }
}
