//! The queue of entries for the writer, in the order of their arrival.

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
    fanout::FanOutProgress,
    log::{Action, Draft, Entry},
    protocol::ConnectionId,
    store::Outcome,
};

/// How many entries may wait for the writer. The sender of a further one waits
/// for room.
const MAX_WAITING: usize = 1024;

/// An entry on its way to the writer.
#[derive(Debug)]
pub struct Submission {
    pub(super) entry: Entry,
    pub(super) receiver: OutcomeReceiver,
    pub(super) arrived: Instant,
}

/// The recipient of an entry's outcome.
#[derive(Debug)]
pub(super) enum OutcomeReceiver {
    /// A publisher of messages, by the draft's receipt.
    Publisher(Receipt),
    /// A task that waits for this outcome alone.
    Task(oneshot::Sender<ActionResult>),
    /// No recipient.
    Nobody,
}

/// The result of an entry that is not a message.
#[derive(Debug)]
pub struct ActionResult {
    /// Its outcome in the store.
    pub outcome: Outcome,
    /// How many conversations it ended.
    pub ended: usize,
}

impl Submission {
    /// Submits a message that arrives now, with its receipt.
    pub fn message(draft: Draft, receipt: Receipt) -> Self {
        let connection = receipt.connection();
        let action = Action::Message(draft);
        Self::new(connection, action, OutcomeReceiver::Publisher(receipt))
    }

    /// Submits any other entry. The receiver gets its result.
    pub(super) fn action(
        connection: ConnectionId,
        action: Action,
    ) -> (Self, oneshot::Receiver<ActionResult>) {
        let (tell, told) = oneshot::channel();
        (
            Self::new(connection, action, OutcomeReceiver::Task(tell)),
            told,
        )
    }

    /// Submits an entry of the server whose outcome no task waits for.
    pub(super) fn unattended(action: Action) -> Self {
        Self::new(ConnectionId::SERVER, action, OutcomeReceiver::Nobody)
    }

    fn new(connection: ConnectionId, action: Action, receiver: OutcomeReceiver) -> Self {
        Submission {
            entry: Entry { connection, action },
            receiver,
            arrived: Instant::now(),
        }
    }
}

/// Makes the queue and its first submitter.
pub(super) fn queue() -> (Submitter, Submissions) {
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    let wake_up = Arc::<WakeUp>::default();
    let submitter = Submitter {
        sender,
        wake_up: Arc::clone(&wake_up),
    };
    (submitter, Submissions { receiver, wake_up })
}

/// The number of waiting entries that wakes the writer while it waits for a
/// fan-out.
struct WakeUp {
    count: AtomicUsize,
    writer: OnceLock<Thread>,
}

/// More entries than can ever wait: the writer is not waiting.
const NOT_WAITING: usize = usize::MAX;

impl Default for WakeUp {
    fn default() -> Self {
        WakeUp {
            count: AtomicUsize::new(NOT_WAITING),
            writer: OnceLock::new(),
        }
    }
}

/// Submits entries to the writer. When the last submitter is dropped, the
/// writer stores the waiting entries and ends.
#[derive(Clone)]
pub struct Submitter {
    sender: mpsc::Sender<Submission>,
    wake_up: Arc<WakeUp>,
}

impl Submitter {
    /// Submits an entry if the queue has room.
    ///
    /// # Errors
    ///
    /// Gives the submission back if the queue is full or the writer has ended.
    #[allow(clippy::result_large_err)] // the submission is given back
    pub fn try_send(&self, submission: Submission) -> Result<(), TrySendError<Submission>> {
        self.sender.try_send(submission)?;
        self.wake();
        Ok(())
    }

    /// Submits an entry once the queue has room.
    ///
    /// # Errors
    ///
    /// Gives the submission back if the writer has ended.
    pub async fn send(&self, submission: Submission) -> Result<(), SendError<Submission>> {
        self.sender.send(submission).await?;
        self.wake();
        Ok(())
    }

    /// A publisher that does not keep the writer running.
    pub(super) fn downgrade(&self) -> WeakSubmitter {
        WeakSubmitter {
            sender: self.sender.downgrade(),
            wake_up: Arc::clone(&self.wake_up),
        }
    }

    /// Wakes the writer, once, if as many entries wait as it waits for. If the
    /// two miss each other in a race, the writer waits for the end of the
    /// fan-out.
    fn wake(&self) {
        let waiting = self.sender.max_capacity() - self.sender.capacity();
        if waiting >= self.wake_up.count.load(Ordering::SeqCst)
            && self.wake_up.count.swap(NOT_WAITING, Ordering::SeqCst) != NOT_WAITING
            && let Some(writer) = self.wake_up.writer.get()
        {
            writer.unpark();
        }
    }
}

impl fmt::Debug for Submitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submitter").finish_non_exhaustive()
    }
}

/// A publisher that does not keep the writer running.
pub(super) struct WeakSubmitter {
    sender: mpsc::WeakSender<Submission>,
    wake_up: Arc<WakeUp>,
}

impl WeakSubmitter {
    pub(super) fn upgrade(&self) -> Option<Submitter> {
        Some(Submitter {
            sender: self.sender.upgrade()?,
            wake_up: Arc::clone(&self.wake_up),
        })
    }

    /// Whether a publisher is alive.
    pub(super) fn is_open(&self) -> bool {
        self.sender.strong_count() > 0
    }
}

/// The writer's end.
pub(super) struct Submissions {
    receiver: mpsc::Receiver<Submission>,
    wake_up: Arc<WakeUp>,
}

impl Submissions {
    /// Waits for the next entry; `None` once every publisher is gone. Blocks.
    pub(super) fn blocking_recv(&mut self) -> Option<Submission> {
        self.receiver.blocking_recv()
    }

    /// Waits for the next entry, as a task.
    pub(super) async fn recv(&mut self) -> Option<Submission> {
        self.receiver.recv().await
    }

    /// Takes the next entry, if one waits.
    pub(super) fn try_recv(&mut self) -> Option<Submission> {
        self.receiver.try_recv().ok()
    }

    /// How many entries wait here, including those that are just being
    /// submitted.
    pub(super) fn len(&self) -> usize {
        self.receiver.max_capacity() - self.receiver.capacity()
    }

    /// Blocks until `count` entries wait here, the queue is full, the fan-out
    /// is over, or the moment `until` comes. Only ever called by one and the
    /// same thread.
    pub(super) fn wait(&self, count: usize, underway: &FanOutProgress, until: Instant) {
        let count = count.min(MAX_WAITING);
        self.wake_up.writer.get_or_init(thread::current);
        underway.wait(until, || {
            // Set at each check: a publisher that read an earlier count may
            // have reset this one as it woke the thread.
            self.wake_up.count.store(count, Ordering::SeqCst);
            self.len() >= count
        });
        self.wake_up.count.store(NOT_WAITING, Ordering::SeqCst);
    }
}
