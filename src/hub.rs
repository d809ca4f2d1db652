//! The one path in: inbox, writer, broadcast; and who is in which room.
//!
//! Everything published passes the inbox in the order it came, is stored by the
//! one writer together with whatever waits behind it, and goes to the shards
//! through a broadcast channel. Knows neither sockets nor HTTP.

mod presence;
mod receipts;
mod writer;

use std::{fmt, io, sync::Arc};

use tokio::sync::{broadcast, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::presence::Presence;
pub use self::{
    presence::Membership,
    receipts::{Receipt, Receipts, Reply, Wanted},
    writer::Work,
};
use crate::{
    fanout::Fanout,
    history::{Draft, History, Writer},
    protocol::{Author, name::RoomName},
};

/// How many drafts may wait for the writer; who comes then waits in turn.
const INBOX: usize = 1024;

/// How many batches a shard may be behind before it sends its subscribers to
/// the log instead.
const BATCHES: usize = 64;

/// A draft on its way to the writer.
#[derive(Debug)]
pub struct Submission {
    /// What to store.
    pub draft: Draft,
    /// How its publisher hears of it.
    pub receipt: Receipt,
}

/// Leads to the writer. When the last one is dropped, the writer stores what
/// waits and ends.
pub type Publisher = mpsc::Sender<Submission>;

/// What sessions share.
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

struct Shared {
    /// Weak, so that the hub itself keeps nobody from ending.
    inbox: mpsc::WeakSender<Submission>,
    history: History,
    fanout: Fanout,
    presence: Arc<Presence>,
    finished: CancellationToken,
}

impl Hub {
    /// Starts the writer on a thread of its own, and the shards. The chat goes
    /// on while the publisher returned, or one made from it, is alive.
    pub fn start(
        writer: Writer,
        history: History,
        shards: usize,
        tasks: &TaskTracker,
    ) -> io::Result<(Hub, Publisher)> {
        let (hub, publisher, work) = Self::prepare(writer, history, shards, tasks);
        std::thread::Builder::new()
            .name("writer".into())
            .spawn(|| work.run())?;
        Ok((hub, publisher))
    }

    /// The same, with the writer's work left to the caller.
    pub fn prepare(
        writer: Writer,
        history: History,
        shards: usize,
        tasks: &TaskTracker,
    ) -> (Hub, Publisher, Work) {
        let (publisher, inbox) = mpsc::channel(INBOX);
        let (batches, _) = broadcast::channel(BATCHES);
        let fanout = Fanout::start(&history, &batches, shards, tasks);
        let finished = CancellationToken::new();
        let work = Work {
            writer,
            inbox,
            failing: false,
            _finished: finished.clone().drop_guard(),
            batches,
        };
        let inbox = publisher.downgrade();
        let presence = Arc::default();
        let shared = Arc::new(Shared {
            inbox,
            history,
            fanout,
            presence,
            finished,
        });
        (Hub { shared }, publisher, work)
    }

    /// A way to the writer; `None` once the server goes away.
    pub fn publisher(&self) -> Option<Publisher> {
        self.shared.inbox.upgrade()
    }

    /// The log.
    pub fn history(&self) -> &History {
        &self.shared.history
    }

    /// The shards.
    pub fn fanout(&self) -> &Fanout {
        &self.shared.fanout
    }

    /// Ends when the writer has: everything accepted is committed.
    pub async fn finished(&self) {
        self.shared.finished.cancelled().await;
    }

    /// Enters a room; dropping the membership leaves it.
    pub fn enter(&self, room: RoomName, member: Author) -> Membership {
        Presence::enter(&self.shared.presence, room, member)
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}
