//! The values a client returns to its faces: events of the server, receipts for
//! its own messages, and the state of the connection.

use tokio::time::Instant;
use tokio_websockets::Message;

use super::end::End;
use crate::protocol::{
    Event, Seq, json,
    name::{MessageId, Reference},
};

/// One thing that happened in a conversation.
#[derive(Debug)]
pub enum ClientEvent {
    /// The server sent an event.
    Event(Frame, Event),
    /// The server refused a message of this client for good, and did not store
    /// it.
    Refused {
        /// The frame of the refusal.
        frame: Frame,
        /// The id of the message.
        id: MessageId,
        /// The reason; not yet safe to show.
        text: String,
    },
    /// Another message has the id of a message of this client. The client sends
    /// its message again under a new id.
    Renewed {
        /// The frame of the refusal.
        frame: Frame,
        /// The id that the message had.
        id: MessageId,
        /// The id that it has now.
        new_id: MessageId,
    },
    /// A change by an author whom the user ignores: it counts, and is not shown.
    Hidden(Frame, Event),
    /// The server sent an event for programs only: this version does not know
    /// it, or the client handles it itself.
    ForPrograms(Frame),
    /// Messages are missing, and the server sent no gap for them.
    Missing {
        /// The last number shown before the hole.
        after: Seq,
        /// The number of the first message after it.
        next: Seq,
    },
    /// The state of the connection changed.
    State(ConnectionState),
    /// The conversation is over.
    Ended(End),
}

/// The state of the connection, as a person wants to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// There is no connection; the client will try again. Returned after every
    /// failed attempt.
    Offline {
        /// The reason why the connection ended or the attempt failed.
        why: End,
        /// The number of unconfirmed messages.
        unsent: usize,
        /// The time of the next attempt.
        again: Instant,
    },
    /// There is a connection again. Its welcome comes next.
    Connected,
    /// The server is sending the messages that the reader missed.
    CatchingUp {
        /// The last number shown.
        at: Seq,
        /// The last number of the log at the welcome.
        head: Seq,
    },
    /// Every missed message has arrived: the reader is live.
    CaughtUp,
    /// The server has refused messages temporarily for 5 s or more.
    Refusing {
        /// The server's reason; not yet safe to show.
        why: String,
        /// The number of unconfirmed messages.
        unsent: usize,
        /// The time at which the client sends them again.
        again: Instant,
    },
}

/// A text frame from the server: one event.
#[derive(Debug)]
pub struct Frame(pub(super) Message);

impl Frame {
    /// The event as JSON; not yet safe to show.
    pub fn text(&self) -> &str {
        // Not `as_text`: it trusts the library's UTF-8 check, which
        // tokio-websockets 0.13.3 skips if the last fragment is empty.
        str::from_utf8(self.0.as_payload()).unwrap_or_default()
    }

    /// The ref of the command that the event answers, if the command had one.
    pub fn reference(&self) -> Option<Reference> {
        json::reference(self.text())
    }
}
