//! The writer: drains the inbox in batches, commits, fans out.

use std::{fmt, sync::Arc};

use tokio::sync::{broadcast, mpsc};
use tracing::{error, info};

use super::{Receipt, Reply, Submission};
use crate::{
    history::{Batch, Draft, Outcome},
    protocol::{Refusal, RefusalCode},
};

/// A batch ends at so many drafts or bytes of text, whichever comes first: a
/// flood does not make everyone's latency.
const BATCH_DRAFTS: usize = 1024;
const BATCH_BYTES: usize = 256 << 10;

/// How long a publisher is asked to wait when the log cannot be written.
const BUSY_RETRY_MS: u64 = 1000;

/// Runs until every publisher is gone and what they left is stored.
pub(super) fn run<E: fmt::Display>(
    mut append: impl FnMut(&[Draft]) -> Result<(Arc<Batch>, Vec<Outcome>), E>,
    mut inbox: mpsc::Receiver<Submission>,
    batches: &broadcast::Sender<Arc<Batch>>,
) {
    let mut failing = false;
    while let Some(first) = inbox.blocking_recv() {
        // Where this thread shares a core with those who publish, let them say
        // what they have to say: it goes into the same commit.
        std::thread::yield_now();
        let (drafts, receipts) = gather(first, &mut inbox);
        if drafts.is_empty() {
            continue;
        }
        match append(&drafts) {
            Ok((batch, outcomes)) => {
                if std::mem::replace(&mut failing, false) {
                    info!("the log can be written again");
                }
                if !batch.runs.is_empty() {
                    // No shard listens only once they have ended.
                    let _ = batches.send(batch);
                }
                for ((draft, outcome), receipt) in drafts.into_iter().zip(outcomes).zip(receipts) {
                    receipt.tell(stored(draft, outcome));
                }
            }
            Err(why) => {
                if !std::mem::replace(&mut failing, true) {
                    error!("the log cannot be written, messages are refused: {why}");
                }
                for (draft, receipt) in drafts.into_iter().zip(receipts) {
                    receipt.tell(busy(draft));
                }
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

#[cfg(test)]
mod tests;
