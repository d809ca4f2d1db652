//! Fan-out: one batch in, many sockets out.
//!
//! A few shards hold the subscribers that are live and write them what the
//! writer committed, already encoded. A subscriber that is not live is catching
//! up: its own session feeds it from the log at the pace of its socket. Everyone
//! starts by catching up, and whoever's socket is full goes back to it; so
//! nobody waits for the slow, and nothing is kept for them.
//!
//! Knows positions and frames, not what a message says.

mod aside;
mod directory;
#[cfg(test)]
mod interleavings;
mod outlet;
mod reading;
mod shard;
mod socket;
mod stretch;
mod subscriber;
mod waiting;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, Thread},
};

use tokio::{sync::broadcast, time::Instant};

pub use self::{
    aside::{Aside, Saying},
    socket::Socket,
    subscriber::{Subscriber, Undelivered},
};
use self::{
    directory::Directory,
    outlet::Outlet,
    shard::{Mailbox, Shard},
};
use crate::{
    history::{Batch, History},
    metrics::Metrics,
    protocol::{Seq, format::Format, name::RoomName},
};

/// A batch on its way to the shards.
#[derive(Clone, Debug)]
pub struct Fresh {
    /// What was committed.
    pub batch: Arc<Batch>,
    /// When the first of it came.
    pub arrived: Instant,
    /// Dropped by each shard that is through with it.
    #[expect(dead_code)]
    through: Arc<Through>,
}

/// Wakes the writer when the last shard is through. (A channel would, while it
/// holds the lock that whoever wakes up takes first.)
#[derive(Debug)]
struct Through(Thread);

impl Drop for Through {
    fn drop(&mut self) {
        self.0.unpark();
    }
}

/// Tells when every shard is through with a batch.
#[derive(Debug)]
pub struct Underway(Weak<Through>);

impl Fresh {
    /// What was committed, the first of which came at a time; and, for the thread
    /// that calls this, what it can wait for.
    pub fn new(batch: Arc<Batch>, arrived: Instant) -> (Self, Underway) {
        let through = Arc::new(Through(thread::current()));
        let underway = Underway(Arc::downgrade(&through));
        let fresh = Fresh {
            batch,
            arrived,
            through,
        };
        (fresh, underway)
    }
}

impl Underway {
    /// Whether every shard is through with it.
    pub fn is_over(&self) -> bool {
        self.0.strong_count() == 0
    }

    /// Blocks until every shard is through with it, or enough of something else
    /// has come, or until then. Whoever brings that unparks this thread.
    pub fn wait(&self, until: Instant, enough: impl Fn() -> bool) {
        while !self.is_over() && !enough() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::park_timeout(left);
        }
    }
}

/// How those stand who are not live, and what is kept for all.
#[derive(Clone, Copy, Debug, Default)]
pub struct CatchingUp {
    /// How many they are.
    pub subscribers: usize,
    /// How many numbers of the log the last of them is behind.
    pub behind: u64,
    /// How many bytes are kept in memory until sockets take them, also of those
    /// who are live.
    pub kept: usize,
}

/// The shards, and where the next subscriber goes.
#[derive(Debug)]
pub struct Fanout {
    history: History,
    mailboxes: Vec<Arc<Mailbox>>,
    next: AtomicUsize,
    metrics: Arc<Metrics>,
    /// All subscribers, by a number of their own.
    subscribers: Arc<Directory>,
}

impl Fanout {
    /// So many shards, and the work of each, to be done by whoever lends it a
    /// thread, or a task; it ends when `batches` does.
    pub fn prepare(
        history: &History,
        batches: &broadcast::Sender<Fresh>,
        shards: usize,
        metrics: &Arc<Metrics>,
    ) -> (Self, Vec<impl Future<Output = ()> + Send + use<>>) {
        let subscribers = Arc::<Directory>::default();
        let (mailboxes, work) = (0..shards.max(1))
            .map(|_| {
                let mailbox = Arc::new(Mailbox::default());
                let shard = Shard::new(
                    Arc::clone(&mailbox),
                    Arc::clone(metrics),
                    Arc::clone(&subscribers),
                );
                // A shard's writes are not what tokio's budget of operations is
                // for: at its end a socket would look full.
                let work = tokio::task::coop::unconstrained(shard.run(batches.subscribe()));
                (mailbox, work)
            })
            .unzip();
        let fanout = Fanout {
            history: history.clone(),
            mailboxes,
            next: AtomicUsize::new(0),
            metrics: Arc::clone(metrics),
            subscribers,
        };
        (fanout, work)
    }

    /// Takes the write half of a connection from an address. It follows no room
    /// yet. Without `echo`, what that address publishes from now on is not
    /// delivered to it.
    pub fn subscribe(
        &self,
        socket: Socket,
        format: Format,
        addr: SocketAddr,
        echo: bool,
    ) -> Subscriber {
        let place = self.next.fetch_add(1, Ordering::Relaxed) % self.mailboxes.len();
        let mailbox = Arc::clone(&self.mailboxes[place]);
        let skip = (!echo).then(|| self.history.head());
        let outlet = Outlet::new(socket, format, addr, skip);
        let metrics = Arc::clone(&self.metrics);
        Subscriber::new(
            self.history.clone(),
            mailbox,
            outlet,
            metrics,
            &self.subscribers,
        )
    }

    /// What was said in a room under a number is erased, from the log and from
    /// its tail: whoever was shown it is told so, and whoever was not is shown
    /// it no more.
    ///
    /// A message that is on its way in a batch, or in what a session has read,
    /// is what it was: so whoever has not come so far reads the log anew.
    pub fn erased(&self, room: &RoomName, seq: Seq) {
        self.subscribers.erased(room, seq);
    }

    /// How those stand who are not live, and what is kept for all.
    pub fn catching_up(&self) -> CatchingUp {
        self.subscribers.catching_up(self.history.head())
    }
}
