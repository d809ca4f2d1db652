//! The guards of the registry: a connection's registration, and its lease of a
//! name.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use tokio::sync::oneshot;

use super::{budget::Budget, prefixes::Full, search_place::SearchPlace, tables::LockedTables};
use crate::{
    fanout::Handle,
    net::{Peer, canonical},
    protocol::{
        Author, Followed, OwnerNumber, Refusal, Seq,
        close::CloseReason,
        name::{Name, NameKey, RoomName},
    },
    store::Ownership,
};

/// One connection's place in the registry. Dropping it gives the place back,
/// and the connection leaves its room and its name.
///
/// A connection of a trusted proxy has no place among those of a prefix until
/// its visitor is known.
pub struct Registration {
    shared: Arc<LockedTables>,
    /// The peer as accepted.
    accepted: Peer,
    /// Set once the connection has a place: its peer then, and the budget of
    /// its prefix.
    place: OnceLock<(Peer, Option<Arc<Budget>>)>,
    /// Set once the connection counts as forwarded: its budget then.
    forwarded: OnceLock<Option<Arc<Budget>>>,
}

impl Registration {
    /// Makes the registration of a connection that is in the tables, and has no
    /// place yet.
    pub(super) fn new(shared: &Arc<LockedTables>, accepted: Peer) -> Self {
        Registration {
            shared: Arc::clone(shared),
            accepted,
            place: OnceLock::new(),
            forwarded: OnceLock::new(),
        }
    }

    /// The other end of the connection, with its address as believed.
    pub fn peer(&self) -> Peer {
        self.place.get().map_or(self.accepted, |(peer, _)| *peer)
    }

    /// Whether the connection has a place among those of its prefix. If not, it
    /// is a trusted proxy's.
    pub fn has_place(&self) -> bool {
        self.place.get().is_some()
    }

    /// Changes the address of a connection without a place.
    pub fn set_address(&mut self, address: SocketAddr) {
        self.accepted.addr = Some(canonical(address));
    }

    /// Takes a place among the connections of a prefix: of this address, or of
    /// the peer's own.
    ///
    /// # Errors
    ///
    /// Fails if the prefix already has the most connections allowed, or if no
    /// tag of a guest is left.
    pub fn take_place(&self, address: Option<SocketAddr>) -> Result<(), Full> {
        let mut tables = self.shared.lock();
        if self.has_place() {
            return Ok(());
        }
        let peer = Peer {
            addr: address.or(self.accepted.addr),
            ..self.accepted
        };
        let _ = self.place.set(tables.place(peer)?);
        Ok(())
    }

    /// The budget of its prefix, if rates or quotas are limited.
    pub fn budget(&self) -> Option<&Arc<Budget>> {
        let forwarded = self.forwarded.get().and_then(Option::as_ref);
        let (_, budget) = self.place.get()?;
        budget.as_ref().or(forwarded)
    }

    /// Counts the connection as forwarded from now on: a proxy sent it, for a
    /// visitor that the server does not know.
    ///
    /// # Errors
    ///
    /// Fails if its prefix already has the most forwarded connections allowed.
    pub fn count_as_forwarded(&self) -> Result<(), Full> {
        let mut tables = self.shared.lock();
        if self.forwarded.get().is_none() {
            let budget = tables.prefixes.forward(self.peer().prefix());
            let _ = self.forwarded.set(budget.map_err(Full::Prefix)?);
        }
        Ok(())
    }

    /// Whether the connection counts as forwarded.
    pub fn is_forwarded(&self) -> bool {
        self.forwarded.get().is_some()
    }

    /// Whether a secret is right, as `is_right` says; each wrong one counts for
    /// the prefix.
    ///
    /// # Errors
    ///
    /// Refuses to look if the prefix had too many wrong secrets.
    pub fn try_secret(&self, is_right: impl FnOnce() -> bool) -> Result<bool, Refusal> {
        let guesses = &mut self.shared.lock().guesses;
        guesses.attempt(self.peer().prefix(), None, is_right)
    }

