//! Presence: the members of each room, and the news that they have yet to hear.
//!
//! A join or a leave only updates a table (`presence/people`). The announcer
//! takes the due news from it later. Nothing here does I/O; the clock is read.

mod people;

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use tokio::{sync::Notify, time::Instant};

pub(in crate::hub) use self::people::News;
use self::people::{NameAndAddress, People};
use crate::{
    fanout::Handle,
    protocol::{
        Author, Event, Topic,
        format::Format,
        name::{Name, RoomName},
    },
};

/// The rooms with a member. A room is forgotten when its last member leaves.
#[derive(Debug, Default)]
pub(super) struct Presence {
    rooms: HashMap<RoomName, Room>,
    /// When news is due in which room.
    agenda: BTreeSet<(Instant, RoomName)>,
    /// Notified when the next news becomes due earlier than before.
    sooner: Arc<Notify>,
    /// The number of the next member.
    next: u64,
}

/// A member: its room, and a number that no other member has.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) room: RoomName,
    number: u64,
}

#[derive(Debug, Default)]
struct Room {
    people: People<Handle>,
    topic: RoomTopic,
    /// Its moment in the agenda.
    due: Option<Instant>,
}

/// The topic of a room.
#[derive(Debug, Default)]
enum RoomTopic {
    /// The topic was not looked up yet.
    #[default]
    Unknown,
    /// The room has no topic.
    Unset,
    /// Boxed to save memory, as most rooms have no topic.
    Set(Box<Topic>),
}

impl RoomTopic {
    fn new(topic: &Topic) -> Self {
        if topic.text.is_empty() {
            RoomTopic::Unset
        } else {
            RoomTopic::Set(Box::new(topic.clone()))
        }
    }

    fn topic(&self) -> Option<&Topic> {
        match self {
            RoomTopic::Set(topic) => Some(topic),
            RoomTopic::Unknown | RoomTopic::Unset => None,
        }
    }
}

impl Presence {
    /// Notified when the next news becomes due earlier than before.
    pub(super) fn sooner(&self) -> Arc<Notify> {
        Arc::clone(&self.sooner)
    }

    /// How many rooms have a member.
    pub(super) fn rooms_in_use(&self) -> usize {
        self.rooms.len()
    }

    /// Adds a member to a room.
    pub(super) fn enter(&mut self, room: &RoomName, author: Author, handle: Handle) -> Member {
        let number = self.next;
        self.next += 1;
        let hears = matches!(handle.format(), Format::Json | Format::EventStream);
        let people = &mut self.rooms.entry(room.clone()).or_default().people;
        people.enter(number, author, hears.then_some(handle), Instant::now());
        self.plan(room);
        let room = room.clone();
        Member { room, number }
    }

    pub(super) fn leave(&mut self, member: &Member) {
        if let Some(room) = self.rooms.get_mut(&member.room) {
            room.people.leave(member.number, Instant::now());
        }
        self.plan(&member.room);
    }

    /// Shows a member under another name from now on.
    pub(super) fn rename(&mut self, member: &Member, name: &Name) {
        if let Some(room) = self.rooms.get_mut(&member.room) {
            room.people.rename(member.number, name, Instant::now());
        }
        self.plan(&member.room);
    }

    /// The listed rooms with members that `is_seen` does not leave out, those
    /// with most people first.
    pub(super) fn listed(&self, is_seen: impl Fn(&RoomName) -> bool) -> Vec<RoomName> {
        let rooms = self.rooms.iter();
        let mut rooms: Vec<_> = rooms
            .filter(|(name, _)| name.is_listed() && is_seen(name))
            .map(|(name, room)| (Reverse(room.people.total()), name.clone()))
            .collect();
        rooms.sort_unstable();
        rooms.into_iter().map(|(_, name)| name).collect()
    }

    /// How many connections are in a room.
    pub(super) fn readers(&self, room: &RoomName) -> usize {
        let room = self.rooms.get(room);
        room.map_or(0, |room| room.people.connections())
    }

    /// How many people are in each room that has any.
    pub(super) fn members_by_room(&self) -> HashMap<RoomName, usize> {
        let rooms = self.rooms.iter();
        let rooms = rooms.map(|(name, room)| (name.clone(), room.people.total()));
        rooms.filter(|(_, people)| *people > 0).collect()
    }

    /// How many people are in a room.
    pub(super) fn people_count(&self, room: &RoomName) -> usize {
        let room = self.rooms.get(room);
        room.map_or(0, |room| room.people.total())
    }

    /// The names and addresses of the people in a room (if they are many, only
    /// some), and the number of people.
    pub(super) fn names(&self, room: &RoomName) -> (Vec<NameAndAddress>, usize) {
        let people = self.rooms.get(room).map(|room| &room.people);
        people.map_or((Vec::new(), 0), People::names)
    }

    /// The topic of a room with members; `None` if it was not looked up yet.
    pub(super) fn topic(&self, room: &RoomName) -> Option<Topic> {
        match &self.rooms.get(room)?.topic {
            RoomTopic::Unknown => None,
            about => Some(about.topic().cloned().unwrap_or_else(Topic::none)),
        }
    }

    /// Keeps the topic that was looked up for a room, unless the topic is known
    /// by now.
    pub(super) fn cache_topic(&mut self, room: &RoomName, topic: &Topic) {
        if let Some(room) = self.rooms.get_mut(room)
            && matches!(room.topic, RoomTopic::Unknown)
        {
            room.topic = RoomTopic::new(topic);
        }
    }

    /// Keeps a new topic and tells the members of its room, except the one that
    /// set it.
    pub(super) fn topic_changed(&mut self, room: &RoomName, topic: &Topic, by: Option<&Member>) {
        if let Some(found) = self.rooms.get_mut(room) {
            found.topic = RoomTopic::new(topic);
            let event = Event::Topic {
                room: room.clone(),
                topic: topic.clone(),
            };
            let by = by.filter(|by| by.room == *room).map(|by| by.number);
            found.people.announce_notice(event, by, Instant::now());
        }
        self.plan(room);
    }

    /// Updates a room's moment in the agenda. Forgets the room if it is empty.
    fn plan(&mut self, name: &RoomName) {
        let Presence { rooms, agenda, .. } = self;
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

    /// When the next news of any room is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.agenda.first().map(|(due, _)| *due)
    }

    /// Takes the due news of one room.
    pub(super) fn take_due(&mut self) -> Option<(RoomName, Vec<News<Handle>>)> {
        let now = Instant::now();
        let (due, name) = self.agenda.first()?;
        if *due > now {
            return None;
        }
        let name = name.clone();
        let room = self.rooms.get_mut(&name)?;
        let news = room.people.take_news(now);
        self.plan(&name);
        Some((name, news))
    }
}
