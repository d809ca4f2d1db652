//! The writer: drains the inbox in batches, commits, fans out.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{broadcast, mpsc},
    time::Instant,
};
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

/// How often a log that fails is tried: now and then a few times at once, for
/// what publishers send, but no more than so often in the long run. What comes
/// in between is refused without a look at the disk.
const TRY_EVERY: Duration = Duration::from_millis(250);
const TRIES_AT_ONCE: u32 = 8;

/// Runs until every publisher is gone and what they left is stored.
pub(super) fn run(
    mut writer: Writer,
    mut inbox: mpsc::Receiver<Submission>,
    batches: &broadcast::Sender<Arc<Batch>>,
) {
    let mut failing = false;
    let mut damaged = false;
    let mut tries = Tries::new();
    while let Some(first) = inbox.blocking_recv() {
        let (drafts, publishers) = gather(first, &mut inbox);
        if failing && !tries.another() {
            refuse_all(drafts, &publishers);
            continue;
        }
        match writer.append(&drafts) {
            Ok((batch, outcomes)) => {
                if std::mem::replace(&mut failing, false) {
                    info!("the log can be written again");
                    damaged = false;
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
                // Once; and once more where it is not the disk but what is on it.
                if !failing || why.is_damage() && !damaged {
                    error!("the log cannot be written, messages are refused: {why}");
                }
                failing = true;
                damaged |= why.is_damage();
                refuse_all(drafts, &publishers);
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

fn refuse_all(drafts: Vec<Draft>, publishers: &[mpsc::Sender<Reply>]) {
    for (draft, publisher) in drafts.into_iter().zip(publishers) {
        let refusal = Refusal {
            code: RefusalCode::Busy,
            text: "The message could not be stored; send it again in a while.".into(),
            id: draft.id,
            retry_ms: Some(BUSY_RETRY_MS),
        };
        let _ = publisher.try_send(Reply::Refused(refusal));
    }
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
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_log_that_fails_is_not_tried_for_every_message() {
        let mut tries = Tries::new();
        let count = |tries: &mut Tries| (0..100).filter(|_| tries.another()).count();
        assert_eq!(count(&mut tries), 8);
        tokio::time::advance(TRY_EVERY * 3).await;
        assert_eq!(count(&mut tries), 3);
        tokio::time::advance(TRY_EVERY * 300).await;
        assert_eq!(count(&mut tries), 8);
    }
}
