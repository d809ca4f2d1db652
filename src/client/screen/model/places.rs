//! The places of the user: followed rooms and private conversations, with their
//! unread messages, and the switcher between them.

use std::{mem, time::Duration};

use tokio::time::Instant;

use super::{
    super::line::{Style, heading},
    LinkStatus, Model, Now,
    place_list::{PlaceView, Switcher},
};
use crate::protocol::{
    Activity, Command, FollowLevel, Followed, Place, Seq,
    name::{Name, RoomName},
    place::WatchedRooms,
};

/// How many messages are shown of a conversation that the user opens.
const BACKLOG: u32 = 20;

/// How often the client tells the server how far a room was read.
const READ_EVERY: Duration = Duration::from_secs(10);

/// How many candidates the switcher shows.
const CANDIDATES: usize = 8;

/// Whether all letters of a query are in a name, in their order.
fn fits(name: &str, query: &str) -> bool {
    let mut letters = name.chars();
    query
        .chars()
        .all(|wanted| letters.any(|letter| letter == wanted))
}

impl Model {
    /// Takes the places of the name from the server.
    pub(super) fn set_places(&mut self, following: Vec<Followed>) {
        self.places.is_owner = true;
        let state = |followed: Followed| {
            let state = PlaceView {
                unread: followed.unread,
                mentions: followed.mentions,
                last: followed.last,
                level: followed.level,
                ..PlaceView::default()
            };
            (followed.place, state)
        };
        self.places.all = following.into_iter().map(state).collect();
    }

    /// Notes the activity in a place. Calls the user if the messages are for
    /// the user.
    pub(super) fn activity(&mut self, activity: Activity) {
        let is_talking = |name: &Name| self.places.talking.as_ref() == Some(name);
        if matches!(&activity.place, Place::With(name) if is_talking(name)) {
            if activity.unread > 0 {
                self.read_conversation(activity.last);
            }
            return;
        }
        let place = activity.place.clone();
        let state = self.places.all.entry(activity.place).or_default();
        // A private message itself calls the user.
        let is_called = activity.mentions > state.mentions;
        state.unread = activity.unread;
        state.mentions = activity.mentions;
        state.last = activity.last;
        if is_called && state.level != FollowLevel::None {
            self.call(format!("you are mentioned in {place}"));
        }
    }

    /// The recipient of a message is away. The user is told once, until the
    /// recipient is seen again.
    pub(super) fn away(&mut self, with: Name, text: &str) {
        let state = self.places.all.entry(Place::With(with)).or_default();
        state.is_here = Some(false);
        if !mem::replace(&mut state.told_away, true) {
            self.note(Style::Plain, text);
        }
    }

    /// The other person of a conversation is here.
    pub(super) fn seen_here(&mut self, with: &Name) {
        let place = Place::With(with.clone());
        let state = self.places.all.entry(place).or_default();
        (state.is_here, state.told_away) = (Some(true), false);
    }

    /// The level changed.
    pub(super) fn follow_changed(&mut self, room: &RoomName, level: Option<FollowLevel>) {
        let place = Place::Room(room.clone());
        match level {
            Some(level) => self.places.all.entry(place).or_default().level = level,
            None => {
                self.places.all.remove(&place);
            }
        }
    }

    /// The places that the user can go to: those with unread messages first.
    fn other_places(&self) -> Vec<(&Place, PlaceView)> {
        let here = match &self.places.talking {
            Some(name) => Place::With(name.clone()),
            None => Place::Room(self.room().clone()),
        };
        let all = self.places.all.iter();
        let mut all: Vec<_> = all
            .filter(|(place, _)| **place != here)
            .map(|(place, state)| (place, *state))
            .collect();
        all.sort_by_key(|(_, state)| !state.is_shown());
        all
    }

