//! The writer: drains the inbox in batches, orders and applies them, and fans
//! them out.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::broadcast,
    time::{Instant, sleep},
};
use tokio_util::sync::DropGuard;
use tracing::{error, info};

use super::{
    effects::Effects,
    entries::BUSY_RETRY_MS,
    inbox::{Asker, Inbox, Made, Submission},
    receipts::Reply,
};
use crate::{
    fanout::{Applier, Committed, Fresh, NotApplied, Underway},
    log::{Entry, Sealed},
    metrics::Metrics,
    protocol::{Refusal, RefusalCode, Seq, name::MessageId},
    store::Outcome,
};

/// The most entries and bytes of text in a batch; it ends at whichever limit
/// comes first. So a flood does not set everyone's latency.
const BATCH_ENTRIES: usize = 1024;
const BATCH_BYTES: usize = 256 << 10;

/// How often the writer tries a failing log: once in `TRY_EVERY` in the long
/// run, and up to `TRIES_AT_ONCE` times in a row. It refuses all other entries
/// without touching the disk.
const TRY_EVERY: Duration = Duration::from_millis(250);
const TRIES_AT_ONCE: u32 = 8;

/// How long messages may wait for the end of a fan-out, so that one commit and
/// one write carry all of them. No reader could be shown them earlier, but a
/// publisher that wants only a receipt waits longer for it.
const FANNED_OUT_WITHIN: Duration = Duration::from_millis(20);

/// The writer's work, which the caller runs on a thread or as a task.
///
/// Dropping it ends the writer. Entries not committed by then never are.
pub struct Work<'a> {
    applier: Applier<'a>,
    effects: Effects,
    inbox: Inbox,
    /// The sealed batch that is neither committed nor withdrawn yet.
    pending: Option<Pending>,
    batches: broadcast::Sender<Fresh>,
    /// The fan-out of the last batch, until the writer has waited for it.
    underway: Option<Underway>,
    /// The fan-out that was still going on when the last batch was committed.
    before: Option<Underway>,
    fanned_out_within: Duration,
    /// The number of messages in the last batch.
    last: usize,
    /// The number of entries that were waiting when its fan-out began.
    others: usize,
    metrics: Arc<Metrics>,
    /// Whether the last commit failed.
    failing: Arc<AtomicBool>,
    /// Whether damage was reported since commits began to fail.
    damaged: bool,
    tries: Tries,
    /// Reports the end of the work. As the last field it is dropped after the
    /// store.
    _finished: DropGuard,
}

/// A batch that is neither committed nor withdrawn, and its askers.
struct Pending {
    sealed: Sealed,
    askers: Vec<Asker>,
    /// When the first of its entries arrived.
    arrived: Instant,
}

/// The result of an attempt, before any asker is told.
#[derive(Default)]
struct Tried {
    committed: Vec<Committed>,
    failure: Option<NotApplied>,
}

impl<'a> Work<'a> {
    pub(super) fn new(
        applier: Applier<'a>,
        effects: Effects,
        inbox: Inbox,
        batches: broadcast::Sender<Fresh>,
        metrics: Arc<Metrics>,
        failing: Arc<AtomicBool>,
        finished: DropGuard,
    ) -> Self {
        Work {
            applier,
            effects,
            inbox,
            pending: None,
            batches,
            underway: None,
            before: None,
            fanned_out_within: FANNED_OUT_WITHIN,
            last: 0,
            others: 0,
            metrics,
            failing,
            damaged: false,
            tries: Tries::new(),
            _finished: finished,
        }
    }

    /// Runs until every publisher is gone and their last entries are stored.
    /// Blocks, so it needs a thread of its own.
    pub fn run(mut self) {
        while let Some(first) = self.receive() {
            // The writer waits only once a message has arrived: while none
            // arrives, the end of a fan-out need not wake it. Other entries are
            // not fanned out, so they do not wait.
            if first.entry.action.message().is_some() {
                self.wait();
            }
            // If publishers share this thread's core, they run first, and their
            // messages go into the same commit.
            std::thread::yield_now();
            let tried = self.attempt(first);
            self.tell(tried);
        }
    }

    /// Finishes an open batch, then waits for the next entry; `None` once every
    /// publisher is gone. Blocks.
    fn receive(&mut self) -> Option<Submission> {
        while self.pending.is_some() {
            let tried = self.resume();
            self.tell(tried);
            if self.pending.is_some() {
                std::thread::park_timeout(TRY_EVERY);
            }
        }
        self.inbox.blocking_recv()
    }

