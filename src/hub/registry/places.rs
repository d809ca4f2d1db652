//! The connections to tell of messages in other places, and the read positions
//! that are not stored yet.
//!
//! Only connections that follow or watch a room have anything here. A room is
//! found by its digest, so that a followed room costs two small entries.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{BuildHasher, RandomState},
    mem,
    sync::Arc,
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::{
    fanout::Handle,
    log::Action,
    protocol::{
        ConnectionId, FollowLevel, Followed, MAX_FOLLOWED, OwnerNumber, Place, Refusal, Seq,
        name::RoomName, place,
    },
    store::PlaceReader,
};

/// How often the read positions of one owner are stored at most.
const STORED_EVERY: Duration = Duration::from_secs(10);

/// How many read positions of one owner may wait.
const MAX_WAITING: usize = 2 * MAX_FOLLOWED;

/// The digest of a room's name. Two rooms of the same digest cost a look-up in
/// the store and tell nobody anything wrong.
type RoomDigest = u64;

/// The places of all connections.
#[derive(Debug, Default)]
pub(super) struct FollowedPlaces {
    digest: RandomState,
    connections: HashMap<ConnectionId, ToldConnection>,
    /// The connections that are told of each message in a room.
    listeners: BTreeSet<(RoomDigest, ConnectionId)>,
    /// The connections of each owner.
    owners: BTreeSet<(OwnerNumber, ConnectionId)>,
    /// The rooms with new messages for their listeners.
    spoken: BTreeSet<RoomName>,
    /// The places with news for one connection.
    due: BTreeSet<(RoomName, ConnectionId)>,
    reads: HashMap<OwnerNumber, Reads>,
    /// Notified when there is something to tell or to store.
    news: Arc<Notify>,
}

/// A connection that follows or watches rooms.
#[derive(Debug)]
struct ToldConnection {
    owner: Option<OwnerNumber>,
    /// The room that it is in. It hears of this room anyway.
    room: RoomName,
    /// The way to its subscriber; `None` if its format shows no activity.
    subscriber: Option<Handle>,
    /// The rooms, in the order of their digests.
    rooms: Vec<(RoomDigest, Told)>,
    /// While the places of its owner are read from the store: the rooms that
    /// changed meanwhile.
    changed: Option<BTreeSet<RoomDigest>>,
}

/// The messages of a room that a connection is told of.
#[derive(Clone, Copy, Debug)]
enum Told {
    /// What its owner asked for.
    Followed(FollowLevel),
    /// The messages after a number.
    Watched(Seq),
}

impl Told {
    /// Whether each message is told.
    fn is_all(self) -> bool {
        !matches!(
            self,
            Told::Followed(FollowLevel::Mentions | FollowLevel::None)
        )
    }
}

/// The read positions of an owner that are not stored yet.
#[derive(Debug)]
struct Reads {
    /// When they may be stored.
    next: Instant,
    waiting: BTreeMap<RoomName, Seq>,
}

/// The connections to tell of one place.
pub(in crate::hub) struct PlaceNews {
    /// The room, or the inbox of the other person of a conversation.
    pub(in crate::hub) room: RoomName,
    /// Each connection, and its reader.
    pub(in crate::hub) readers: Vec<(ConnectionId, Handle, PlaceReader)>,
}

impl FollowedPlaces {
    /// Notified when there is something to tell or to store.
    pub(super) fn news(&self) -> Arc<Notify> {
        Arc::clone(&self.news)
    }

    /// Whether no connection follows or watches a room.
    pub(super) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Adds a connection of an owner that is in a room.
    pub(super) fn begin(
        &mut self,
        id: ConnectionId,
        owner: OwnerNumber,
        room: &RoomName,
        subscriber: Option<Handle>,
    ) {
        self.end(id);
        let told = ToldConnection {
            owner: Some(owner),
            room: room.clone(),
            subscriber,
            rooms: Vec::new(),
            changed: Some(BTreeSet::new()),
        };
        self.connections.insert(id, told);
        self.owners.insert((owner, id));
    }

    /// Removes a connection. What its owner has read is stored soon.
    pub(super) fn end(&mut self, id: ConnectionId) {
        let Some(gone) = self.connections.remove(&id) else {
            return;
        };
        for (digest, _) in gone.rooms {
            self.listeners.remove(&(digest, id));
        }
        let Some(owner) = gone.owner else { return };
        self.owners.remove(&(owner, id));
        if let Some(reads) = self.reads.get_mut(&owner) {
            reads.next = Instant::now();
            self.news.notify_one();
        }
    }

