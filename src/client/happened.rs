//! What a client tells its faces: events, its own receipts, and how it stands
//! with the connection.

use tokio::time::Instant;
use tokio_websockets::Message;

use super::end::End;
use crate::protocol::{
    Event, Seq, json,
    name::{MessageId, Reference},
};

/// What happened.
#[derive(Debug)]
pub enum Happened {
    /// The server told something.
    Told(Frame, Event),
    /// A message of this client was refused, and so was not stored.
    Refused {
        /// The event.
        frame: Frame,
        /// The id it was sent with.
        id: MessageId,
        /// Why; not yet safe to show.
        text: String,
    },
    /// The server told something that is for programs only: what this version
    /// does not know, or what the client itself takes care of.
    Heard(Frame),
    /// Messages are missing, and the server has not said why.
    Hole {
        /// The last number shown before.
        after: Seq,
        /// The number that came next.
        next: Seq,
    },
    /// Something about the connection itself.
    State(State),
    /// The conversation is over.
    Ended(End),
}

/// How it stands with the connection: what a person may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// There is no connection, but there will be. Told again after every
    /// attempt that failed.
    Offline {
        /// What ended the connection, or made the attempt fail.
        why: End,
        /// How many messages are not known to be stored.
        unsent: usize,
        /// When it is tried again.
        again: Instant,
    },
    /// There is a connection again. The welcome comes next.
    Connected,
    /// What was missed is being shown.
    CatchingUp {
        /// The number shown last.
        at: Seq,
        /// Where the log ended at the welcome.
        head: Seq,
    },
    /// Everything was shown: from here on, things are seen as they happen.
    CaughtUp,
    /// The server has been taking messages slower than they are said.
    Held {
        /// Why, as it says; not yet safe to show.
        why: String,
        /// How many messages are not known to be stored.
        unsent: usize,
        /// When it is tried again.
        again: Instant,
    },
}

/// An event as it was received.
#[derive(Debug)]
pub struct Frame(pub(super) Message);

impl Frame {
    /// The JSON text; not yet safe to show.
    pub fn text(&self) -> &str {
        // Not `as_text`: it takes the library's word for UTF-8, which does not
        // hold where the last fragment is empty (0.13.3).
        str::from_utf8(self.0.as_payload()).unwrap_or_default()
    }

    /// The ref of the command that the event answers, if it had one.
    pub fn reference(&self) -> Option<Reference> {
        json::reference(self.text())
    }
}
