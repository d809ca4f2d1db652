//! A shard: writes what is committed to its live subscribers.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    mem,
    sync::Arc,
};

use tokio::sync::broadcast;

use super::{
    fresh::Fresh,
    mailbox::Mailbox,
    outlet::{Listed, Mode, Outlet, Shared},
    stretch::Stretch,
};
use crate::{
    metrics::{Metrics, Tally},
    protocol::name::RoomName,
};

/// How many batches are gathered into one write.
const MAX_GATHERED: usize = 16;

pub(super) struct Shard {
    mailbox: Arc<Mailbox>,
    metrics: Arc<Metrics>,
    /// The live subscribers of each room that has any here. Who spoke last stands
    /// first: the echo is what lets a publisher go on, and what it says next is
    /// there by the time that everybody has this.
    rooms: Subscribers,
    /// The live readers of each inbox that has any here; some may have fallen
    /// behind since they were listed.
    inboxes: Subscribers,
}

/// Subscribers by what they read.
type Subscribers = BTreeMap<RoomName, Vec<Arc<Shared>>>;

impl Shard {
    pub(super) fn new(mailbox: Arc<Mailbox>, metrics: Arc<Metrics>) -> Self {
        Shard {
            mailbox,
            metrics,
            rooms: BTreeMap::new(),
            inboxes: BTreeMap::new(),
        }
    }

