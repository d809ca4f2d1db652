//! The path of every entry from sessions to shards, and the registry of all
//! connections.
//!
//! Entries pass the submission queue in the order of their arrival. The one
//! writer stores all that wait in one batch. A broadcast channel takes the batch
//! to the shards. The hub knows neither sockets nor HTTP.

mod access;
mod access_mode;
mod actions;
mod admission;
mod announcer;
mod changes;
mod claims;
mod effects;
mod hooks;
mod ignoring;
mod links;
mod moderation;
mod operating;
mod operators;
mod places;
mod pulse;
mod receipts;
mod refused_ids;
mod registry;
mod retention;
mod rooms;
mod secrets;
mod start;
mod submissions;
mod sweep;
mod topics;
mod writer;
mod wrong_secrets;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio_util::sync::CancellationToken;

pub use self::{
    access_mode::AccessMode,
    admission::NewInvitation,
    claims::{Claim, Claimed},
    moderation::{Kicked, Lifted, accept_reason},
    operators::invite_first_operator,
    receipts::{PublisherReply, Receipt, Receipts, Reply, WantedReplies},
    refused_ids::RefusedIds,
    registry::{
        Bucket, Budget, Capacity, Full, NameUse, PrefixLimits, QuotaLimits, Rate, Registration,
        frame_cost, message_cost, too_fast,
    },
    retention::RetentionLimits,
    submissions::{ActionResult, Submission, Submitter},
    writer::Writer,
};
use self::{
    actions::ActionSubmitter, claims::Claims, links::Links, pulse::Pulse, registry::Registry,
    wrong_secrets::WrongSecrets,
};
use crate::{
    fanout::{Fanout, History},
    log::{Action, GuardedClock, Recipient},
    metrics::{Gauges, Metrics},
    net::{AddressSet, Peer},
    protocol::{
        Author, ConnectionId, Event, OwnerNumber, Refusal, Seq, Topic,
        name::{Name, NameKey, RoomName},
        secret::Secret,
        text::Text,
    },
    store::{Ownership, StoreError, Unread},
};

/// In a drain, when the first client comes back, in ms. Until then the next
/// server has time to start.
const FIRST_RECONNECT_MS: u32 = 150;

/// The settings of a hub.
#[derive(Clone, Debug)]
pub struct HubOptions {
    /// How many shards fan out batches.
    pub shards: usize,
    /// An owned name is free again after it was not used for this long.
    pub name_expiry: Duration,
    /// The author of a message may change it for this long; zero: never.
    pub edit_window: Duration,
    /// The people that may take part.
    pub access: AccessMode,
    /// How many connections there may be, and how fast each may speak.
    pub capacity: Capacity,
    /// The proxies whose word on a visitor's address is believed.
    pub proxies: AddressSet,
    /// Whether people see no address of anybody: every peer has the tag of a
    /// guest.
    pub hides_addresses: bool,
}

/// The state that all sessions share. Clones are the same hub.
#[derive(Clone)]
pub struct Hub {
    shared: Arc<HubState>,
}

struct HubState {
    actions: ActionSubmitter,
    history: History,
    clock: Arc<GuardedClock>,
    fanout: Fanout,
    registry: Registry,
    claims: Claims,
    access: AccessMode,
    links: Links,
    wrong_secrets: WrongSecrets,
    metrics: Arc<Metrics>,
    pulse: Arc<Pulse>,
    /// For so long the author of a message may change it, in milliseconds.
    edit_window_ms: AtomicU64,
    /// How many clients were told to come back after a drain.
    told_to_reconnect: AtomicU32,
    finished: CancellationToken,
}

impl Hub {
    /// A publisher, which submits entries to the writer; `None` once the server
    /// stops.
    pub fn submitter(&self) -> Option<Submitter> {
        self.shared.actions.submitter()
    }

    /// Orders and applies an entry that is not a message. Returns once the
    /// entry is durable.
    ///
    /// # Errors
    ///
    /// Refuses if the server stops or the entry cannot be stored.
    pub async fn act(
        &self,
        connection: ConnectionId,
        action: Action,
    ) -> Result<ActionResult, Refusal> {
        self.shared.actions.act(connection, action).await
    }

