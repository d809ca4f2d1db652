//! Listeners, the streams of accepted connections, and the peers at their other
//! ends.
//!
//! This module knows no rooms, no messages and no HTTP.

mod address_set;
mod listener;
mod peer;
mod proxy_header;
mod stream;
pub mod tls;
mod unix_socket;

pub(crate) use self::peer::canonical;
pub use self::{
    address_set::AddressSet,
    listener::Listener,
    peer::Peer,
    proxy_header::read as read_proxy_header,
    stream::{ReadHalf, Stream, WriteHalf},
    unix_socket::BoundUnixSocket,
};
pub use crate::protocol::prefix::Prefix;