    /// Sets the rooms that the owner of a connection follows, as they were read
    /// since the connection began. Later changes stay.
    pub(super) fn set(&mut self, id: ConnectionId, followed: &[Followed]) {
        let told = self.connections.get_mut(&id);
        let changed = told
            .and_then(|told| told.changed.take())
            .unwrap_or_default();
        for followed in followed {
            if let Place::Room(room) = &followed.place
                && !changed.contains(&self.digest.hash_one(room))
            {
                self.tell(id, room, Some(Told::Followed(followed.level)));
            }
        }
        if let Some(told) = self.connections.get_mut(&id) {
            told.rooms.shrink_to_fit();
        }
    }

    /// Changes what all connections of an owner are told of a room.
    pub(super) fn change(
        &mut self,
        owner: OwnerNumber,
        room: &RoomName,
        level: Option<FollowLevel>,
    ) {
        let digest = self.digest.hash_one(room);
        for id in self.of_owner(owner) {
            let told = self.connections.get_mut(&id);
            if let Some(changed) = told.and_then(|told| told.changed.as_mut()) {
                changed.insert(digest);
            }
            self.tell(id, room, level.map(Told::Followed));
        }
    }

    /// Has a connection without an owned name watch rooms.
    ///
    /// # Errors
    /// Refuses more rooms than a name may follow.
    pub(super) fn watch(
        &mut self,
        id: ConnectionId,
        room: &RoomName,
        subscriber: Option<Handle>,
        watched: BTreeMap<RoomName, Seq>,
    ) -> Result<(), Refusal> {
        let told = self.connections.entry(id).or_insert(ToldConnection {
            owner: None,
            room: room.clone(),
            subscriber,
            rooms: Vec::new(),
            changed: None,
        });
        let digest = |room: &RoomName| self.digest.hash_one(room);
        let is_new = |room: &&RoomName| told.find(digest(room)).is_err();
        let new = watched.keys().filter(is_new).count();
        if told.rooms.len() + new > MAX_FOLLOWED {
            return Err(place::too_many());
        }
        for (room, read) in watched {
            self.tell(id, &room, Some(Told::Watched(read)));
            self.due.insert((room, id));
        }
        self.news.notify_one();
        Ok(())
    }

    /// Watches a room no more.
    pub(super) fn unwatch(&mut self, id: ConnectionId, room: &RoomName) {
        self.tell(id, room, None);
    }

    /// Whether the owner of a connection follows a room, or the connection
    /// watches it.
    pub(super) fn has(&self, id: ConnectionId, room: &RoomName) -> bool {
        let told = self.connections.get(&id);
        told.is_some_and(|told| told.find(self.digest.hash_one(room)).is_ok())
    }

    /// Moves a connection to another room.
    pub(super) fn join(&mut self, id: ConnectionId, room: &RoomName) {
        let Some(told) = self.connections.get_mut(&id) else {
            return;
        };
        let before = mem::replace(&mut told.room, room.clone());
        for room in [before, room.clone()] {
            self.list(id, &room);
        }
    }

    /// Sets what a connection is told of a room; `None` for nothing.
    fn tell(&mut self, id: ConnectionId, room: &RoomName, now: Option<Told>) {
        let digest = self.digest.hash_one(room);
        if let Some(told) = self.connections.get_mut(&id) {
            match (told.find(digest), now) {
                (Ok(at), Some(now)) => told.rooms[at].1 = now,
                (Ok(at), None) => {
                    told.rooms.remove(at);
                }
                (Err(at), Some(now)) => told.rooms.insert(at, (digest, now)),
                (Err(_), None) => {}
            }
        }
        self.list(id, room);
    }

    /// Lists a connection under a room if it is told of each message there.
    fn list(&mut self, id: ConnectionId, room: &RoomName) {
        let digest = self.digest.hash_one(room);
        let is_listener = self.connections.get(&id).is_some_and(|told| {
            let found = told.find(digest).ok().map(|at| told.rooms[at].1);
            told.subscriber.is_some() && told.room != *room && found.is_some_and(Told::is_all)
        });
        if is_listener {
            self.listeners.insert((digest, id));
        } else {
            self.listeners.remove(&(digest, id));
        }
    }

    /// Notes that there are new messages in a room.
    pub(super) fn spoken(&mut self, room: &RoomName) {
        let digest = self.digest.hash_one(room);
        if self.listening(digest).next().is_some() && self.spoken.insert(room.clone()) {
            self.news.notify_one();
        }
    }

    /// Notes that there is news for an owner in a place.
    pub(super) fn tell_owner(&mut self, owner: OwnerNumber, room: &RoomName) {
        for id in self.of_owner(owner) {
            self.tell_later(id, room);
        }
    }

    /// Notes that there is news for a connection in a place.
    pub(super) fn tell_later(&mut self, id: ConnectionId, room: &RoomName) {
        let told = self.connections.get(&id);
        if told.is_some_and(|told| told.subscriber.is_some() && told.room != *room) {
            self.due.insert((room.clone(), id));
            self.news.notify_one();
        }
    }

