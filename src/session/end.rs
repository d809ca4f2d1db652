//! The ways a conversation ends.

use std::fmt;

use crate::protocol::close::CloseReason;

/// How a conversation ended.
#[derive(Debug)]
pub(super) enum SessionEnd {
    /// The session sends a close frame.
    Close(CloseReason),
    /// The connection is gone; no close frame can be sent.
    Lost(&'static str),
}

impl fmt::Display for SessionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SessionEnd::Close(reason) => reason.fmt(f),
            SessionEnd::Lost(why) => f.write_str(why),
        }
    }
}
