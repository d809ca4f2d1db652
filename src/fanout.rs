//! Fan-out: delivers each committed batch to the sockets of its readers.
//!
//! A few shards hold the live subscribers. Each shard writes them the committed
//! batches, already encoded. A subscriber that is not live is catching up: its
//! own session feeds it from the history at the pace of its socket. Every
//! subscriber starts by catching up. A live subscriber whose socket is full
//! goes back to catching up. So no reader waits for a slow one, and at most the
//! rest of one frame is kept in memory for a slow reader.
//!
//! This module knows positions and frames, not what a message says.

mod applier;
mod ephemeral;
mod feed_page;
mod handle;
mod history;
mod history_page;
mod in_flight;
#[cfg(test)]
mod interleavings;
mod mailbox;
mod merged_page;
mod outlet;
mod room_batch;
mod room_batches;
mod shard;
mod socket;
mod subscriber;
mod tail;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::broadcast;

pub use self::{
    applier::{AppliedBatch, Applier, ApplyError},
    ephemeral::Ephemeral,
    feed_page::FeedPage,
    handle::{DeliveryFigures, Handle, tell_redaction},
    history::History,
    history_page::{HistoryPage, PageQuery},
    in_flight::{FanOutProgress, InFlightBatch},
    room_batch::{Block, MessageBatch, RoomBatch},
    socket::Socket,
    subscriber::{DeliveryError, Subscriber},
};
use self::{mailbox::Mailbox, outlet::Outlet, shard::Shard};
use crate::{
    metrics::Metrics,
    protocol::{ConnectionId, format::Format},
};

/// The shards. New subscribers are assigned to them in turn.
#[derive(Debug)]
pub struct Fanout {
    history: History,
    mailboxes: Vec<Arc<Mailbox>>,
    next: AtomicUsize,
    metrics: Arc<Metrics>,
}

impl Fanout {
    /// Creates the fan-out and the futures in which its shards work; at least
    /// one shard. The caller runs each future on a thread or in a task. A
    /// future ends when `batches` is closed.
    pub fn prepare(
        history: &History,
        batches: &broadcast::Sender<InFlightBatch>,
        shards: usize,
        metrics: &Arc<Metrics>,
    ) -> (Self, Vec<impl Future<Output = ()> + Send + use<>>) {
        let (mailboxes, work) = (0..shards.max(1))
            .map(|_| {
                let mailbox = Arc::new(Mailbox::default());
                let shard = Shard::new(Arc::clone(&mailbox), Arc::clone(metrics));
                // A shard that has used up tokio's budget of operations would
                // see every socket as full. A shard's writes need no such
                // budget.
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

    /// Creates the subscriber of a connection from its write half. It follows
    /// no room yet. Without `echo`, messages sent on that connection from now
    /// on are not delivered to it.
    pub fn subscribe(
        &self,
        socket: Socket,
        format: Format,
        origin: ConnectionId,
        echo: bool,
    ) -> Subscriber {
        let place = self.next.fetch_add(1, Ordering::Relaxed) % self.mailboxes.len();
        let mailbox = Arc::clone(&self.mailboxes[place]);
        let skip_own_after = (!echo).then(|| self.history.head());
        let outlet = Outlet::new(socket, format, origin, skip_own_after);
        let metrics = Arc::clone(&self.metrics);
        Subscriber::new(self.history.clone(), mailbox, outlet, metrics)
    }
}
