//! The peer: the other end of a connection.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
};

use crate::protocol::{ConnectionId, Tag, prefix::Prefix};

/// The peer of one connection: its identity, and its address as believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The id of the connection, which alone identifies it.
    pub id: ConnectionId,
    /// The address, which does not identify the peer; absent on a Unix socket.
    pub addr: Option<SocketAddr>,
    /// The number in its tag, if that is a guest's.
    pub guest: Option<u32>,
}

impl Peer {
    /// The peer of a new connection, with a random id.
    ///
    /// # Errors
    ///
    /// Fails if the system gives no random bytes.
    pub fn accepted(addr: Option<SocketAddr>) -> io::Result<Self> {
        // The id 0 means the server.
        let id = getrandom::u64()?.max(1);
        Ok(Peer {
            id: ConnectionId(id),
            addr: addr.map(canonical),
            guest: None,
        })
    }

    /// The server itself, for which a person at its machine acts.
    pub const SERVER: Peer = Peer {
        id: ConnectionId::SERVER,
        addr: None,
        guest: None,
    };

    /// The IP address, never an IPv4-mapped one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.addr.map(|addr| canonical(addr).ip())
    }

    /// The prefix by which connections and rates are counted.
    pub fn prefix(&self) -> Option<Prefix> {
        self.ip().map(Prefix::from)
    }

    /// The tag that people see while the peer has no name.
    pub fn tag(&self) -> Tag {
        match (self.guest, self.addr) {
            (None, Some(addr)) => addr.into(),
            _ => self.guest_tag(),
        }
    }

    /// A tag that shows no address.
    fn guest_tag(&self) -> Tag {
        match self.guest {
            Some(number) => Tag::guest(number, self.ip()),
            None => Tag::from(self.id),
        }
    }
}

/// The same address, as IPv4 if it is mapped into IPv6.
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        // An IPv6 address may have a scope.
        IpAddr::V6(_) => addr,
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, addr.port()),
    }
}

impl fmt::Display for Peer {
    /// Writes the tag.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.addr {
            Some(addr) => addr.fmt(f),
            None => self.tag().fmt(f),
        }
    }
}
