//! Peers: the other ends of connections, and what is known about them.
//!
//! Knows no rooms, no messages and no HTTP.

mod peer;
mod prefix;

pub use self::{peer::Peer, prefix::Prefix};
