//! The protocol: names, positions, messages, commands and events, their limits,
//! and the encodings that turn them into frames.
//!
//! This module knows no sockets, clocks or tasks. It is the whole contract
//! between the server and a client.

mod about;
mod author;
mod base_segment;
mod change;
pub mod close;
pub mod command;
pub mod command_target;
mod connection_id;
mod event;
pub mod event_stream;
mod fingerprint;
pub mod format;
pub mod frame;
pub mod ignored;
mod invisible;
pub mod json;
mod limits;
mod lineage;
pub(crate) mod markup;
pub mod mention;
mod message;
pub mod misplaced_secret;
pub mod name;
mod owner_number;
pub mod place;
pub mod plain;
mod position;
pub mod prefix;
pub mod qr;
mod refusal;
mod request;
pub mod scalar;
pub mod secret;
mod tag;
pub mod text;
pub mod token;
pub mod typed;
pub mod typed_duration;
mod wall_time;

pub use self::{
    about::{About, AboutKind, MessageKind, PublishKind},
    author::Author,
    base_segment::is_base_segment,
    change::{Change, ChangeKind, Quote, Reaction},
    command::{Command, LastOf, Start},
    connection_id::ConnectionId,
    event::{
        ConversationPage, Event, GapReason, HookInfo, Invite, LastMessage, Link, PageEvent,
        RoomInfo, RoomMember, Search, Topic, Welcome,
    },
    fingerprint::{BadFingerprint, Fingerprint},
    limits::{
        DEFAULT_PORT, DEFAULT_TEXT_BYTES, HISTORY_PAGE, Limits, MAX_BACKLOG, MAX_COMMAND_BYTES,
        MAX_HISTORY_PAGE, MAX_HISTORY_PAGE_BYTES, MAX_LISTED_ROOMS, MAX_TOPIC_BYTES, PLAIN_WELCOME,
        SUBPROTOCOL,
    },
    lineage::{Lineage, Parent, Replay},
    message::{Message, PrivateMessage, Redaction, Revision, Slot},
    owner_number::OwnerNumber,
    place::{Activity, FollowLevel, Followed, MAX_FOLLOWED, Place},
    position::{Epoch, Seq},
    refusal::{Refusal, RefusalCode},
    request::{FrameKind, Outline, Request},
    tag::Tag,
    wall_time::WallTime,
};
