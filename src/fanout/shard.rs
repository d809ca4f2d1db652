//! A shard: writes committed batches to its live subscribers.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    mem,
    sync::Arc,
};

use tokio::sync::broadcast;

use super::{
    in_flight::InFlightBatch,
    mailbox::Mailbox,
    outlet::{Listed, Mode, Outlet, SharedOutlet},
    room_batches::RoomBatches,
};
use crate::{
    metrics::{DeliveryCount, Metrics},
    protocol::name::RoomName,
};

/// The most batches gathered into one write.
const MAX_GATHERED: usize = 16;

pub(super) struct Shard {
    mailbox: Arc<Mailbox>,
    metrics: Arc<Metrics>,
    /// The live subscribers of each room. The last senders stand first. A
    /// client often waits for its echo before it sends again. So its next
    /// message is there when the shard has written this one to everyone.
    rooms: Subscribers,
    /// The live readers of each inbox. Some may have fallen behind since they
    /// were listed.
    inboxes: Subscribers,
}

/// Subscribers by the room or the inbox that they read.
type Subscribers = BTreeMap<RoomName, Vec<Arc<SharedOutlet>>>;

impl Shard {
    pub(super) fn new(mailbox: Arc<Mailbox>, metrics: Arc<Metrics>) -> Self {
        Shard {
            mailbox,
            metrics,
            rooms: BTreeMap::new(),
            inboxes: BTreeMap::new(),
        }
    }

