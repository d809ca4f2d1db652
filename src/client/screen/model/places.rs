//! The places of the user: followed rooms and private conversations, with their
//! numbers and unread messages, and the switcher between them.

use std::{mem, time::Duration};

use tokio::time::Instant;

use super::{
    super::line::Style,
    LinkStatus, Model, Now,
    place_list::{PlaceList, PlaceView, Switcher},
};
use crate::protocol::{
    Activity, Command, FollowLevel, Followed, Place,
    name::{Name, RoomName},
    place::WatchedRooms,
};

/// How often the client tells the server how far a room was read.
const READ_EVERY: Duration = Duration::from_secs(10);

/// How many candidates the switcher shows.
const CANDIDATES: usize = 8;

/// How many places have a number, for the keys Alt-1 to Alt-9.
const NUMBERED: usize = 9;

/// Another place, as the state line shows it.
pub(in super::super) struct PlaceMark {
    pub(in super::super) text: String,
    /// Whether it calls for the user.
    pub(in super::super) is_called: bool,
    pub(in super::super) is_unread: bool,
}

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
        let here = Place::Room(self.room().clone());
        let PlaceList { all, order, .. } = &mut self.places;
        order.retain(|place| *place == here || all.contains_key(place));
        for place in self.places.all.keys().cloned().collect::<Vec<_>>() {
            self.places.number(&place);
        }
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
        let state = self.places.at(activity.place);
        // A private message itself calls the user.
        let is_called = activity.mentions > state.mentions;
        state.unread = activity.unread;
        state.mentions = activity.mentions;
        state.last = activity.last;
        if is_called && state.level != FollowLevel::None {
            self.call(format!("you are mentioned in {place}"));
        }
        self.read_printed();
    }

    /// The level changed.
    pub(super) fn follow_changed(&mut self, room: &RoomName, level: Option<FollowLevel>) {
        let place = Place::Room(room.clone());
        match level {
            Some(level) => self.places.at(place).level = level,
            None if room == self.room() => drop(self.places.all.remove(&place)),
            None => self.places.remove(&place),
        }
    }

    /// The place on the screen.
    pub(super) fn here_place(&self) -> Place {
        match &self.places.talking {
            Some(name) => Place::With(name.clone()),
            None => Place::Room(self.room().clone()),
        }
    }

    fn view(&self, place: &Place) -> PlaceView {
        self.places.all.get(place).copied().unwrap_or_default()
    }

    /// The places that the user can go to: those with unread messages first.
    fn other_places(&self) -> Vec<(&Place, PlaceView)> {
        let here = self.here_place();
        let others = self.places.order.iter().filter(|place| **place != here);
        let mut all: Vec<_> = others.map(|place| (place, self.view(place))).collect();
        all.sort_by_key(|(_, state)| !state.is_shown());
        all
    }

    /// A place with its number before it, if it has one beside others.
    fn numbered(&self, place: &Place) -> String {
        let order = &self.places.order;
        let at = order.iter().position(|other| other == place);
        match at.filter(|at| *at < NUMBERED && order.len() > 1) {
            Some(at) => format!("{} {place}", at + 1),
            None => place.to_string(),
        }
    }

    /// The place on the screen, as the state line shows it.
    pub(in super::super) fn own_mark(&self) -> String {
        self.numbered(&self.here_place())
    }

    /// The other places with a number or unread messages, in their order.
    pub(in super::super) fn place_marks(&self) -> Vec<PlaceMark> {
        let here = self.here_place();
        let all = self.places.order.iter().enumerate();
        let others = all.filter(|(_, place)| **place != here);
        let marks = others.filter_map(|(at, place)| {
            let state = self.view(place);
            let is_room = matches!(place, Place::Room(room) if room == self.room());
            let unread = match is_room {
                true => self.places.hidden,
                false if state.is_shown() => state.unread,
                false => 0,
            };
            let is_called = unread > 0 && (state.mentions > 0 || matches!(place, Place::With(_)));
            let mark = if is_called { "!" } else { "" };
            let name = self.numbered(place);
            let is_unread = unread > 0;
            let text = if is_unread {
                format!("{name} {unread}{mark}")
            } else {
                name
            };
            (is_unread || at < NUMBERED).then_some(PlaceMark {
                text,
                is_called,
                is_unread,
            })
        });
        marks.collect()
    }

    /// The number of people in the room on the screen. In a conversation, whether
    /// the other person is here; `None` if that is unknown.
    pub(in super::super) fn company(&self) -> Option<String> {
        match &self.places.talking {
            None => Some(format!("{} here", self.members())),
            Some(name) => {
                let is_here = self.view(&Place::With(name.clone())).is_here?;
                Some(if is_here { "here" } else { "away" }.to_owned())
            }
        }
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

    /// Goes to the place of a number, from 1, in the order of the state line.
    pub(super) fn go_to_number(&mut self, number: usize) {
        match self.places.order.get(number - 1).cloned() {
            Some(place) if place == self.here_place() => {
                self.hint = Some(format!("this is {place}"));
            }
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

    /// Notes that the room on the screen is read from now on.
    pub(super) fn entered(&mut self) {
        self.places.talking = None;
        self.places.hidden = 0;
        let place = Place::Room(self.room().clone());
        self.places.number(&place);
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
            self.places.at(Place::Room(room));
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
