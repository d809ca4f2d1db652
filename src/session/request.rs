//! The session that a request asks for.

use crate::{
    hub::NameUse,
    protocol::{
        Start,
        format::Format,
        name::{Name, RoomName},
        secret::Secret,
    },
};

/// The session that a request asks for.
#[derive(Debug)]
pub struct SessionRequest {
    /// The room to join.
    pub room: RoomName,
    /// The name to use.
    pub name: Option<Name>,
    /// The secret that proves ownership of the name.
    pub secret: Option<Secret>,
    /// The use of the name, if the request had to prove it before it was let in.
    pub proved: Option<NameUse>,
    /// Whether the client is told the name and its secret, because it followed a
    /// link.
    pub is_linked: bool,
    /// The URL of the server, by which the client came.
    pub base: Box<str>,
    /// The format of commands and events.
    pub format: Format,
    /// Where to start reading.
    pub start: Start,
    /// Whether the client sees its own messages.
    pub echo: bool,
}
