//! The one path in: inbox, writer, broadcast; and who is in which room.
//!
//! Everything published passes the inbox in the order it came, is stored by the
//! one writer together with whatever waits behind it, and goes to the shards
//! through a broadcast channel. Knows neither sockets nor HTTP.

mod attendance;
mod comeback;
mod deferred;
mod erasure;
mod inbox;
mod measures;
mod names;
mod order;
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

use tokio::{runtime::Handle, sync::broadcast};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    attendance::Attendance, comeback::Comeback, inbox::WeakPublisher, names::Names,
    presence::Presence,
};
pub use self::{
    attendance::Seat,
    deferred::Deferred,
    inbox::{Publisher, Submission},
    names::{Carried, Claim, Taken},
    order::Order,
    presence::Membership,
    receipts::{Receipt, Receipts, Reply, Wanted},
    writer::Work,
};
use crate::{
    fanout::{Fanout, Subscriber},
    history::{Changing, History, StoreError, Writer},
    metrics::{Levels, Metrics},
    protocol::{Author, Event, Refusal, RefusalCode, Topic, name::RoomName, text::Text},
};

/// How many batches a shard may be behind before it sends its subscribers to
/// the log instead.
const BATCHES: usize = 64;

/// How long to wait when the log cannot be written.
const BUSY_RETRY_MS: u64 = 1000;

/// What a hub is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many shards fan out.
    pub shards: usize,
    /// For how long a name may go without being carried before it is nobody's
    /// own any more.
    pub name_expiry: Duration,
}

/// What sessions share.
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

struct Shared {
    /// Weak, so that the hub itself keeps nobody from ending.
    inbox: WeakPublisher,
    history: History,
    fanout: Fanout,
    presence: Arc<Presence>,
    names: Arc<Names>,
    attendance: Arc<Attendance>,
    metrics: Arc<Metrics>,
    /// The last commit failed.
    failing: Arc<AtomicBool>,
    finished: CancellationToken,
    comeback: Comeback,
}

impl Hub {
    /// Starts the writer and the shards, each on a thread of its own. The chat
    /// goes on while the publisher returned, or one made from it, is alive.
    pub fn start(
        writer: Writer,
        history: History,
        options: &Options,
        tasks: &TaskTracker,
    ) -> io::Result<(Hub, Publisher)> {
        let thread = |name: &str| std::thread::Builder::new().name(name.into());
        let (hub, publisher, work, shards) = Self::assemble(writer, history, options, tasks);
        thread("writer").spawn(|| work.run())?;
        for shard in shards {
            let (runtime, shard) = (Handle::current(), tasks.track_future(shard));
            thread("shard").spawn(move || runtime.block_on(shard))?;
        }
        Ok((hub, publisher))
    }

    /// The same with no threads: the shards are tasks, and the writer's work is
    /// left to the caller.
    pub fn prepare(
        writer: Writer,
        history: History,
        options: &Options,
        tasks: &TaskTracker,
    ) -> (Hub, Publisher, Work<'static>) {
        let (hub, publisher, work, shards) = Self::assemble(writer, history, options, tasks);
        for shard in shards {
            tasks.spawn(shard);
        }
        (hub, publisher, work)
    }

