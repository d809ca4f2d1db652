//! Who is in which room.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::protocol::{
    Author, Event,
    name::{Name, RoomName},
};

/// The most members named in one answer.
const MAX_NAMED: usize = 200;

/// A room's members, each under the number of its membership.
type Members = HashMap<u64, Author>;

/// Rooms that somebody is in; one that the last member leaves is forgotten.
#[derive(Debug, Default)]
pub(super) struct Presence {
    rooms: Mutex<HashMap<RoomName, Members>>,
    next: AtomicU64,
}

impl Presence {
    fn rooms(&self) -> MutexGuard<'_, HashMap<RoomName, Members>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many rooms have a member.
    pub(super) fn rooms_in_use(&self) -> usize {
        self.rooms().len()
    }

    /// How many there are in all rooms.
    pub(super) fn total(&self) -> usize {
        self.rooms().values().map(HashMap::len).sum()
    }

    pub(super) fn enter(presence: &Arc<Self>, room: RoomName, member: Author) -> Membership {
        let number = presence.next.fetch_add(1, Ordering::Relaxed);
        presence
            .rooms()
            .entry(room.clone())
            .or_default()
            .insert(number, member);
        Membership {
            presence: Arc::clone(presence),
            room,
            number,
        }
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

    /// Shows this member under another name from now on.
    pub fn rename(&self, name: &Name) {
        if let Some(member) = self
            .presence
            .rooms()
            .get_mut(&self.room)
            .and_then(|m| m.get_mut(&self.number))
        {
            member.name = Some(name.clone());
        }
    }

    /// How many are in the room.
    pub fn total(&self) -> usize {
        self.presence
            .rooms()
            .get(&self.room)
            .map_or(0, HashMap::len)
    }

    /// Who is in the room, by name; not all of them where they are many.
    pub fn members(&self) -> Event {
        let rooms = self.presence.rooms();
        let members = rooms.get(&self.room);
        let total = members.map_or(0, HashMap::len);
        let some = members
            .into_iter()
            .flat_map(HashMap::values)
            .take(MAX_NAMED);
        let mut names: Vec<String> = some.map(ToString::to_string).collect();
        drop(rooms);
        names.sort_unstable();
        Event::Members { names, total }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut rooms = self.presence.rooms();
        if let Some(members) = rooms.get_mut(&self.room) {
            members.remove(&self.number);
            if members.is_empty() {
                rooms.remove(&self.room);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn author(port: u16, name: Option<&str>) -> Author {
        Author {
            name: name.map(|name| name.parse().expect("a name")),
            addr: ([127, 0, 0, 1], port).into(),
        }
    }

    #[test]
    fn leaving_is_dropping() {
        let presence = Arc::new(Presence::default());
        let ana = Presence::enter(&presence, RoomName::lobby(), author(1, Some("ana")));
        let bob = Presence::enter(&presence, RoomName::lobby(), author(2, None));
        bob.rename(&"bob".parse().expect("a name"));
        let names = vec!["ana".to_owned(), "bob".to_owned()];
        assert_eq!(ana.members(), Event::Members { names, total: 2 });
        drop(bob);
        assert_eq!(ana.total(), 1);
        drop(ana);
        assert!(presence.rooms().is_empty());
    }
}
