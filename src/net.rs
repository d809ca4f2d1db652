//! Peers: the other ends of connections, with their ids, addresses and prefixes.
//!
//! This module knows no rooms, no messages and no HTTP.

mod peer;

pub use self::peer::Peer;
pub use crate::protocol::prefix::Prefix;