    /// The history, from which readers catch up.
    pub fn history(&self) -> &History {
        &self.shared.history
    }

    /// The shards.
    pub fn fanout(&self) -> &Fanout {
        &self.shared.fanout
    }

    /// Whether an entry submitted now would be stored, as far as the hub knows.
    pub fn is_ready(&self) -> bool {
        self.shared.actions.is_open() && !self.shared.pulse.failing.load(Ordering::Relaxed)
    }

    /// Whether a commit succeeded since the last call, or no entry came.
    pub fn take_pulse(&self) -> bool {
        self.shared.pulse.take()
    }

    /// The counters.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// The current levels, for the metrics.
    pub async fn gauges(&self) -> Gauges {
        let registry = &self.shared.registry;
        let catching_up = registry.catching_up(self.history().head());
        let files = self.history().store().files().await;
        Gauges {
            ready: self.is_ready(),
            max_connections: registry.max_connections(),
            people: registry.members_by_room().values().sum(),
            newest: self.history().head().0,
            database: files.database,
            write_ahead_log: files.write_ahead_log,
            index: files.index,
            free: files.free,
            last_backup: files.last_backup,
            certificate_expiry: 0,
            rooms: registry.rooms_in_use(),
            catching_up: catching_up.subscribers,
            behind: catching_up.behind,
            unsent: catching_up.kept,
            unindexed: self.history().store().unindexed_count(),
            oldest: self.history().store().expired().next().0,
        }
    }

    /// Waits for the end of the writer. By then it has committed every entry
    /// that it accepted.
    pub async fn finished(&self) {
        self.shared.finished.cancelled().await;
    }

    /// The reconnect delay of the next client in a drain, in ms. The clients
    /// come back one after the other, a thousand a second.
    pub fn reconnect_delay_ms(&self) -> u32 {
        let before = self
            .shared
            .told_to_reconnect
            .fetch_add(1, Ordering::Relaxed);
        FIRST_RECONNECT_MS.saturating_add(before)
    }

    /// Registers a connection that was accepted. A trusted proxy's takes its
    /// place later.
    ///
    /// # Errors
    ///
    /// Fails if its prefix or the server already has the most connections
    /// allowed.
    pub fn register(&self, peer: Peer) -> Result<Registration, Full> {
        self.shared.registry.register(peer)
    }

    /// The proxies whose word on a visitor's address is believed.
    pub fn proxies(&self) -> &AddressSet {
        self.shared.registry.proxies()
    }

    /// Changes the limits of counts, rates and quotas.
    pub fn set_capacity(&self, capacity: Capacity) {
        self.shared.registry.set_capacity(capacity);
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.shared.registry.connections()
    }

