//! The writer: drains the inbox in batches, has them ordered and applied, and
//! fans them out.

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

/// A batch ends at so many entries or bytes of text, whichever comes first: a
/// flood does not make everyone's latency.
const BATCH_ENTRIES: usize = 1024;
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

/// The writer's work: to be done by whoever lends it a thread, or a task.
///
/// Dropped, it is over: whatever is not committed by then never is.
pub struct Work<'a> {
    applier: Applier<'a>,
    effects: Effects,
    inbox: Inbox,
    /// The batch that was sealed and whose fate is open.
    pending: Option<Pending>,
    batches: broadcast::Sender<Fresh>,
    /// The fan-out of the last batch, until it was waited for.
    underway: Option<Underway>,
    /// The one beside which the last batch was committed.
    before: Option<Underway>,
    fanned_out_within: Duration,
    /// How many messages the last batch had.
    last: usize,
    /// How many others had come by the time that its fan-out began.
    others: usize,
    metrics: Arc<Metrics>,
    /// The last commit failed.
    failing: Arc<AtomicBool>,
    /// Since then it was said that the log is damaged.
    damaged: bool,
    tries: Tries,
    /// Tells that the work is over, once the store is let go of.
    _finished: DropGuard,
}

/// A batch on its way, and who waits for it.
struct Pending {
    sealed: Sealed,
    askers: Vec<Asker>,
    /// When the first of its entries came.
    arrived: Instant,
}

/// What was tried, of which nobody was told yet.
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

    /// Runs until every publisher is gone and what they left is stored. Blocks:
    /// for a thread of its own.
    pub fn run(mut self) {
        while let Some(first) = self.receive() {
            // Only now, so that nobody is woken where nothing comes; and what is
            // no message is not fanned out.
            if first.entry.action.message().is_some() {
                self.wait();
            }
            // Where this thread shares a core with those who publish, let them
            // say what they have to say: it goes into the same commit.
            std::thread::yield_now();
            let tried = self.attempt(first);
            self.tell(tried);
        }
    }

    /// What came first, once no batch is open; `None` once every publisher is gone.
    /// Blocks.
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

    /// The same as one task among others, with a pause of the caller's before
    /// and after each commit: for a simulation, where anything may happen then.
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

    /// Commits what waits, where anything may be tried; to be called where no
    /// batch is open.
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

    /// Has the open batch ordered and applied, once more if need be.
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

    /// Takes what waits, up to the size of a batch; but not what stands behind a
    /// message refused before. The inbox keeps a publisher's order, so what
    /// became of the one before is known here, whatever its publisher has heard
    /// of it yet.
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

    /// Fans out what was committed, and tells whoever asked for it.
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

    /// Fans out one batch, and tells what became of its entries.
    fn settle(&mut self, committed: Committed) {
        let Committed {
            sealed,
            outcomes,
            batch,
        } = committed;
        // Another server's, or a repeat: nobody here waits for it.
        let is_own = |pending: &mut Pending| pending.sealed.origin() == sealed.origin();
        let own = self.pending.take_if(is_own);
        let arrived = own
            .as_ref()
            .map_or_else(Instant::now, |pending| pending.arrived);
        if !batch.runs.is_empty() {
            let (fresh, underway) = Fresh::new(batch, arrived);
            self.underway = Some(underway);
            self.others = self.inbox.len();
            // No shard listens only once they have ended.
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
            info!("the log can be written again");
            self.damaged = false;
        }
    }

    fn failed(&mut self, failure: &NotApplied) {
        self.metrics.failed_commits.inc();
        // Once; and once more where it is not the disk but what is on it.
        let first = !self.failing.swap(true, Ordering::Relaxed);
        if first || failure.is_damage() && !self.damaged {
            error!("the log cannot be written, messages are refused: {failure}");
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
    /// Whether it may be stored now: not if it stands behind a message that was
    /// refused.
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
            // A task that has ended does not hear of it; it is done all the same.
            Asker::Task(tell) => drop(tell.send(Made { outcome, ended })),
            Asker::Nobody => {}
        }
    }

    /// Says that it was not stored. A task notices that nothing comes.
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
