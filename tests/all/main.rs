//! Conversations through real sockets.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs
)]

/// A server to talk to, and peers that speak frame by frame.
mod support;

/// What is said in the plain and the JSON format, and what is answered.
mod conversation;

/// Who gets what, and when: bursts, one order, joining, slow readers, leaving.
mod delivery;

/// What outlives the server.
mod history;

/// Programs nobody here wrote.
mod foreign;

/// The `client` command against servers that are none, and wrong flags.
mod client_errors;

/// Both commands as a person runs them: the exercise, pipes, starts and ends.
mod processes;

/// The layers of the library: no import points up.
mod layers;

/// A room without a WebSocket: lines by GET, a message by POST.
mod requests;
