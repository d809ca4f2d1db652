//! The history that readers are fed from. The tail holds the recent end in
//! memory, encoded. The store has everything before it.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    feed_page::FeedPage,
    room_batch::{MessageBatch, RoomBatch},
    tail::Tail,
};
use crate::{
    protocol::{Epoch, Replay, Revision, Seq, Slot, Start, name::RoomName},
    store::{Store, StoreError, StoredPage},
};

/// The most bytes that the tail keeps in memory, by the weight of its room
/// batches: an upper bound of what they occupy. With messages of 100 bytes, the
/// tail holds the last 10,000.
const TAIL_BYTES: usize = 16 << 20;

/// The history of one store; clones share it.
#[derive(Clone)]
pub struct History {
    store: Store,
    tail: Arc<Mutex<Tail>>,
}

impl History {
    /// Creates the history of a store.
    pub fn new(store: Store) -> Self {
        Self::with_tail(store, TAIL_BYTES)
    }

    /// Creates the history of a store, with a tail of at most this many bytes.
    pub(crate) fn with_tail(store: Store, bytes: usize) -> Self {
        let tail = Arc::new(Mutex::new(Tail::new(store.head(), bytes)));
        History { store, tail }
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store that the history reads.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The epoch of the log.
    pub fn epoch(&self) -> &Epoch {
        self.store.epoch()
    }

    /// Where a reader starts that asks for `start`.
    pub fn replay(&self, start: &Start) -> Replay {
        self.store.lineage().replay(start, self.head())
    }

    /// The highest number that readers can be fed.
    pub fn head(&self) -> Seq {
        self.tail().head()
    }

    /// Adds applied messages and changes; readers can be fed them from here on.
    /// They find changed messages as they are now.
    pub(super) fn push(&self, slots: Vec<Slot>) -> Arc<MessageBatch> {
        let batch = Arc::new(MessageBatch::of(slots));
        let mut tail = self.tail();
        tail.push(&batch);
        for room_batch in &batch.room_batches {
            for (seq, revision) in room_batch.slots().iter().filter_map(Revision::of) {
                tail.revise(room_batch.room(), seq, &revision);
            }
        }
        drop(tail);
        batch
    }

    /// Moves the head to `head`, where the store ends. The tail does not have
    /// the messages up to there.
    pub(super) fn skip_to(&self, head: Seq) {
        self.tail().skip_to(head);
    }

    /// Removes a message's text, and its quotes, from the tail, after the store
    /// has redacted it.
    pub(super) fn redact(&self, room: &RoomName, seq: Seq) {
        self.tail().revise(room, seq, &Revision::Redacted);
    }

    /// Removes the messages up to a number from the tail, after the store has
    /// expired them.
    pub(super) fn expire(&self, upto: Seq) {
        self.tail().expire(upto);
    }

    /// The messages after `after` in a room, from the tail; a part of them if
    /// there are many. `None` if the tail may not have all of them.
    pub fn recent(&self, room: &RoomName, after: Seq) -> Option<FeedPage> {
        self.tail().after(room, after)
    }

    /// The messages after `after` in a room, from the tail or the store; a part
    /// of them if there are many.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub async fn after(&self, room: &RoomName, after: Seq) -> Result<FeedPage, StoreError> {
        match self.recent(room, after) {
            Some(page) => Ok(page),
            None => self.stored(room, after).await,
        }
    }

    /// The messages after `after` in a room, from the store; a part of them if
    /// there are many.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub async fn stored(&self, room: &RoomName, after: Seq) -> Result<FeedPage, StoreError> {
        let page = self.store.page(room, after, self.head()).await?;
        Ok(Self::feed(room, page))
    }

    /// The same as [`History::after`], without changes of messages if they come
    /// from the store.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub async fn messages(&self, room: &RoomName, after: Seq) -> Result<FeedPage, StoreError> {
        if let Some(page) = self.recent(room, after) {
            return Ok(page);
        }
        let page = self.store.messages(room, after, self.head()).await?;
        Ok(Self::feed(room, page))
    }

    fn feed(room: &RoomName, page: StoredPage) -> FeedPage {
        let room_batch = RoomBatch::of(room.clone(), page.slots);
        FeedPage {
            hole: page.hole,
            room_batches: room_batch.into_iter().map(Into::into).collect(),
            upto: page.upto,
        }
    }

    /// The position right before the last `count` messages of a room. If the
    /// room has fewer messages, it is before all of them.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub async fn backlog_start(&self, room: &RoomName, count: u32) -> Result<Seq, StoreError> {
        let head = self.head();
        if count == 0 {
            return Ok(head);
        }
        self.store.backlog_start(room, count, head).await
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History")
            .field("epoch", self.epoch())
            .finish_non_exhaustive()
    }
}
