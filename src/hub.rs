//! The one path in: inbox, writer, broadcast; and who is in which room.
//!
//! Everything published passes the inbox in the order it came, is stored by the
//! one writer together with whatever waits behind it, and goes to the shards
//! through a broadcast channel. Knows neither sockets nor HTTP.

mod announcer;
mod claims;
mod deferred;
mod effects;
mod entries;
mod inbox;
mod moderation;
mod receipts;
mod reconnect;
mod redaction;
mod registry;
mod retention;
mod topics;
mod writer;

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{runtime::Handle, sync::broadcast};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    claims::Claims, effects::Effects, entries::Entries, reconnect::ReconnectDelays,
    registry::Registry,
};
pub use self::{
    claims::{Claim, Taken},
    deferred::Deferred,
    inbox::{Made, Publisher, Submission},
    receipts::{Receipt, Receipts, Referred, Reply, Wanted},
    registry::{Bucket, Budget, Capacity, Full, Lease, Rate, Registration, Searching, too_fast},
    retention::Keep,
    writer::Work,
};
use crate::{
    fanout::{Applier, Fanout, History},
    log::{Action, Clock, SanctionKind},
    metrics::{Levels, Metrics},
    net::Peer,
    protocol::{
        Author, ConnectionId, Event, Refusal, Seq, Topic,
        lasting::Lasting,
        name::{Name, NameKey, RoomName},
        secret::Secret,
        text::Text,
        who::Who,
    },
    store::StoreError,
};

/// How many batches a shard may be behind before it sends its subscribers to
/// the log instead.
const BATCHES: usize = 64;

/// What a hub is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many shards fan out.
    pub shards: usize,
    /// For how long a name may go without being used before it is nobody's own
    /// any more.
    pub name_expiry: Duration,
    /// How many connections there may be, and how fast each may speak.
    pub capacity: Capacity,
}

/// What sessions share.
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

struct Shared {
    entries: Entries,
    history: History,
    clock: Arc<Clock>,
    fanout: Fanout,
    registry: Registry,
    claims: Claims,
    metrics: Arc<Metrics>,
    /// The last commit failed.
    failing: Arc<AtomicBool>,
    finished: CancellationToken,
    delays: ReconnectDelays,
}

impl Hub {
    /// Starts the writer and the shards, each on a thread of its own. The chat
    /// goes on while the publisher returned, or one made from it, is alive.
    ///
    /// # Errors
    ///
    /// Fails if the settings cannot be stored or a thread cannot be started.
    pub fn start(
        applier: Applier<'static>,
        options: &Options,
        tasks: &TaskTracker,
    ) -> io::Result<(Hub, Publisher)> {
        let thread = |name: &str| std::thread::Builder::new().name(name.into());
        let (hub, publisher, work, shards) = Self::assemble(applier, options, tasks)?;
        thread("writer").spawn(|| work.run())?;
        for shard in shards {
            let (runtime, shard) = (Handle::current(), tasks.track_future(shard));
            thread("shard").spawn(move || runtime.block_on(shard))?;
        }
        Ok((hub, publisher))
    }

    /// The same with no threads: the shards are tasks, and the writer's work is
    /// left to the caller.
    ///
    /// # Errors
    ///
    /// Fails if the settings cannot be stored.
    pub fn prepare(
        applier: Applier<'static>,
        options: &Options,
        tasks: &TaskTracker,
    ) -> io::Result<(Hub, Publisher, Work<'static>)> {
        let (hub, publisher, work, shards) = Self::assemble(applier, options, tasks)?;
        for shard in shards {
            tasks.spawn(shard);
        }
        Ok((hub, publisher, work))
    }

