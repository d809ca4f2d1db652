//! Constants of the protocol, and what a client may send.

use serde::{Deserialize, Serialize};

/// The subprotocol (RFC 6455 §1.9) that selects the JSON format.
pub const SUBPROTOCOL: &str = "chat.v1";

/// The first thing the server says in the plain format.
pub const WELCOME: &str = "Welcome to chat! Type a message";

/// The port of server and client when none is given.
///
/// The one place to change it for both.
pub const DEFAULT_PORT: u16 = 2000;

/// The longest text of one message in bytes, unless `--max-text` says otherwise.
pub const DEFAULT_TEXT_BYTES: usize = 8192;

/// The longest topic of a room, in bytes.
pub const MAX_TOPIC: usize = 300;

/// The largest backlog a newcomer is shown, in messages.
pub const MAX_BACKLOG: u32 = 1000;

/// How many messages a page of the history has where nobody says how many.
pub const EXCERPT: u32 = 50;

/// The most messages it has.
pub const MAX_EXCERPT: u32 = 200;

/// The most bytes of text in such a page, if it has more than one message.
pub const MAX_EXCERPT_BYTES: usize = 128 << 10;

/// What a client may send.
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
    /// The largest payload of one WebSocket message, in bytes; beyond it the
    /// connection is closed with 1009.
    ///
    /// Every text within the limit fits: JSON may write each byte as six
    /// (`\u0000`), and the rest of the object is smaller than 2 KiB.
    pub fn payload_bytes(self) -> usize {
        self.text_bytes * 6 + 2048
    }
}
