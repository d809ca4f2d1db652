//! Why the server ends a connection: one table.

use std::{borrow::Cow, fmt, sync::Arc};

/// A reason to close, with the WebSocket close code (RFC 6455 §7.4) that says it.
///
/// Codes from 4000 to 4499 ask the client to come back; 4500 to 4999 do not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Nothing is left to do; or the client closed so, and is answered.
    Done,
    /// The client closed with another code, and is answered with it.
    Answer(u16),
    /// The server goes away.
    GoingAway,
    /// The client broke RFC 6455.
    Protocol,
    /// Binary messages are not taken.
    Binary,
    /// A text was not UTF-8.
    NotUtf8,
    /// A message was larger than any that could be accepted.
    TooBig,
    /// The server failed.
    Internal,
    /// The client took nothing for the whole write deadline.
    Slow,
    /// A message was begun and not ended.
    Unfinished,
    /// The client answered no ping.
    Silent,
    /// The server goes away, and says when to come back: not all at once.
    Draining {
        /// In how many milliseconds.
        wait_ms: u32,
    },
    /// The client went on sending too fast, whatever it was told.
    Flooding,
    /// An operator sent the client away.
    Kicked {
        /// With these words; at most [`MAX_WHY`] bytes.
        why: Option<Arc<str>>,
    },
    /// An operator keeps the client out.
    Banned {
        /// With these words; at most [`MAX_WHY`] bytes.
        why: Option<Arc<str>>,
    },
    /// The client tried secrets.
    Guessing,
}

/// The longest reason of an operator's, in bytes: it fits a close frame.
pub const MAX_WHY: usize = 100;

/// What stands for the code of a close frame that has none; it is never sent.
const NO_CODE: u16 = 1005;

impl CloseReason {
    /// The answer to a close frame: its code again (RFC 6455 §5.5.1).
    pub const fn answering(code: u16) -> Self {
        match code {
            1000 | NO_CODE => Self::Done,
            code => Self::Answer(code),
        }
    }

    /// A kick, with the operator's words, if any.
    pub fn kicked(words: &str) -> Self {
        let why = (!words.is_empty()).then(|| words.into());
        Self::Kicked { why }
    }

    /// A ban, with the operator's words, if any.
    pub fn banned(words: &str) -> Self {
        let why = (!words.is_empty()).then(|| words.into());
        Self::Banned { why }
    }

    /// The close code.
    pub const fn code(&self) -> u16 {
        match self {
            Self::Done => 1000,
            Self::Answer(code) => *code,
            Self::GoingAway => 1001,
            Self::Protocol => 1002,
            Self::Binary => 1003,
            Self::NotUtf8 => 1007,
            Self::TooBig => 1009,
            Self::Internal => 1011,
            Self::Slow | Self::Unfinished => 4001,
            Self::Silent => 4002,
            Self::Draining { .. } => 4003,
            Self::Flooding => 4504,
            Self::Kicked { .. } => 4501,
            Self::Banned { .. } => 4502,
            Self::Guessing => 4503,
        }
    }

    /// The reason as it is sent; at most 123 bytes (RFC 6455 §5.5).
    pub fn reason(&self) -> Cow<'_, str> {
        let phrase = self.phrase();
        match self {
            Self::Draining { wait_ms } => format!("{wait_ms} ms: {phrase}").into(),
            Self::Kicked { why: Some(why) } | Self::Banned { why: Some(why) } => (&**why).into(),
            _ => phrase.into(),
        }
    }

    const fn phrase(&self) -> &'static str {
        match self {
            Self::Done | Self::Answer(_) => "done",
            Self::GoingAway => "the server goes away, come back",
            Self::Protocol => "this breaks the WebSocket protocol",
            Self::Binary => "only text is taken, no binary",
            Self::NotUtf8 => "this is not UTF-8",
            Self::TooBig => "this is too big",
            Self::Internal => "the server failed",
            Self::Slow => "nothing was read for too long, come back",
            Self::Unfinished => "a message was begun and not ended in time, come back",
            Self::Silent => "no ping was answered, come back",
            Self::Draining { .. } => "the server restarts, come back",
            Self::Kicked { .. } => "an operator sent you away",
            Self::Banned { .. } => "an operator keeps you out",
            Self::Guessing => "too many wrong secrets were tried",
            Self::Flooding => "too much was sent for too long after it was refused",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason(), self.code())
    }
}
