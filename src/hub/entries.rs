//! The way in for entries that are no messages.

use std::sync::Arc;

use super::inbox::{Made, Publisher, Submission, WeakPublisher};
use crate::{
    log::Action,
    protocol::{ConnectionId, Refusal, RefusalCode},
};

/// How long to wait when the log cannot be written.
pub(super) const BUSY_RETRY_MS: u64 = 1000;

/// Leads to the writer, and does not keep it from ending.
#[derive(Clone)]
pub(super) struct Entries {
    inbox: Arc<WeakPublisher>,
}

impl Entries {
    pub(super) fn new(inbox: WeakPublisher) -> Self {
        let inbox = Arc::new(inbox);
        Entries { inbox }
    }

    /// A way to the writer; `None` once the server goes away.
    pub(super) fn publisher(&self) -> Option<Publisher> {
        self.inbox.upgrade()
    }

    /// Whether there is a way to the writer.
    pub(super) fn is_open(&self) -> bool {
        self.inbox.is_open()
    }

    /// Has an entry ordered and applied; returns once that is durable.
    ///
    /// # Errors
    ///
    /// Refuses where nothing can be stored.
    pub(super) async fn act(
        &self,
        connection: ConnectionId,
        action: Action,
    ) -> Result<Made, Refusal> {
        let busy = || Refusal {
            retry_ms: Some(BUSY_RETRY_MS),
            ..Refusal::new(
                RefusalCode::Busy,
                "Nothing can be stored just now; ask again in a while.",
            )
        };
        let publisher = self.publisher().ok_or_else(busy)?;
        let (submission, told) = Submission::action(connection, action);
        let sent = publisher.send(submission).await;
        // While it waits, the writer may end.
        drop(publisher);
        sent.map_err(|_| busy())?;
        told.await.map_err(|_| busy())
    }

    /// Hands on an entry whose outcome nobody waits for. It is left off where the
    /// inbox is full, or nothing can be written.
    pub(super) fn note(&self, action: Action) {
        if let Some(publisher) = self.publisher() {
            let _ = publisher.try_send(Submission::unattended(action));
        }
    }
}