    /// All parts, with the work of the writer and of each shard not begun.
    fn assemble(
        mut writer: Writer,
        history: History,
        options: &Options,
        tasks: &TaskTracker,
    ) -> (
        Hub,
        Publisher,
        Work<'static>,
        Vec<impl Future<Output = ()> + Send + use<>>,
    ) {
        let (publisher, inbox) = inbox::inbox();
        let (batches, _) = broadcast::channel(BATCHES);
        let metrics = Arc::<Metrics>::default();
        let (fanout, shards) = Fanout::prepare(&history, &batches, options.shards, &metrics);
        let finished = CancellationToken::new();
        let failing = Arc::<AtomicBool>::default();
        let attendance = Arc::new(Attendance::new(writer.take_measures()));
        let work = Work::new(
            writer,
            inbox,
            batches,
            Arc::clone(&metrics),
            Arc::clone(&failing),
            finished.clone().drop_guard(),
        );
        let inbox = publisher.downgrade();
        let names = Arc::new(Names::new(options.name_expiry));
        let presence = Arc::<Presence>::default();
        let (herald, over) = (Arc::clone(&presence), finished.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = herald.herald() => {}
                () = over.cancelled() => {}
            }
        });
        let shared = Arc::new(Shared {
            inbox,
            history,
            fanout,
            presence,
            names,
            attendance,
            metrics,
            failing,
            finished,
            comeback: Comeback::default(),
        });
        (Hub { shared }, publisher, work, shards)
    }

    /// A way to the writer; `None` once the server goes away.
    pub fn publisher(&self) -> Option<Publisher> {
        self.shared.inbox.upgrade()
    }

    /// Has the writer change something beside the messages, in one transaction,
    /// in order with what is said; returns once that is on disk. Refused where
    /// the log cannot be written.
    pub async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Changing<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.change_then(change, |_| {}).await
    }

    /// The same; the writer does the second once the first is on disk, before
    /// any change that comes after it.
    async fn change_then<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Changing<'_>) -> Result<T, StoreError> + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, Refusal> {
        let busy = || Refusal {
            retry_ms: Some(BUSY_RETRY_MS),
            ..Refusal::new(
                RefusalCode::Busy,
                "Nothing can be stored just now; ask again in a while.",
            )
        };
        let publisher = self.publisher().ok_or_else(busy)?;
        let (order, told) = Order::new(change, then);
        let sent = publisher.send(Submission::Change(order)).await;
        // While it waits, the writer may end.
        drop(publisher);
        sent.map_err(|_| busy())?;
        told.await.map_err(|_| busy())
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
        self.shared.inbox.is_open() && !self.shared.failing.load(Ordering::Relaxed)
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// All that was counted, and how things stand, as `OpenMetrics` text.
    pub fn figures(&self) -> String {
        let catching_up = self.shared.fanout.catching_up();
        self.shared.metrics.text(Levels {
            rooms: self.shared.presence.rooms_in_use(),
            catching_up: catching_up.subscribers,
            behind: catching_up.behind,
            unsent: catching_up.kept,
            unindexed: self.shared.history.unindexed(),
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

    /// Says what the member's room is about from now on, and to its others that
    /// it does.
    pub fn set_topic(
        &self,
        membership: &Membership,
        text: Text,
        by: &Author,
    ) -> impl Future<Output = Result<Topic, Refusal>> + use<> {
        let hub = self.clone();
        let (room, number, by) = (
            membership.room().clone(),
            membership.number(),
            by.to_string(),
        );
        async move {
            let (presence, place) = (Arc::clone(&hub.shared.presence), room.clone());
            let then = move |topic: &Topic| presence.topic_changed(&place, topic, number);
            let change = move |log: &mut Changing<'_>| log.set_topic(&room, text, by);
            hub.change_then(change, then).await
        }
    }

    /// Looks up what the member's room is about: once while somebody is in it.
    pub async fn find_topic(&self, membership: &Membership) -> Result<(), StoreError> {
        if membership.topic().is_none() {
            let found = self.history().topic(membership.room()).await?;
            membership.found_topic(&found);
        }
        Ok(())
    }

    /// Which rooms somebody is in.
    pub fn rooms(&self) -> Event {
        self.shared.presence.listed()
    }

    /// Enters a room; dropping the membership leaves it. The subscriber will
    /// hear of others who come and go.
    pub fn enter(&self, room: RoomName, member: Author, subscriber: &Subscriber) -> Membership {
        Presence::enter(&self.shared.presence, room, member, subscriber.aside())
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        history::{self, Storage},
        protocol::name::Name,
    };

    #[tokio::test]
    async fn a_change_that_fails_changes_nothing() {
        let (writer, history) = history::open(&Storage::Memory, "a test").expect("a log");
        let options = Options {
            shards: 1,
            name_expiry: Duration::MAX,
        };
        let tasks = TaskTracker::new();
        let (hub, _publisher) = Hub::start(writer, history, &options, &tasks).expect("a hub");
        let own = |succeeds| {
            hub.change(move |log| {
                let ana = "ana".parse().expect("a name");
                log.own(
                    &ana,
                    &"0123456789abcdef".parse().expect("a secret"),
                    [7; 16],
                )?;
                if succeeds {
                    Ok(())
                } else {
                    Err(StoreError::stopped())
                }
            })
        };
        let key = "ana".parse::<Name>().expect("a name").key();
        let refused = own(false).await.expect_err("refused");
        assert_eq!(refused.code, RefusalCode::Busy);
        assert!(hub.history().owned(&key).await.expect("readable").is_none());
        // Who ordered it may hear of it a moment before the hub does.
        let known = async {
            while hub.is_ready() {
                tokio::task::yield_now().await;
            }
        };
        let known = tokio::time::timeout(Duration::from_secs(60), known).await;
        known.expect("not ready");
        own(true).await.expect("made");
        assert!(hub.history().owned(&key).await.expect("readable").is_some());
        assert!(hub.is_ready());
    }
}
