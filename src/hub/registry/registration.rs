//! The guards of the registry: a connection's registration, and its lease of a
//! name.

use std::{fmt, sync::Arc};

use tokio::sync::oneshot;

use super::{rate::Budget, search_place::SearchPlace, tables::LockedTables};
use crate::{
    fanout::Handle,
    net::Peer,
    protocol::{
        Author, Refusal, Seq,
        close::CloseReason,
        name::{Name, NameKey, RoomName},
    },
    store::OwnedName,
};

/// One connection's place in the registry. Dropping it gives the place back,
/// and the connection leaves its room and its name.
pub struct Registration {
    shared: Arc<LockedTables>,
    peer: Peer,
    budget: Option<Arc<Budget>>,
}

impl Registration {
    /// Makes the registration of a connection that is in the tables.
    pub(super) fn new(shared: &Arc<LockedTables>, peer: Peer, budget: Option<Arc<Budget>>) -> Self {
        Registration {
            shared: Arc::clone(shared),
            peer,
            budget,
        }
    }

    /// The other end of the connection.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// The budget of its prefix, if rates are limited.
    pub fn budget(&self) -> Option<&Arc<Budget>> {
        self.budget.as_ref()
    }

    /// Checks that the peer is not banned by its address or by the name it asks
    /// for.
    ///
    /// # Errors
    ///
    /// Refuses a banned peer, with the reason of the ban.
    pub fn check_ban(&self, name: Option<&Name>) -> Result<(), Refusal> {
        let shared = &self.shared;
        shared.check_sanctions(name, |sanctions, key| {
            sanctions.check_ban(self.peer.ip(), key)
        })
    }

    /// Checks that the peer is not muted by its address or by its name.
    ///
    /// # Errors
    ///
    /// Refuses a muted peer, with the reason of the mute.
    pub fn check_mute(&self, name: Option<&Name>) -> Result<(), Refusal> {
        let shared = &self.shared;
        shared.check_sanctions(name, |sanctions, key| {
            sanctions.check_mute(self.peer.ip(), key)
        })
    }

    /// Queues a search.
    ///
    /// # Errors
    ///
    /// Refuses if too many searches of the prefix or of all wait.
    pub fn queue_search(&self) -> Result<SearchPlace, Refusal> {
        SearchPlace::queue(&self.shared, self.peer.prefix())
    }

    /// Begins a conversation in a room, with or without a name. The receiver
    /// gets the reason if an operator ends it, and gets it at once if the peer
    /// is banned.
    pub fn begin(
        &self,
        author: Author,
        name_use: Option<NameUse>,
        room: &RoomName,
        subscriber: Handle,
    ) -> oneshot::Receiver<CloseReason> {
        let (end, ended) = oneshot::channel();
        let name = name_use.map(NameUse::keep);
        let mut tables = self.shared.lock();
        tables.begin(self.peer.id, author, name, room, subscriber, end);
        ended
    }

    /// Moves the connection to another room.
    pub fn join(&self, room: &RoomName, author: Author) {
        self.shared.lock().join(self.peer.id, room, author);
    }

    /// Changes the connection's name. Without a lease, only the spelling of its
    /// name changes. A ban of the name ends the conversation.
    pub fn rename(&self, name: &Name, name_use: Option<NameUse>) {
        let taken = name_use.map(NameUse::keep);
        self.shared.lock().rename(self.peer.id, name, taken);
    }

    /// Leaves the room and releases the name at the end of the conversation.
    /// The connection keeps its place.
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

/// The use of a name by one connection, owned or not. Dropping it releases the
/// name, unless a registration has taken it over.
#[derive(Debug)]
pub struct NameUse {
    shared: Arc<LockedTables>,
    key: NameKey,
    delivered: Deliveries,
    /// Whether a registration has taken over the name and releases it.
    kept: bool,
}

/// Which private messages to a name its user is shown.
#[derive(Clone, Copy, Debug)]
pub(in crate::hub) struct Deliveries {
    /// The messages after this number are for this user.
    since: Seq,
    /// The messages up to this number were delivered.
    delivered: Seq,
}

impl Deliveries {
    /// The state of an owned name, as stored.
    pub(in crate::hub) fn of(owned: &OwnedName) -> Self {
        Deliveries {
            since: owned.since(),
            delivered: owned.delivered(),
        }
    }

    /// All messages after a number.
    pub(in crate::hub) fn after(seq: Seq) -> Self {
        Deliveries {
            since: seq,
            delivered: seq,
        }
    }
}

impl NameUse {
    /// Makes the lease of a name that was taken in the tables.
    pub(super) fn new(shared: &Arc<LockedTables>, key: NameKey, delivered: Deliveries) -> Self {
        NameUse {
            shared: Arc::clone(shared),
            key,
            delivered,
            kept: false,
        }
    }

    /// Notes that the name became owned after the number `since`.
    pub(in crate::hub) fn set_owned_since(&mut self, since: Seq) {
        self.delivered = Deliveries::after(since);
    }

    /// The comparison key of the name.
    pub fn key(&self) -> &NameKey {
        &self.key
    }

    /// The number after which private messages are shown: `after` if given,
    /// else the last delivered one. Messages for an earlier user of the name
    /// are never shown.
    pub fn inbox_start(&self, after: Option<Seq>) -> Seq {
        let Deliveries { since, delivered } = self.delivered;
        after.unwrap_or(delivered).max(since)
    }

    /// Messages up to this number were for an earlier user of the name.
    pub fn since(&self) -> Seq {
        self.delivered.since
    }

    fn keep(mut self) -> NameKey {
        self.kept = true;
        self.key.clone()
    }
}

impl Drop for NameUse {
    fn drop(&mut self) {
        if !self.kept {
            self.shared.lock().names.release(&self.key);
        }
    }
}
