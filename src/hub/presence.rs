//! Who is in which room, and how the others hear of it.
//!
//! A change costs whoever makes it a look into a table. What is to be said of
//! it is said by one task, the herald, past the log: to those who speak JSON,
//! a few a second in each room, then only their number (`presence/people`).

mod people;

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    sync::Notify,
    task::yield_now,
    time::{Instant, sleep_until},
};

use self::people::{News, People};
use crate::{
    fanout::{Aside, Saying},
    protocol::{
        Author, Event, RoomInfo, Topic,
        format::Format,
        name::{Name, RoomName},
    },
};

/// The most rooms named in one answer.
const MAX_LISTED: usize = 200;

/// How many sockets the herald writes to before others get their turn.
const WRITES_A_TURN: usize = 200;

/// Rooms that somebody is in; one that the last member leaves is forgotten.
#[derive(Debug, Default)]
pub(super) struct Presence {
    state: Mutex<State>,
    next: AtomicU64,
    /// Something is to be said sooner than the herald knows.
    sooner: Notify,
}

#[derive(Debug, Default)]
struct State {
    rooms: HashMap<RoomName, Room>,
    /// When the herald has something to say, and where.
    agenda: BTreeSet<(Instant, RoomName)>,
}

#[derive(Debug, Default)]
struct Room {
    people: People<Aside>,
    about: About,
    /// What the agenda says of it.
    due: Option<Instant>,
}

/// What a room is about.
#[derive(Debug, Default)]
enum About {
    /// It was not looked up yet.
    #[default]
    Unknown,
    Nothing,
    /// Boxed, as most are about nothing.
    Something(Box<Topic>),
}

impl About {
    fn new(topic: &Topic) -> Self {
        if topic.text.is_empty() {
            About::Nothing
        } else {
            About::Something(Box::new(topic.clone()))
        }
    }

    fn topic(&self) -> Option<&Topic> {
        match self {
            About::Something(topic) => Some(topic),
            About::Unknown | About::Nothing => None,
        }
    }
}

impl Presence {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many rooms have a member.
    pub(super) fn rooms_in_use(&self) -> usize {
        self.state().rooms.len()
    }

    /// How many connections there are in all rooms.
    pub(super) fn total(&self) -> usize {
        let state = self.state();
        let rooms = state.rooms.values();
        rooms.map(|room| room.people.connections()).sum()
    }

    pub(super) fn enter(
        presence: &Arc<Self>,
        room: RoomName,
        member: Author,
        aside: Aside,
    ) -> Membership {
        let number = presence.next.fetch_add(1, Ordering::Relaxed);
        let mut state = presence.state();
        let hears = aside.format() == Format::Json;
        let people = &mut state.rooms.entry(room.clone()).or_default().people;
        people.enter(number, member, hears.then_some(aside), Instant::now());
        presence.plan(&mut state, &room);
        drop(state);
        Membership {
            presence: Arc::clone(presence),
            room,
            number,
        }
    }

    /// Which rooms have people in them, but for those that are not listed.
    pub(super) fn listed(&self) -> Event {
        let state = self.state();
        let rooms = state.rooms.iter();
        let mut rooms: Vec<_> = rooms
            .filter(|(name, _)| name.is_listed())
            .map(|(name, room)| (Reverse(room.people.total()), name.clone()))
            .collect();
        let total = rooms.len();
        rooms.sort_unstable();
        rooms.truncate(MAX_LISTED);
        let topic = |name: &RoomName| {
            let topic = state.rooms.get(name)?.about.topic()?;
            Some(topic.text.clone())
        };
        let rooms = rooms.into_iter().map(|(Reverse(members), room)| RoomInfo {
            topic: topic(&room),
            room,
            members,
        });
        Event::Rooms {
            rooms: rooms.collect(),
            total,
        }
    }

    /// A room is about something else from now on; its members hear of it, but
    /// not the one who said so.
    pub(super) fn topic_changed(&self, room: &RoomName, topic: &Topic, by: u64) {
        let mut state = self.state();
        if let Some(found) = state.rooms.get_mut(room) {
            found.about = About::new(topic);
            let event = Event::Topic {
                room: room.clone(),
                topic: topic.clone(),
            };
            found.people.tell_all(event, by, Instant::now());
        }
        self.plan(&mut state, room);
    }

