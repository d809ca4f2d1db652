//! What travels: names, positions, messages, commands and events, their limits,
//! and the encodings that turn them into frames.
//!
//! Knows nothing of sockets, clocks or tasks. Server and client both read this
//! module first; it is the whole contract between them.

pub mod close;
mod command;
mod event;
pub mod event_stream;
pub mod format;
pub mod frame;
pub mod json;
pub mod lasting;
mod message;
pub mod name;
pub mod plain;
pub mod secret;
pub mod text;
pub mod who;

pub use self::{
    command::{Command, Start},
    event::{
        Event, GapReason, Limits, Page, Refusal, RefusalCode, RoomInfo, Search, Topic, Welcome,
    },
    message::{At, Author, Entry, Epoch, Erased, Kind, Message, Private, Seq},
};

/// The subprotocol (RFC 6455 §1.9) that selects the JSON format.
pub const SUBPROTOCOL: &str = "chat.v1";

/// The first thing the server says in the plain format.
pub const WELCOME: &str = "Welcome to chat! Type a message";

/// The port of server and client when none is given.
///
/// The one place to change it for both.
pub const DEFAULT_PORT: u16 = 2000;

/// The longest text of one message in bytes, unless `--max-text` says otherwise.
pub const DEFAULT_TEXT_BYTES: usize = 8192;

/// The longest topic of a room, in bytes.
pub const MAX_TOPIC: usize = 300;

/// The largest backlog a newcomer is shown, in messages.
pub const MAX_BACKLOG: u32 = 1000;

/// How many messages a page of the history has where nobody says how many.
pub const EXCERPT: u32 = 50;

/// The most messages it has.
pub const MAX_EXCERPT: u32 = 200;

/// The most bytes of text in such a page, if it has more than one message.
pub const MAX_EXCERPT_BYTES: usize = 128 << 10;
