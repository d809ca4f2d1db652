//! The places of the user, as the model keeps them.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::protocol::{
    FollowLevel, Place, Seq,
    name::{Name, RoomName},
};

/// The places of the user.
#[derive(Debug, Default)]
pub(super) struct PlaceList {
    pub(super) all: BTreeMap<Place, PlaceView>,
    /// Whether the server keeps the read positions: the user owns the name.
    pub(super) is_owner: bool,
    /// The last position that the server was told, and when.
    pub(super) told: Option<(RoomName, Seq, Instant)>,
    /// The person whose conversation is on the screen.
    pub(super) talking: Option<Name>,
    /// The messages of the room that came while a conversation is on the screen.
    pub(super) hidden: u64,
    pub(super) switcher: Option<Switcher>,
}

/// A place, as far as the user knows it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PlaceView {
    pub(super) unread: u64,
    pub(super) mentions: u64,
    pub(super) last: Seq,
    pub(super) level: FollowLevel,
    /// Whether the other person of a conversation is here; `None` if unknown.
    pub(super) is_here: Option<bool>,
    /// Whether the user was told that the other person is away.
    pub(super) told_away: bool,
}

/// The choice of another place, by typing letters of its name.
#[derive(Debug, Default)]
pub(super) struct Switcher {
    pub(super) query: String,
    /// The index of the chosen candidate.
    pub(super) taken: usize,
}

impl PlaceView {
    /// Whether the state line shows its unread messages.
    pub(super) fn is_shown(self) -> bool {
        self.unread > 0 && self.level != FollowLevel::None
    }
}
