//! How fast one connection speaks, and whether it heeds what it is told.
//!
//! What is too fast is refused with the time to wait. A client that does not heed
//! that for long is a flood.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    hub::{Bucket, Budget, Deferred, too_fast},
    protocol::{Refusal, name::MessageId},
};

/// How many messages may come before the time they were told to come at, less
/// those taken: more than our client has under way when it hears of the first
/// refusal. After that it sends one, and another with each that is taken.
const PATIENCE: u32 = 1024;

/// How long that is borne.
const FLOOD: Duration = Duration::from_secs(10);

/// How fast one connection speaks.
#[derive(Debug)]
pub(super) struct Pace {
    budget: Arc<Budget>,
    messages: Bucket,
    deferred: Deferred,
    /// When the next one may come, if the last one was told that.
    told: Option<Instant>,
    patience: u32,
    /// Since when it is drawn upon.
    drawn: Option<Instant>,
}

impl Pace {
    /// The pace of a connection, with the budget of its prefix.
    pub(super) fn new(budget: &Arc<Budget>) -> Self {
        Pace {
            budget: Arc::clone(budget),
            messages: budget.connection(),
            deferred: Deferred::default(),
            told: None,
            patience: PATIENCE,
            drawn: None,
        }
    }

    /// A message comes: may it?
    pub(super) fn message(
        &mut self,
        id: Option<&MessageId>,
        follows: Option<&MessageId>,
    ) -> Result<(), Refusal> {
        let now = Instant::now();
        let paced = if self.deferred.holds(follows) {
            let wait = self
                .told
                .map_or(Duration::ZERO, |told| told.saturating_duration_since(now));
            Err(too_fast(
                "The message before it was refused",
                wait.max(Duration::from_millis(1)),
            ))
        } else {
            self.budget.message(&mut self.messages, now)
        };
        match &paced {
            Ok(()) => self.deferred.take(id),
            Err(_) => self.deferred.put(id),
        }
        self.heeded(now, paced)
            .map_err(|refusal| refusal.of(id.cloned()))
    }

    /// Something else is asked: may it be?
    pub(super) fn command(&mut self) -> Result<(), Refusal> {
        let now = Instant::now();
        let paced = self.budget.command(now);
        self.heeded(now, paced)
    }

    fn heeded(&mut self, now: Instant, paced: Result<(), Refusal>) -> Result<(), Refusal> {
        match &paced {
            Ok(()) => {
                self.patience = PATIENCE.min(self.patience + 1);
                if self.patience == PATIENCE {
                    self.drawn = None;
                }
            }
            Err(refusal) => {
                if self.told.is_some_and(|told| now < told) {
                    self.patience = self.patience.saturating_sub(1);
                    self.drawn.get_or_insert(now);
                }
                let wait = Duration::from_millis(refusal.retry_ms.unwrap_or_default());
                self.told = self.told.max(Some(now + wait));
            }
        }
        paced
    }

    /// Whether it has gone on for so long, and so much of it, that no client
    /// that heeds what it is told can be meant.
    pub(super) fn is_flood(&self) -> bool {
        self.patience == 0 && self.drawn.is_some_and(|since| since.elapsed() >= FLOOD)
    }
}

#[cfg(test)]
mod tests;