    /// All parts, with the work of the writer and of each shard not begun.
    fn assemble(
        mut applier: Applier<'static>,
        options: &Options,
        tasks: &TaskTracker,
    ) -> io::Result<(
        Hub,
        Publisher,
        Work<'static>,
        Vec<impl Future<Output = ()> + Send + use<>>,
    )> {
        share_settings(&mut applier, options)?;
        let sanctions = applier.replica().sanctions().map_err(io::Error::other)?;
        let (history, clock) = (applier.history().clone(), Arc::clone(applier.clock()));
        let (publisher, inbox) = inbox::inbox();
        let (batches, _) = broadcast::channel(BATCHES);
        let metrics = Arc::<Metrics>::default();
        let (fanout, shards) = Fanout::prepare(&history, &batches, options.shards, &metrics);
        let finished = CancellationToken::new();
        let failing = Arc::<AtomicBool>::default();
        let registry = Registry::new(options.capacity, sanctions, Arc::clone(&clock));
        let work = Work::new(
            applier,
            Effects::new(registry.clone()),
            inbox,
            batches,
            Arc::clone(&metrics),
            Arc::clone(&failing),
            finished.clone().drop_guard(),
        );
        let entries = Entries::new(publisher.downgrade());
        let claims = Claims::new(
            registry.clone(),
            history.clone(),
            Arc::clone(&clock),
            entries.clone(),
            options.name_expiry,
        );
        let (announced, over) = (registry.clone(), finished.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = announcer::announce(&announced) => {}
                () = over.cancelled() => {}
            }
        });
        let shared = Arc::new(Shared {
            entries,
            history,
            clock,
            fanout,
            registry,
            claims,
            metrics,
            failing,
            finished,
            delays: ReconnectDelays::default(),
        });
        Ok((Hub { shared }, publisher, work, shards))
    }

    /// A way to the writer; `None` once the server goes away.
    pub fn publisher(&self) -> Option<Publisher> {
        self.shared.entries.publisher()
    }

    /// Has an entry ordered and applied that is no message; returns once that is
    /// durable.
    ///
    /// # Errors
    ///
    /// Refuses where nothing can be stored.
    pub async fn act(&self, connection: ConnectionId, action: Action) -> Result<Made, Refusal> {
        self.shared.entries.act(connection, action).await
    }

    /// The log.
    pub fn history(&self) -> &History {
        &self.shared.history
    }

    /// The shards.
    pub fn fanout(&self) -> &Fanout {
        &self.shared.fanout
    }

    /// Whether what is published now would be stored, as far as is known.
    pub fn is_ready(&self) -> bool {
        self.shared.entries.is_open() && !self.shared.failing.load(Ordering::Relaxed)
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// All that was counted, and how things stand, as `OpenMetrics` text.
    pub fn figures(&self) -> String {
        let registry = &self.shared.registry;
        let catching_up = registry.catching_up(self.history().head());
        self.shared.metrics.text(Levels {
            rooms: registry.rooms_in_use(),
            catching_up: catching_up.subscribers,
            behind: catching_up.behind,
            unsent: catching_up.kept,
            unindexed: self.history().store().unindexed(),
        })
    }

    /// Ends when the writer has: everything accepted is committed.
    pub async fn finished(&self) {
        self.shared.finished.cancelled().await;
    }

    /// How long the next client waits before it comes back after a drain.
    pub fn reconnect_delay(&self) -> Duration {
        let members = || self.shared.registry.members();
        self.shared.delays.next(members)
    }

    /// Gives a connection that was accepted its place.
    ///
    /// # Errors
    ///
    /// Fails if its prefix, or the server, has as many connections as it may have.
    pub fn register(&self, peer: Peer) -> Result<Registration, Full> {
        self.shared.registry.register(peer)
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.shared.registry.connections()
    }

    /// The rooms with people in them.
    pub fn rooms(&self) -> Event {
        self.shared.registry.listed_rooms()
    }

    /// How many people are in a room.
    pub fn people(&self, room: &RoomName) -> usize {
        self.shared.registry.people(room)
    }

    /// The people in a room by name; not all of them where they are many.
    pub fn members(&self, room: &RoomName) -> Event {
        self.shared.registry.named_people(room)
    }

    /// The topic of a room with members, once it was looked up.
    pub fn topic(&self, room: &RoomName) -> Option<Topic> {
        self.shared.registry.topic(room)
    }

    /// Looks up the topic of a room with members, unless that was done.
    ///
    /// # Errors
    ///
    /// Fails if the log cannot be read.
    pub async fn find_topic(&self, room: &RoomName) -> Result<(), StoreError> {
        topics::find(self.history().store(), &self.shared.registry, room).await
    }

    /// Sets the topic of a room, as asked on a connection.
    pub fn set_topic(
        &self,
        room: &RoomName,
        text: Text,
        by: &Author,
        origin: ConnectionId,
    ) -> impl Future<Output = Result<Topic, Refusal>> + use<> {
        topics::set(self.entries(), origin, room.clone(), text, by.to_string())
    }

    /// Redacts the message of a room under a number.
    pub fn redact(
        &self,
        by: &Author,
        origin: ConnectionId,
        room: &RoomName,
        seq: Seq,
    ) -> impl Future<Output = Result<(), Refusal>> + use<> {
        redaction::redact(self.entries(), origin, by.to_string(), room.clone(), seq)
    }

    /// Bans or mutes somebody.
    pub fn sanction(
        &self,
        by: &Author,
        origin: ConnectionId,
        kind: SanctionKind,
        who: &Who,
        lasts: Option<Lasting>,
        why: Option<Text>,
    ) -> impl Future<Output = Result<(), Refusal>> + use<> {
        let action = moderation::sanction(by, kind, who, lasts, why);
        let entries = self.entries();
        async move { entries.act(origin, action?).await.map(|_| ()) }
    }

    /// Lifts a ban or a mute.
    pub fn lift(
        &self,
        by: &Author,
        origin: ConnectionId,
        kind: SanctionKind,
        who: &Who,
    ) -> impl Future<Output = Result<(), Refusal>> + use<> {
        let action = moderation::lift(by, kind, who);
        let entries = self.entries();
        async move { entries.act(origin, action?).await.map(|_| ()) }
    }

    /// Ends the conversations of somebody; how many.
    pub fn kick(
        &self,
        by: &Author,
        origin: ConnectionId,
        who: &Who,
        why: Option<Text>,
    ) -> impl Future<Output = Result<usize, Refusal>> + use<> {
        let action = moderation::kick(by, who, why);
        let entries = self.entries();
        async move { entries.act(origin, action).await.map(|made| made.ended) }
    }

    fn entries(&self) -> Entries {
        self.shared.entries.clone()
    }

    /// Expires what is old, and what becomes so, if not all is kept; ends only
    /// when it is dropped.
    pub async fn expire(&self, keep: Keep) {
        let Shared {
            entries,
            history,
            clock,
            ..
        } = &*self.shared;
        retention::run(entries, history.store(), clock, keep).await;
    }

    /// Takes a name as one's own.
    pub fn claim(&self, claim: Claim) -> impl Future<Output = Result<Taken, Refusal>> + use<> {
        let claims = self.shared.claims.clone();
        async move { claims.claim(claim).await }
    }

    /// Has a connection use the name that it comes with, for as long as what is
    /// returned is kept.
    ///
    /// # Errors
    ///
    /// Refuses a name that somebody else owns or uses, and a wrong secret.
    pub async fn lease(
        &self,
        name: &Name,
        secret: Option<Secret>,
        peer: Peer,
    ) -> Result<Lease, Refusal> {
        self.shared.claims.lease(name, secret, peer).await
    }

    /// Refuses a name that nobody uses and nobody owns.
    pub fn reaches(&self, name: &Name) -> impl Future<Output = Result<(), Refusal>> + use<> {
        let (claims, name) = (self.shared.claims.clone(), name.clone());
        async move { claims.reaches(&name).await }
    }

    /// Notes that the owner of a name was shown every private message up to a
    /// number: not waited for, and left off where nothing can be written.
    pub fn note_shown(&self, key: &NameKey, upto: Seq) {
        self.shared.claims.note_shown(key, upto);
    }

    /// Notes now and then which names are in use; ends only when it is dropped.
    pub async fn note_names(&self) {
        self.shared.claims.note_use().await;
    }
}

/// Has the log hold the settings that replicas share.
fn share_settings(applier: &mut Applier<'_>, options: &Options) -> io::Result<()> {
    let expiry = u64::try_from(options.name_expiry.as_millis()).unwrap_or(u64::MAX);
    let standing = applier.replica().standing().map_err(io::Error::other)?;
    if standing.name_expiry_ms != expiry {
        let name_expiry_ms = expiry;
        let settings = applier.act(Action::Settings { name_expiry_ms });
        settings.map_err(io::Error::other)?;
    }
    Ok(())
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
