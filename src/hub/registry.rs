//! The registry: all connections of this process, by id, room, name and prefix.
//!
//! A connection registers when it is accepted. Through its [`Registration`] it
//! holds its place, joins a room, uses a name and spends the budget of its
//! prefix. Dropping the registration undoes all of that. A trusted proxy's
//! connection takes its place once the visitor is known.
//!
//! Nothing here is durable. Each durable change with an effect here (a
//! sanction, a kick, a topic, a redaction) has one method.

mod access;
mod budget;
mod capacity;
mod guesses;
mod mentionable;
mod names;
mod permissions;
mod places;
mod prefixes;
mod presence;
mod quotas;
mod rate;
mod registration;
mod sanctions;
mod search_place;
mod searches;
mod tables;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use tokio::{sync::Notify, time::Instant};

use self::{
    access::Access,
    guesses::Guesses,
    mentionable::Mentionable,
    names::Names,
    places::FollowedPlaces,
    prefixes::Prefixes,
    presence::Presence,
    sanctions::Sanctions,
    tables::{LockedTables, Tables},
};
pub use self::{
    budget::{Budget, frame_cost, message_cost},
    capacity::Capacity,
    prefixes::{Full, PrefixLimits},
    quotas::QuotaLimits,
    rate::{Bucket, Rate, too_fast},
    registration::{NameUse, Registration},
};
pub(super) use self::{
    names::Grounds,
    places::PlaceNews,
    presence::News,
    sanctions::{SanctionTarget, rest as rest_of_sanction},
};
use crate::{
    fanout::{self, DeliveryFigures, Handle},
    log::{Action, GuardedClock, UnreadLimit},
    net::{AddressSet, Peer},
    protocol::{
        ConnectionId, Event, FollowLevel, OwnerNumber, RoomInfo, Seq, Tag, Topic,
        name::{Name, NameKey, RoomName},
    },
    store::{AccessChange, Ownership, Sanction},
};

/// How many members of a private room are named in one answer.
const MAX_MEMBERS_NAMED: usize = 1000;

/// All connections of this process. Clones are the same registry.
#[derive(Clone, Debug)]
pub(super) struct Registry {
    /// The proxies whose word on a visitor's address is believed.
    proxies: Arc<AddressSet>,
    shared: Arc<LockedTables>,
    /// Notified when the next news becomes due earlier than before.
    sooner: Arc<Notify>,
    /// Notified when there is activity to tell, or a read position to store.
    place_news: Arc<Notify>,
}

impl Registry {
    /// A registry without limits, proxies, sanctions and private rooms.
    #[cfg(test)]
    pub(super) fn unlimited() -> Self {
        let clock = Arc::new(GuardedClock::after(crate::log::GuardedTime(0)));
        let (capacity, proxies) = (Capacity::UNLIMITED, AddressSet::NONE);
        Registry::new(
            capacity,
            proxies,
            false,
            Vec::new(),
            Vec::new(),
            Vec::new(),
            clock,
        )
    }

    pub(super) fn new(
        capacity: Capacity,
        proxies: AddressSet,
        hides_addresses: bool,
        sanctions: Vec<Sanction>,
        access: Vec<AccessChange>,
        names: Vec<(Name, OwnerNumber)>,
        clock: Arc<GuardedClock>,
    ) -> Self {
        let (presence, places) = (Presence::default(), FollowedPlaces::default());
        Registry {
            proxies: Arc::new(proxies),
            sooner: presence.sooner(),
            place_news: places.news(),
            shared: Arc::new(LockedTables::new(
                Mentionable::new(names),
                Tables {
                    connections: HashMap::new(),
                    max_connections: capacity.connections,
                    unread: capacity.unread,
                    hides_addresses,
                    guests: HashSet::new(),
                    prefixes: Prefixes::new(capacity.per_prefix, capacity.forwarded),
                    guesses: Guesses::default(),
                    names: Names::default(),
                    presence,
                    places,
                    sanctions: Sanctions::new(sanctions, clock),
                    access: Access::new(access),
                },
            )),
        }
    }

    /// Registers a connection that was accepted. A trusted proxy's takes its
    /// place later.
    ///
    /// # Errors
    ///
    /// Fails if its prefix or the server already has the most connections
    /// allowed.
    pub(super) fn register(&self, peer: Peer) -> Result<Registration, Full> {
        let mut tables = self.shared.lock();
        let is_full = tables.connections.len() >= tables.max_connections;
        tables.connect(peer);
        drop(tables);
        let registration = Registration::new(&self.shared, peer);
        if !self.proxies.contains(peer.ip()) {
            registration.take_place(None)?;
        }
        if is_full {
            return Err(Full::Server);
        }
        Ok(registration)
    }

