//! The writer: drains the inbox in batches, commits, fans out.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::broadcast, time::Instant};
use tokio_util::sync::DropGuard;
use tracing::{error, info};

use super::{
    BUSY_RETRY_MS, Order, Receipt, Reply, Submission,
    inbox::{Inbox, Submitted},
    order::Made,
};
use crate::{
    fanout::{Fresh, Underway},
    history::{self, Batch, Draft, Outcome, StoreError},
    metrics::Metrics,
    protocol::{Refusal, RefusalCode},
};

/// A batch ends at so many drafts or bytes of text, whichever comes first: a
/// flood does not make everyone's latency.
const BATCH_DRAFTS: usize = 1024;
const BATCH_BYTES: usize = 256 << 10;

/// How often a log that fails is tried: now and then a few times at once, for
/// what publishers send, but no more than so often in the long run. What comes
/// in between is refused without a look at the disk.
const TRY_EVERY: Duration = Duration::from_millis(250);
const TRIES_AT_ONCE: u32 = 8;

/// The longest time that what comes while batches are fanned out waits for the
/// end of that, so that one commit and one write take all of it along. Nobody
/// could be shown it before; but who asked for a receipt alone waits as well.
const FANNED_OUT_WITHIN: Duration = Duration::from_millis(20);

/// Why something was not stored.
#[derive(Debug)]
pub(super) struct Failure {
    why: String,
    /// It is not the disk, but what is on it.
    damage: bool,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure {
            why: error.to_string(),
            damage: error.is_damage(),
        }
    }
}

/// What the writer writes to.
pub(super) trait Log: Send {
    /// Stores drafts, in one transaction.
    fn append(&mut self, drafts: &[Draft]) -> Result<(Arc<Batch>, Vec<Outcome>), Failure>;

    /// Makes a change, in one transaction.
    fn change(&mut self, order: Order) -> Result<Made, Failure>;
}

impl Log for history::Writer {
    fn append(&mut self, drafts: &[Draft]) -> Result<(Arc<Batch>, Vec<Outcome>), Failure> {
        Ok(self.append(drafts)?)
    }

    fn change(&mut self, order: Order) -> Result<Made, Failure> {
        Ok(self.change(|changing| order.make(changing))?)
    }
}

/// The writer's work: to be done by whoever lends it a thread, or a task.
///
/// Dropped, it is over: whatever is not committed by then never is.
pub struct Work<'a> {
    log: Box<dyn Log + 'a>,
    inbox: Inbox,
    /// The change that ended a batch: it comes next.
    next: Option<Order>,
    batches: broadcast::Sender<Fresh>,
    /// The fan-out of the last batch, until it was waited for.
    underway: Option<Underway>,
    /// The one beside which the last batch was committed.
    before: Option<Underway>,
    fanned_out_within: Duration,
    /// How many drafts the last batch had.
    last: usize,
    /// How many others had come by the time that its fan-out began.
    others: usize,
    metrics: Arc<Metrics>,
    /// The last commit failed.
    failing: Arc<AtomicBool>,
    /// Since then it was said that the log is damaged.
    damaged: bool,
    tries: Tries,
    /// Tells that the work is over, once the log is let go of.
    _finished: DropGuard,
}

/// What was tried, of which nobody was told yet.
enum Tried {
    /// To store drafts.
    Batch(Appended),
    /// To make a change.
    Change(Result<Made, Failure>),
    /// Nothing: the log failed a moment ago.
    Nothing,
}

/// What became of drafts.
struct Appended {
    drafts: Vec<Draft>,
    receipts: Vec<Receipt>,
    /// When the first of them came.
    arrived: Instant,
    result: Result<(Arc<Batch>, Vec<Outcome>), Failure>,
}

