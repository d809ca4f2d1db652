//! Listeners, the streams of accepted connections, and the peers at their other
//! ends.
//!
//! This module knows no rooms, no messages and no HTTP.

mod listener;
mod peer;
mod stream;

pub use self::{
    listener::Listener,
    peer::Peer,
    stream::{ReadHalf, Stream, WriteHalf},
};
pub use crate::protocol::prefix::Prefix;
