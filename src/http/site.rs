//! The chat and its rules: all that a request is answered from.

use http::StatusCode;

use super::origin::Trust;
use crate::{hub::Hub, protocol::Limits};

/// What requests are answered from.
#[derive(Debug)]
pub struct Site {
    /// The chat.
    pub hub: Hub,
    /// Whose requests are served.
    pub trust: Trust,
    /// What a client may send.
    pub limits: Limits,
}

impl Site {
    /// A whole HTTP answer as text, for where no request was read.
    pub fn plain_answer(&self, status: StatusCode, sentence: &str) -> String {
        self.hub.metrics().answered(status.as_u16());
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{sentence}\n",
            sentence.len() + 1
        )
    }
}