    /// The proxies whose word on a visitor's address is believed.
    pub(super) fn proxies(&self) -> &AddressSet {
        &self.proxies
    }

    /// Changes all limits. Connections of a prefix without rates and quotas keep
    /// none.
    pub(super) fn set_capacity(&self, capacity: Capacity) {
        let mut tables = self.shared.lock();
        tables.max_connections = capacity.connections;
        tables.unread = capacity.unread;
        let Capacity {
            per_prefix,
            forwarded,
            ..
        } = capacity;
        tables.prefixes.set_limits(per_prefix, forwarded);
    }

    /// How many private messages may wait for an absent reader, if that is
    /// limited.
    pub(super) fn unread_limit(&self) -> Option<UnreadLimit> {
        self.shared.lock().unread
    }

    /// How many connections there are.
    pub(super) fn connections(&self) -> usize {
        self.shared.lock().connections.len()
    }

    /// How many rooms have a member.
    pub(super) fn rooms_in_use(&self) -> usize {
        self.shared.lock().presence.rooms_in_use()
    }

    /// The listed rooms with members that the owner of a name may enter.
    pub(super) fn present_rooms(&self, owner: Option<OwnerNumber>) -> Vec<RoomName> {
        let tables = self.shared.lock();
        let is_seen = |room: &RoomName| tables.access.allows(room, owner);
        tables.presence.listed(is_seen)
    }

    /// Counts the members of rooms, and removes rooms that the owner of a name
    /// may not enter.
    pub(super) fn count_members(&self, rooms: &mut Vec<RoomInfo>, owner: Option<OwnerNumber>) {
        let tables = self.shared.lock();
        rooms.retain_mut(|info| {
            info.members = tables.presence.people_count(&info.room);
            tables.access.allows(&info.room, owner)
        });
    }

    /// How many connections are in a room.
    pub(super) fn readers(&self, room: &RoomName) -> usize {
        self.shared.lock().presence.readers(room)
    }

    /// The most connections allowed.
    pub(super) fn max_connections(&self) -> usize {
        self.shared.lock().max_connections
    }

    /// How many people are in each room that has any.
    pub(super) fn members_by_room(&self) -> HashMap<RoomName, usize> {
        self.shared.lock().presence.members_by_room()
    }

    /// How many people are in a room.
    pub(super) fn people_count(&self, room: &RoomName) -> usize {
        self.shared.lock().presence.people_count(room)
    }

    /// The event that names the people in a room, with their addresses if they
    /// are asked for. If they are many, it names only some. That of a private
    /// room also names its members.
    pub(super) fn members_event(&self, room: &RoomName, with_addresses: bool) -> Event {
        let tables = self.shared.lock();
        let (mut people, total) = tables.presence.names(room);
        let members = tables.access.members(room, MAX_MEMBERS_NAMED);
        drop(tables);
        people.sort_unstable();
        let shown =
            |address: &Option<IpAddr>| address.map_or_else(String::new, |it| it.to_string());
        let addresses = people.iter().map(|(_, address)| shown(address));
        Event::Members {
            addresses: addresses.filter(|_| with_addresses).collect(),
            names: people.into_iter().map(|(name, _)| name).collect(),
            total,
            members,
        }
    }

    /// The address of the connected guest with this tag.
    pub(super) fn address_of(&self, guest: &Tag) -> Option<IpAddr> {
        let tables = self.shared.lock();
        let mut peers = tables.connections.values().map(|one| one.peer);
        peers
            .find(|peer| peer.tag().as_str() == guest.as_str())?
            .ip()
    }

    /// The topic of a room with members; `None` if it was not looked up yet.
    pub(super) fn topic(&self, room: &RoomName) -> Option<Topic> {
        self.shared.lock().presence.topic(room)
    }

    /// Keeps the topic that was looked up for a room.
    pub(super) fn cache_topic(&self, room: &RoomName, topic: &Topic) {
        self.shared.lock().presence.cache_topic(room, topic);
    }

    /// Takes a name for one more connection; `None` if the other users of the
    /// name stand in its way. `ownership` is that of an owned name.
    pub(super) fn take_name(
        &self,
        name: &Name,
        grounds: Grounds,
        ownership: Option<Ownership>,
    ) -> Option<NameUse> {
        let key = name.key();
        let taken = self.shared.lock().names.take(name, &key, grounds);
        taken.then(|| NameUse::new(&self.shared, key, ownership))
    }

    /// How many connections use a name as its owner. Leases do not count.
    pub(super) fn owners(&self, key: &NameKey) -> usize {
        self.shared.lock().names.owners(key)
    }

    /// The names that their owners use.
    pub(super) fn owned_names_in_use(&self) -> Vec<NameKey> {
        self.shared.lock().names.owned().cloned().collect()
    }

