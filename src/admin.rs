//! Administration from the server's own machine: an operator's commands without
//! a connection to the chat and without the operators' secret.
//!
//! A running server takes them at a Unix socket in its data folder; only the
//! server's user reaches it. Without a running server they are carried out on
//! the store, in the same way. A request is one line of JSON, and so is its
//! answer.

mod answer;
mod ask;
mod perform;
mod request;
mod socket;

pub use self::{
    answer::{AdminAnswer, AuditEntry, ListedRoom, SanctionInForce},
    ask::ask,
    request::AdminRequest,
    socket::{AdminSocket, socket_path},
};