impl<'a> Work<'a> {
    pub(super) fn new(
        log: impl Log + 'a,
        inbox: Inbox,
        batches: broadcast::Sender<Fresh>,
        metrics: Arc<Metrics>,
        failing: Arc<AtomicBool>,
        finished: DropGuard,
    ) -> Self {
        Work {
            log: Box::new(log),
            inbox,
            next: None,
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

    /// Runs until every publisher is gone and what they left is stored. Blocks:
    /// for a thread of its own.
    pub fn run(mut self) {
        loop {
            let Some(first) = self.waiting().or_else(|| self.inbox.blocking_recv()) else {
                return;
            };
            // Only now, so that nobody is woken where nothing comes; and a change is
            // not fanned out.
            if let Submission::Draft(_) = first {
                self.wait();
            }
            // Where this thread shares a core with those who publish, let them
            // say what they have to say: it goes into the same commit.
            std::thread::yield_now();
            let tried = self.attempt(first);
            self.tell(tried);
        }
    }

    /// The same as one task among others, with a pause of the caller's before
    /// and after each commit: for a simulation, where anything may happen then.
    pub async fn run_with<P: Future<Output = ()>>(mut self, mut pause: impl FnMut() -> P) {
        loop {
            let first = match self.waiting() {
                Some(first) => first,
                None => match self.inbox.recv().await {
                    Some(first) => first,
                    None => return,
                },
            };
            pause().await;
            let tried = self.attempt(first);
            pause().await;
            self.tell(tried);
        }
    }

    /// Waits for the end of the fan-out before, so that one commit and one write to
    /// everybody take along what comes meanwhile; or until as much has come since
    /// it began as the last batch had, and more than one. Then whoever had a
    /// message in it has been shown that and has said the next, and the disk is
    /// done by the time that the shards are.
    fn wait(&mut self) {
        let until = Instant::now() + self.fanned_out_within;
        // One commit goes on beside a fan-out and no more, so that shards keep up.
        if let Some(before) = self.before.take()
            && !before.is_over()
        {
            before.wait(until, || false);
            // What came until now answers that one, and not the last.
            self.others = self.inbox.len() + 1;
        }
        if let Some(underway) = self.underway.take() {
            let count = (self.others + self.last).max(2);
            // One of them was received.
            self.inbox.wait(count - 1, &underway, until);
            self.before = (!underway.is_over()).then_some(underway);
        }
    }

    fn waiting(&mut self) -> Option<Submission> {
        self.next.take().map(Submission::Change)
    }

    /// Commits what waits, where anything may be tried.
    fn attempt(&mut self, first: Submission) -> Tried {
        match first {
            Submission::Draft(first) => self.append(first),
            Submission::Change(_) if !self.may_try() => Tried::Nothing,
            Submission::Change(order) => Tried::Change(self.log.change(order)),
        }
    }

    fn append(&mut self, first: Submitted) -> Tried {
        let arrived = first.arrived;
        let (drafts, receipts) = self.gather(first);
        if drafts.is_empty() {
            return Tried::Nothing;
        }
        if !self.may_try() {
            refuse_all(drafts, receipts);
            return Tried::Nothing;
        }
        self.last = drafts.len();
        let begun = Instant::now();
        let result = self.log.append(&drafts);
        if let Ok((batch, outcomes)) = &result {
            count(&self.metrics, batch, outcomes, begun);
        }
        Tried::Batch(Appended {
            drafts,
            receipts,
            arrived,
            result,
        })
    }

    fn may_try(&mut self) -> bool {
        !self.failing.load(Ordering::Relaxed) || self.tries.another()
    }

    /// Takes what waits, up to the size of a batch or a change; but not what
    /// stands behind a message refused before. The inbox keeps a publisher's
    /// order, so what became of the one before is known here, whatever its
    /// publisher has heard of it yet.
    fn gather(&mut self, first: Submitted) -> (Vec<Draft>, Vec<Receipt>) {
        let mut drafts = Vec::new();
        let mut receipts = Vec::new();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(Submitted {
            draft,
            follows,
            receipt,
            ..
        }) = next
        {
            if receipt.is_due(draft.id.as_ref(), follows.as_ref()) {
                bytes += draft.text.len();
                drafts.push(draft);
                receipts.push(receipt);
            } else {
                receipt.tell(busy(draft));
            }
            let full = drafts.len() >= BATCH_DRAFTS || bytes >= BATCH_BYTES;
            next = match (!full).then(|| self.inbox.try_recv()).flatten() {
                Some(Submission::Draft(next)) => Some(next),
                Some(Submission::Change(order)) => {
                    self.next = Some(order);
                    None
                }
                None => None,
            };
        }
        (drafts, receipts)
    }

    /// Fans out what was committed, and tells whoever asked for it.
    fn tell(&mut self, tried: Tried) {
        match tried {
            Tried::Nothing => {}
            Tried::Change(Ok(made)) => {
                self.succeeded();
                made();
            }
            Tried::Change(Err(failure)) => self.failed(failure),
            Tried::Batch(Appended {
                drafts,
                receipts,
                arrived,
                result: Ok((batch, outcomes)),
            }) => {
                self.succeeded();
                if !batch.runs.is_empty() {
                    let (fresh, underway) = Fresh::new(batch, arrived);
                    self.underway = Some(underway);
                    self.others = self.inbox.len();
                    // No shard listens only once they have ended.
                    let _ = self.batches.send(fresh);
                }
                for ((draft, outcome), receipt) in drafts.into_iter().zip(outcomes).zip(receipts) {
                    receipt.tell(stored(draft, outcome));
                }
            }
            Tried::Batch(Appended {
                drafts,
                receipts,
                result: Err(failure),
                ..
            }) => {
                self.failed(failure);
                refuse_all(drafts, receipts);
            }
        }
    }

    fn succeeded(&mut self) {
        if self.failing.swap(false, Ordering::Relaxed) {
            info!("the log can be written again");
            self.damaged = false;
        }
    }

    fn failed(&mut self, failure: Failure) {
        self.metrics.failed_commits.inc();
        // Once; and once more where it is not the disk but what is on it.
        let first = !self.failing.swap(true, Ordering::Relaxed);
        if first || failure.damage && !self.damaged {
            let why = failure.why;
            error!("the log cannot be written, messages are refused: {why}");
        }
        self.damaged |= failure.damage;
    }
}

impl fmt::Debug for Work<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").finish_non_exhaustive()
    }
}

