//! The one path in: inbox, writer, broadcast; and who is in which room.
//!
//! Everything published passes the inbox in the order it came, is stored by the
//! one writer together with whatever waits behind it, and goes to the shards
//! through a broadcast channel. Knows neither sockets nor HTTP.

mod comeback;
mod deferred;
mod presence;
mod receipts;
mod writer;

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{broadcast, mpsc},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{comeback::Comeback, presence::Presence};
pub use self::{
    deferred::Deferred,
    presence::Membership,
    receipts::{Receipt, Receipts, Reply, Wanted},
    writer::Work,
};
use crate::{
    fanout::Fanout,
    history::{Draft, History, Writer},
    metrics::{Levels, Metrics},
    protocol::{
        Author,
        name::{MessageId, RoomName},
    },
};

/// How many drafts may wait for the writer; who comes then waits in turn.
const INBOX: usize = 1024;

/// How many batches a shard may be behind before it sends its subscribers to
/// the log instead.
const BATCHES: usize = 64;

/// A draft on its way to the writer.
#[derive(Debug)]
pub struct Submission {
    draft: Draft,
    follows: Option<MessageId>,
    receipt: Receipt,
    arrived: Instant,
}

impl Submission {
    /// A draft that came just now, the message its publisher said before it, and
    /// how it hears what became of it.
    pub fn new(draft: Draft, follows: Option<MessageId>, receipt: Receipt) -> Self {
        Submission {
            draft,
            follows,
            receipt,
            arrived: Instant::now(),
        }
    }
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
    metrics: Arc<Metrics>,
    /// The last commit failed.
    failing: Arc<AtomicBool>,
    finished: CancellationToken,
    comeback: Comeback,
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
        mut writer: Writer,
        history: History,
        shards: usize,
        tasks: &TaskTracker,
    ) -> (Hub, Publisher, Work<'static>) {
        let (publisher, inbox) = mpsc::channel(INBOX);
        let (batches, _) = broadcast::channel(BATCHES);
        let metrics = Arc::<Metrics>::default();
        let fanout = Fanout::start(&history, &batches, shards, &metrics, tasks);
        let finished = CancellationToken::new();
        let failing = Arc::<AtomicBool>::default();
        let work = Work::new(
            move |drafts| writer.append(drafts).map_err(Into::into),
            inbox,
            batches,
            Arc::clone(&metrics),
            Arc::clone(&failing),
            finished.clone().drop_guard(),
        );
        let inbox = publisher.downgrade();
        let presence = Arc::default();
        let shared = Arc::new(Shared {
            inbox,
            history,
            fanout,
            presence,
            metrics,
            failing,
            finished,
            comeback: Comeback::default(),
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

    /// Whether what is published now would be stored, as far as is known.
    pub fn is_ready(&self) -> bool {
        self.shared.inbox.strong_count() > 0 && !self.shared.failing.load(Ordering::Relaxed)
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// All that was counted, and how things stand, as `OpenMetrics` text.
    pub fn figures(&self) -> String {
        let (catching_up, behind) = self.shared.fanout.catching_up();
        self.shared.metrics.text(Levels {
            rooms: self.shared.presence.rooms_in_use(),
            catching_up,
            behind,
        })
    }

    /// Ends when the writer has: everything accepted is committed.
    pub async fn finished(&self) {
        self.shared.finished.cancelled().await;
    }

    /// When the next one who is sent away may come back.
    pub fn comeback(&self) -> Duration {
        let members = || self.shared.presence.total();
        self.shared.comeback.next(members)
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
