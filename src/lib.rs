//! A chat is one ordered log; a connection is a reader of it that may also
//! publish.
//!
//! Lowest first; a module imports only what stands above it in this list, and
//! `client` nothing but `protocol`. `ARCHITECTURE.md` follows a message through.

/// What travels: names, positions, messages, commands, events, encodings.
/// Knows no sockets, clocks or tasks.
pub mod protocol;

/// The log: append a batch, read after a position. Knows not who asks.
pub mod history;

/// Subscribers and the shards that write to them, live or catching up. Knows
/// not what a message says.
pub mod fanout;

/// The one path in (inbox, writer, broadcast), and who is in which room. Knows
/// no sockets and no HTTP.
pub mod hub;

/// One conversation: commands in, events out, its limits and deadlines. Knows
/// no ports and no HTTP.
pub mod session;

/// What a request may ask: the upgrade, the page, health. Knows no accept loop.
pub mod http;

/// The accept loop, the connection cap, the drain. Knows no flags and no signals.
pub mod server;

/// The other side: a conversation with a room, and its face of lines. Knows
/// nothing of the server's modules but the protocol.
pub mod client;