#[allow(clippy::cast_precision_loss)] // a batch is small
fn count(metrics: &Metrics, batch: &Batch, outcomes: &[Outcome], begun: Instant) {
    let messages = batch.runs.iter().flat_map(|run| run.messages());
    let (stored, bytes) = messages.fold((0, 0), |(count, bytes), message| {
        (count + 1, bytes + message.text.len())
    });
    metrics.commit.observe(begun.elapsed().as_secs_f64());
    metrics.batch.observe(outcomes.len() as f64);
    metrics.stored.inc_by(stored);
    metrics.stored_bytes.inc_by(bytes as u64);
    let repeated = |outcome: &&Outcome| matches!(outcome, Outcome::Duplicate(_));
    let duplicates = outcomes.iter().filter(repeated).count();
    metrics.duplicates.inc_by(duplicates as u64);
}

fn stored(draft: Draft, outcome: Outcome) -> Reply {
    let (seq, duplicate) = match outcome {
        Outcome::Stored(seq) => (seq, false),
        Outcome::Duplicate(seq) => (seq, true),
    };
    Reply::Stored {
        id: draft.id,
        seq,
        duplicate,
    }
}

fn refuse_all(drafts: Vec<Draft>, receipts: Vec<Receipt>) {
    for (draft, receipt) in drafts.into_iter().zip(receipts) {
        receipt.tell(busy(draft));
    }
}

fn busy(draft: Draft) -> Reply {
    Reply::Refused(Refusal {
        code: RefusalCode::Busy,
        text: "The message could not be stored; send it again in a while.".into(),
        id: draft.id,
        retry_ms: Some(BUSY_RETRY_MS),
    })
}

/// How often was tried lately.
struct Tries {
    /// When all tries are free again.
    free: Instant,
}

impl Tries {
    fn new() -> Self {
        Tries {
            free: Instant::now(),
        }
    }

    /// Whether it is time for another.
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
