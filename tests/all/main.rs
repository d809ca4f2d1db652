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

/// Requests that are no good handshake, and how each is answered.
mod handshake;

/// Frames RFC 6455 allows and forbids, one by one, while others chat on.
mod frames;

/// Peers that do not read, do not answer or do not end, against the clock.
mod deadlines;
