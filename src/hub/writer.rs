//! The writer: drains the submission queue in batches, orders and applies them,
//! and fans them out.

mod fan_out_wait;
mod replies;
mod retry_budget;

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use tokio::{
    sync::broadcast,
    time::{Instant, sleep},
};
use tokio_util::sync::DropGuard;
use tracing::{error, info};

use self::{
    fan_out_wait::FanOutWait,
    replies::{message_id, refuse},
    retry_budget::{RetryBudget, TRY_EVERY},
};
use super::{
    effects::Effects,
    pulse::Pulse,
    submissions::{OutcomeReceiver, Submission, Submissions},
};
use crate::{
    fanout::{AppliedBatch, Applier, ApplyError, InFlightBatch},
    log::SealedBatch,
    metrics::Metrics,
    store::Outcome,
};

/// The most entries and bytes of text in a batch; it ends at whichever limit
/// comes first. So a flood does not set everyone's latency.
const BATCH_ENTRIES: usize = 1024;
const BATCH_BYTES: usize = 256 << 10;

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
    fan_out_wait: FanOutWait,
    metrics: Arc<Metrics>,
    pulse: Arc<Pulse>,
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
        pulse: Arc<Pulse>,
        finished: DropGuard,
    ) -> Self {
        Writer {
            applier,
            effects,
            submissions,
            open: None,
            batches,
            fan_out_wait: FanOutWait::new(),
            metrics,
            pulse,
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
                self.fan_out_wait.wait(&self.submissions);
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

    /// Commits the waiting entries, or refuses the first if the log may not be
    /// tried now. Only called while no batch is open.
    fn attempt(&mut self, first: Submission) -> Attempt {
        if !self.may_try() {
            // Submissions that are refused for another reason ask for no commit.
            self.pulse.asked();
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
            self.pulse.begin();
            tried.failure = self.applier.commit(sealed, &mut tried.committed).err();
            self.pulse.end(tried.failure.is_none());
        }
        tried
    }

    fn may_try(&mut self) -> bool {
        !self.pulse.failing.load(Ordering::Relaxed) || self.retry_budget.take()
    }

    /// Seals the waiting entries, up to the size of a batch, and refuses
    /// messages that follow a refused one.
    ///
    /// The submission queue keeps each publisher's order. So the writer knows the reply to
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
            self.fan_out_wait.last_messages = messages;
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
            self.fan_out_wait.begin(underway, self.submissions.len());
            // Sending fails only if all shards have ended.
            let _ = self.batches.send(fresh);
        }
        self.effects.note_activity(&sealed.batch.entries, &outcomes);
        let mut receivers = own.into_iter().flat_map(|open| open.receivers);
        for (entry, outcome) in sealed.batch.entries.iter().zip(outcomes) {
            let ended = self.effects.carry_out(entry, &outcome);
            if let Some(receiver) = receivers.next() {
                receiver.tell(entry, outcome, ended);
            }
        }
    }

    fn succeeded(&mut self) {
        if self.pulse.failing.swap(false, Ordering::Relaxed) {
            info!("the message store can be written again");
            self.damage_reported = false;
        }
    }

    fn failed(&mut self, failure: &ApplyError) {
        self.metrics.failed_commits.inc();
        // Reported once, and once more if the data on the disk is damaged.
        let first = !self.pulse.failing.swap(true, Ordering::Relaxed);
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

#[cfg(test)]
mod tests;
