//! The writer: drains the inbox in batches, commits, fans out.

use std::{fmt, sync::Arc};

use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::DropGuard;
use tracing::{error, info};

use super::{Receipt, Reply, Submission};
use crate::{
    history::{Batch, Draft, Outcome, StoreError, Writer},
    protocol::{Refusal, RefusalCode},
};

/// A batch ends at so many drafts or bytes of text, whichever comes first: a
/// flood does not make everyone's latency.
const BATCH_DRAFTS: usize = 1024;
const BATCH_BYTES: usize = 256 << 10;

/// How long a publisher is asked to wait when the log cannot be written.
const BUSY_RETRY_MS: u64 = 1000;

/// The writer's work: to be done by whoever lends it a thread, or a task.
///
/// Dropped, it is over: whatever is not committed by then never is.
pub struct Work {
    pub(super) writer: Writer,
    pub(super) inbox: mpsc::Receiver<Submission>,
    pub(super) failing: bool,
    /// Tells that the work is over, once the log is let go of.
    pub(super) _finished: DropGuard,
    pub(super) batches: broadcast::Sender<Arc<Batch>>,
}

/// What became of drafts, of which nobody was told yet.
struct Appended {
    drafts: Vec<Draft>,
    receipts: Vec<Receipt>,
    result: Result<(Arc<Batch>, Vec<Outcome>), StoreError>,
}

impl Work {
    /// Runs until every publisher is gone and what they left is stored. Blocks:
    /// for a thread of its own.
    pub fn run(mut self) {
        while let Some(first) = self.inbox.blocking_recv() {
            // Where this thread shares a core with those who publish, let them
            // say what they have to say: it goes into the same commit.
            std::thread::yield_now();
            let appended = self.append(first);
            self.tell(appended);
        }
    }

    /// The same as one task among others, with a pause of the caller's before
    /// and after each commit: for a simulation, where anything may happen then.
    pub async fn run_with<P: Future<Output = ()>>(mut self, mut pause: impl FnMut() -> P) {
        while let Some(first) = self.inbox.recv().await {
            pause().await;
            let appended = self.append(first);
            pause().await;
            self.tell(appended);
        }
    }

    /// Commits what waits.
    fn append(&mut self, first: Submission) -> Appended {
        let (drafts, receipts) = gather(first, &mut self.inbox);
        let result = self.writer.append(&drafts);
        Appended {
            drafts,
            receipts,
            result,
        }
    }

    /// Fans out what was committed, and tells each publisher.
    fn tell(&mut self, appended: Appended) {
        let Appended {
            drafts,
            receipts,
            result,
        } = appended;
        match result {
            Ok((batch, outcomes)) => {
                if std::mem::replace(&mut self.failing, false) {
                    info!("the log can be written again");
                }
                if !batch.runs.is_empty() {
                    // No shard listens only once they have ended.
                    let _ = self.batches.send(batch);
                }
                for ((draft, outcome), receipt) in drafts.into_iter().zip(outcomes).zip(receipts) {
                    receipt.tell(stored(draft, outcome));
                }
            }
            Err(why) => {
                if !std::mem::replace(&mut self.failing, true) {
                    error!("the log cannot be written, messages are refused: {why}");
                }
                for (draft, receipt) in drafts.into_iter().zip(receipts) {
                    receipt.tell(busy(draft));
                }
            }
        }
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").finish_non_exhaustive()
    }
}

/// Takes what waits, up to the size of a batch.
fn gather(first: Submission, inbox: &mut mpsc::Receiver<Submission>) -> (Vec<Draft>, Vec<Receipt>) {
    let mut drafts = Vec::new();
    let mut receipts = Vec::new();
    let mut bytes = 0;
    let mut next = Some(first);
    while let Some(Submission { draft, receipt }) = next {
        bytes += draft.text.len();
        drafts.push(draft);
        receipts.push(receipt);
        let full = drafts.len() >= BATCH_DRAFTS || bytes >= BATCH_BYTES;
        next = if full { None } else { inbox.try_recv().ok() };
    }
    (drafts, receipts)
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

fn busy(draft: Draft) -> Reply {
    Reply::Refused(Refusal {
        code: RefusalCode::Busy,
        text: "The message could not be stored; send it again in a while.".into(),
        id: draft.id,
        retry_ms: Some(BUSY_RETRY_MS),
    })
}
