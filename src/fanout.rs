//! Fan-out: one batch in, many sockets out.
//!
//! A few shards hold the subscribers that are live and write them what the
//! writer committed, already encoded. A subscriber that is not live is catching
//! up: its own session feeds it from the log at the pace of its socket. Everyone
//! starts by catching up, and whoever's socket is full goes back to it; so
//! nobody waits for the slow, and nothing is kept for them.
//!
//! Knows positions and frames, not what a message says.

mod applier;
mod ephemeral;
mod excerpt;
mod fresh;
mod handle;
mod history;
#[cfg(test)]
mod interleavings;
mod mailbox;
mod outlet;
mod page;
mod reading;
mod run;
mod shard;
mod socket;
mod stretch;
mod subscriber;
mod tail;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::broadcast;

pub use self::{
    applier::{Applier, Committed, NotApplied},
    ephemeral::Ephemeral,
    excerpt::{Excerpt, Span},
    fresh::{Fresh, Underway},
    handle::{CatchingUp, Handle, redacted},
    history::History,
    page::Page,
    run::{Batch, Block, Run},
    socket::Socket,
    subscriber::{Subscriber, Undelivered},
};
use self::{mailbox::Mailbox, outlet::Outlet, shard::Shard};
use crate::{
    metrics::Metrics,
    protocol::{ConnectionId, format::Format},
};

/// The shards, and where the next subscriber goes.
#[derive(Debug)]
pub struct Fanout {
    history: History,
    mailboxes: Vec<Arc<Mailbox>>,
    next: AtomicUsize,
    metrics: Arc<Metrics>,
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
        let (mailboxes, work) = (0..shards.max(1))
            .map(|_| {
                let mailbox = Arc::new(Mailbox::default());
                let shard = Shard::new(Arc::clone(&mailbox), Arc::clone(metrics));
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
        };
        (fanout, work)
    }

    /// Takes the write half of a connection. It follows no room yet. Without
    /// `echo`, what is said on that connection from now on is not delivered to it.
    pub fn subscribe(
        &self,
        socket: Socket,
        format: Format,
        origin: ConnectionId,
        echo: bool,
    ) -> Subscriber {
        let place = self.next.fetch_add(1, Ordering::Relaxed) % self.mailboxes.len();
        let mailbox = Arc::clone(&self.mailboxes[place]);
        let skip = (!echo).then(|| self.history.head());
        let outlet = Outlet::new(socket, format, origin, skip);
        let metrics = Arc::clone(&self.metrics);
        Subscriber::new(self.history.clone(), mailbox, outlet, metrics)
    }
}
