//! The inbox: what is on its way to the writer, in the order it came.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, Thread},
};

use tokio::{
    sync::{
        mpsc::{
            self,
            error::{SendError, TrySendError},
        },
        oneshot,
    },
    time::Instant,
};

use super::Receipt;
use crate::{
    fanout::Underway,
    log::{Action, Draft, Entry},
    protocol::{ConnectionId, name::MessageId},
    store::Outcome,
};

/// How many entries may wait for the writer; a further one waits in turn.
const MAX_WAITING: usize = 1024;

/// An entry on its way to the writer.
#[derive(Debug)]
pub struct Submission {
    pub(super) entry: Entry,
    /// The id of the message that its publisher said before it.
    pub(super) follows: Option<MessageId>,
    pub(super) asker: Asker,
    pub(super) arrived: Instant,
}

/// Where the outcome of an entry is told.
#[derive(Debug)]
pub(super) enum Asker {
    /// A publisher of messages.
    Publisher(Receipt),
    /// A task that waits for this one outcome.
    Task(oneshot::Sender<Made>),
    /// Nobody.
    Nobody,
}

/// What became of an entry that is no message.
#[derive(Debug)]
pub struct Made {
    /// In the store.
    pub outcome: Outcome,
    /// How many connections it ended.
    pub ended: usize,
}

impl Submission {
    /// A message that came just now, the message that its publisher said before
    /// it, and its receipt.
    pub fn message(draft: Draft, follows: Option<MessageId>, receipt: Receipt) -> Self {
        let connection = receipt.connection();
        let action = Action::Message(draft);
        Submission {
            follows,
            ..Self::new(connection, action, Asker::Publisher(receipt))
        }
    }

    /// Any other entry, and where its outcome arrives.
    pub(super) fn action(
        connection: ConnectionId,
        action: Action,
    ) -> (Self, oneshot::Receiver<Made>) {
        let (tell, told) = oneshot::channel();
        (Self::new(connection, action, Asker::Task(tell)), told)
    }

    /// An entry whose outcome nobody waits for.
    pub(super) fn unattended(action: Action) -> Self {
        Self::new(ConnectionId::SERVER, action, Asker::Nobody)
    }

    fn new(connection: ConnectionId, action: Action, asker: Asker) -> Self {
        Submission {
            entry: Entry { connection, action },
            follows: None,
            asker,
            arrived: Instant::now(),
        }
    }
}

/// An inbox, and the way into it.
pub(super) fn inbox() -> (Publisher, Inbox) {
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    let awaited = Arc::<Awaited>::default();
    let publisher = Publisher {
        sender,
        awaited: Arc::clone(&awaited),
    };
    (publisher, Inbox { receiver, awaited })
}

/// For how many the writer waits, while it does.
struct Awaited {
    count: AtomicUsize,
    writer: OnceLock<Thread>,
}

/// More than there can ever be: nobody waits.
const NOBODY: usize = usize::MAX;

impl Default for Awaited {
    fn default() -> Self {
        Awaited {
            count: AtomicUsize::new(NOBODY),
            writer: OnceLock::new(),
        }
    }
}

/// Leads to the writer. When the last one is dropped, the writer stores what
/// waits and ends.
#[derive(Clone)]
pub struct Publisher {
    sender: mpsc::Sender<Submission>,
    awaited: Arc<Awaited>,
}

impl Publisher {
    /// Hands it on where there is room for it.
    #[allow(clippy::result_large_err)] // what is handed on is given back
    pub fn try_send(&self, submission: Submission) -> Result<(), TrySendError<Submission>> {
        self.sender.try_send(submission)?;
        self.wake();
        Ok(())
    }

    /// Hands it on, once there is room for it.
    pub async fn send(&self, submission: Submission) -> Result<(), SendError<Submission>> {
        self.sender.send(submission).await?;
        self.wake();
        Ok(())
    }

    /// The way in for somebody who keeps no writer from ending.
    pub(super) fn downgrade(&self) -> WeakPublisher {
        WeakPublisher {
            sender: self.sender.downgrade(),
            awaited: Arc::clone(&self.awaited),
        }
    }

    /// Wakes the writer where it waits for no more than there are; once is enough.
    /// Where the two look past each other, it waits for the end of the fan-out.
    fn wake(&self) {
        let waiting = self.sender.max_capacity() - self.sender.capacity();
        if waiting >= self.awaited.count.load(Ordering::SeqCst)
            && self.awaited.count.swap(NOBODY, Ordering::SeqCst) != NOBODY
            && let Some(writer) = self.awaited.writer.get()
        {
            writer.unpark();
        }
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").finish_non_exhaustive()
    }
}

/// A publisher, while there are others.
pub(super) struct WeakPublisher {
    sender: mpsc::WeakSender<Submission>,
    awaited: Arc<Awaited>,
}

impl WeakPublisher {
    pub(super) fn upgrade(&self) -> Option<Publisher> {
        Some(Publisher {
            sender: self.sender.upgrade()?,
            awaited: Arc::clone(&self.awaited),
        })
    }

    /// Whether there is a publisher.
    pub(super) fn is_open(&self) -> bool {
        self.sender.strong_count() > 0
    }
}

/// The writer's end.
pub(super) struct Inbox {
    receiver: mpsc::Receiver<Submission>,
    awaited: Arc<Awaited>,
}

impl Inbox {
    /// What came first; `None` once every publisher is gone. Blocks.
    pub(super) fn blocking_recv(&mut self) -> Option<Submission> {
        self.receiver.blocking_recv()
    }

    /// The same, for a task.
    pub(super) async fn recv(&mut self) -> Option<Submission> {
        self.receiver.recv().await
    }

    /// What came first, if something did.
    pub(super) fn try_recv(&mut self) -> Option<Submission> {
        self.receiver.try_recv().ok()
    }

    /// How many wait here, those that are just being handed on included.
    pub(super) fn len(&self) -> usize {
        self.receiver.max_capacity() - self.receiver.capacity()
    }

    /// Blocks until so many wait here, or as many as can, or a fan-out is through,
    /// or until then. For one thread, always the same.
    pub(super) fn wait(&self, count: usize, underway: &Underway, until: Instant) {
        let count = count.min(MAX_WAITING);
        self.awaited.writer.get_or_init(thread::current);
        underway.wait(until, || {
            // Again each time: whoever woke this thread may have looked before.
            self.awaited.count.store(count, Ordering::SeqCst);
            self.len() >= count
        });
        self.awaited.count.store(NOBODY, Ordering::SeqCst);
    }
}
