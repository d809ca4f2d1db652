//! The options of all sessions.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use super::inbound::UnfinishedMessages;
use crate::protocol::{Limits, secret::Secret, text::Text};

/// The options of all sessions.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// The limits on a client's messages.
    pub limits: Limits,
    /// The memory for unfinished messages of all sessions.
    pub unfinished: UnfinishedMessages,
    /// The ping interval: a silent peer is pinged twice within it and closed
    /// soon after.
    pub ping: Duration,
    /// The notice sent after the welcome, if any.
    pub motd: Option<Text>,
    /// The operators' secret, if the server has operators.
    pub operator: Option<Secret>,
}

/// The options that hold at this time. Conversations that are open notice only
/// another operators' secret.
#[derive(Debug)]
pub struct CurrentOptions(RwLock<Arc<SessionOptions>>);

impl CurrentOptions {
    /// The options to start with.
    pub fn new(first: SessionOptions) -> Self {
        CurrentOptions(RwLock::new(Arc::new(first)))
    }

    /// The options at this moment.
    pub fn get(&self) -> Arc<SessionOptions> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces all options but the memory for unfinished messages.
    pub fn replace(&self, next: SessionOptions) {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let unfinished = current.unfinished.clone();
        *current = Arc::new(SessionOptions { unfinished, ..next });
    }
}
