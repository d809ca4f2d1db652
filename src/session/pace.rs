//! The rate limit of one connection, and its flood detection.
//!
//! A message over the rate is refused with the time to wait. A client that
//! ignores that time for long is flooding.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    hub::{Bucket, Budget, RefusedIds, too_fast},
    protocol::{Refusal, name::MessageId},
};

/// How many messages may arrive before their retry time; each accepted message
/// restores one. This is more than our client has in flight when the first
/// refusal arrives. After a refusal our client sends one message, then one more
/// per receipt.
const PATIENCE: u32 = 1024;

/// How long a connection's patience must have been below its maximum before the
/// connection is flooding.
const FLOOD: Duration = Duration::from_secs(10);

/// The rate limit of one connection.
#[derive(Debug)]
pub(super) struct Pace {
    budget: Arc<Budget>,
    messages: Bucket,
    deferred: RefusedIds,
    /// When the next message may arrive, as told in the last refusal.
    retry_at: Option<Instant>,
    patience: u32,
    /// Since when `patience` is below its maximum.
    impatient_since: Option<Instant>,
}

impl Pace {
    /// A full rate limit for a connection, with the shared budget of its
    /// prefix.
    pub(super) fn new(budget: &Arc<Budget>) -> Self {
        Pace {
            budget: Arc::clone(budget),
            messages: budget.connection(),
            deferred: RefusedIds::default(),
            retry_at: None,
            patience: PATIENCE,
            impatient_since: None,
        }
    }

    /// Charges a message of this cost to the rate limit.
    ///
    /// # Errors
    ///
    /// Fails with a refusal if the message is over the rate or follows a
    /// refused message.
    pub(super) fn message(
        &mut self,
        id: Option<&MessageId>,
        follows: Option<&MessageId>,
        cost: u32,
    ) -> Result<(), Refusal> {
        let now = Instant::now();
        let paced = if self.deferred.admit(id, follows) {
            self.budget.message(&mut self.messages, cost, now)
        } else {
            let wait = self
                .retry_at
                .map_or(Duration::ZERO, |told| told.saturating_duration_since(now));
            Err(too_fast(
                "The message before it was refused",
                wait.max(Duration::from_millis(1)),
            ))
        };
        if paced.is_err() {
            self.deferred.refuse(id);
        }
        self.charge_patience(now, 1, paced)
            .map_err(|refusal| refusal.with_id(id.cloned()))
    }

    /// Charges the rows of a message to the quota of stored bytes.
    ///
    /// # Errors
    ///
    /// Fails with a refusal if the prefix has stored too much.
    pub(super) fn store(
        &mut self,
        id: Option<&MessageId>,
        rows: u32,
        bytes: usize,
    ) -> Result<(), Refusal> {
        let stored = self.budget.store(rows, bytes);
        if stored.is_ok() {
            return Ok(());
        }
        // The messages that follow this one are refused too.
        self.deferred.refuse(id);
        self.charge_patience(Instant::now(), 1, stored)
    }

    /// Charges frames of this cost that are not messages to the rate limit.
    ///
    /// # Errors
    ///
    /// Fails with a refusal if the prefix sent too many commands.
    pub(super) fn commands(&mut self, cost: u32) -> Result<(), Refusal> {
        let now = Instant::now();
        let paced = self.budget.commands(cost, now);
        self.charge_patience(now, cost, paced)
    }

    fn charge_patience(
        &mut self,
        now: Instant,
        cost: u32,
        paced: Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        match &paced {
            Ok(()) => {
                self.patience = PATIENCE.min(self.patience + 1);
                if self.patience == PATIENCE {
                    self.impatient_since = None;
                }
            }
            Err(refusal) => {
                if self.retry_at.is_some_and(|told| now < told) {
                    self.patience = self.patience.saturating_sub(cost);
                    self.impatient_since.get_or_insert(now);
                }
                let wait = Duration::from_millis(refusal.retry_ms.unwrap_or_default());
                self.retry_at = Some(now + wait);
            }
        }
        paced
    }

    /// Lets nobody of the prefix in for a while, because this client floods.
    pub(super) fn ban_flooder(&self) {
        self.budget.ban_flooder();
    }

    /// Whether the client ignored its retry times too often and for too long. A
    /// client that heeds them never reaches this.
    pub(super) fn is_flood(&self) -> bool {
        self.patience == 0
            && self
                .impatient_since
                .is_some_and(|since| since.elapsed() >= FLOOD)
    }
}

#[cfg(test)]
mod tests;