    /// The unread places as the state line shows them, and whether each calls
    /// for the user.
    pub(in super::super) fn unread_places(&self) -> Vec<(String, bool)> {
        let hidden = (self.places.hidden > 0 && self.places.talking.is_some())
            .then(|| (format!("{} {}", self.room(), self.places.hidden), false));
        let others = self.other_places().into_iter();
        let shown = others.filter(|(place, state)| {
            state.is_shown() && !matches!(place, Place::Room(room) if room == self.room())
        });
        let text = |(place, state): (&Place, PlaceView)| {
            let is_called = state.mentions > 0 || matches!(place, Place::With(_));
            let mark = if is_called { "!" } else { "" };
            (format!("{place} {}{mark}", state.unread), is_called)
        };
        hidden.into_iter().chain(shown.map(text)).collect()
    }

    /// How many places have unread messages for the user.
    pub(super) fn calling_places(&self) -> usize {
        let is_called = |(place, state): &(&Place, PlaceView)| {
            state.mentions > 0 || state.unread > 0 && matches!(place, Place::With(_))
        };
        self.other_places()
            .iter()
            .filter(|it| is_called(it))
            .count()
    }

    /// The conversation or the room on the screen.
    pub(in super::super) fn here(&self) -> String {
        match &self.places.talking {
            Some(name) => format!("@{name}"),
            None => self.room().to_string(),
        }
    }

    /// The person of the conversation on the screen. Typed texts go there.
    pub(super) fn talking(&self) -> Option<&Name> {
        self.places.talking.as_ref()
    }

    /// Goes to the place of a number, from 1, in the order of the state line.
    pub(super) fn go_to_number(&mut self, number: usize) {
        let place = self
            .other_places()
            .get(number - 1)
            .map(|(place, _)| (*place).clone());
        match place {
            Some(place) => self.go_to(place),
            None => self.hint = Some(format!("no place has the number {number}")),
        }
    }

    /// Goes to a place.
    fn go_to(&mut self, place: Place) {
        match place {
            Place::With(name) => self.talk_to(name),
            Place::Room(room) if room == *self.room() => drop(self.end_talk()),
            Place::Room(room) => self.join(room),
        }
    }

    /// Opens a private conversation.
    pub(super) fn talk_to(&mut self, name: Name) {
        let place = Place::With(name.clone());
        let last = self
            .places
            .all
            .get(&place)
            .map_or(Seq::START, |state| state.last);
        self.places.talking = Some(name.clone());
        self.lines
            .push(heading(&format!("@{name}: Esc goes back to the room")));
        self.questions.push(Command::History {
            with: Some(name),
            before: None,
            limit: Some(BACKLOG),
        });
        self.read_conversation(last);
    }

    /// Tells the server that the conversation on the screen was read.
    pub(super) fn read_conversation(&mut self, upto: Seq) {
        let Some(name) = self.places.talking.clone() else {
            return;
        };
        let place = self
            .places
            .all
            .entry(Place::With(name.clone()))
            .or_default();
        (place.unread, place.last) = (0, upto.max(place.last));
        if upto > Seq::START {
            self.commands.push(Command::Read {
                room: None,
                with: Some(name),
                seq: upto,
            });
        }
    }

    /// Goes back from a conversation to the room; false if none is on the screen.
    pub(super) fn end_talk(&mut self) -> bool {
        if self.places.talking.take().is_none() {
            return false;
        }
        self.places.hidden = 0;
        self.show_room_again();
        true
    }

    /// Notes that the room on the screen is read from now on.
    pub(super) fn entered(&mut self) {
        self.places.talking = None;
        self.places.hidden = 0;
        let place = Place::Room(self.room().clone());
        if let Some(state) = self.places.all.get_mut(&place) {
            (state.unread, state.mentions) = (0, 0);
        }
    }

    /// Tells the server how far the room was read, before the user leaves it.
    pub(in super::super) fn note_read_on_leaving(&mut self) {
        self.tell_read(Instant::now(), true);
    }

    /// Tells the server how far the room was read, if that is due.
    pub(in super::super) fn note_read(&mut self, now: Now) {
        self.tell_read(now.tick, false);
    }