    /// Puts on the agenda what changed in a room; forgets one that is empty.
    fn plan(&self, state: &mut State, name: &RoomName) {
        let State { rooms, agenda } = state;
        let Some(room) = rooms.get_mut(name) else {
            return;
        };
        let empty = room.people.connections() == 0;
        let due = if empty { None } else { room.people.due() };
        if due != room.due {
            if let Some(before) = std::mem::replace(&mut room.due, due) {
                agenda.remove(&(before, name.clone()));
            }
            if let Some(due) = due {
                agenda.insert((due, name.clone()));
                if agenda.first().is_some_and(|(_, first)| first == name) {
                    self.sooner.notify_one();
                }
            }
        }
        if empty {
            rooms.remove(name);
        }
    }

    /// Says what is to be said of those who come and go, for ever.
    pub(super) async fn herald(&self) {
        let mut said = 0;
        loop {
            let next = self.state().agenda.first().map(|(due, _)| *due);
            tokio::select! {
                () = self.sooner.notified() => {}
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
            while let Some((room, news)) = self.take_due() {
                for News { event, later, to } in news {
                    let (now, later) = (Saying::new(&event), Saying::new(&later));
                    for aside in to {
                        aside.say(&room, &now, &later);
                        said += 1;
                        if said % WRITES_A_TURN == 0 {
                            yield_now().await;
                        }
                    }
                }
            }
        }
    }

    /// What is to be said by now in one room.
    fn take_due(&self) -> Option<(RoomName, Vec<News<Aside>>)> {
        let now = Instant::now();
        let mut state = self.state();
        let (due, name) = state.agenda.first()?;
        if *due > now {
            return None;
        }
        let name = name.clone();
        let room = state.rooms.get_mut(&name)?;
        let news = room.people.take_news(now);
        self.plan(&mut state, &name);
        Some((name, news))
    }
}

/// Being in a room. Leaving is dropping it, on every path out of a session.
#[derive(Debug)]
pub struct Membership {
    presence: Arc<Presence>,
    room: RoomName,
    number: u64,
}

impl Membership {
    /// The room.
    pub fn room(&self) -> &RoomName {
        &self.room
    }

    /// The number of this membership: no other ever has it.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// What the room is about, if that is known.
    pub fn topic(&self) -> Option<Topic> {
        let state = self.presence.state();
        match &state.rooms.get(&self.room)?.about {
            About::Unknown => None,
            about => Some(about.topic().cloned().unwrap_or_else(Topic::none)),
        }
    }

    /// It was looked up; unless it is known by now, this is what it is about.
    pub(super) fn found_topic(&self, topic: &Topic) {
        let mut state = self.presence.state();
        if let Some(room) = state.rooms.get_mut(&self.room)
            && matches!(room.about, About::Unknown)
        {
            room.about = About::new(topic);
        }
    }

    /// Shows this member under another name from now on.
    pub fn rename(&self, name: &Name) {
        let mut state = self.presence.state();
        if let Some(room) = state.rooms.get_mut(&self.room) {
            room.people.rename(self.number, name, Instant::now());
        }
        self.presence.plan(&mut state, &self.room);
    }

    /// How many people are in the room.
    pub fn total(&self) -> usize {
        let state = self.presence.state();
        let room = state.rooms.get(&self.room);
        room.map_or(0, |room| room.people.total())
    }

    /// Who is in the room, by name; not all of them where they are many.
    pub fn members(&self) -> Event {
        let state = self.presence.state();
        let people = state.rooms.get(&self.room).map(|room| &room.people);
        let (mut names, total) = people.map_or((Vec::new(), 0), People::names);
        drop(state);
        names.sort_unstable();
        Event::Members { names, total }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut state = self.presence.state();
        if let Some(room) = state.rooms.get_mut(&self.room) {
            room.people.leave(self.number, Instant::now());
        }
        self.presence.plan(&mut state, &self.room);
    }
}
