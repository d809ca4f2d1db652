//! A shard: writes what is committed to its live subscribers.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
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
    history::History,
    metrics::{Metrics, Tally},
    protocol::name::RoomName,
};

/// How many sockets are written before others get their turn: with 5 µs for a
/// write, about a millisecond.
const WRITES_A_TURN: usize = 200;

/// How many batches are gathered into one write.
const MAX_GATHERED: usize = 16;

/// Subscribers for the shard to look at: each at most once, so it holds no more
/// than there are connections.
#[derive(Default)]
pub(super) struct Mailbox {
    subscribers: Mutex<Vec<Arc<Shared>>>,
    posted: Notify,
}

impl Mailbox {
    pub(super) fn put(&self, subscriber: &Arc<Shared>, outlet: &mut Outlet) {
        if !std::mem::replace(&mut outlet.mailed, true) {
            self.subscribers
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(Arc::clone(subscriber));
            self.posted.notify_one();
        }
    }

    pub(super) fn take(&self) -> Vec<Arc<Shared>> {
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
    history: History,
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
        history: History,
        mailbox: Arc<Mailbox>,
        metrics: Arc<Metrics>,
        directory: Arc<Directory>,
    ) -> Self {
        Shard {
            history,
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
            // In this order: whoever joins is written what comes next.
            let batch = tokio::select! {
                biased;
                () = self.mailbox.posted.notified() => {
                    for subscriber in self.mailbox.take() {
                        self.settle(&subscriber);
                    }
                    continue;
                }
                batch = batches.recv() => batch,
            };
            let mut gathered = match batch {
                Ok(batch) => vec![batch],
                Err(RecvError::Lagged(_)) => {
                    self.miss();
                    continue;
                }
                Err(RecvError::Closed) => return,
            };
            // Who has something to say now says it first: then one write takes
            // it along.
            tokio::task::yield_now().await;
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
            self.fan_out(&gathered).await;
            if missed {
                self.miss();
            }
            // Who was just shown it says what there is to say to it: then it is
            // told that this is over, and one commit takes all of that along.
            tokio::task::yield_now().await;
            drop(gathered);
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
        for subscriber in std::mem::take(&mut self.rooms).into_values().flatten() {
            let mut outlet = subscriber.lock();
            outlet.listed = None;
            if outlet.mode == Mode::Live {
                outlet.fall_behind();
            }
        }
    }

    pub(super) async fn fan_out(&mut self, fresh: &[Fresh]) {
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
                if visited % WRITES_A_TURN == 0 {
                    tokio::task::yield_now().await;
                }
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

    /// Looks at a subscriber whose mode its session changed: takes it in when
    /// it is joining, lets go of it when it went elsewhere.
    pub(super) fn settle(&mut self, subscriber: &Arc<Shared>) {
        let mut outlet = subscriber.lock();
        outlet.mailed = false;
        if let Some(room) = outlet.listed.take()
            && let Some(subscribers) = self.rooms.get_mut(&room)
        {
            subscribers.retain(|other| !Arc::ptr_eq(other, subscriber));
            if subscribers.is_empty() {
                self.rooms.remove(&room);
            }
        }
        // From here on every batch passes this task after it was put in memory:
        // what is not found there now will come as a batch.
        while outlet.mode == Mode::Joining {
            let Some(reading) = outlet.recent(&self.history) else {
                return outlet.fall_behind();
            };
            let mut cx = Context::from_waker(Waker::noop());
            let written = outlet.write_reading(&mut cx, &reading);
            self.metrics.delivered(std::mem::take(&mut outlet.written));
            match written {
                Poll::Ready(Ok(())) if reading.is_empty() => {
                    let room = outlet.room.room.clone();
                    outlet.listed = Some(room.clone());
                    outlet.go_live();
                    self.rooms
                        .entry(room)
                        .or_default()
                        .push(Arc::clone(subscriber));
                }
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) | Poll::Pending => return outlet.fall_behind(),
            }
        }
    }
}

/// Writes what is new to a live subscriber; false when it is not live (any more).
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
        pin::Pin,
        task::{Context, Poll},
    };

    use tokio::{io::AsyncWrite, time::Instant};

    use super::*;
    use crate::{
        fanout::{Socket, Subscriber},
        history::{self, Draft, Storage},
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

    /// Broken to see it fail: nobody is moved to the front.
    #[tokio::test]
    async fn who_spoke_last_is_shown_the_next_first() {
        let (mut writer, history) = history::open(&Storage::Memory, "a test").unwrap();
        let (mailbox, directory) = (Arc::<Mailbox>::default(), Arc::<Directory>::default());
        let (noted, metrics) = (Arc::<Mutex<Vec<u16>>>::default(), Arc::<Metrics>::default());
        let mut shard = Shard::new(
            history.clone(),
            Arc::clone(&mailbox),
            Arc::clone(&metrics),
            Arc::clone(&directory),
        );
        let mut readers = Vec::new();
        for port in 1..=200 {
            let socket = Socket::Other(Box::new(Noting(port, Arc::clone(&noted))));
            let outlet = Outlet::new(socket, Format::Plain, at(port), None);
            let (history, mailbox) = (history.clone(), Arc::clone(&mailbox));
            let mut reader =
                Subscriber::new(history, mailbox, outlet, Arc::clone(&metrics), &directory);
            reader.follow(RoomName::lobby(), Seq::START);
            poll_fn(|cx| {
                assert!(reader.poll_deliver(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            readers.push(reader);
        }
        for subscriber in mailbox.take() {
            shard.settle(&subscriber);
        }
        for (speakers, first) in [
            (&[150][..], &[1][..]),
            (&[150], &[150]),
            (&[3, 70], &[150]),
            (&[3, 70, 4], &[3, 70]),
            (&[4], &[3, 4, 70]),
        ] {
            let say = |port: &u16| {
                let mut draft = Draft::of("lobby", "text");
                draft.from.addr = at(*port);
                draft
            };
            let drafts: Vec<_> = speakers.iter().map(say).collect();
            let (batch, _) = writer.append(&drafts).unwrap();
            noted.lock().unwrap().clear();
            let (fresh, _) = Fresh::new(batch, Instant::now());
            shard.fan_out(&[fresh]).await;
            let mut noted = noted.lock().unwrap().clone();
            noted[..first.len()].sort_unstable();
            assert_eq!(noted[..first.len()], *first, "where {speakers:?} speak");
            noted.sort_unstable();
            assert!(noted.into_iter().eq(1..=200), "each of them once");
        }
    }
}
