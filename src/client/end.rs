//! The end of a conversation or a connection: its reason, and whether the
//! client connects again.

use std::{fmt, io, time::Duration};

use tokio_websockets::{Error, Message};

use crate::protocol::close;

use super::backoff::{LONGEST_DRAIN, SHORTEST_RETRY};

/// The reason why a conversation or a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The server sent a close frame.
    Closed {
        /// The close code; 1005 if the frame had none (RFC 6455, 7.1.5).
        code: u16,
        /// The reason; not yet safe to show.
        reason: String,
    },
    /// The connection broke; the reason.
    Lost(String),
    /// No frame arrived for a minute.
    Silent,
    /// The server no longer accepts this client; one sentence.
    Rejected(String),
    /// The outbox cannot be written; the reason.
    Outbox(String),
}

impl End {
    /// The end of a connection that broke without a close frame.
    pub(super) fn cut_off() -> Self {
        End::Lost("the connection was cut off".to_owned())
    }

    /// The end that a close frame announces; `None` for any other frame.
    pub(super) fn closed(frame: &Message) -> Option<Self> {
        frame.as_close().map(|(code, reason)| End::Closed {
            code: code.into(),
            reason: reason.to_owned(),
        })
    }

    /// Whether the client must not connect again. It tries again after every
    /// end that does not forbid it.
    pub(super) fn is_final(&self) -> bool {
        match self {
            End::Closed { code, .. } => !close::may_come_back(*code),
            End::Lost(_) | End::Silent => false,
            End::Rejected(_) | End::Outbox(_) => true,
        }
    }

    /// The reconnect delay that a draining server asks for: the first number in
    /// the reason of code 4003, in milliseconds.
    pub(super) fn wait(&self) -> Option<Duration> {
        let End::Closed {
            code: close::DRAINING,
            reason,
        } = self
        else {
            return None;
        };
        let number = reason
            .split(|c: char| !c.is_ascii_digit())
            .find(|part| !part.is_empty())?;
        let wait = number.parse().map_or(LONGEST_DRAIN, Duration::from_millis);
        Some(wait.clamp(SHORTEST_RETRY, LONGEST_DRAIN))
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Closed { code: 1000, reason } if reason.is_empty() => {
                f.write_str("it closed the connection")
            }
            End::Closed { code: 1005, .. } => {
                f.write_str("it closed the connection and gave no reason")
            }
            End::Closed { code: 1000, reason } => f.write_str(reason),
            End::Closed { code, reason } if reason.is_empty() => write!(f, "{code}"),
            End::Closed {
                code: close::DRAINING,
                reason,
            } => f.write_str(without_delay(reason)),
            End::Closed { code, reason } => write!(f, "{code}: {reason}"),
            End::Lost(why) | End::Rejected(why) => f.write_str(why),
            End::Silent => f.write_str("nothing was heard from it for a minute"),
            End::Outbox(why) => write!(f, "the outbox cannot be written: {why}"),
        }
    }
}

/// The part of a drain's reason that is for people: the text after the reconnect
/// delay.
fn without_delay(reason: &str) -> &str {
    match reason.split_once(" ms: ") {
        Some((delay, words)) if delay.bytes().all(|byte| byte.is_ascii_digit()) => words,
        _ => reason,
    }
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        End::Lost(match error {
            Error::Io(error) => match error.kind() {
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                    "the connection was reset".to_owned()
                }
                _ => error.to_string(),
            },
            Error::Protocol(error) => format!("it broke the WebSocket protocol: {error}"),
            error => error.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Verified to fail when the reason is shown as received.
    #[test]
    fn people_are_not_told_the_delay_of_a_drain() {
        for (code, reason, told) in [
            (
                4003,
                "200 ms: the server is restarting",
                "the server is restarting",
            ),
            (4003, "soon: 7 ms: back", "soon: 7 ms: back"),
            (4003, "700", "700"),
            (4003, "", "4003"),
            (4001, "200 ms: slow", "4001: 200 ms: slow"),
        ] {
            let reason = reason.to_owned();
            assert_eq!(End::Closed { code, reason }.to_string(), told);
        }
    }
}
