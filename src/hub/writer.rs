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
    actions::BUSY_RETRY_MS,
    effects::Effects,
    receipts::Reply,
    submissions::{ActionResult, OutcomeReceiver, Submission, Submissions},
};
use crate::{
    fanout::{AppliedBatch, Applier, ApplyError, FanOutProgress, InFlightBatch},
    log::{Entry, SealedBatch},
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
const MAX_FAN_OUT_WAIT: Duration = Duration::from_millis(20);

/// The writer's work, which the caller runs on a thread or as a task.
///
/// Dropping it ends the writer. Entries not committed by then never are.
pub struct Writer<'a> {
    applier: Applier<'a>,
    effects: Effects,
    submissions: Submissions,
    /// The sealed batch that is neither committed nor withdrawn yet.
    open: Option<OpenBatch>,
    batches: broadcast::Sender<InFlightBatch>,
    /// The fan-out of the last batch, until the writer has waited for it.
    last_fan_out: Option<FanOutProgress>,
    /// The fan-out that was still going on when the last batch was committed.
    previous_fan_out: Option<FanOutProgress>,
    max_fan_out_wait: Duration,
    /// The number of messages in the last batch.
    last_messages: usize,
    /// The number of entries that were waiting when its fan-out began.
    waiting_at_fan_out: usize,
    metrics: Arc<Metrics>,
    /// Whether the last commit failed.
    failing: Arc<AtomicBool>,
    /// Whether damage was reported since commits began to fail.
    damage_reported: bool,
    retry_budget: RetryBudget,
    /// Reports the end of the work. As the last field it is dropped after the
    /// store.
    _finished: DropGuard,
}

/// A batch that is neither committed nor withdrawn, and its askers.
struct OpenBatch {
    sealed: SealedBatch,
    receivers: Vec<OutcomeReceiver>,
    /// When the first of its entries arrived.
    arrived: Instant,
}

