//! Where the private messages of a returning owner begin.

use tracing::error;

use crate::{
    hub::Hub,
    protocol::{Event, Seq, close::CloseReason},
    store::Ownership,
};

/// Where the private messages of a reader begin that gives no position.
#[derive(Clone, Copy, Debug)]
pub(super) struct InboxStart {
    /// The messages after this number follow: the last of the unread ones.
    pub(super) after: Seq,
    /// How many are unread.
    pub(super) count: u32,
    /// Whether some of them do not follow.
    has_earlier: bool,
    /// Whether further ones were refused.
    is_full: bool,
}

impl InboxStart {
    /// Reads how many private messages of an owner are unread.
    ///
    /// # Errors
    ///
    /// Fails with the close reason if the message store cannot be read.
    pub(super) async fn of(hub: &Hub, ownership: Ownership) -> Result<Self, CloseReason> {
        let (unread, is_full) = hub.unread(ownership).await.map_err(|why| {
            error!("the message store cannot be read: {why}");
            CloseReason::Internal
        })?;
        Ok(InboxStart {
            after: unread.start,
            count: unread.count,
            has_earlier: unread.has_earlier(),
            is_full,
        })
    }

    /// The sentence for the reader; `None` if every unread message follows and
    /// none was refused.
    pub(super) fn notice(&self) -> Option<Event> {
        let count = self.count;
        let waiting = match (self.has_earlier, self.is_full) {
            (false, false) => return None,
            (true, _) => format!(
                "{count} private messages are unread. Only the last ones follow; /inbox shows earlier ones."
            ),
            (false, true) => format!("{count} private messages are unread."),
        };
        let refused = if self.is_full {
            " The inbox was full: the server refused any further ones."
        } else {
            ""
        };
        let text = waiting + refused;
        Some(Event::Notice { text })
    }
}
