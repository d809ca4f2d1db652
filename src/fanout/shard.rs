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
                        room_batches.get_mut().push(Arc::clone(room_batch));
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
mod tests;
