//! The tables of the registry, behind one lock.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::oneshot;

use super::{
    access::Access,
    budget::Budget,
    guesses::Guesses,
    mentionable::Mentionable,
    names::Names,
    places::FollowedPlaces,
    prefixes::{Full, Prefixes},
    presence::{Member, Presence},
    sanctions::{SanctionTarget, Sanctions},
};
use crate::{
    fanout::Handle,
    log::{SanctionKind, UnreadLimit},
    net::Peer,
    protocol::{
        Author, ConnectionId, OwnerNumber, Refusal, Seq, Tag, Topic,
        close::CloseReason,
        command_target::CommandTarget,
        format::Format,
        name::{Name, NameKey, RoomName},
    },
    store::{AccessChange, Sanction},
};

/// The tables, as the registry and its guards share them.
#[derive(Debug)]
pub(super) struct LockedTables {
    /// One lock for all of them; nothing is awaited under it.
    tables: Mutex<Tables>,
    /// Whether there may be a sanction. Without one, no connection takes the
    /// lock to look.
    any_sanctions: AtomicBool,
    /// Whether there may be a private room, for the same reason.
    any_private: AtomicBool,
    /// The owned names. It has a lock of its own: each message looks into it.
    pub(super) mentionable: Mentionable,
}

impl LockedTables {
    pub(super) fn new(mentionable: Mentionable, tables: Tables) -> Self {
        LockedTables {
            mentionable,
            any_sanctions: AtomicBool::new(!tables.sanctions.is_empty()),
            any_private: AtomicBool::new(!tables.access.is_open()),
            tables: Mutex::new(tables),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a sanction, and ends the conversations that it bans.
    pub(super) fn sanctioned(&self, sanction: Sanction) {
        self.any_sanctions.store(true, Ordering::SeqCst);
        self.lock().sanctioned(sanction);
    }

    /// Carries out changes of access, and ends the conversations of those who
    /// may not stay where they are.
    pub(super) fn change_access(&self, changes: Vec<AccessChange>) {
        let ended = |change: &AccessChange| match change {
            AccessChange::Ended(owner) => Some(*owner),
            _ => None,
        };
        let ended: HashSet<_> = changes.iter().filter_map(ended).collect();
        if !ended.is_empty() {
            self.mentionable.remove(&ended);
        }
        let mut tables = self.lock();
        tables.change_access(changes);
        let is_open = tables.access.is_open();
        self.any_private.store(!is_open, Ordering::SeqCst);
    }

    /// Whether there may be a private room.
    pub(super) fn has_private_rooms(&self) -> bool {
        self.any_private.load(Ordering::SeqCst)
    }

    /// Checks the sanctions, if there may be any.
    ///
    /// # Errors
    ///
    /// Refuses as `ask` does.
    pub(super) fn check_sanctions(
        &self,
        name: Option<&Name>,
        ask: impl FnOnce(&Sanctions, Option<&NameKey>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        if !self.any_sanctions.load(Ordering::SeqCst) {
            return Ok(());
        }
        // A peer chooses how much work this is: it is done before the lock.
        let key = name.map(Name::key);
        ask(&self.lock().sanctions, key.as_ref())
    }
}

/// The tables of the registry.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) connections: HashMap<ConnectionId, Connection>,
    pub(super) max_connections: usize,
    /// How many private messages may wait for an absent reader.
    pub(super) unread: Option<UnreadLimit>,
    /// Whether every peer has the tag of a guest.
    pub(super) hides_addresses: bool,
    /// The numbers of all guests.
    pub(super) guests: HashSet<u32>,
    pub(super) prefixes: Prefixes,
    pub(super) guesses: Guesses,
    pub(super) names: Names,
    pub(super) presence: Presence,
    pub(super) places: FollowedPlaces,
    pub(super) sanctions: Sanctions,
    pub(super) access: Access,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: Peer,
    /// The way to its subscriber, from the start of its conversation on.
    pub(super) subscriber: Option<Handle>,
    /// Its membership in a room, while it has a conversation.
    member: Option<Member>,
    /// The name that it uses.
    name: Option<NameKey>,
    /// The owner number of that name; [`OwnerNumber::NONE`] if nobody owns it.
    owner: OwnerNumber,
    /// Ends its conversation, unless the server has done so before.
    end: Option<oneshot::Sender<CloseReason>>,
}

impl Tables {
    /// Adds a connection.
    pub(super) fn connect(&mut self, peer: Peer) {
        let connected = Connection {
            peer,
            subscriber: None,
            member: None,
            name: None,
            owner: OwnerNumber::NONE,
            end: None,
        };
        self.connections.insert(peer.id, connected);
    }

    /// Draws the number of a guest that no other guest has; `None` if there is
    /// none left.
    fn draw_guest(&mut self, id: ConnectionId) -> Option<u32> {
        let drawn = u32::try_from(id.0 % u64::from(Tag::GUESTS)).ok()?;
        let mut numbers = (drawn..Tag::GUESTS).chain(0..drawn);
        let free = numbers.find(|number| !self.guests.contains(number))?;
        self.guests.insert(free);
        Some(free)
    }

    /// Begins the conversation of a connection in a room, with or without a
    /// name.
    pub(super) fn begin(
        &mut self,
        id: ConnectionId,
        author: Author,
        name: Option<NameKey>,
        room: &RoomName,
        subscriber: Handle,
        end: oneshot::Sender<CloseReason>,
    ) {
        if let Some(one) = self.connections.get_mut(&id) {
            one.end = Some(end);
            one.subscriber = Some(subscriber.clone());
            one.set_name(name, &mut self.names);
            one.owner = author.owner.unwrap_or(OwnerNumber::NONE);
            if let Some(owner) = author.owner {
                let subscriber = shows_activity(&subscriber);
                self.places.begin(id, owner, room, subscriber);
            }
            one.join(room, author, subscriber, &mut self.presence);
            one.end_if_banned(&self.sanctions);
            one.end_if_not_allowed(&self.access);
        }
    }

    /// Moves a connection to another room.
    pub(super) fn join(&mut self, id: ConnectionId, room: &RoomName, author: Author) {
        if let Some(one) = self.connections.get_mut(&id)
            && let Some(subscriber) = one.subscriber.clone()
        {
            one.join(room, author, subscriber, &mut self.presence);
            self.places.join(id, room);
            one.end_if_not_allowed(&self.access);
        }
    }

    /// Has a connection without an owned name watch rooms.
    ///
    /// # Errors
    ///
    /// Refuses more rooms than a name may follow.
    pub(super) fn watch(
        &mut self,
        id: ConnectionId,
        rooms: BTreeMap<RoomName, Seq>,
    ) -> Result<(), Refusal> {
        let one = self.connections.get(&id);
        let room = one.and_then(|one| Some((&one.member.as_ref()?.room, one)));
        let Some((room, one)) = room else {
            return Ok(());
        };
        let subscriber = one.subscriber.as_ref().and_then(shows_activity);
        self.places.watch(id, room, subscriber, rooms)
    }

    /// Changes the name of a connection to one that was taken for it, or
    /// changes the spelling of its own.
    pub(super) fn rename(
        &mut self,
        id: ConnectionId,
        name: &Name,
        taken: Option<(NameKey, Option<OwnerNumber>)>,
    ) {
        if let Some(one) = self.connections.get_mut(&id) {
            if let Some((key, owner)) = taken {
                one.set_name(Some(key), &mut self.names);
                one.owner = owner.unwrap_or(OwnerNumber::NONE);
                if let (Some(owner), Some(member)) = (owner, &one.member) {
                    let subscriber = one.subscriber.as_ref().and_then(shows_activity);
                    self.places.begin(id, owner, &member.room, subscriber);
                } else {
                    self.places.end(id);
                }
            }
            if let Some(member) = &one.member {
                self.presence.rename(member, name);
            }
            one.end_if_banned(&self.sanctions);
            one.end_if_not_allowed(&self.access);
        }
    }

    /// Removes the conversation of a connection: its name, its room and the
    /// means to end it.
    pub(super) fn leave(&mut self, id: ConnectionId) {
        self.places.end(id);
        if let Some(one) = self.connections.get_mut(&id) {
            one.end = None;
            one.set_name(None, &mut self.names);
            if let Some(member) = one.member.take() {
                self.presence.leave(&member);
            }
        }
    }

    /// Counts a connection for the prefix of its peer. Returns the peer with its
    /// tag, and the budget of the prefix if rates or quotas are limited.
    ///
    /// # Errors
    ///
    /// Fails if the prefix already has the most connections allowed, or if no
    /// tag of a guest is left.
    pub(super) fn place(&mut self, mut peer: Peer) -> Result<(Peer, Option<Arc<Budget>>), Full> {
        let budget = self.prefixes.connect(peer.prefix()).map_err(Full::Prefix)?;
        if self.hides_addresses || peer.addr.is_none() {
            peer.guest = self.draw_guest(peer.id);
            if peer.guest.is_none() {
                self.prefixes.disconnect(peer.prefix(), false);
                return Err(Full::Server);
            }
        }
        if let Some(one) = self.connections.get_mut(&peer.id) {
            one.peer = peer;
        }
        Ok((peer, budget))
    }

    /// Removes a connection and all that belongs to it. `placed` is its peer, if
    /// it counted for a prefix. The caller drops the result outside the lock, as
    /// this may close a socket.
    pub(super) fn disconnect(
        &mut self,
        id: ConnectionId,
        placed: Option<Peer>,
        forwarded: bool,
    ) -> Option<Connection> {
        self.leave(id);
        if let Some(peer) = placed {
            self.prefixes.disconnect(peer.prefix(), forwarded);
        }
        let removed = self.connections.remove(&id);
        if let Some(number) = removed.as_ref().and_then(|one| one.peer.guest) {
            self.guests.remove(&number);
        }
        removed
    }

    /// Adds a sanction, and ends the conversations that it bans.
    fn sanctioned(&mut self, sanction: Sanction) {
        let bans = sanction.kind == SanctionKind::Ban;
        self.sanctions.add(sanction);
        if bans {
            for one in self.connections.values_mut() {
                one.end_if_banned(&self.sanctions);
            }
        }
    }

    /// Carries out changes of access, and ends the conversations of those who
    /// may not stay where they are.
    fn change_access(&mut self, changes: Vec<AccessChange>) {
        let mut ended = HashSet::new();
        let mut judged = HashSet::new();
        let mut ends_any = false;
        for change in changes {
            match change {
                AccessChange::Ended(owner) => {
                    ended.insert(owner);
                }
                AccessChange::Standing(owner) => {
                    judged.insert(owner);
                }
                AccessChange::Closed { .. } | AccessChange::Left { .. } => ends_any = true,
                AccessChange::Opened { .. } | AccessChange::Member { .. } => {}
            }
            self.access.change(change);
        }
        if !ends_any && ended.is_empty() && judged.is_empty() {
            return;
        }
        for one in self.connections.values_mut() {
            if ended.contains(&one.owner) {
                one.send_away();
            }
            if judged.contains(&one.owner) {
                one.end(CloseReason::StandingChanged);
            }
            one.end_if_not_allowed(&self.access);
        }
    }

    /// Ends the conversations of a name, a prefix or a connection. Returns
    /// how many it ended.
    pub(super) fn kicked(&mut self, who: &CommandTarget, why: &CloseReason) -> usize {
        let target = SanctionTarget::of(who).ok();
        let meant = self.connections.values_mut().filter(|one| match who {
            CommandTarget::Connection(addr) => one.peer.addr == Some(*addr),
            CommandTarget::Guest(tag) => one.peer.tag().as_str() == tag.as_str(),
            CommandTarget::Prefix(_) | CommandTarget::Name(_) => {
                let covers = |it: &SanctionTarget| it.covers(one.peer.ip(), one.name.as_ref());
                target.as_ref().is_some_and(covers)
            }
        });
        meant.map(|one| usize::from(one.end(why.clone()))).sum()
    }

    /// Keeps a new topic and tells the members of its room, except the
    /// connection that set it.
    pub(super) fn topic_changed(&mut self, room: &RoomName, topic: &Topic, by: ConnectionId) {
        let by = self.connections.get(&by);
        let by = by.and_then(|one| one.member.as_ref());
        self.presence.topic_changed(room, topic, by);
    }
}

/// A subscriber, if its format shows the activity in other rooms.
fn shows_activity(subscriber: &Handle) -> Option<Handle> {
    (subscriber.format() == Format::Json).then(|| subscriber.clone())
}

impl Connection {
    fn set_name(&mut self, name: Option<NameKey>, names: &mut Names) {
        if let Some(before) = mem::replace(&mut self.name, name) {
            names.release(&before);
        }
    }

    /// Enters the new room before it leaves the old one, so that the connection
    /// is counted at all times.
    fn join(&mut self, room: &RoomName, author: Author, handle: Handle, presence: &mut Presence) {
        let member = presence.enter(room, author, handle);
        if let Some(before) = self.member.replace(member) {
            presence.leave(&before);
        }
    }

    fn end_if_banned(&mut self, sanctions: &Sanctions) {
        if let Some(why) = sanctions.ban_reason(self.peer.ip(), self.name.as_ref()) {
            self.end(why);
        }
    }

    fn end_if_not_allowed(&mut self, access: &Access) {
        let room = self.member.as_ref().map(|member| &member.room);
        if room.is_some_and(|room| !access.allows(room, Some(self.owner))) {
            self.send_away();
        }
    }

    /// Ends the conversation of a connection that may not stay. It gets nothing
    /// more of its room, even before its session notices.
    fn send_away(&mut self) {
        self.end(CloseReason::NotAllowed);
        if let Some(subscriber) = &self.subscriber {
            subscriber.stop();
        }
    }

    /// Ends the conversation; false if there is none or it has already ended.
    fn end(&mut self, why: CloseReason) -> bool {
        let end = self.end.take();
        end.is_some_and(|end| end.send(why).is_ok())
    }
}
