//! A chat is one ordered log; a connection is a reader of it that may also
//! publish.
//!
//! Lowest first; a module imports only what stands above it in this list, and
//! `client` nothing but `protocol`. `ARCHITECTURE.md` follows a message through.
//!
//! - [`protocol`]: what travels (names, positions, messages, commands, events)
//!   and its encodings. Knows no sockets, clocks or tasks.
//! - [`metrics`]: what is counted, and under which name. Knows nothing else.
//! - [`net`]: peers, their ids, addresses and prefixes. Knows no rooms, messages or
//!   HTTP.
//! - [`log`]: entries as data, and their order. Knows not what an entry does.
//! - [`store`]: applies entries to tables, and reads them. Knows not where the
//!   order comes from, or who asks.
//! - [`fanout`]: takes entries from the log, has them applied, and writes what
//!   was said to subscribers, live or catching up. Knows not what a message says.
//! - [`hub`]: the one path in (inbox, writer, broadcast), and the registry of all
//!   connections. Knows no sockets and no HTTP.
//! - [`session`]: one conversation; commands in, events out, its limits and
//!   deadlines. Knows no ports and no HTTP.
//! - [`http`]: what a request may ask: the upgrade, a room's lines, a message by
//!   POST, the page, health. Knows no accept loop.
//! - [`server`]: the accept loop, the drain. Knows no flags
//!   and no signals.
//! - [`client`]: the other side; a conversation with a room that outlives its
//!   connections, and its face of lines. Knows nothing of the server but the
//!   protocol.

pub mod protocol;

pub mod metrics;

pub mod net;

pub mod log;

pub mod store;

pub mod fanout;

pub mod hub;

pub mod session;

pub mod http;

pub mod server;

pub mod client;
