//! The writer: drains the inbox in batches, commits, fans out.

use std::sync::Arc;

use tokio::sync::{broadcast, mpsc};
use tracing::{error, info};

use super::{Reply, Submission};
use crate::{
    history::{Batch, Draft, Outcome, Writer},
    protocol::{Refusal, RefusalCode},
};

/// A batch ends at so many drafts or bytes of text, whichever comes first: a
/// flood does not make everyone's latency.
const BATCH_DRAFTS: usize = 1024;
const BATCH_BYTES: usize = 256 << 10;

/// How long a publisher is asked to wait when the log cannot be written.
const BUSY_RETRY_MS: u64 = 1000;

/// Runs until every publisher is gone and what they left is stored.
pub(super) fn run(
    mut writer: Writer,
    mut inbox: mpsc::Receiver<Submission>,
    batches: &broadcast::Sender<Arc<Batch>>,
) {
    let mut failing = false;
    while let Some(first) = inbox.blocking_recv() {
        let (drafts, publishers) = gather(first, &mut inbox);
        match writer.append(&drafts) {
            Ok((batch, outcomes)) => {
                if std::mem::replace(&mut failing, false) {
                    info!("the log can be written again");
                }
                if !batch.runs.is_empty() {
                    // No shard listens only once they have ended.
                    let _ = batches.send(batch);
                }
                for ((draft, outcome), publisher) in
                    drafts.into_iter().zip(outcomes).zip(publishers)
                {
                    tell(&publisher, draft, outcome);
                }
            }
            Err(why) => {
                if !std::mem::replace(&mut failing, true) {
                    error!("the log cannot be written, messages are refused: {why}");
                }
                for (draft, publisher) in drafts.into_iter().zip(publishers) {
                    refuse(&publisher, draft);
                }
            }
        }
    }
}

/// Takes what waits, up to the size of a batch.
fn gather(
    first: Submission,
    inbox: &mut mpsc::Receiver<Submission>,
) -> (Vec<Draft>, Vec<mpsc::Sender<Reply>>) {
    let mut drafts = Vec::new();
    let mut publishers = Vec::new();
    let mut bytes = 0;
    let mut next = Some(first);
    while let Some(Submission { draft, reply }) = next {
        bytes += draft.text.len();
        drafts.push(draft);
        publishers.push(reply);
        let full = drafts.len() >= BATCH_DRAFTS || bytes >= BATCH_BYTES;
        next = if full { None } else { inbox.try_recv().ok() };
    }
    (drafts, publishers)
}

/// Tells a publisher what became of its draft. Nobody is waited for here: the
/// publisher keeps a place free, and one that is gone needs to hear nothing.
fn tell(publisher: &mpsc::Sender<Reply>, draft: Draft, outcome: Outcome) {
    let (seq, duplicate) = match outcome {
        Outcome::Stored(seq) => (seq, false),
        Outcome::Duplicate(seq) => (seq, true),
    };
    let _ = publisher.try_send(Reply::Stored {
        id: draft.id,
        seq,
        duplicate,
    });
}

fn refuse(publisher: &mpsc::Sender<Reply>, draft: Draft) {
    let refusal = Refusal {
        code: RefusalCode::Busy,
        text: "The message could not be stored; send it again in a while.".into(),
        id: draft.id,
        retry_ms: Some(BUSY_RETRY_MS),
    };
    let _ = publisher.try_send(Reply::Refused(refusal));
}
