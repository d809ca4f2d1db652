//! The parameters of one conversation, and the options of all.

use std::time::Duration;

use crate::protocol::{
    Limits, Start,
    format::Format,
    name::{Name, RoomName},
    secret::Secret,
    text::Text,
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

/// The options of all sessions.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// The limits on a client's messages.
    pub limits: Limits,
    /// The ping interval: a silent peer is pinged twice within it and closed
    /// soon after.
    pub ping: Duration,
    /// The notice sent after the welcome, if any.
    pub motd: Option<Text>,
    /// The operators' secret, if the server has operators.
    pub operator: Option<Secret>,
}
