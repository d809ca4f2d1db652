//! Submits entries that are not messages to the writer.

use std::sync::Arc;

use super::submissions::{ActionResult, Submission, Submitter, WeakSubmitter};
use crate::{
    log::Action,
    protocol::{ConnectionId, Refusal, RefusalCode},
};

/// How long a client should wait, in ms, before it retries an entry that could
/// not be stored.
pub(super) const BUSY_RETRY_MS: u64 = 1000;

/// A way to the writer that does not keep the writer running.
#[derive(Clone)]
pub(super) struct ActionSubmitter {
    submitter: Arc<WeakSubmitter>,
}

impl ActionSubmitter {
    pub(super) fn new(submitter: WeakSubmitter) -> Self {
        let submitter = Arc::new(submitter);
        ActionSubmitter { submitter }
    }

    /// A publisher for the queue of submissions; `None` once the server stops.
    pub(super) fn submitter(&self) -> Option<Submitter> {
        self.submitter.upgrade()
    }

    /// Whether the queue of submissions still takes entries.
    pub(super) fn is_open(&self) -> bool {
        self.submitter.is_open()
    }

    /// Orders and applies an entry. Returns once the entry is durable.
    ///
    /// # Errors
    ///
    /// Refuses if the server stops or the entry cannot be stored.
    pub(super) async fn act(
        &self,
        connection: ConnectionId,
        action: Action,
    ) -> Result<ActionResult, Refusal> {
        let busy = || Refusal {
            retry_ms: Some(BUSY_RETRY_MS),
            ..Refusal::new(
                RefusalCode::Busy,
                "The server cannot store anything just now; try again in a while.",
            )
        };
        let submitter = self.submitter().ok_or_else(busy)?;
        let (submission, told) = Submission::action(connection, action);
        let sent = submitter.send(submission).await;
        // A task that waits for the outcome must not keep the writer running.
        drop(submitter);
        sent.map_err(|_| busy())?;
        told.await.map_err(|_| busy())
    }

    /// Submits an entry without waiting for its outcome. The entry is lost if
    /// the queue is full or nothing can be stored.
    pub(super) fn note(&self, action: Action) {
        if let Some(submitter) = self.submitter() {
            let _ = submitter.try_send(Submission::unattended(action));
        }
    }
}
