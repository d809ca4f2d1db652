//! The places of the user, as the model keeps them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tokio::time::Instant;

use super::super::line::Line;
use crate::protocol::{
    FollowLevel, Place, Seq,
    name::{Name, RoomName},
};

/// How many lines of the conversation on the screen are kept.
const LINES: usize = 500;

/// How many of the private messages on the screen are known by number.
const PRINTED: usize = 1000;

/// The places of the user.
#[derive(Debug, Default)]
pub(super) struct PlaceList {
    pub(super) all: BTreeMap<Place, PlaceView>,
    /// The places by their numbers; new ones come to the end.
    pub(super) order: Vec<Place>,
    /// Whether the server keeps the read positions: the user owns the name.
    pub(super) is_owner: bool,
    /// The last position that the server was told, and when.
    pub(super) told: Option<(RoomName, Seq, Instant)>,
    /// The person whose conversation is on the screen.
    pub(super) talking: Option<Name>,
    /// How many conversations were opened: it tells their questions apart.
    pub(super) talks: u64,
    /// The lines of the conversation on the screen.
    pub(super) lines: VecDeque<Line>,
    /// The last private messages that were printed; none is printed again.
    printed: BTreeSet<Seq>,
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
    /// The last message of a conversation that was printed.
    pub(super) printed: Seq,
    /// How many received messages were printed since the conversation was read.
    pub(super) fresh: u64,
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

impl PlaceList {
    /// A place, which gets a number if it is new.
    pub(super) fn at(&mut self, place: Place) -> &mut PlaceView {
        self.number(&place);
        self.all.entry(place).or_default()
    }

    /// Gives a new place the next number.
    pub(super) fn number(&mut self, place: &Place) {
        if !self.order.contains(place) {
            self.order.push(place.clone());
        }
    }

    pub(super) fn remove(&mut self, place: &Place) {
        self.all.remove(place);
        self.order.retain(|other| other != place);
    }

    /// Notes that a private message is printed; false if it was before.
    pub(super) fn print(&mut self, seq: Seq) -> bool {
        let is_new = self.printed.insert(seq);
        if self.printed.len() > PRINTED {
            self.printed.pop_first();
        }
        is_new
    }

    /// Forgets the numbers of another log.
    pub(super) fn forget_printed(&mut self) {
        self.printed.clear();
    }

    /// Keeps a line of the conversation on the screen.
    pub(super) fn keep(&mut self, line: Line) {
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }
}

impl PlaceView {
    /// Whether the messages that are unread were all printed.
    pub(super) fn is_printed(&self) -> bool {
        self.unread > 0 && self.unread <= self.fresh && self.last <= self.printed
    }

    /// Whether the state line shows its unread messages.
    pub(super) fn is_shown(self) -> bool {
        self.unread > 0 && self.level != FollowLevel::None
    }
}