    /// Takes all news. `is_allowed` says whether an owner
    /// may enter a room.
    pub(super) fn take(
        &mut self,
        is_allowed: impl Fn(&RoomName, Option<OwnerNumber>) -> bool,
    ) -> Vec<PlaceNews> {
        let mut all = mem::take(&mut self.due);
        for room in mem::take(&mut self.spoken) {
            let digest = self.digest.hash_one(&room);
            all.extend(self.listening(digest).map(|id| (room.clone(), id)));
        }
        let mut news: Vec<PlaceNews> = Vec::new();
        for (room, id) in all {
            let Some(reader) = self.reader(id, &room, &is_allowed) else {
                continue;
            };
            match news.last_mut().filter(|last| last.room == room) {
                Some(last) => last.readers.push(reader),
                None => news.push(PlaceNews {
                    room,
                    readers: vec![reader],
                }),
            }
        }
        news
    }

    /// The reader at a connection, if the connection is told of the place now.
    fn reader(
        &self,
        id: ConnectionId,
        room: &RoomName,
        is_allowed: impl Fn(&RoomName, Option<OwnerNumber>) -> bool,
    ) -> Option<(ConnectionId, Handle, PlaceReader)> {
        let told = self.connections.get(&id)?;
        let is_elsewhere = told.room != *room;
        let subscriber = told.subscriber.clone().filter(|_| is_elsewhere)?;
        let reader = if let Some(owner) = told.owner {
            PlaceReader::Owner(owner, self.unstored_in(owner, room))
        } else {
            let at = told.find(self.digest.hash_one(room)).ok()?;
            let Told::Watched(read) = told.rooms[at].1 else {
                return None;
            };
            PlaceReader::After(read)
        };
        is_allowed(room, told.owner).then_some((id, subscriber, reader))
    }

    /// Notes how far an owner has read a place.
    pub(super) fn read(&mut self, owner: OwnerNumber, room: RoomName, upto: Seq) {
        let reads = self.reads.entry(owner).or_insert_with(|| Reads {
            next: Instant::now(),
            waiting: BTreeMap::new(),
        });
        if reads.waiting.len() < MAX_WAITING || reads.waiting.contains_key(&room) {
            let read = reads.waiting.entry(room).or_default();
            *read = upto.max(*read);
        }
        self.news.notify_one();
    }

    /// The read positions of an owner that are not stored yet.
    pub(super) fn unstored(&self, owner: OwnerNumber) -> Vec<(RoomName, Seq)> {
        let reads = self.reads.get(&owner).into_iter();
        let waiting = reads.flat_map(|reads| &reads.waiting);
        waiting.map(|(room, upto)| (room.clone(), *upto)).collect()
    }

    /// How far an owner has read a place, if that is not stored yet.
    pub(super) fn unstored_in(&self, owner: OwnerNumber, room: &RoomName) -> Seq {
        let reads = self.reads.get(&owner);
        let unstored = reads.and_then(|reads| reads.waiting.get(room));
        unstored.copied().unwrap_or(Seq::START)
    }

    /// Takes the read positions that may be stored now: all those of one owner,
    /// if it is given.
    pub(super) fn take_reads(&mut self, of: Option<OwnerNumber>) -> Vec<Action> {
        let now = Instant::now();
        let mut taken = Vec::new();
        self.reads.retain(|owner, reads| {
            if of.is_some_and(|of| of != *owner) || of.is_none() && reads.next > now {
                return true;
            }
            // An owner that has not read since then may store at once again.
            if reads.waiting.is_empty() {
                return false;
            }
            reads.next = now + STORED_EVERY;
            let waiting = mem::take(&mut reads.waiting).into_iter();
            let owner = *owner;
            taken.extend(waiting.map(|(room, upto)| Action::Read { owner, room, upto }));
            true
        });
        taken
    }

    /// When the next read position may be stored.
    pub(super) fn reads_due(&self) -> Option<Instant> {
        self.reads.values().map(|reads| reads.next).min()
    }

    fn of_owner(&self, owner: OwnerNumber) -> Vec<ConnectionId> {
        let (first, last) = (ConnectionId(0), ConnectionId(u64::MAX));
        let all = self.owners.range((owner, first)..=(owner, last));
        all.map(|(_, id)| *id).collect()
    }

    fn listening(&self, digest: RoomDigest) -> impl Iterator<Item = ConnectionId> {
        let (first, last) = (ConnectionId(0), ConnectionId(u64::MAX));
        let all = self.listeners.range((digest, first)..=(digest, last));
        all.map(|(_, id)| *id)
    }
}

impl ToldConnection {
    /// The place of a room among the rooms.
    fn find(&self, digest: RoomDigest) -> Result<usize, usize> {
        self.rooms.binary_search_by_key(&digest, |(room, _)| *room)
    }
}

#[cfg(test)]
mod tests;