    /// All names in use.
    #[cfg(test)]
    pub(super) fn names_in_use(&self) -> Vec<NameKey> {
        self.shared.lock().names.keys().cloned().collect()
    }

    /// Tells the members of a room its new topic, except the connection that
    /// set it.
    pub(super) fn topic_changed(&self, room: &RoomName, topic: &Topic, by: ConnectionId) {
        self.shared.lock().topic_changed(room, topic, by);
    }

    /// Tells the readers of a room that a message was redacted.
    pub(super) fn tell_redaction(&self, room: &RoomName, seq: Seq) {
        // All subscribers: a reader of another room ignores it, and no reader
        // is missed while it changes rooms.
        fanout::tell_redaction(self.subscribers(), room, seq);
    }

    /// How many subscribers are catching up, and how far they are behind
    /// `head`.
    pub(super) fn catching_up(&self, head: Seq) -> DeliveryFigures {
        DeliveryFigures::of(self.subscribers(), head)
    }

    /// All subscribers, in the order of their connections: a simulation depends
    /// on its seed alone.
    fn subscribers(&self) -> Vec<Handle> {
        let tables = self.shared.lock();
        let all = tables.connections.iter();
        let all = all.filter_map(|(id, one)| Some((*id, one.subscriber.clone()?)));
        let mut all: Vec<_> = all.collect();
        drop(tables);
        all.sort_unstable_by_key(|(id, _)| *id);
        all.into_iter().map(|(_, subscriber)| subscriber).collect()
    }

    /// When the next news of any room is due.
    pub(super) fn news_due(&self) -> Option<Instant> {
        self.shared.lock().presence.due()
    }

    /// Waits until news becomes due earlier than [`Registry::news_due`] said.
    pub(super) async fn news_sooner(&self) {
        self.sooner.notified().await;
    }

    /// Waits until there is activity to tell, or a read position to store.
    pub(super) async fn place_news(&self) {
        self.place_news.notified().await;
    }

    /// Takes the news of all places.
    pub(super) fn take_place_news(&self) -> Vec<PlaceNews> {
        let tables = &mut *self.shared.lock();
        let Tables { places, access, .. } = tables;
        places.take(|room, owner| access.allows(room, owner))
    }

    /// Notes that a connection was not told of the activity in a place.
    pub(super) fn tell_later(&self, id: ConnectionId, room: &RoomName) {
        self.shared.lock().places.tell_later(id, room);
    }

    /// Notes new messages in rooms, and news for owners in their places.
    pub(super) fn note_activity(
        &self,
        rooms: &BTreeSet<&RoomName>,
        of_owners: &BTreeSet<(OwnerNumber, RoomName)>,
    ) {
        let places = &mut self.shared.lock().places;
        if places.is_empty() {
            return;
        }
        for room in rooms {
            places.spoken(room);
        }
        for (owner, room) in of_owners {
            places.tell_owner(*owner, room);
        }
    }

    /// Changes what the connections of an owner are told of a room.
    pub(super) fn change_follow(
        &self,
        owner: OwnerNumber,
        room: &RoomName,
        level: Option<FollowLevel>,
    ) {
        self.shared.lock().places.change(owner, room, level);
    }

    /// Notes how far an owner has read a place.
    pub(super) fn note_read(&self, owner: OwnerNumber, room: RoomName, upto: Seq) {
        self.shared.lock().places.read(owner, room, upto);
    }

    /// The read positions of an owner that are not stored yet.
    pub(super) fn unstored_reads(&self, owner: OwnerNumber) -> Vec<(RoomName, Seq)> {
        self.shared.lock().places.unstored(owner)
    }

    /// How far an owner has read a place, if that is not stored yet.
    pub(super) fn unstored_read(&self, owner: OwnerNumber, room: &RoomName) -> Seq {
        self.shared.lock().places.unstored_in(owner, room)
    }

    /// Takes the read positions that may be stored now: all those of one owner,
    /// if it is given.
    pub(super) fn take_reads(&self, of: Option<OwnerNumber>) -> Vec<Action> {
        self.shared.lock().places.take_reads(of)
    }

    /// When the next read position may be stored.
    pub(super) fn reads_due(&self) -> Option<Instant> {
        self.shared.lock().places.reads_due()
    }

    /// Adds a name that is owned from now on.
    pub(super) fn add_owned_name(&self, name: &Name, owner: OwnerNumber) {
        self.shared.mentionable.add(name, owner);
    }

    /// The owners that a text mentions.
    pub(super) fn mentioned(&self, text: &str) -> Vec<OwnerNumber> {
        self.shared.mentionable.mentioned(text)
    }

    /// Takes the due news of one room.
    pub(super) fn take_news(&self) -> Option<(RoomName, Vec<News<Handle>>)> {
        self.shared.lock().presence.take_due()
    }
}

#[cfg(test)]
mod tests;