/// The result of an attempt, before any asker is told.
#[derive(Default)]
struct Attempt {
    committed: Vec<AppliedBatch>,
    failure: Option<ApplyError>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        applier: Applier<'a>,
        effects: Effects,
        submissions: Submissions,
        batches: broadcast::Sender<InFlightBatch>,
        metrics: Arc<Metrics>,
        failing: Arc<AtomicBool>,
        finished: DropGuard,
    ) -> Self {
        Writer {
            applier,
            effects,
            submissions,
            open: None,
            batches,
            last_fan_out: None,
            previous_fan_out: None,
            max_fan_out_wait: MAX_FAN_OUT_WAIT,
            last_messages: 0,
            waiting_at_fan_out: 0,
            metrics,
            failing,
            damage_reported: false,
            retry_budget: RetryBudget::new(),
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
                self.wait_for_fan_out();
            }
            // If publishers share this thread's core, they run first, and their
            // messages go into the same commit.
            std::thread::yield_now();
            let tried = self.attempt(first);
            self.settle_all(tried);
        }
    }

    /// Finishes an open batch, then waits for the next entry; `None` once every
    /// publisher is gone. Blocks.
    fn receive(&mut self) -> Option<Submission> {
        while self.open.is_some() {
            let tried = self.commit_open();
            self.settle_all(tried);
            if self.open.is_some() {
                std::thread::park_timeout(TRY_EVERY);
            }
        }
        self.submissions.blocking_recv()
    }

    /// Runs as one task among others, with a pause of the caller's before and
    /// after each commit. In a simulation, anything may happen during these
    /// pauses.
    pub async fn run_with<P: Future<Output = ()>>(mut self, mut pause: impl FnMut() -> P) {
        while let Some(first) = self.submissions.recv().await {
            while self.open.is_some() {
                let tried = self.commit_open();
                self.settle_all(tried);
                sleep(TRY_EVERY).await;
            }
            pause().await;
            let tried = self.attempt(first);
            pause().await;
            self.settle_all(tried);
        }
    }

    /// Waits for the end of the last fan-out, so that one commit and one write
    /// to each reader carry all messages that arrive meanwhile.
    ///
    /// The wait ends earlier if as many entries arrived since the fan-out began
    /// as the last batch had messages, and at least two wait in all. By then
    /// each author of the last batch has seen its echo and sent its next
    /// message. The disk and the shards then work at the same time.
    fn wait_for_fan_out(&mut self) {
        let until = Instant::now() + self.max_fan_out_wait;
        // At most one commit goes on beside a fan-out, so that shards keep up.
        if let Some(before) = self.previous_fan_out.take()
            && !before.is_done()
        {
            before.wait(until, || false);
            // Entries that arrived until now answer that fan-out, not the last.
            self.waiting_at_fan_out = self.submissions.len() + 1;
        }
        if let Some(underway) = self.last_fan_out.take() {
            let count = (self.waiting_at_fan_out + self.last_messages).max(2);
            // One of the counted entries was already received.
            self.submissions.wait(count - 1, &underway, until);
            self.previous_fan_out = (!underway.is_done()).then_some(underway);
        }
    }

    /// Commits the waiting entries, or refuses the first if the log may not be
    /// tried now. Only called while no batch is open.
    fn attempt(&mut self, first: Submission) -> Attempt {
        if !self.may_try() {
            refuse(first);
            return Attempt::default();
        }
        let Some(open) = self.gather(first) else {
            return Attempt::default();
        };
        let (sealed, begun) = (open.sealed.clone(), Instant::now());
        self.open = Some(open);
        let tried = self.commit_open();
        self.record_metrics(&tried, &sealed, begun);
        tried
    }

    /// Orders and applies the open batch, again if an earlier attempt failed.
    fn commit_open(&mut self) -> Attempt {
        let mut tried = Attempt::default();
        if let Some(OpenBatch { sealed, .. }) = &self.open {
            tried.failure = self.applier.commit(sealed, &mut tried.committed).err();
        }
        tried
    }

    fn may_try(&mut self) -> bool {
        !self.failing.load(Ordering::Relaxed) || self.retry_budget.take()
    }

    /// Seals the waiting entries, up to the size of a batch, and refuses
    /// messages that follow a refused one.
    ///
    /// The inbox keeps each publisher's order. So the writer knows the reply to
    /// the message before, even if the publisher has not read it yet.
    fn gather(&mut self, first: Submission) -> Option<OpenBatch> {
        let arrived = first.arrived;
        let (mut entries, mut receivers) = (Vec::new(), Vec::new());
        let (mut messages, mut bytes) = (0, 0);
        let mut next = Some(first);
        while let Some(submission) = next {
            if submission.accept() {
                if let Some(draft) = submission.entry.action.message() {
                    messages += 1;
                    bytes += draft.text.len();
                }
                entries.push(submission.entry);
                receivers.push(submission.receiver);
            } else {
                refuse(submission);
            }
            let full = entries.len() >= BATCH_ENTRIES || bytes >= BATCH_BYTES;
            next = (!full).then(|| self.submissions.try_recv()).flatten();
        }
        if messages > 0 {
            self.last_messages = messages;
        }
        (!entries.is_empty()).then(|| OpenBatch {
            sealed: self.applier.seal(entries),
            receivers,
            arrived,
        })
    }

    /// Fans out the committed batches and tells their askers. After a failure,
    /// it refuses the open batch if the log lets it withdraw the batch.
    fn settle_all(&mut self, tried: Attempt) {
        for committed in tried.committed {
            self.succeeded();
            self.settle(committed);
        }
        if let Some(failure) = tried.failure {
            self.failed(&failure);
            let withdrawn = |open: &mut OpenBatch| self.applier.withdraw(&open.sealed);
            if let Some(OpenBatch {
                sealed, receivers, ..
            }) = self.open.take_if(withdrawn)
            {
                for (entry, receiver) in sealed.batch.entries.iter().zip(receivers) {
                    receiver.refuse(message_id(entry));
                }
            }
        }
    }

    /// Fans out one batch, carries out its effects and tells its askers.
    fn settle(&mut self, committed: AppliedBatch) {
        let AppliedBatch {
            sealed,
            outcomes,
            batch,
        } = committed;
        // A batch of another server, or a repeat, has no askers here.
        let is_own = |open: &mut OpenBatch| open.sealed.id() == sealed.id();
        let own = self.open.take_if(is_own);
        let arrived = own.as_ref().map_or_else(Instant::now, |open| open.arrived);
        if !batch.room_batches.is_empty() {
            let (fresh, underway) = InFlightBatch::new(batch, arrived);
            self.last_fan_out = Some(underway);
            self.waiting_at_fan_out = self.submissions.len();
            // Sending fails only if all shards have ended.
            let _ = self.batches.send(fresh);
        }
        let mut receivers = own.into_iter().flat_map(|open| open.receivers);
        for (entry, outcome) in sealed.batch.entries.iter().zip(outcomes) {
            let ended = self.effects.carry_out(entry, &outcome);
            if let Some(receiver) = receivers.next() {
                receiver.tell(entry, outcome, ended);
            }
        }
    }

    fn succeeded(&mut self) {
        if self.failing.swap(false, Ordering::Relaxed) {
            info!("the message store can be written again");
            self.damage_reported = false;
        }
    }

    fn failed(&mut self, failure: &ApplyError) {
        self.metrics.failed_commits.inc();
        // Reported once, and once more if the data on the disk is damaged.
        let first = !self.failing.swap(true, Ordering::Relaxed);
        if first || failure.is_damage() && !self.damage_reported {
            error!("the message store cannot be written; messages are refused: {failure}");
        }
        self.damage_reported |= failure.is_damage();
    }

    #[allow(clippy::cast_precision_loss)] // a batch is small
    fn record_metrics(&self, tried: &Attempt, sealed: &SealedBatch, begun: Instant) {
        let is_own = |committed: &&AppliedBatch| committed.sealed.id() == sealed.id();
        let Some(AppliedBatch {
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
        let messages = batch.room_batches.iter().flat_map(|run| run.messages());
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

impl fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Submission {
    /// Whether it may be stored now: not if it follows a refused message.
    fn accept(&self) -> bool {
        match &self.receiver {
            OutcomeReceiver::Publisher(receipt) => {
                receipt.accept(message_id(&self.entry).as_ref(), self.follows.as_ref())
            }
            OutcomeReceiver::Task(_) | OutcomeReceiver::Nobody => true,
        }
    }
}

impl OutcomeReceiver {
    fn tell(self, entry: &Entry, outcome: Outcome, ended: usize) {
        match self {
            OutcomeReceiver::Publisher(receipt) => receipt.tell(match outcome {
                Outcome::Stored(seq) => stored(entry, seq, false),
                Outcome::Repeat(seq) => stored(entry, seq, true),
                _ => busy(message_id(entry)),
            }),
            // If the task has ended, the send fails; the entry stays applied.
            OutcomeReceiver::Task(tell) => drop(tell.send(ActionResult { outcome, ended })),
            OutcomeReceiver::Nobody => {}
        }
    }

    /// Tells a publisher that its message was not stored. A task notices that
    /// its channel closes.
    fn refuse(self, id: Option<MessageId>) {
        if let OutcomeReceiver::Publisher(receipt) = self {
            receipt.tell(busy(id));
        }
    }
}

fn refuse(submission: Submission) {
    submission.receiver.refuse(message_id(&submission.entry));
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
struct RetryBudget {
    /// When all [`TRIES_AT_ONCE`] tries are available again.
    free: Instant,
}

impl RetryBudget {
    fn new() -> Self {
        RetryBudget {
            free: Instant::now(),
        }
    }

    /// Takes one try; false if none is available yet.
    fn take(&mut self) -> bool {
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