    /// Checks that the peer is not banned by its address or by the name it asks
    /// for, and that nobody of its prefix flooded a moment ago.
    ///
    /// # Errors
    ///
    /// Refuses a banned peer, with the reason of the ban or the time to wait.
    pub fn check_ban(&self, name: Option<&Name>) -> Result<(), Refusal> {
        if let Some(budget) = self.budget() {
            budget.check_flood_ban()?;
        }
        let shared = &self.shared;
        shared.check_sanctions(name, |sanctions, key| {
            sanctions.check_ban(self.peer().ip(), key)
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
            sanctions.check_mute(self.peer().ip(), key)
        })
    }

    /// Queues a search.
    ///
    /// # Errors
    ///
    /// Refuses if too many searches of the prefix or of all wait.
    pub fn queue_search(&self) -> Result<SearchPlace, Refusal> {
        SearchPlace::queue(&self.shared, self.peer().prefix())
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
        tables.begin(self.accepted.id, author, name, room, subscriber, end);
        ended
    }

    /// Moves the connection to another room.
    pub fn join(&self, room: &RoomName, author: Author) {
        self.shared.lock().join(self.accepted.id, room, author);
    }

    /// Sets the rooms that the connection's owner follows.
    pub fn set_places(&self, followed: &[Followed]) {
        self.shared.lock().places.set(self.accepted.id, followed);
    }

    /// Whether the connection's owner follows a room, or the connection watches
    /// it.
    pub fn follows(&self, room: &RoomName) -> bool {
        self.shared.lock().places.has(self.accepted.id, room)
    }

    /// Watches rooms without an owned name, each from a number on.
    ///
    /// # Errors
    ///
    /// Refuses more rooms than a name may follow.
    pub fn watch(&self, rooms: BTreeMap<RoomName, Seq>) -> Result<(), Refusal> {
        self.shared.lock().watch(self.accepted.id, rooms)
    }

    /// Watches a room no more.
    pub fn unwatch(&self, room: &RoomName) {
        self.shared.lock().places.unwatch(self.accepted.id, room);
    }

    /// Changes the connection's name. Without a lease, only the spelling of its
    /// name changes. A ban of the name ends the conversation.
    pub fn rename(&self, name: &Name, name_use: Option<NameUse>) {
        let owner = name_use.as_ref().and_then(NameUse::owner);
        let taken = name_use.map(|taken| (taken.keep(), owner));
        self.shared.lock().rename(self.accepted.id, name, taken);
    }

    /// Leaves the room and releases the name at the end of the conversation.
    /// The connection keeps its place.
    pub fn leave(&self) {
        self.shared.lock().leave(self.accepted.id);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let placed = self.place.get().map(|(peer, _)| *peer);
        let forwarded = self.forwarded.get().is_some();
        let mut tables = self.shared.lock();
        let left = tables.disconnect(self.accepted.id, placed, forwarded);
        drop(tables);
        drop(left);
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("peer", &self.peer())
            .finish_non_exhaustive()
    }
}

/// The use of a name by one connection, owned or not. Dropping it releases the
/// name, unless a registration has taken it over.
#[derive(Debug)]
pub struct NameUse {
    shared: Arc<LockedTables>,
    key: NameKey,
    /// The ownership of the name; `None` for a lease.
    ownership: Option<Ownership>,
    /// Whether a registration has taken over the name and releases it.
    kept: bool,
}

impl NameUse {
    /// Makes the use of a name that was taken in the tables.
    pub(super) fn new(
        shared: &Arc<LockedTables>,
        key: NameKey,
        ownership: Option<Ownership>,
    ) -> Self {
        NameUse {
            shared: Arc::clone(shared),
            key,
            ownership,
            kept: false,
        }
    }

    /// Notes that the connection owns the name from now on.
    pub(in crate::hub) fn set_ownership(&mut self, ownership: Ownership) {
        self.ownership = Some(ownership);
    }

    /// The comparison key of the name.
    pub fn key(&self) -> &NameKey {
        &self.key
    }

    /// The ownership of the name; `None` for a lease.
    pub fn ownership(&self) -> Option<Ownership> {
        self.ownership
    }

    /// The owner number of the name; `None` for a lease.
    pub fn owner(&self) -> Option<OwnerNumber> {
        self.ownership.map(|ownership| ownership.owner)
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
