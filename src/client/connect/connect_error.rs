//! The error of an attempt to connect, with a sentence for each step that can
//! fail.

use std::{fmt, io, sync::Arc, time::Duration};

use tokio_websockets::{Error, upgrade};

use super::super::{end::End, one_line::one_line};

/// The reason why the client could not connect. Its text is one sentence that
/// says what to check.
#[derive(Debug)]
pub struct ConnectError {
    pub(super) server: Arc<str>,
    pub(super) host: Arc<str>,
    pub(super) why: ConnectErrorKind,
}

impl ConnectError {
    /// Whether trying again is useless, because the server itself refused this
    /// client or the room.
    ///
    /// All other errors may pass: a name server, a network, or a server behind
    /// a proxy may come back.
    pub(in super::super) fn is_final(&self) -> bool {
        match &self.why {
            ConnectErrorKind::Status(408 | 425 | 429, _) => false,
            ConnectErrorKind::Status(status, _) => (400..500).contains(status),
            ConnectErrorKind::Ended(end) => end.is_final(),
            _ => false,
        }
    }

    /// Whether the server refused with 403, as it does for an invitation that
    /// does not admit the name.
    pub(in super::super) fn is_forbidden(&self) -> bool {
        matches!(self.why, ConnectErrorKind::Status(403, _))
    }

    /// The reconnect delay that a draining server asks this client for.
    pub(in super::super) fn wait(&self) -> Option<Duration> {
        match &self.why {
            ConnectErrorKind::Ended(end) => end.wait(),
            _ => None,
        }
    }

    /// The shortest wait that the server asks every client for, in
    /// `Retry-After`.
    pub(in super::super) fn retry_after(&self) -> Option<Duration> {
        match &self.why {
            ConnectErrorKind::Status(_, wait) => *wait,
            _ => None,
        }
    }
}

/// The step that failed.
#[derive(Debug)]
pub(super) enum ConnectErrorKind {
    /// The name lookup found no address.
    UnknownHost(String),
    /// No address accepted a connection.
    Unreachable(io::Error),
    /// The server did not answer in this time.
    NoAnswer(Duration),
    /// The server's certificate leads to no trusted authority.
    UnknownIssuer,
    /// TLS failed.
    Tls(String),
    /// An HTTP answer without an upgrade: its status and its `Retry-After`.
    Status(u16, Option<Duration>),
    /// The answer is not HTTP.
    NotHttp,
    /// The connection ended before the answer.
    HungUp(String),
    /// The upgrade breaks the WebSocket protocol.
    Handshake(String),
    /// A WebSocket server, but not this chat.
    OtherChat(&'static str),
    /// The connection ended before the welcome.
    Ended(End),
}

impl From<Error> for ConnectErrorKind {
    fn from(error: Error) -> Self {
        match error {
            Error::Upgrade(upgrade::Error::Parsing(_)) => ConnectErrorKind::NotHttp,
            Error::Io(error) => ConnectErrorKind::HungUp(error.to_string()),
            error => ConnectErrorKind::Handshake(error.to_string()),
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = &self.server;
        match &self.why {
            ConnectErrorKind::UnknownHost(why) => {
                let why = why
                    .strip_prefix("failed to lookup address information: ")
                    .unwrap_or(why);
                write!(
                    f,
                    "no address is known for {} ({}): is the name spelled right?",
                    self.host,
                    one_line(why)
                )
            }
            ConnectErrorKind::Unreachable(error) => {
                let kind = error.kind();
                match kind {
                    io::ErrorKind::ConnectionRefused => write!(
                        f,
                        "nothing listens on {server} ({kind:?}): is the server on another port?"
                    ),
                    io::ErrorKind::TimedOut => write!(
                        f,
                        "{server} does not answer ({kind:?}): is the address right, and does no firewall block it?"
                    ),
                    io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => write!(
                        f,
                        "there is no route to {server} ({kind:?}): is this machine on the same network?"
                    ),
                    _ => write!(
                        f,
                        "{server} cannot be reached ({}): is the address right?",
                        one_line(&error.to_string())
                    ),
                }
            }
            ConnectErrorKind::NoAnswer(deadline) => write!(
                f,
                "{server} takes connections but said nothing for {} seconds: is it a chat server?",
                deadline.as_secs()
            ),
            ConnectErrorKind::UnknownIssuer => write!(
                f,
                "no authority that this machine trusts signed the certificate of {server} (UnknownIssuer): if it is the server's own, give --tls-pin as the server prints it"
            ),
            ConnectErrorKind::Tls(why) => write!(
                f,
                "no secure connection to {server} ({}): does it speak TLS, with a certificate for {}?",
                one_line(why),
                self.host
            ),
            ConnectErrorKind::Status(status, _) => {
                write!(f, "{server} answers HTTP {status}")?;
                f.write_str(match status {
                    400 => ": it does not take this request",
                    401 => {
                        ": it is by invitation, so ask for one: client 'URL#invite=…' --name NAME"
                    }
                    403 => ": it is a private room, a used invitation, a wrong secret or a ban",
                    404 => " and has no such room: is it the chat server?",
                    421 => ": it does not accept this host name, try its IP address",
                    426 => ": it speaks another version of WebSocket",
                    429 => ": too many connections come from here, try later",
                    503 => ": it is full or going away, try later",
                    _ => " but is no WebSocket server",
                })?;
                write!(f, " (DidNotSwitchProtocols({status}))")
            }
            ConnectErrorKind::NotHttp => write!(
                f,
                "{server} answers, but not in HTTP: is the chat on another port, or behind wss://?"
            ),
            ConnectErrorKind::HungUp(why) => write!(
                f,
                "{server} ended the connection without an answer ({}): is it a chat server?",
                one_line(why)
            ),
            ConnectErrorKind::Handshake(why) => write!(
                f,
                "{server} answers the WebSocket handshake wrongly ({}): is it a chat server?",
                one_line(why)
            ),
            ConnectErrorKind::OtherChat(why) => write!(
                f,
                "{server} is a WebSocket server, but not this chat: it {why}"
            ),
            ConnectErrorKind::Ended(end) => write!(
                f,
                "the server at {server} went away before it said welcome ({})",
                one_line(&end.to_string())
            ),
        }
    }
}

impl std::error::Error for ConnectError {}
