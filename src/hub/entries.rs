//! Submits entries that are not messages to the writer.

use std::sync::Arc;

use super::inbox::{Made, Publisher, Submission, WeakPublisher};
use crate::{
    log::Action,
    protocol::{ConnectionId, Refusal, RefusalCode},
};

/// How long a client should wait, in ms, before it retries an entry that could
/// not be stored.
pub(super) const BUSY_RETRY_MS: u64 = 1000;

/// A way to the writer that does not keep the writer running.
#[derive(Clone)]
pub(super) struct Entries {
    inbox: Arc<WeakPublisher>,
}

impl Entries {
    pub(super) fn new(inbox: WeakPublisher) -> Self {
        let inbox = Arc::new(inbox);
        Entries { inbox }
    }

    /// A publisher for the inbox; `None` once the server stops.
    pub(super) fn publisher(&self) -> Option<Publisher> {
        self.inbox.upgrade()
    }

    /// Whether the inbox still takes entries.
    pub(super) fn is_open(&self) -> bool {
        self.inbox.is_open()
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
    ) -> Result<Made, Refusal> {
        let busy = || Refusal {
            retry_ms: Some(BUSY_RETRY_MS),
            ..Refusal::new(
                RefusalCode::Busy,
                "The server cannot store anything just now; try again in a while.",
            )
        };
        let publisher = self.publisher().ok_or_else(busy)?;
        let (submission, told) = Submission::action(connection, action);
        let sent = publisher.send(submission).await;
        // A task that waits for the outcome must not keep the writer running.
        drop(publisher);
        sent.map_err(|_| busy())?;
        told.await.map_err(|_| busy())
    }

    /// Submits an entry without waiting for its outcome. The entry is lost if
    /// the inbox is full or nothing can be stored.
    pub(super) fn note(&self, action: Action) {
        if let Some(publisher) = self.publisher() {
            let _ = publisher.try_send(Submission::unattended(action));
        }
    }
}
