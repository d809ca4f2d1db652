//! The constants of the protocol, and the limits that a server tells.

use serde::{Deserialize, Serialize};

/// The subprotocol (RFC 6455 §1.9) that selects the JSON format.
pub const SUBPROTOCOL: &str = "chat.v1";

/// The first line that the server sends in the plain format.
pub const PLAIN_WELCOME: &str = "Welcome to chat! Type a message";

/// The port that server and client use if none is given.
pub const DEFAULT_PORT: u16 = 2000;

/// The longest text of one message in bytes, unless `--max-text` sets another.
pub const DEFAULT_TEXT_BYTES: usize = 8192;

/// The longest frame of a command that publishes no message, in bytes of its
/// payload. Every other field within its limit fits, even if JSON writes each
/// byte as six (`\u0000`).
pub const MAX_COMMAND_BYTES: usize = 2048;

/// The longest topic of a room, in bytes.
pub const MAX_TOPIC_BYTES: usize = 300;

/// The largest backlog that a subscriber gets, in messages.
pub const MAX_BACKLOG: u32 = 1000;

/// The most rooms in one answer to `rooms`.
pub const MAX_LISTED_ROOMS: usize = 200;

/// The number of messages on a history page if the client sets no limit.
pub const HISTORY_PAGE: u32 = 50;

/// The most messages on a history page.
pub const MAX_HISTORY_PAGE: u32 = 200;

/// The most bytes of text on a history page. A page of a single message may have
/// more.
pub const MAX_HISTORY_PAGE_BYTES: usize = 128 << 10;

/// The limits that a client is told in the welcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The longest text of one message, in bytes of UTF-8.
    pub text_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            text_bytes: DEFAULT_TEXT_BYTES,
        }
    }
}

impl Limits {
    /// The largest payload of one WebSocket message, in bytes. The server closes
    /// a connection that exceeds it with 1009.
    ///
    /// Every text within the limit fits. JSON may write each byte as six
    /// (`\u0000`), and the rest of the object is smaller than 2 KiB.
    pub fn payload_bytes(self) -> usize {
        self.text_bytes * 6 + 2048
    }
}