    /// Runs until no batch can come any more.
    pub(super) async fn run(mut self, mut batches: broadcast::Receiver<Fresh>) {
        use broadcast::error::{RecvError, TryRecvError};
        loop {
            let batch = tokio::select! {
                biased;
                batch = batches.recv() => batch,
                () = self.mailbox.many() => {
                    self.settle();
                    continue;
                }
            };
            let mut gathered = match batch {
                Ok(batch) => vec![batch],
                Err(RecvError::Lagged(_)) => {
                    self.miss();
                    continue;
                }
                Err(RecvError::Closed) => return,
            };
            let missed = loop {
                match batches.try_recv() {
                    Ok(batch) => gathered.push(batch),
                    Err(TryRecvError::Lagged(_)) => break true,
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break false,
                }
                if gathered.len() == MAX_GATHERED {
                    break false;
                }
            };
            // In this order: a subscriber that goes live later has looked into
            // memory later, and found there all that was received, of its room
            // and of its inbox. One that went live before is listed by now, and
            // is written to, or sent to the log.
            self.settle();
            self.fan_out(&gathered);
            if missed {
                self.miss();
            }
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.rooms.is_empty() && self.inboxes.is_empty()
    }

    /// Batches passed while this shard was busy: whoever is live may have a
    /// hole, and fills it from the log.
    pub(super) fn miss(&mut self) {
        self.metrics.lags.inc();
        self.settle();
        // Each live subscriber has a room, whatever inbox it reads beside that.
        for subscriber in mem::take(&mut self.rooms).into_values().flatten() {
            let mut outlet = subscriber.lock();
            outlet.listed.room = None;
            if outlet.mode == Mode::Live {
                outlet.fall_behind();
            }
        }
    }

    /// Writes what was committed to whoever is listed.
    pub(super) fn fan_out(&mut self, fresh: &[Fresh]) {
        let mut visited = 0;
        let mut written = Tally::default();
        // Before anything is written: a private message is read from the log, in
        // its place between what is said to all.
        for run in fresh.iter().flat_map(|fresh| &fresh.batch.runs) {
            if !run.room().is_inbox() {
                continue;
            }
            for subscriber in self.inboxes.get(run.room()).into_iter().flatten() {
                let mut outlet = subscriber.lock();
                if outlet.mode == Mode::Live {
                    outlet.fall_behind();
                }
            }
        }
        let mut rooms: BTreeMap<&RoomName, Stretch> = BTreeMap::new();
        for run in fresh.iter().flat_map(|fresh| &fresh.batch.runs) {
            if self.rooms.contains_key(run.room()) {
                match rooms.entry(run.room()) {
                    Entry::Occupied(mut stretch) => stretch.get_mut().push(Arc::clone(run)),
                    Entry::Vacant(place) => {
                        place.insert(Stretch::of(Arc::clone(run)));
                    }
                }
            }
        }
        for (room, stretch) in rooms {
            let Some(subscribers) = self.rooms.get_mut(room) else {
                continue;
            };
            let (mut index, mut authors) = (0, 0);
            while let Some(subscriber) = subscribers.get(index) {
                let (live, author) = {
                    let mut outlet = subscriber.lock();
                    let live = deliver(&mut outlet, &stretch);
                    written += outlet.take_written();
                    (live, stretch.is_by(outlet.origin))
                };
                if live {
                    if author {
                        subscribers.swap(authors, index);
                        authors += 1;
                    }
                    index += 1;
                } else {
                    subscribers.swap_remove(index);
                }
                visited += 1;
            }
            if subscribers.is_empty() {
                self.rooms.remove(room);
            }
        }
        if visited > 0 {
            self.metrics.delivered(written);
            for fresh in fresh {
                let taken = fresh.arrived.elapsed();
                self.metrics.delivery.observe(taken.as_secs_f64());
            }
        }
    }

    /// Lists each live subscriber under its room and its inbox, and no other.
    pub(super) fn settle(&mut self) {
        let (mut left, mut joined) = (BTreeSet::new(), Vec::new());
        let (mut inboxes_left, mut inboxes_joined) = (BTreeSet::new(), Vec::new());
        for subscriber in self.mailbox.take() {
            let mut guard = subscriber.lock();
            let outlet = &mut *guard;
            outlet.mailed = false;
            let live = outlet.mode == Mode::Live;
            let room = live.then_some(&outlet.room.room);
            let inbox = outlet.inbox.as_ref().filter(|_| live);
            let inbox = inbox.map(|inbox| &inbox.feed.room);
            if let Some((before, now)) = change(&mut outlet.listed.room, room) {
                left.extend(before);
                joined.extend(now.map(|room| (room, Arc::clone(&subscriber))));
            }
            if let Some((before, now)) = change(&mut outlet.listed.inbox, inbox) {
                inboxes_left.extend(before);
                inboxes_joined.extend(now.map(|inbox| (inbox, Arc::clone(&subscriber))));
            }
        }
        list(&mut self.rooms, left, joined, |listed| &listed.room);
        list(&mut self.inboxes, inboxes_left, inboxes_joined, |listed| {
            &listed.inbox
        });
    }
}

/// Notes where a subscriber is listed; where it was, and is now, if that is
/// another list.
#[allow(clippy::type_complexity)] // before, and now
fn change(
    listed: &mut Option<RoomName>,
    now: Option<&RoomName>,
) -> Option<(Option<RoomName>, Option<RoomName>)> {
    if listed.as_ref() == now {
        return None;
    }
    let before = mem::replace(listed, now.cloned());
    Some((before, now.cloned()))
}

/// Takes subscribers off the lists they left, and puts others on theirs.
fn list(
    lists: &mut Subscribers,
    left: BTreeSet<RoomName>,
    joined: Vec<(RoomName, Arc<Shared>)>,
    place: impl Fn(&Listed) -> &Option<RoomName>,
) {
    // Once for all who left a room: thousands may leave together.
    for room in left {
        if let Some(listed) = lists.get_mut(&room) {
            listed.retain(|subscriber| place(&subscriber.lock().listed).as_ref() == Some(&room));
            if listed.is_empty() {
                lists.remove(&room);
            }
        }
    }
    for (room, subscriber) in joined {
        lists.entry(room).or_default().push(subscriber);
    }
}

/// Writes what is new to a subscriber that is listed; false when it is not live
/// (any more). One that went live elsewhere since the shard looked has all of this
/// behind its position.
fn deliver(outlet: &mut Outlet, stretch: &Stretch) -> bool {
    let live = outlet.mode == Mode::Live;
    if live && matches!(outlet.write_stretch(stretch), Ok(true)) {
        return true;
    }
    outlet.listed.room = None;
    if live {
        outlet.fall_behind();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        io,
        pin::{Pin, pin},
        sync::Mutex,
        task::{Context, Poll},
    };

    use tokio::{io::AsyncWrite, time::Instant};

    use super::*;
    use crate::{
        fanout::{Applier, mailbox::MANY, socket::Socket, subscriber::Subscriber},
        log::{Action, Draft, Entry, Recipient},
        protocol::{ConnectionId, Seq, format::Format, name::Name},
        store::{Storage, open},
    };

    /// Notes whom it is that is written to.
    struct Noting(u16, Arc<Mutex<Vec<u16>>>);

    impl AsyncWrite for Noting {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.1.lock().unwrap().push(self.0);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    struct World {
        log: Applier<'static>,
        mailbox: Arc<Mailbox>,
        /// Whom was written to.
        noted: Arc<Mutex<Vec<u16>>>,
    }

    impl World {
        fn new() -> (Self, Shard) {
            let (replica, _) = open(&Storage::Memory, "a test").unwrap();
            let log = Applier::local(replica).unwrap();
            let mailbox = Arc::<Mailbox>::default();
            let shard = Shard::new(Arc::clone(&mailbox), Arc::default());
            let world = World {
                log,
                mailbox,
                noted: Arc::default(),
            };
            (world, shard)
        }

        /// A reader of lobby that is live.
        async fn reader(&self, port: u16) -> Subscriber {
            let socket = Socket::Other(Box::new(Noting(port, Arc::clone(&self.noted))));
            let outlet = Outlet::new(socket, Format::Plain, ConnectionId(port.into()), None);
            let (history, mailbox) = (self.log.history().clone(), Arc::clone(&self.mailbox));
            let mut reader = Subscriber::new(history, mailbox, outlet, Arc::default());
            follow(&mut reader, RoomName::lobby()).await;
            reader
        }

        /// What these said in lobby.
        fn say(&mut self, ports: &[u16]) -> Fresh {
            let say = |port: &u16| Entry {
                connection: ConnectionId((*port).into()),
                action: Action::Message(Draft::of("lobby", "text")),
            };
            let said = self.log.apply(ports.iter().map(say).collect()).unwrap();
            Fresh::new(said.batch, Instant::now()).0
        }

        /// What is said to one person alone.
        fn say_to(&mut self, to: &str) -> Fresh {
            let draft = Draft {
                room: RoomName::inbox(&"eve".parse::<Name>().unwrap().key()),
                to: Some(Recipient::new(to.parse().unwrap())),
                ..Draft::of("lobby", "text")
            };
            let said = self.log.say(ConnectionId(7), [draft]).unwrap();
            Fresh::new(said.batch, Instant::now()).0
        }

        fn noted(&self) -> Vec<u16> {
            std::mem::take(&mut self.noted.lock().unwrap())
        }
    }

    /// Has a reader live in a room.
    async fn follow(reader: &mut Subscriber, room: RoomName) {
        reader.follow(room, Seq::START);
        poll_fn(|cx| {
            assert!(reader.poll_deliver(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        assert_eq!(reader.outlet().mode, Mode::Live);
    }

    /// Broken to see it fail: who is listed stays where it is.
    #[tokio::test]
    async fn who_goes_elsewhere_is_shown_nothing_of_the_room_it_left() {
        let (mut world, mut shard) = World::new();
        let mut reader = world.reader(1).await;
        for (room, told) in [
            ("tea", &[][..]),
            ("tea", &[]),
            ("lobby", &[]),
            ("lobby", &[1]),
        ] {
            let fresh = world.say(&[2]);
            // It goes there between the shard's look and its writing.
            shard.settle();
            if reader.outlet().room.room.as_str() != room {
                follow(&mut reader, room.parse().unwrap()).await;
            }
            world.noted();
            shard.fan_out(&[fresh]);
            assert_eq!(world.noted(), told, "in {room}");
        }
    }

    /// Verified to fail when a reader is not listed under its new inbox.
    #[tokio::test]
    async fn a_private_message_sends_its_live_reader_to_the_log() {
        let (mut world, mut shard) = World::new();
        let mut reader = world.reader(1).await;
        let inbox = |name: &str| RoomName::inbox(&name.parse::<Name>().unwrap().key());
        // Whose inbox it reads; to whom something is said; whether that is for it.
        for (own, to, sent) in [
            ("ana", "ana", true),
            ("ana", "bob", false),
            ("ana", "ana", true),
            ("bob", "ana", false),
            ("bob", "bob", true),
        ] {
            reader.receive(inbox(own), world.log.head());
            follow(&mut reader, RoomName::lobby()).await;
            let fresh = world.say_to(to);
            shard.settle();
            shard.fan_out(&[fresh]);
            let mode = reader.outlet().mode;
            assert_eq!(mode == Mode::CatchingUp, sent, "{own} {to}");
        }
        drop(reader);
        shard.settle();
        assert!(shard.is_empty());
    }

    /// Broken to see it fail: the shard is told of nobody until something is said.
    #[tokio::test]
    async fn those_who_come_and_go_in_silence_are_let_go_of() {
        let (world, shard) = World::new();
        let (_batches, fresh) = broadcast::channel(1);
        let mut running = pin!(shard.run(fresh));
        for port in 1..=4 * u16::try_from(MANY).unwrap() {
            drop(world.reader(port).await);
            poll_fn(|cx| {
                assert!(running.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            assert!(world.mailbox.len() < MANY);
        }
    }

    /// Broken to see it fail: nobody is moved to the front.
    #[tokio::test]
    async fn who_spoke_last_is_shown_the_next_first() {
        let (mut world, mut shard) = World::new();
        let mut readers = Vec::new();
        for port in 1..=200 {
            readers.push(world.reader(port).await);
        }
        shard.settle();
        for (speakers, first) in [
            (&[150][..], &[1][..]),
            (&[150], &[150]),
            (&[3, 70], &[150]),
            (&[3, 70, 4], &[3, 70]),
            (&[4], &[3, 4, 70]),
        ] {
            let fresh = world.say(speakers);
            world.noted();
            shard.fan_out(&[fresh]);
            let mut noted = world.noted();
            noted[..first.len()].sort_unstable();
            assert_eq!(noted[..first.len()], *first, "where {speakers:?} speak");
            noted.sort_unstable();
            assert!(noted.into_iter().eq(1..=200), "each of them once");
        }
    }
}