    fn tell_read(&mut self, now: Instant, leaves: bool) {
        let Some(position) = &self.room.last_position else {
            return;
        };
        let (room, seq) = (position.room.clone(), position.seq);
        let is_away = self.unfocused_since.is_some() || self.places.talking.is_some();
        let is_due = match &self.places.told {
            Some((told, upto, _)) if *told == room && *upto >= seq => false,
            Some((told, _, at)) if *told == room => leaves || *at + READ_EVERY <= now,
            _ => true,
        };
        let is_connected = self.link == LinkStatus::Up && self.live;
        if !is_due || is_away && !leaves || !is_connected {
            return;
        }
        self.places.told = Some((room.clone(), seq, now));
        let room = Some(room);
        let with = None;
        if self.places.is_owner {
            self.commands.push(Command::Read { room, with, seq });
        } else if leaves && let Some(room) = room {
            let rooms = WatchedRooms([(room.clone(), seq)].into());
            self.places.all.entry(Place::Room(room)).or_default();
            self.commands.push(Command::Watch { rooms });
        }
    }

    /// Opens the switcher, or chooses its next candidate.
    pub(super) fn switch(&mut self) {
        let count = self.candidates().len();
        match &mut self.places.switcher {
            Some(switcher) => switcher.taken = (switcher.taken + 1) % count.max(1),
            None => self.places.switcher = Some(Switcher::default()),
        }
    }

    /// Whether the switcher is open.
    pub(super) fn is_switching(&self) -> bool {
        self.places.switcher.is_some()
    }

    /// Changes the query of the switcher: adds a letter, or removes the last.
    pub(super) fn change_query(&mut self, letter: Option<char>) {
        if let Some(switcher) = &mut self.places.switcher {
            match letter {
                Some(letter) => switcher.query.extend(letter.to_lowercase()),
                None => drop(switcher.query.pop()),
            }
            switcher.taken = 0;
        }
    }

    /// Closes the switcher, and goes to the chosen place if `goes`.
    pub(super) fn close_switcher(&mut self, goes: bool) {
        let taken = self.places.switcher.as_ref().map(|it| it.taken);
        let chosen = taken.and_then(|taken| self.candidates().into_iter().nth(taken));
        let switcher = mem::take(&mut self.places.switcher);
        match (chosen, switcher) {
            _ if !goes => {}
            (Some(place), _) => self.go_to(place),
            // No place has this name: it may be a new room.
            (None, Some(switcher)) => match switcher.query.parse() {
                Ok(room) => self.join(room),
                Err(why) => self.note(Style::Bad, &format!("{why}")),
            },
            (None, None) => {}
        }
    }

    /// The places that fit the query of the switcher: the user's, then the other
    /// rooms.
    fn candidates(&self) -> Vec<Place> {
        let Some(switcher) = &self.places.switcher else {
            return Vec::new();
        };
        let own = self
            .other_places()
            .into_iter()
            .map(|(place, _)| place.clone());
        let is_other = |room: &RoomName| room != self.room();
        let rooms = self.known.iter().filter_map(|room| room.parse().ok());
        let rooms = rooms.filter(is_other).map(Place::Room);
        let mut all: Vec<Place> = Vec::new();
        for place in own.chain(rooms) {
            if fits(&place.to_string().to_lowercase(), &switcher.query) && !all.contains(&place) {
                all.push(place);
            }
        }
        // A name that begins with the query comes first.
        let begins = |place: &Place| {
            place
                .to_string()
                .to_lowercase()
                .starts_with(&switcher.query)
        };
        all.sort_by_key(|place| !begins(place));
        all.truncate(CANDIDATES);
        all
    }

    /// The switcher as the state line shows it.
    pub(in super::super) fn switcher_line(&self) -> Option<String> {
        let switcher = self.places.switcher.as_ref()?;
        let candidates = self.candidates().into_iter().enumerate();
        let words = candidates.map(|(n, place)| {
            if n == switcher.taken {
                format!("[{place}]")
            } else {
                place.to_string()
            }
        });
        let words: Vec<_> = words.collect();
        Some(format!("go to: {}_ {}", switcher.query, words.join(" ")))
    }
}