    /// Runs until the channel of batches is closed.
    pub(super) async fn run(mut self, mut batches: broadcast::Receiver<InFlightBatch>) {
        use broadcast::error::{RecvError, TryRecvError};
        loop {
            let batch = tokio::select! {
                biased;
                batch = batches.recv() => batch,
                () = self.mailbox.threshold_reached() => {
                    self.update_lists();
                    continue;
                }
            };
            let mut gathered = match batch {
                Ok(batch) => vec![batch],
                Err(RecvError::Lagged(_)) => {
                    self.handle_lag();
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
            // The mailbox comes before the write. A subscriber that goes live
            // after this reads the tail after this. There it finds every batch
            // received so far, for its room and its inbox. A subscriber that
            // went live before is listed by now: it is written to, or sent to
            // the history.
            self.update_lists();
            self.fan_out(&gathered);
            if missed {
                self.handle_lag();
            }
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.rooms.is_empty() && self.inboxes.is_empty()
    }

    /// Handles missed batches: the channel dropped them while this shard was
    /// busy. Every live subscriber may now have a hole, and fills it from the
    /// history.
    pub(super) fn handle_lag(&mut self) {
        self.metrics.lags.inc();
        self.update_lists();
        // Every live subscriber is listed under a room, whether or not it reads
        // an inbox.
        for subscriber in mem::take(&mut self.rooms).into_values().flatten() {
            let mut outlet = subscriber.lock();
            outlet.listed.room = None;
            if outlet.mode == Mode::Live {
                outlet.fall_behind();
            }
        }
    }

    /// Writes batches to the listed subscribers.
    pub(super) fn fan_out(&mut self, batches: &[InFlightBatch]) {
        let mut visited = 0;
        let mut written = DeliveryCount::default();
        // This comes before any write. A private message is read from the
        // history, where it stands in its place between the messages of the
        // room.
        for room_batch in batches
            .iter()
            .flat_map(|in_flight| &in_flight.batch.room_batches)
        {
            if !room_batch.room().is_inbox() {
                continue;
            }
            for subscriber in self.inboxes.get(room_batch.room()).into_iter().flatten() {
                let mut outlet = subscriber.lock();
                if outlet.mode == Mode::Live {
                    outlet.fall_behind();
                }
            }
        }
        let mut rooms: BTreeMap<&RoomName, RoomBatches> = BTreeMap::new();
        for room_batch in batches
            .iter()
            .flat_map(|in_flight| &in_flight.batch.room_batches)
        {
            if self.rooms.contains_key(room_batch.room()) {
                match rooms.entry(room_batch.room()) {
                    Entry::Occupied(mut room_batches) => {
                        room_batches.get_mut().push(Arc::clone(room_batch))
                    }
                    Entry::Vacant(place) => {
                        place.insert(RoomBatches::of(Arc::clone(room_batch)));
                    }
                }
            }
        }
        for (room, room_batches) in rooms {
            let Some(subscribers) = self.rooms.get_mut(room) else {
                continue;
            };
            let (mut index, mut authors) = (0, 0);
            while let Some(subscriber) = subscribers.get(index) {
                let (live, author) = {
                    let mut outlet = subscriber.lock();
                    let live = deliver(&mut outlet, &room_batches);
                    written += outlet.take_written();
                    (live, room_batches.is_by(outlet.origin))
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
            for in_flight in batches {
                let taken = in_flight.arrived.elapsed();
                self.metrics.delivery.observe(taken.as_secs_f64());
            }
        }
    }

    /// Updates the lists for the subscribers in the mailbox. Each live one is
    /// listed under its room and its inbox, and no other is listed.
    pub(super) fn update_lists(&mut self) {
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
            if let Some((before, now)) = relist(&mut outlet.listed.room, room) {
                left.extend(before);
                joined.extend(now.map(|room| (room, Arc::clone(&subscriber))));
            }
            if let Some((before, now)) = relist(&mut outlet.listed.inbox, inbox) {
                inboxes_left.extend(before);
                inboxes_joined.extend(now.map(|inbox| (inbox, Arc::clone(&subscriber))));
            }
        }
        move_subscribers(&mut self.rooms, left, joined, |listed| &listed.room);
        move_subscribers(&mut self.inboxes, inboxes_left, inboxes_joined, |listed| {
            &listed.inbox
        });
    }
}

/// Records the list that holds a subscriber. Returns the list before and the
/// list now, if they differ.
#[allow(clippy::type_complexity)] // before, and now
fn relist(
    listed: &mut Option<RoomName>,
    now: Option<&RoomName>,
) -> Option<(Option<RoomName>, Option<RoomName>)> {
    if listed.as_ref() == now {
        return None;
    }
    let before = mem::replace(listed, now.cloned());
    Some((before, now.cloned()))
}

/// Removes subscribers from the lists they left, and adds others to theirs.
fn move_subscribers(
    lists: &mut Subscribers,
    left: BTreeSet<RoomName>,
    joined: Vec<(RoomName, Arc<SharedOutlet>)>,
    place: impl Fn(&Listed) -> &Option<RoomName>,
) {
    // One pass for all that left a room: thousands may leave it together.
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

/// Writes the new messages to a listed subscriber; returns false if it is not
/// live or no longer live. A subscriber may have gone live in another room
/// since it was listed. Its position is then past the whole stretch.
fn deliver(outlet: &mut Outlet, room_batches: &RoomBatches) -> bool {
    let live = outlet.mode == Mode::Live;
    if live && matches!(outlet.write_live(room_batches), Ok(true)) {
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
        fanout::{Applier, mailbox::WAKE_THRESHOLD, socket::Socket, subscriber::Subscriber},
        log::{Action, Draft, Entry, Recipient},
        protocol::{ConnectionId, Seq, format::Format, name::Name},
        store::{Storage, open},
    };

    /// A socket that notes the reader it belongs to at each write.
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
        /// The readers that were written to, in order.
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

        /// A live reader of the lobby.
        async fn reader(&self, port: u16) -> Subscriber {
            let socket = Socket::Other(Box::new(Noting(port, Arc::clone(&self.noted))));
            let outlet = Outlet::new(socket, Format::Plain, ConnectionId(port.into()), None);
            let (history, mailbox) = (self.log.history().clone(), Arc::clone(&self.mailbox));
            let mut reader = Subscriber::new(history, mailbox, outlet, Arc::default());
            follow(&mut reader, RoomName::lobby()).await;
            reader
        }

        /// Commits one message in the lobby from each of these connections.
        fn say(&mut self, ports: &[u16]) -> InFlightBatch {
            let say = |port: &u16| Entry {
                connection: ConnectionId((*port).into()),
                action: Action::Message(Draft::of("lobby", "text")),
            };
            let said = self.log.apply(ports.iter().map(say).collect()).unwrap();
            InFlightBatch::new(said.batch, Instant::now()).0
        }

        /// Commits a private message to one person.
        fn say_to(&mut self, to: &str) -> InFlightBatch {
            let draft = Draft {
                room: RoomName::inbox(&"eve".parse::<Name>().unwrap().key()),
                to: Some(Recipient::new(to.parse().unwrap())),
                ..Draft::of("lobby", "text")
            };
            let said = self.log.apply_messages(ConnectionId(7), [draft]).unwrap();
            InFlightBatch::new(said.batch, Instant::now()).0
        }

        fn noted(&self) -> Vec<u16> {
            std::mem::take(&mut self.noted.lock().unwrap())
        }
    }

    /// Makes a reader live in a room.
    async fn follow(reader: &mut Subscriber, room: RoomName) {
        reader.follow(room, Seq::START);
        poll_fn(|cx| {
            assert!(reader.poll_deliver(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        assert_eq!(reader.outlet().mode, Mode::Live);
    }

    /// Verified to fail when a listed subscriber is not moved.
    #[tokio::test]
    async fn a_reader_is_shown_nothing_of_a_room_it_left() {
        let (mut world, mut shard) = World::new();
        let mut reader = world.reader(1).await;
        for (room, told) in [
            ("tea", &[][..]),
            ("tea", &[]),
            ("lobby", &[]),
            ("lobby", &[1]),
        ] {
            let fresh = world.say(&[2]);
            // The reader moves after the shard has emptied its mailbox, before
            // it writes.
            shard.update_lists();
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
    async fn a_private_message_sends_its_reader_to_the_history() {
        let (mut world, mut shard) = World::new();
        let mut reader = world.reader(1).await;
        let inbox = |name: &str| RoomName::inbox(&name.parse::<Name>().unwrap().key());
        // The name of the reader; the recipient of the message; whether the
        // reader is sent to the history.
        for (own, to, sent) in [
            ("ana", "ana", true),
            ("ana", "bob", false),
            ("ana", "ana", true),
            ("bob", "ana", false),
            ("bob", "bob", true),
        ] {
            reader.follow_inbox(inbox(own), world.log.head());
            follow(&mut reader, RoomName::lobby()).await;
            let fresh = world.say_to(to);
            shard.update_lists();
            shard.fan_out(&[fresh]);
            let mode = reader.outlet().mode;
            assert_eq!(mode == Mode::CatchingUp, sent, "{own} {to}");
        }
        drop(reader);
        shard.update_lists();
        assert!(shard.is_empty());
    }

    /// Verified to fail when the shard looks into its mailbox only for a batch.
    #[tokio::test]
    async fn departed_subscribers_are_released_without_a_new_batch() {
        let (world, shard) = World::new();
        let (_batches, fresh) = broadcast::channel(1);
        let mut running = pin!(shard.run(fresh));
        for port in 1..=4 * u16::try_from(WAKE_THRESHOLD).unwrap() {
            drop(world.reader(port).await);
            poll_fn(|cx| {
                assert!(running.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            assert!(world.mailbox.len() < WAKE_THRESHOLD);
        }
    }

    /// Verified to fail when senders are not moved to the front.
    #[tokio::test]
    async fn the_last_senders_are_shown_the_next_batch_first() {
        let (mut world, mut shard) = World::new();
        let mut readers = Vec::new();
        for port in 1..=200 {
            readers.push(world.reader(port).await);
        }
        shard.update_lists();
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
            assert!(noted.into_iter().eq(1..=200), "each reader once");
        }
    }
}
