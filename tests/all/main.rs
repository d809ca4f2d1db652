//! Integration tests, most of them over real sockets.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs
)]

/// Test servers, and peers that send single frames.
mod support;

/// Runs and kills the `server` and `client` programs.
mod programs;

/// Backups, and what they cost a chat.
mod backups;

/// An operator's commands at the server's own machine.
mod administration;

/// Commands and answers in the plain and the JSON format.
mod config;
mod conversation;

/// Hooks, and the real Alertmanager.
mod hooks;

/// The `ref` that relates answers to commands.
mod refs;
mod reload;

/// Names: leased, owned, proved and refused.
mod names;

/// Invalid handshakes, and the response to each.
mod handshake;

/// Frames that RFC 6455 allows and forbids, one by one, while other members
/// chat.
mod frames;

/// Peers that do not read, answer or end, against a paused clock.
mod deadlines;

/// Limits: rates, floods, crowds, and all clients reconnecting at once.
mod limits;

/// Quotas of one address.
mod quotas;

/// A planned restart.
mod restart;

/// A folder that another version of the server wrote.
mod upgrades;

/// The price of a flood for its sender.
mod floods;

/// Visitors behind trusted proxies.
mod proxies;

/// Unix sockets, and sockets of a service manager.
mod listeners;
mod logs;

/// nginx, `HAProxy` and Caddy in front of the server.
mod real_proxies;

/// A chat below a path of another site.
mod base_path;

/// Limits where strangers may come.
mod strangers;
/// Tags that hide addresses.
mod tags;

/// The cost of hostile and dead peers to the server process.
mod hostile;
mod ignore;
mod inbox;

/// Members and presence events.
mod presence;

/// Operators and their commands.
mod operators;

/// Private rooms, and who may enter them.
mod about;
mod access;

/// Invitations, and operators by name.
mod invitations;

/// Redaction of messages.
mod redaction;

/// Private messages.
mod private;

/// Followed rooms, read positions and activity.
mod places;

/// The notice after the welcome.
mod motd;

/// The list of rooms, and their topics.
mod rooms;

/// Delivery: bursts, one order, joining, slow readers, leaving.
mod delivery;

/// Durable state across server restarts.
mod history;

/// Ids of messages: repeats, and ids that are taken.
mod ids;

/// A disk that is full, slow, read-only, broken or loses its power.
mod disk;

/// Third-party clients.
mod foreign;

/// The page of a room, in a browser.
mod page;

/// The `client` program against servers that do not speak the protocol, and
/// invalid flags.
mod client_errors;

/// Both programs as a person runs them: the original exercise, pipes, starts
/// and ends.
mod processes;

/// The client's screen on a terminal.
mod screen;

/// The client loses, duplicates and reorders nothing when a process dies.
mod resume;

/// Texts that publish a secret or show nothing, and wrong secrets.
mod secrets;
mod service;

/// Bans and mutes by address and prefix, and their list.
mod sanctions;

/// The server's metrics.
mod metrics;

/// Whole conversations in a simulated world: no failure loses, duplicates or
/// reorders a message.
mod simulation;

/// Real processes, killed at random moments.
mod chaos;

/// Properties that hold for any input from a peer.
mod properties;

/// The work of parsing a frame, against its length.
mod work;

/// A corpus of inputs, replayed.
mod corpus;

/// Generated files and references are up to date.
mod generated;

/// The documents: their links, and the pages that a server makes of them.
mod documents;

/// The layers of the library: no module imports a higher one.
mod layers;

/// A room over HTTP: GET returns lines, POST publishes a message.
mod requests;

/// TLS on the server's port.
mod tls;

/// A room as server-sent events.
mod event_stream;

/// The same messages in every format.
mod formats;

/// The bytes that the server sends, as recorded.
mod recorded;
