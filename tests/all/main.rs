//! Conversations through real sockets.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs
)]

/// A server to talk to, and peers that speak frame by frame.
mod support;

/// Both commands, run and killed.
mod commands;

/// What is said in the plain and the JSON format, and what is answered.
mod conversation;

/// Which answer belongs to which question.
mod refs;

/// Names: borrowed, owned, proved and refused.
mod names;

/// Requests that are no good handshake, and how each is answered.
mod handshake;

/// Frames RFC 6455 allows and forbids, one by one, while others chat on.
mod frames;

/// Peers that do not read, do not answer or do not end, against the clock.
mod deadlines;

/// What is too much: rates, floods, crowds, and all coming back at once.
mod limits;

/// What hostile and dead peers cost the server as a process.
mod hostile;

/// Who is there: people, and how the others hear of them.
mod people;

/// Who keeps order.
mod operators;

/// What is said and was erased.
mod erasing;

/// What is said to one person alone.
mod private;

/// What newcomers are told after the welcome.
mod motd;

/// Which rooms there are, and what they are about.
mod rooms;

/// Who gets what, and when: bursts, one order, joining, slow readers, leaving.
mod delivery;

/// What outlives the server.
mod history;

/// A disk that is full, slow, read-only, broken or loses its power.
mod disk;

/// Programs nobody here wrote.
mod foreign;

/// The page of a room, in a browser.
mod page;

/// The `client` command against servers that are none, and wrong flags.
mod client_errors;

/// Both commands as a person runs them: the exercise, pipes, starts and ends.
mod processes;

/// The client's screen, on a terminal.
mod screen;

/// What the client loses, doubles and reorders when a process dies: nothing.
mod resume;

/// What the server counts of itself.
mod figures;
/// Whole conversations in a simulated world: nothing is lost, doubled or
/// reordered, whatever breaks.
mod simulation;

/// Real processes, killed at any moment.
mod chaos;

/// What holds for whatever a peer may send.
mod properties;

/// What is worth sending, sent again.
mod corpus;

/// Files made from the table of commands: they are what it makes of them.
mod generated;

/// The layers of the library: no import points up.
mod layers;

/// A room without a WebSocket: lines by GET, a message by POST.
mod requests;

/// A room as server-sent events.
mod event_stream;

/// What is said, told in every format.
mod formats;

/// What the server sends, byte for byte as it was recorded.
mod recorded;
