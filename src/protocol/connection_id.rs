//! The identity of a connection.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Identifies one connection: 64 random bits, drawn when it is accepted.
///
/// In practice no two connections share an id, not even after a restart or on
/// several machines. An address may be used again by another connection; an id
/// is not.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ConnectionId(pub u64);

impl ConnectionId {
    /// The server itself. No connection has this id.
    pub const SERVER: ConnectionId = ConnectionId(0);
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
