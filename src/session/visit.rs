//! What a conversation is about, and what holds for all of them.

use std::time::Duration;

use crate::protocol::{
    Limits, Start,
    format::Format,
    name::{Name, RoomName},
    secret::Secret,
    text::Text,
};

/// What was asked for in the request.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The room.
    pub room: RoomName,
    /// The name to carry.
    pub name: Option<Name>,
    /// What proves that it is one's own.
    pub secret: Option<Secret>,
    /// How to speak.
    pub format: Format,
    /// Where to start reading.
    pub start: Start,
    /// Whether to see one's own messages.
    pub echo: bool,
}

/// What holds for all sessions.
#[derive(Clone, Debug)]
pub struct Options {
    /// What a client may send.
    pub limits: Limits,
    /// A peer silent for so long is pinged twice, and given up soon after.
    pub ping: Duration,
    /// What newcomers are told after the welcome, if anything.
    pub motd: Option<Text>,
    /// What proves that somebody is an operator, if there are any.
    pub operator: Option<Secret>,
}
