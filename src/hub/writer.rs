//! The writer: drains the inbox in batches, commits, fans out.

use std::{
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
use tracing::{error, info};

use super::{Receipt, Reply, Submission};
use crate::{
    fanout::Fresh,
    history::{Batch, Draft, Outcome, StoreError},
    metrics::Metrics,
    protocol::{Refusal, RefusalCode},
};

/// A batch ends at so many drafts or bytes of text, whichever comes first: a
/// flood does not make everyone's latency.
const BATCH_DRAFTS: usize = 1024;
const BATCH_BYTES: usize = 256 << 10;

/// How long a publisher is asked to wait when the log cannot be written.
const BUSY_RETRY_MS: u64 = 1000;

/// How often a log that fails is tried: now and then a few times at once, for
/// what publishers send, but no more than so often in the long run. What comes
/// in between is refused without a look at the disk.
const TRY_EVERY: Duration = Duration::from_millis(250);
const TRIES_AT_ONCE: u32 = 8;

/// Why a batch was not stored.
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

/// Runs until every publisher is gone and what they left is stored.
pub(super) fn run(
    mut append: impl FnMut(&[Draft]) -> Result<(Arc<Batch>, Vec<Outcome>), Failure>,
    mut inbox: mpsc::Receiver<Submission>,
    batches: &broadcast::Sender<Fresh>,
    metrics: &Metrics,
    failing: &AtomicBool,
) {
    let mut damaged = false;
    let mut tries = Tries::new();
    while let Some(first) = inbox.blocking_recv() {
        // Where this thread shares a core with those who publish, let them say
        // what they have to say: it goes into the same commit.
        std::thread::yield_now();
        let arrived = first.arrived;
        let (drafts, receipts) = gather(first, &mut inbox);
        if drafts.is_empty() {
            continue;
        }
        if failing.load(Ordering::Relaxed) && !tries.another() {
            refuse_all(drafts, receipts);
            continue;
        }
        let begun = Instant::now();
        match append(&drafts) {
            Ok((batch, outcomes)) => {
                count(metrics, &batch, &outcomes, begun);
                if failing.swap(false, Ordering::Relaxed) {
                    info!("the log can be written again");
                    damaged = false;
                }
                if !batch.runs.is_empty() {
                    // No shard listens only once they have ended.
                    let _ = batches.send(Fresh { batch, arrived });
                }
                for ((draft, outcome), receipt) in drafts.into_iter().zip(outcomes).zip(receipts) {
                    receipt.tell(stored(draft, outcome));
                }
            }
            Err(failure) => {
                metrics.failed_commits.inc();
                // Once; and once more where it is not the disk but what is on it.
                let first = !failing.swap(true, Ordering::Relaxed);
                if first || failure.damage && !damaged {
                    let why = failure.why;
                    error!("the log cannot be written, messages are refused: {why}");
                }
                damaged |= failure.damage;
                refuse_all(drafts, receipts);
            }
        }
    }
}

/// Takes what waits, up to the size of a batch; but not what stands behind a
/// message refused before. The inbox keeps a publisher's order, so what became
/// of the one before is known here, whatever its publisher has heard of it yet.
fn gather(first: Submission, inbox: &mut mpsc::Receiver<Submission>) -> (Vec<Draft>, Vec<Receipt>) {
    let mut drafts = Vec::new();
    let mut receipts = Vec::new();
    let mut bytes = 0;
    let mut next = Some(first);
    while let Some(Submission {
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
        next = if full { None } else { inbox.try_recv().ok() };
    }
    (drafts, receipts)
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
    metrics.duplicates.inc_by(outcomes.len() as u64 - stored);
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
