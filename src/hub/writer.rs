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
                    publisher.tell(draft, outcome);
                }
            }
            Err(why) => {
                if !std::mem::replace(&mut failing, true) {
                    error!("the log cannot be written, messages are refused: {why}");
                }
                for (draft, publisher) in drafts.into_iter().zip(publishers) {
                    publisher.refuse(draft);
                }
            }
        }
    }
}

/// Takes what waits, up to the size of a batch.
fn gather(first: Submission, inbox: &mut mpsc::Receiver<Submission>) -> (Vec<Draft>, Vec<Answer>) {
    let mut drafts = Vec::new();
    let mut answers = Vec::new();
    let mut bytes = 0;
    let mut next = Some(first);
    while let Some(Submission {
        draft,
        reply,
        wants_receipt,
    }) = next
    {
        bytes += draft.text.len();
        drafts.push(draft);
        answers.push(Answer {
            reply,
            wants_receipt,
        });
        let full = drafts.len() >= BATCH_DRAFTS || bytes >= BATCH_BYTES;
        next = if full { None } else { inbox.try_recv().ok() };
    }
    (drafts, answers)
}

/// Where a publisher hears of its draft.
struct Answer {
    reply: mpsc::Sender<Reply>,
    wants_receipt: bool,
}

impl Answer {
    // Nobody is waited for here: who wants a receipt keeps a place free for it,
    // and who is gone needs none.

    fn tell(self, draft: Draft, outcome: Outcome) {
        if self.wants_receipt {
            let (seq, duplicate) = match outcome {
                Outcome::Stored(seq) => (seq, false),
                Outcome::Duplicate(seq) => (seq, true),
            };
            let _ = self.reply.try_send(Reply::Stored {
                id: draft.id,
                seq,
                duplicate,
            });
        }
    }

    fn refuse(self, draft: Draft) {
        let refusal = Refusal {
            code: RefusalCode::Busy,
            text: "The message could not be stored; send it again in a while.".into(),
            id: draft.id,
            retry_ms: Some(BUSY_RETRY_MS),
        };
        let _ = self.reply.try_send(Reply::Refused(refusal));
    }
}