    /// Runs as one task among others, with a pause of the caller's before and
    /// after each commit. In a simulation, anything may happen during these
    /// pauses.
    pub async fn run_with<P: Future<Output = ()>>(mut self, mut pause: impl FnMut() -> P) {
        while let Some(first) = self.inbox.recv().await {
            while self.pending.is_some() {
                let tried = self.resume();
                self.tell(tried);
                sleep(TRY_EVERY).await;
            }
            pause().await;
            let tried = self.attempt(first);
            pause().await;
            self.tell(tried);
        }
    }

    /// Waits for the end of the last fan-out, so that one commit and one write
    /// to each reader carry all messages that arrive meanwhile.
    ///
    /// The wait ends earlier if as many entries arrived since the fan-out began
    /// as the last batch had messages, and at least two wait in all. By then
    /// each author of the last batch has seen its echo and sent its next
    /// message. The disk and the shards then work at the same time.
    fn wait(&mut self) {
        let until = Instant::now() + self.fanned_out_within;
        // At most one commit goes on beside a fan-out, so that shards keep up.
        if let Some(before) = self.before.take()
            && !before.is_over()
        {
            before.wait(until, || false);
            // Entries that arrived until now answer that fan-out, not the last.
            self.others = self.inbox.len() + 1;
        }
        if let Some(underway) = self.underway.take() {
            let count = (self.others + self.last).max(2);
            // One of the counted entries was already received.
            self.inbox.wait(count - 1, &underway, until);
            self.before = (!underway.is_over()).then_some(underway);
        }
    }

    /// Commits the waiting entries, or refuses the first if the log may not be
    /// tried now. Only called while no batch is open.
    fn attempt(&mut self, first: Submission) -> Tried {
        if !self.may_try() {
            refuse(first);
            return Tried::default();
        }
        let Some(pending) = self.gather(first) else {
            return Tried::default();
        };
        let (sealed, begun) = (pending.sealed.clone(), Instant::now());
        self.pending = Some(pending);
        let tried = self.resume();
        self.count(&tried, &sealed, begun);
        tried
    }

    /// Orders and applies the open batch, again if an earlier attempt failed.
    fn resume(&mut self) -> Tried {
        let mut tried = Tried::default();
        if let Some(Pending { sealed, .. }) = &self.pending {
            tried.failure = self.applier.commit(sealed, &mut tried.committed).err();
        }
        tried
    }

    fn may_try(&mut self) -> bool {
        !self.failing.load(Ordering::Relaxed) || self.tries.another()
    }

    /// Seals the waiting entries, up to the size of a batch, and refuses
    /// messages that follow a refused one.
    ///
    /// The inbox keeps each publisher's order. So the writer knows the reply to
    /// the message before, even if the publisher has not read it yet.
    fn gather(&mut self, first: Submission) -> Option<Pending> {
        let arrived = first.arrived;
        let (mut entries, mut askers) = (Vec::new(), Vec::new());
        let (mut messages, mut bytes) = (0, 0);
        let mut next = Some(first);
        while let Some(submission) = next {
            if submission.is_due() {
                if let Some(draft) = submission.entry.action.message() {
                    messages += 1;
                    bytes += draft.text.len();
                }
                entries.push(submission.entry);
                askers.push(submission.asker);
            } else {
                refuse(submission);
            }
            let full = entries.len() >= BATCH_ENTRIES || bytes >= BATCH_BYTES;
            next = (!full).then(|| self.inbox.try_recv()).flatten();
        }
        if messages > 0 {
            self.last = messages;
        }
        (!entries.is_empty()).then(|| Pending {
            sealed: self.applier.seal(entries),
            askers,
            arrived,
        })
    }

    /// Fans out the committed batches and tells their askers. After a failure,
    /// it refuses the open batch if the log lets it withdraw the batch.
    fn tell(&mut self, tried: Tried) {
        for committed in tried.committed {
            self.succeeded();
            self.settle(committed);
        }
        if let Some(failure) = tried.failure {
            self.failed(&failure);
            let withdrawn = |pending: &mut Pending| self.applier.withdraw(&pending.sealed);
            if let Some(Pending { sealed, askers, .. }) = self.pending.take_if(withdrawn) {
                for (entry, asker) in sealed.batch.entries.iter().zip(askers) {
                    asker.refuse(message_id(entry));
                }
            }
        }
    }

    /// Fans out one batch, carries out its effects and tells its askers.
    fn settle(&mut self, committed: Committed) {
        let Committed {
            sealed,
            outcomes,
            batch,
        } = committed;
        // A batch of another server, or a repeat, has no askers here.
        let is_own = |pending: &mut Pending| pending.sealed.origin() == sealed.origin();
        let own = self.pending.take_if(is_own);
        let arrived = own
            .as_ref()
            .map_or_else(Instant::now, |pending| pending.arrived);
        if !batch.runs.is_empty() {
            let (fresh, underway) = Fresh::new(batch, arrived);
            self.underway = Some(underway);
            self.others = self.inbox.len();
            // Sending fails only if all shards have ended.
            let _ = self.batches.send(fresh);
        }
        let mut askers = own.into_iter().flat_map(|pending| pending.askers);
        for (entry, outcome) in sealed.batch.entries.iter().zip(outcomes) {
            let ended = self.effects.follow(entry, &outcome);
            if let Some(asker) = askers.next() {
                asker.tell(entry, outcome, ended);
            }
        }
    }

