//! The failure of a conversation, with the sentence that its faces show.

use std::{fmt, io};

use super::{end::End, one_line::one_line};

/// The number of lines that were not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unstored {
    /// The lines that were counted.
    pub(super) lines: u64,
    /// Whether counting stopped before the input ended.
    pub(super) more: bool,
    /// Whether a file holds the lines that were sent, for the next client.
    pub(super) kept: bool,
}

impl fmt::Display for Unstored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let least = if self.more { "at least " } else { "" };
        match self.lines {
            1 => write!(f, "{least}1 line was not stored")?,
            lines => write!(f, "{least}{lines} lines were not stored")?,
        }
        f.write_str(if self.kept {
            " (what was sent is in the outbox)"
        } else {
            ""
        })
    }
}

/// The reason why a conversation failed. Its text is one sentence.
#[derive(Debug)]
pub enum Failure {
    /// The conversation ended before the client was done.
    Gone {
        /// `host:port`.
        server: String,
        /// The reason.
        end: End,
        /// The unconfirmed lines.
        lost: Unstored,
    },
    /// A person or a signal ended the client while lines were unconfirmed.
    Interrupted {
        /// `host:port`.
        server: String,
        /// The unconfirmed lines.
        lost: Unstored,
    },
    /// The server refused some lines, or they exceeded a limit.
    NotStored(Unstored),
    /// Reading the input failed.
    Unreadable(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Gone { server, end, lost } => {
                if lost.lines > 0 {
                    write!(f, "{lost}: ")?;
                }
                let why = one_line(&end.to_string());
                match end {
                    End::Rejected(_) | End::Outbox(_) => f.write_str(&why),
                    End::Closed {
                        code: 4500..=4999, ..
                    } => {
                        write!(
                            f,
                            "the server at {server} closed the connection for good ({why})"
                        )
                    }
                    _ => write!(f, "the server at {server} went away ({why})"),
                }
            }
            Failure::Interrupted { server, lost } => write!(
                f,
                "{lost}: interrupted before the server at {server} had confirmed them"
            ),
            Failure::NotStored(lost) => lost.fmt(f),
            Failure::Unreadable(error) => {
                write!(f, "standard input cannot be read further: {error}")
            }
        }
    }
}

impl std::error::Error for Failure {}
