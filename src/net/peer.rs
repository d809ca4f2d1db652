//! The other end of a connection.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
};

use super::prefix::Prefix;
use crate::protocol::{ConnectionId, Tag};

/// The other end of one connection: its identity, and its address as believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The connection. Nothing else identifies it.
    pub id: ConnectionId,
    /// The address, which is a fact about the peer; absent on a Unix socket.
    pub addr: Option<SocketAddr>,
}

impl Peer {
    /// The peer of a connection that was accepted just now.
    ///
    /// # Errors
    ///
    /// Fails if the system has no random bits.
    pub fn accepted(addr: Option<SocketAddr>) -> io::Result<Self> {
        // 0 is the server.
        let id = getrandom::u64()?.max(1);
        Ok(Peer {
            id: ConnectionId(id),
            addr,
        })
    }

    /// The IP address, never an IPv4-mapped one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.addr.map(|addr| addr.ip().to_canonical())
    }

    /// The prefix that the peer's connections and rates are counted by.
    pub fn prefix(&self) -> Option<Prefix> {
        self.ip().map(Prefix::from)
    }

    /// What people see of the peer while it has no name.
    pub fn tag(&self) -> Tag {
        match self.addr {
            Some(addr) => addr.into(),
            None => Tag::from(self.id),
        }
    }
}

impl fmt::Display for Peer {
    /// The tag, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.addr {
            Some(addr) => addr.fmt(f),
            None => self.tag().fmt(f),
        }
    }
}
