//! A shard: writes what is committed to its live subscribers.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Notify, broadcast};

use super::{
    Fresh,
    directory::Directory,
    outlet::{Mode, Outlet},
    stretch::Stretch,
    subscriber::Shared,
};
use crate::{
    metrics::{Metrics, Tally},
    protocol::name::RoomName,
};

/// How many batches are gathered into one write.
const MAX_GATHERED: usize = 16;

/// How many subscribers may wait to be looked at while nothing is said: then the
/// shard lets go of those who have left.
const MANY: usize = 256;

/// Subscribers whose mode has changed, for the shard to look at before it writes
/// the next time: each at most once.
#[derive(Default)]
pub(super) struct Mailbox {
    subscribers: Mutex<Vec<Arc<Shared>>>,
    many: Notify,
}

impl Mailbox {
    pub(super) fn put(&self, subscriber: &Arc<Shared>, outlet: &mut Outlet) {
        if !std::mem::replace(&mut outlet.mailed, true) {
            let mut subscribers = self
                .subscribers
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            subscribers.push(Arc::clone(subscriber));
            if subscribers.len().is_multiple_of(MANY) {
                self.many.notify_one();
            }
        }
    }

    fn take(&self) -> Vec<Arc<Shared>> {
        std::mem::take(
            &mut self
                .subscribers
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}

pub(super) struct Shard {
    mailbox: Arc<Mailbox>,
    metrics: Arc<Metrics>,
    directory: Arc<Directory>,
    /// The live subscribers of each room that has any here. Who spoke last stands
    /// first: the echo is what lets a publisher go on, and what it says next is
    /// there by the time that everybody has this.
    rooms: BTreeMap<RoomName, Vec<Arc<Shared>>>,
}

impl Shard {
    pub(super) fn new(
        mailbox: Arc<Mailbox>,
        metrics: Arc<Metrics>,
        directory: Arc<Directory>,
    ) -> Self {
        Shard {
            mailbox,
            metrics,
            directory,
            rooms: BTreeMap::new(),
        }
    }

    /// Runs until no batch can come any more.
    pub(super) async fn run(mut self, mut batches: broadcast::Receiver<Fresh>) {
        use broadcast::error::{RecvError, TryRecvError};
        loop {
            let batch = tokio::select! {
                biased;
                batch = batches.recv() => batch,
                () = self.mailbox.many.notified() => {
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
            // In this order: who goes live later has looked into memory later,
            // and found there all that was received.
            self.settle();
            self.fan_out(&gathered);
            if missed {
                self.miss();
            }
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// Batches passed while this shard was busy: whoever is live may have a
    /// hole, and fills it from the log.
    pub(super) fn miss(&mut self) {
        self.metrics.lags.inc();
        self.settle();
        for subscriber in std::mem::take(&mut self.rooms).into_values().flatten() {
            let mut outlet = subscriber.lock();
            outlet.listed = None;
            if outlet.mode == Mode::Live {
                outlet.fall_behind();
            }
        }
    }

    /// Writes what was committed to whoever is listed.
    pub(super) fn fan_out(&mut self, fresh: &[Fresh]) {
        let mut visited = 0;
        let mut written = Tally::default();
        // Who is said something alone reads that from the log, in its place
        // between what is said to all.
        for run in fresh.iter().flat_map(|fresh| &fresh.batch.runs) {
            if run.room().is_inbox() {
                self.directory.fall_behind(run.room());
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
                    written += std::mem::take(&mut outlet.written);
                    (live, stretch.is_by(outlet.addr))
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

    /// Lists whoever is live under the room it follows, and nobody else.
    pub(super) fn settle(&mut self) {
        let (mut left, mut joined) = (BTreeSet::new(), Vec::new());
        for subscriber in self.mailbox.take() {
            let mut outlet = subscriber.lock();
            outlet.mailed = false;
            let room = (outlet.mode == Mode::Live).then(|| outlet.room.room.clone());
            if outlet.listed != room {
                left.extend(std::mem::replace(&mut outlet.listed, room.clone()));
                drop(outlet);
                joined.extend(room.map(|room| (room, subscriber)));
            }
        }
        // Once for all who left a room: thousands may leave together.
        for room in left {
            if let Some(listed) = self.rooms.get_mut(&room) {
                listed.retain(|subscriber| subscriber.lock().listed.as_ref() == Some(&room));
                if listed.is_empty() {
                    self.rooms.remove(&room);
                }
            }
        }
        for (room, subscriber) in joined {
            self.rooms.entry(room).or_default().push(subscriber);
        }
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
    outlet.listed = None;
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
        net::SocketAddr,
        pin::{Pin, pin},
        task::{Context, Poll},
    };

    use tokio::{io::AsyncWrite, time::Instant};

    use super::*;
    use crate::{
        fanout::{Socket, Subscriber},
        history::{self, Draft, History, Storage, Writer},
        protocol::{Seq, format::Format},
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

    fn at(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    struct World {
        writer: Writer,
        history: History,
        mailbox: Arc<Mailbox>,
        directory: Arc<Directory>,
        /// Whom was written to.
        noted: Arc<Mutex<Vec<u16>>>,
    }

    impl World {
        fn new() -> (Self, Shard) {
            let (writer, history) = history::open(&Storage::Memory, "a test").unwrap();
            let (mailbox, directory) = (Arc::<Mailbox>::default(), Arc::<Directory>::default());
            let shard = Shard::new(Arc::clone(&mailbox), Arc::default(), Arc::clone(&directory));
            let world = World {
                writer,
                history,
                mailbox,
                directory,
                noted: Arc::default(),
            };
            (world, shard)
        }

        /// A reader of lobby that is live.
        async fn reader(&self, port: u16) -> Subscriber {
            let socket = Socket::Other(Box::new(Noting(port, Arc::clone(&self.noted))));
            let outlet = Outlet::new(socket, Format::Plain, at(port), None);
            let (history, mailbox) = (self.history.clone(), Arc::clone(&self.mailbox));
            let mut reader =
                Subscriber::new(history, mailbox, outlet, Arc::default(), &self.directory);
            follow(&mut reader, RoomName::lobby()).await;
            reader
        }

        /// What these said in lobby.
        fn say(&mut self, ports: &[u16]) -> Fresh {
            let say = |port: &u16| {
                let mut draft = Draft::of("lobby", "text");
                draft.from.addr = at(*port);
                draft
            };
            let drafts: Vec<_> = ports.iter().map(say).collect();
            let (batch, _) = self.writer.append(&drafts).unwrap();
            Fresh::new(batch, Instant::now()).0
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
            assert!(world.mailbox.subscribers.lock().unwrap().len() < MANY);
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