    fn succeeded(&mut self) {
        if self.failing.swap(false, Ordering::Relaxed) {
            info!("the message store can be written again");
            self.damaged = false;
        }
    }

    fn failed(&mut self, failure: &NotApplied) {
        self.metrics.failed_commits.inc();
        // Reported once, and once more if the data on the disk is damaged.
        let first = !self.failing.swap(true, Ordering::Relaxed);
        if first || failure.is_damage() && !self.damaged {
            error!("the message store cannot be written; messages are refused: {failure}");
        }
        self.damaged |= failure.is_damage();
    }

    #[allow(clippy::cast_precision_loss)] // a batch is small
    fn count(&self, tried: &Tried, sealed: &Sealed, begun: Instant) {
        let is_own = |committed: &&Committed| committed.sealed.origin() == sealed.origin();
        let Some(Committed {
            batch, outcomes, ..
        }) = tried.committed.iter().find(is_own)
        else {
            return;
        };
        let entries = sealed.batch.entries.iter();
        let asked = entries.filter(|entry| entry.action.message().is_some());
        let asked = asked.count();
        if asked == 0 {
            return;
        }
        let metrics = &self.metrics;
        let messages = batch.runs.iter().flat_map(|run| run.messages());
        let (stored, bytes) = messages.fold((0, 0), |(count, bytes), message| {
            (count + 1, bytes + message.text.len())
        });
        metrics.commit.observe(begun.elapsed().as_secs_f64());
        metrics.batch.observe(asked as f64);
        metrics.stored.inc_by(stored);
        metrics.stored_bytes.inc_by(bytes as u64);
        let repeated = |outcome: &&Outcome| matches!(outcome, Outcome::Repeat(_));
        let duplicates = outcomes.iter().filter(repeated).count();
        metrics.duplicates.inc_by(duplicates as u64);
    }
}

impl fmt::Debug for Work<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").finish_non_exhaustive()
    }
}

impl Submission {
    /// Whether it may be stored now: not if it follows a refused message.
    fn is_due(&self) -> bool {
        match &self.asker {
            Asker::Publisher(receipt) => {
                receipt.is_due(message_id(&self.entry).as_ref(), self.follows.as_ref())
            }
            Asker::Task(_) | Asker::Nobody => true,
        }
    }
}

impl Asker {
    fn tell(self, entry: &Entry, outcome: Outcome, ended: usize) {
        match self {
            Asker::Publisher(receipt) => receipt.tell(match outcome {
                Outcome::Stored(seq) => stored(entry, seq, false),
                Outcome::Repeat(seq) => stored(entry, seq, true),
                _ => busy(message_id(entry)),
            }),
            // If the task has ended, the send fails; the entry stays applied.
            Asker::Task(tell) => drop(tell.send(Made { outcome, ended })),
            Asker::Nobody => {}
        }
    }

    /// Tells a publisher that its message was not stored. A task notices that
    /// its channel closes.
    fn refuse(self, id: Option<MessageId>) {
        if let Asker::Publisher(receipt) = self {
            receipt.tell(busy(id));
        }
    }
}

fn refuse(submission: Submission) {
    submission.asker.refuse(message_id(&submission.entry));
}

fn message_id(entry: &Entry) -> Option<MessageId> {
    entry.action.message()?.id.clone()
}

fn stored(entry: &Entry, seq: Seq, duplicate: bool) -> Reply {
    Reply::Stored {
        id: message_id(entry),
        seq,
        duplicate,
    }
}

fn busy(id: Option<MessageId>) -> Reply {
    Reply::Refused(Refusal {
        code: RefusalCode::Busy,
        text: "The message could not be stored; send it again in a while.".into(),
        id,
        retry_ms: Some(BUSY_RETRY_MS),
    })
}

/// Limits how often a failing log is tried.
struct Tries {
    /// When all [`TRIES_AT_ONCE`] tries are available again.
    free: Instant,
}

impl Tries {
    fn new() -> Self {
        Tries {
            free: Instant::now(),
        }
    }

    /// Takes one try; false if none is available yet.
    fn another(&mut self) -> bool {
        let now = Instant::now();
        let free = self.free.max(now) + TRY_EVERY;
        let allowed = free <= now + TRY_EVERY * TRIES_AT_ONCE;
        if allowed {
            self.free = free;
        }
        allowed
    }
}

#[cfg(test)]
mod tests;
