//! The options of all sessions.

use std::time::Duration;

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
