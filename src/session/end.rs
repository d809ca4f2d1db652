//! The ways a conversation ends.

use crate::protocol::close::CloseReason;

/// How a conversation ended.
#[derive(Debug)]
pub(super) enum SessionEnd {
    /// The session sends a close frame.
    Close(CloseReason),
    /// The connection is gone; no close frame can be sent.
    Lost(&'static str),
}
