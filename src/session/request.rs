//! The session that a request asks for.

use crate::protocol::{
    Start,
    format::Format,
    name::{Name, RoomName},
    secret::Secret,
};

/// The session that a request asks for.
#[derive(Clone, Debug)]
pub struct SessionRequest {
    /// The room to join.
    pub room: RoomName,
    /// The name to use.
    pub name: Option<Name>,
    /// The secret that proves ownership of the name.
    pub secret: Option<Secret>,
    /// The format of commands and events.
    pub format: Format,
    /// Where to start reading.
    pub start: Start,
    /// Whether the client sees its own messages.
    pub echo: bool,
}
