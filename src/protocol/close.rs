//! The reasons to close a connection, with their close codes.

use std::{borrow::Cow, fmt, sync::Arc};

/// The reason why the server closes a connection. Each has a WebSocket close
/// code (RFC 6455 §7.4).
///
/// [`may_come_back`] says which codes end a conversation for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The conversation is over, or the client closed with 1000 or no code.
    Done,
    /// The client closed with this other code; the server repeats the code.
    Echo(u16),
    /// The server stops, and the client does not speak the JSON format.
    GoingAway,
    /// The client broke RFC 6455.
    Protocol,
    /// The client sent a binary message; the server accepts only text.
    Binary,
    /// The client sent a text that is not UTF-8.
    NotUtf8,
    /// The client sent a WebSocket message that is too big.
    TooBig,
    /// The server failed.
    Internal,
    /// The client read nothing for too long.
    WriteTimeout,
    /// The client did not finish a WebSocket message in time.
    Unfinished,
    /// The client answered no ping.
    PingTimeout,
    /// The server restarts. The reason begins with a reconnect delay of the
    /// client's own, so that not all come back at once.
    Draining {
        /// The reconnect delay in milliseconds.
        wait_ms: u32,
    },
    /// The client's name is an operator's now, or no longer: it proves its name
    /// again.
    StandingChanged,
    /// The client kept sending although it was refused for the rate.
    Flooding,
    /// An operator kicked the client; the reason is the operator's, if given.
    Kicked {
        /// The operator's reason; at most [`MAX_REASON_BYTES`] bytes.
        reason: Option<Arc<str>>,
    },
    /// An operator banned the client; the reason is the operator's, if given.
    Banned {
        /// The operator's reason; at most [`MAX_REASON_BYTES`] bytes.
        reason: Option<Arc<str>>,
    },
    /// The client tried too many wrong operator secrets.
    WrongSecrets,
    /// The client may not stay in its room, or its name is not its own any more.
    NotAllowed,
}

/// The longest reason that an operator can give, in bytes. It fits into a close
/// frame.
pub const MAX_REASON_BYTES: usize = 100;

/// The code that RFC 6455 §7.4.1 gives to a close frame without one. No frame
/// carries it.
const NO_CODE: u16 = 1005;

/// The code of [`CloseReason::Draining`].
pub const DRAINING: u16 = 4003;

/// Whether a client may come back after a close frame with this code. A client
/// may come back after an unknown code too, unless it is from 4500 to 4999.
pub const fn may_come_back(code: u16) -> bool {
    !matches!(code, 1000 | 1002 | 1003 | 1007..=1010 | 4500..=4999)
}

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

    /// All close codes that the server sends by itself.
    pub const CODES: [u16; 15] = [
        1000, 1001, 1002, 1003, 1007, 1009, 1011, 4001, 4002, DRAINING, 4004, 4501, 4502, 4503,
        4504,
    ];

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
            Self::Draining { .. } => DRAINING,
            Self::StandingChanged => 4004,
            Self::Flooding => 4504,
            Self::Kicked { .. } => 4501,
            Self::Banned { .. } => 4502,
            Self::WrongSecrets | Self::NotAllowed => 4503,
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
            Self::GoingAway => "the server is stopping",
            Self::Protocol => "the client broke the WebSocket protocol",
            Self::Binary => "only text is accepted, not binary",
            Self::NotUtf8 => "the text is not UTF-8",
            Self::TooBig => "the message is too big",
            Self::Internal => "the server failed",
            Self::WriteTimeout => "the client read nothing for too long",
            Self::Unfinished => "the client did not finish a message in time",
            Self::PingTimeout => "the client answered no ping",
            Self::Draining { .. } => "the server is restarting",
            Self::Kicked { .. } => "an operator kicked you",
            Self::Banned { .. } => "an operator banned you",
            Self::WrongSecrets => "too many wrong secrets",
            Self::NotAllowed => "you may not be in this room",
            Self::StandingChanged => "your standing has changed: come back",
            Self::Flooding => "the client kept sending after it was refused",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason(), self.code())
    }
}
