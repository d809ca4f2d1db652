//! The reasons to close a connection, with their close codes.

use std::{borrow::Cow, fmt, sync::Arc};

/// The reason why the server closes a connection. Each has a WebSocket close
/// code (RFC 6455 §7.4).
///
/// A code from 4000 to 4499 asks the client to come back. A code from 4500 to
/// 4999 does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The conversation is over, or the client closed with 1000 or no code.
    Done,
    /// The client closed with this other code; the server repeats the code.
    Echo(u16),
    /// The server stops.
    GoingAway,
    /// The client broke RFC 6455.
    Protocol,
    /// The client sent a binary message; the server accepts text only.
    Binary,
    /// The client sent a text that is not UTF-8.
    NotUtf8,
    /// A WebSocket message exceeds
    /// [`Limits::payload_bytes`](super::Limits::payload_bytes).
    TooBig,
    /// The server failed.
    Internal,
    /// The client read nothing until the write deadline passed.
    WriteTimeout,
    /// The client began a WebSocket message and did not end it in time.
    Unfinished,
    /// The client answered no ping.
    PingTimeout,
    /// The server drains. Each client gets its own reconnect delay, so that
    /// not all of them come back at once.
    Draining {
        /// The reconnect delay in milliseconds.
        wait_ms: u32,
    },
    /// The client kept sending too fast, although it was refused.
    Flooding,
    /// An operator kicked the client.
    Kicked {
        /// The operator's reason; at most [`MAX_REASON_BYTES`] bytes.
        reason: Option<Arc<str>>,
    },
    /// An operator banned the client.
    Banned {
        /// The operator's reason; at most [`MAX_REASON_BYTES`] bytes.
        reason: Option<Arc<str>>,
    },
    /// The client tried too many wrong secrets.
    WrongSecrets,
}

/// The longest reason that an operator can give, in bytes. It fits into a close
/// frame.
pub const MAX_REASON_BYTES: usize = 100;

/// The code that RFC 6455 §7.4.1 gives to a close frame without one. No frame
/// carries it.
const NO_CODE: u16 = 1005;

impl CloseReason {
    /// The answer to a close frame with this code: the same code (RFC 6455
    /// §5.5.1).
    pub const fn echoing(code: u16) -> Self {
        match code {
            1000 | NO_CODE => Self::Done,
            code => Self::Echo(code),
        }
    }

    /// A kick, with the operator's reason; empty for none.
    pub fn kicked(words: &str) -> Self {
        let reason = (!words.is_empty()).then(|| words.into());
        Self::Kicked { reason }
    }

    /// A ban, with the operator's reason; empty for none.
    pub fn banned(words: &str) -> Self {
        let reason = (!words.is_empty()).then(|| words.into());
        Self::Banned { reason }
    }

    /// The WebSocket close code.
    pub const fn code(&self) -> u16 {
        match self {
            Self::Done => 1000,
            Self::Echo(code) => *code,
            Self::GoingAway => 1001,
            Self::Protocol => 1002,
            Self::Binary => 1003,
            Self::NotUtf8 => 1007,
            Self::TooBig => 1009,
            Self::Internal => 1011,
            Self::WriteTimeout | Self::Unfinished => 4001,
            Self::PingTimeout => 4002,
            Self::Draining { .. } => 4003,
            Self::Flooding => 4504,
            Self::Kicked { .. } => 4501,
            Self::Banned { .. } => 4502,
            Self::WrongSecrets => 4503,
        }
    }

    /// The text of the close frame; at most 123 bytes (RFC 6455 §5.5).
    pub fn reason(&self) -> Cow<'_, str> {
        let phrase = self.phrase();
        match self {
            Self::Draining { wait_ms } => format!("{wait_ms} ms: {phrase}").into(),
            Self::Kicked { reason: Some(why) } | Self::Banned { reason: Some(why) } => {
                (&**why).into()
            }
            _ => phrase.into(),
        }
    }

    const fn phrase(&self) -> &'static str {
        match self {
            Self::Done | Self::Echo(_) => "done",
            Self::GoingAway => "the server goes away, come back",
            Self::Protocol => "this breaks the WebSocket protocol",
            Self::Binary => "only text is taken, no binary",
            Self::NotUtf8 => "this is not UTF-8",
            Self::TooBig => "this is too big",
            Self::Internal => "the server failed",
            Self::WriteTimeout => "nothing was read for too long, come back",
            Self::Unfinished => "a message was begun and not ended in time, come back",
            Self::PingTimeout => "no ping was answered, come back",
            Self::Draining { .. } => "the server restarts, come back",
            Self::Kicked { .. } => "an operator sent you away",
            Self::Banned { .. } => "an operator keeps you out",
            Self::WrongSecrets => "too many wrong secrets were tried",
            Self::Flooding => "too much was sent for too long after it was refused",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason(), self.code())
    }
}
