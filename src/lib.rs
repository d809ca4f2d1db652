//! A chat is one ordered log. A connection reads the log and may also publish.
//!
//! The list has the lowest module first. A module imports only modules above it
//! in the list, and `client` imports only `protocol`. `ARCHITECTURE.md` follows
//! the path of a message.
//!
//! - [`protocol`]: names, positions, messages, commands and events, and their
//!   encodings. It knows no sockets, clocks or tasks.
//! - [`metrics`]: the metrics and their names. It knows no other module.
//! - [`net`]: peers, with their ids, addresses and prefixes. It knows no rooms,
//!   messages or HTTP.
//! - [`log`]: entries as data, and their order. It does not know what an entry
//!   does.
//! - [`store`]: applies entries to tables, and reads the tables. It does not
//!   know which log orders the entries.
//! - [`fanout`]: feeds the store from the log, and writes messages to subscribers,
//!   live or catching up. It does not know what a message says.
//! - [`hub`]: the one path for entries (inbox, writer, broadcast), and the registry
//!   of all connections. It knows no sockets and no HTTP.
//! - [`admin`]: an operator's commands from the server's own machine. It knows no
//!   sessions and no HTTP.
//! - [`session`]: one conversation, with its commands, events, limits and
//!   deadlines. It knows no ports and no HTTP.
//! - [`http`]: the answers to requests: the upgrade, a room's lines, a message by
//!   POST, the page and health. It knows no accept loop.
//! - [`server`]: the accept loop and the drain. It knows no flags and no signals.
//! - [`client`]: a conversation with a room that outlives its connections, and the
//!   client's faces: lines and a screen. It knows only the protocol of the server.

pub mod protocol;

pub mod metrics;

pub mod net;

pub mod log;

pub mod store;

pub mod fanout;

pub mod hub;

pub mod admin;

pub mod session;

pub mod http;

pub mod server;

pub mod client;
