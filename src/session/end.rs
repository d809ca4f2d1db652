//! How conversations end.

use crate::protocol::close::CloseReason;

/// How a conversation ended.
#[derive(Debug)]
pub(super) enum End {
    /// With a close frame of ours.
    Close(CloseReason),
    /// Without: the connection is no more.
    Lost(&'static str),
}
