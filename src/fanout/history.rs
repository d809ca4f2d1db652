//! The history as readers are fed from it: the recent end in memory, already
//! encoded, and the store for everything before.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    page::Page,
    run::{Batch, Run},
    tail::Tail,
};
use crate::{
    protocol::{Epoch, Message, Seq, name::RoomName},
    store::{Store, StoreError},
};

/// How much of the end is kept encoded in memory, in bytes of what its runs
/// occupy at most. At 100 bytes a message these are the last 10,000 of them.
const TAIL_BYTES: usize = 16 << 20;

/// The history; clones share it.
#[derive(Clone)]
pub struct History {
    store: Store,
    tail: Arc<Mutex<Tail>>,
}

impl History {
    /// The history of a store.
    pub fn new(store: Store) -> Self {
        Self::with_tail(store, TAIL_BYTES)
    }

    /// The same, keeping so many bytes encoded in memory.
    pub(crate) fn with_tail(store: Store, bytes: usize) -> Self {
        let tail = Arc::new(Mutex::new(Tail::new(store.head(), bytes)));
        History { store, tail }
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The name of the log.
    pub fn epoch(&self) -> &Epoch {
        self.store.epoch()
    }

    /// The last number that readers are fed.
    pub fn head(&self) -> Seq {
        self.tail().head()
    }

    /// Takes messages that were applied; readers are fed them from here on.
    pub(super) fn push(&self, messages: Vec<Message>) -> Arc<Batch> {
        let batch = Arc::new(Batch::of(messages));
        self.tail().push(&batch);
        batch
    }

    /// The store ends at `head`, and what of it is new here is not known here.
    pub(super) fn skip_to(&self, head: Seq) {
        self.tail().skip_to(head);
    }

    /// The words of a message are gone from the store.
    pub(super) fn redacted(&self, seq: Seq) {
        self.tail().redact(seq);
    }

    /// Every message up to a number is gone from the store.
    pub(super) fn expired(&self, upto: Seq) {
        self.tail().expire(upto);
    }

    /// What follows `after` in a room, as far as memory has it without a hole;
    /// a part of it when it is long. `None` where only the store knows.
    pub fn recent(&self, room: &RoomName, after: Seq) -> Option<Page> {
        self.tail().after(room, after)
    }

    /// What follows `after` in a room, from wherever it is; a part when long.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub async fn after(&self, room: &RoomName, after: Seq) -> Result<Page, StoreError> {
        match self.recent(room, after) {
            Some(page) => Ok(page),
            None => self.stored(room, after).await,
        }
    }

    /// What follows `after` in a room, from the store; a part when long.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub async fn stored(&self, room: &RoomName, after: Seq) -> Result<Page, StoreError> {
        let page = self.store.page(room, after, self.head()).await?;
        let run = Run::of(room.clone(), page.slots);
        Ok(Page {
            hole: page.hole,
            runs: run.into_iter().map(Into::into).collect(),
            upto: page.upto,
        })
    }

    /// The position after which exactly the last `count` messages of a room
    /// follow; where there are fewer, all of them.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub async fn before_last(&self, room: &RoomName, count: u32) -> Result<Seq, StoreError> {
        let head = self.head();
        if count == 0 {
            return Ok(head);
        }
        self.store.before_last(room, count, head).await
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History")
            .field("epoch", self.epoch())
            .finish_non_exhaustive()
    }
}
