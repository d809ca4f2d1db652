//! A chat is one ordered log; a connection is a reader of it that may also
//! publish.
//!
//! Lowest first; a module imports only what stands above it in this list, and
//! `client` nothing but `protocol`. `ARCHITECTURE.md` follows a message through.
//!
//! - [`protocol`]: what travels (names, positions, messages, commands, events)
//!   and its encodings. Knows no sockets, clocks or tasks.
//! - [`metrics`]: what is counted, and under which name. Knows nothing else.
//! - [`history`]: the log; append a batch, read after a position. Knows not who
//!   asks.
//! - [`fanout`]: subscribers, and the shards that write to them, live or catching
//!   up. Knows not what a message says.
//! - [`hub`]: the one path in (inbox, writer, broadcast), and who is in which
//!   room. Knows no sockets and no HTTP.
//! - [`session`]: one conversation; commands in, events out, its limits and
//!   deadlines. Knows no ports and no HTTP.
//! - [`http`]: what a request may ask: the upgrade, a room's lines, a message by
//!   POST, the page, health. Knows no accept loop.
//! - [`server`]: the accept loop, the connection cap, the drain. Knows no flags
//!   and no signals.
//! - [`client`]: the other side; a conversation with a room that outlives its
//!   connections, and its face of lines. Knows nothing of the server but the
//!   protocol.

pub mod protocol;

pub mod metrics;

pub mod history;

pub mod fanout;

pub mod hub;

pub mod session;

pub mod http;

pub mod server;

pub mod client;
