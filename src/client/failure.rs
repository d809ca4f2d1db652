//! Why a conversation failed, as its faces say it.

use std::{fmt, io};

use super::{end::End, one_line::one_line};

/// How many lines were not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Those that were counted.
    pub(super) lines: u64,
    /// The input had not ended when counting did.
    pub(super) more: bool,
    /// Those that were sent are in the outbox, for the next client.
    pub(super) kept: bool,
}

impl fmt::Display for Lost {
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

/// Why the conversation failed. Its text is one sentence.
#[derive(Debug)]
pub enum Failure {
    /// The server went.
    Gone {
        /// `host:port`.
        server: String,
        /// What it said about it.
        end: End,
        /// What it had not confirmed.
        lost: Lost,
    },
    /// It was interrupted with lines left.
    Interrupted {
        /// `host:port`.
        server: String,
        /// What was not confirmed.
        lost: Lost,
    },
    /// The server, or its limits, refused some lines.
    NotStored(Lost),
    /// The input could not be read on.
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
                    _ => write!(f, "the server at {server} went away ({why})"),
                }
            }
            Failure::Interrupted { server, lost } => write!(
                f,
                "{lost}: interrupted before the server at {server} had confirmed them"
            ),
            Failure::NotStored(lost) => lost.fmt(f),
            Failure::Unreadable(error) => {
                write!(f, "standard input cannot be read on: {error}")
            }
        }
    }
}

impl std::error::Error for Failure {}