    /// The event that lists the rooms after one of them, except unlisted rooms
    /// and those that the owner of a name may not enter.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    pub async fn rooms_event(
        &self,
        owner: Option<OwnerNumber>,
        after: Option<RoomName>,
    ) -> Result<Event, StoreError> {
        rooms::list(self.history().store(), &self.shared.registry, owner, after).await
    }

    /// How many connections are in a room.
    pub fn readers(&self, room: &RoomName) -> usize {
        self.shared.registry.readers(room)
    }

    /// How many people are in a room.
    pub fn people_count(&self, room: &RoomName) -> usize {
        self.shared.registry.people_count(room)
    }

    /// How many people are in each room that has any.
    pub fn members_by_room(&self) -> HashMap<RoomName, usize> {
        self.shared.registry.members_by_room()
    }

    /// The event that names the people in a room, with their addresses if they
    /// are asked for. If they are many, it names only some.
    pub fn members_event(&self, room: &RoomName, with_addresses: bool) -> Event {
        self.shared.registry.members_event(room, with_addresses)
    }

    /// The topic of a room with members; `None` if it was not looked up yet.
    pub fn topic(&self, room: &RoomName) -> Option<Topic> {
        self.shared.registry.topic(room)
    }

    /// Looks up the topic of a room with members, unless it is known.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    pub async fn load_topic(&self, room: &RoomName) -> Result<(), StoreError> {
        topics::load(self.history().store(), &self.shared.registry, room).await
    }

    /// Sets the topic of a room, as asked on the connection `origin`.
    ///
    /// # Errors
    ///
    /// Refuses if the server stops or the topic cannot be stored.
    pub fn set_topic(
        &self,
        room: &RoomName,
        text: Text,
        by: &Author,
        origin: ConnectionId,
    ) -> impl Future<Output = Result<Topic, Refusal>> + use<> {
        topics::set(self.actions(), origin, room.clone(), text, by.to_string())
    }

    fn actions(&self) -> ActionSubmitter {
        self.shared.actions.clone()
    }

    /// Expires old messages, now and later, if `keep` sets a limit. Also tries
    /// again to empty a write-ahead log that may hold removed words, and sweeps
    /// expired names. Never returns.
    pub async fn expire(&self, keep: RetentionLimits) {
        let HubState {
            actions,
            history,
            clock,
            registry,
            ..
        } = &*self.shared;
        let store = history.store();
        let messages = retention::run(actions, store, clock, keep);
        sweep::run(actions, store, clock, registry, messages).await;
    }

    /// Has a connection use a name as its owner: it proves an owned name by its
    /// secret, or makes a free name owned.
    ///
    /// # Errors
    ///
    /// Refuses a name that another person owns or uses, a wrong secret, and a
    /// new name if the claim allows none. Refuses a name that is not admitted
    /// where only admitted names take part. Also refuses if the store cannot be
    /// read or written.
    pub fn claim(&self, claim: Claim) -> impl Future<Output = Result<Claimed, Refusal>> + use<> {
        let hub = self.clone();
        async move {
            let claimed = hub.shared.claims.claim(claim).await?;
            let ownership = claimed.name_use.ownership();
            hub.check_standing(ownership.map(|it| it.standing))?;
            Ok(claimed)
        }
    }

    /// Has a connection use the name that it asks for at its start. With a
    /// secret the connection owns the name. Dropping the returned lease
    /// releases it.
    ///
    /// # Errors
    ///
    /// Refuses a name that another person owns or uses, and a wrong secret.
    /// Also refuses if the store cannot be read or written.
    pub async fn use_name(
        &self,
        name: &Name,
        secret: Option<Secret>,
        registration: &Registration,
    ) -> Result<NameUse, Refusal> {
        let (peer, budget) = (registration.peer(), registration.budget().cloned());
        let claims = &self.shared.claims;
        claims.use_name(name, secret, peer, budget).await
    }

    /// Finds the recipient of a private message from the name of this key: the
    /// owner of a name.
    ///
    /// # Errors
    ///
    /// Refuses a name without an owner, and if the store cannot be read.
    pub fn find_recipient(
        &self,
        name: Name,
        author: NameKey,
    ) -> impl Future<Output = Result<Recipient, Refusal>> + use<> {
        let claims = self.shared.claims.clone();
        async move { claims.find_recipient(name, &author).await }
    }

    /// Whether a connection uses a name as its owner.
    pub fn is_owner_here(&self, name: &Name) -> bool {
        self.shared.registry.owners(&name.key()) > 0
    }

    /// The private messages that an owner was not delivered yet, and whether
    /// more would have been refused.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    pub async fn unread(&self, ownership: Ownership) -> Result<(Unread, bool), StoreError> {
        self.shared.claims.unread(ownership).await
    }

    /// Notes that every private message up to a number was delivered to the
    /// owner of a name. Does not wait; the note is lost if it cannot be stored.
    pub fn note_delivered(&self, key: &NameKey, owner: OwnerNumber, upto: Seq) {
        self.shared.claims.note_delivered(key, owner, upto);
    }

    /// Counts a wrong secret of the operators, for the server's output.
    pub fn count_wrong_secret(&self, peer: Peer) {
        self.shared.wrong_secrets.count(peer, "the operators");
    }

    /// Writes the counts of wrong secrets to the server's output, at most one
    /// line a minute for each prefix. Never returns.
    pub async fn report_wrong_secrets(&self) {
        self.shared.wrong_secrets.report().await;
    }

    /// Notes twice a day which names are in use. Never returns.
    pub async fn note_names_in_use(&self) {
        self.shared.claims.note_names_in_use().await;
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
