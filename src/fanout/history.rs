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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fanout::Applier,
        log::Draft,
        protocol::{About, AboutKind, ConnectionId, Reaction},
        store::{Storage, open},
    };

    /// The reactions to the first message of a page.
    fn reactions(page: &FeedPage) -> Vec<Reaction> {
        let message = page.room_batches[0].messages().next().expect("a message");
        message.reactions.as_deref().unwrap_or_default().to_vec()
    }

    // Verified to fail when names that a change leaves out are forgotten.
    #[tokio::test]
    async fn reactions_in_the_tail_are_those_of_the_store() {
        let (replica, store) = open(&Storage::Memory, "a test").expect("a store");
        let mut log = Applier::local(replica).expect("a log");
        let messages = vec![Draft::of("lobby", "tea?")];
        log.apply_messages(ConnectionId(7), messages)
            .expect("stored");
        let about = |kind, name: usize, text: usize| {
            let mut draft = Draft::of("lobby", format!("t{text}"));
            draft.from.name = format!("n{name}").parse().ok();
            draft.about = Some(About { seq: Seq(1), kind });
            draft
        };
        let all = (0..5).flat_map(|text| (0..25).map(move |name| (name, text)));
        let mut drafts: Vec<_> = all
            .map(|(name, text)| about(AboutKind::React, name, text))
            .collect();
        // The first people of a reaction go, and the later ones are named.
        drafts.extend((0..25).map(|name| about(AboutKind::Unreact, name, 1)));
        drafts.extend((0..3).map(|name| about(AboutKind::Unreact, name, 2)));
        for draft in drafts {
            log.apply_messages(ConnectionId(7), [draft])
                .expect("stored");
        }
        let (history, room) = (log.history(), RoomName::lobby());
        let recent = history.recent(&room, Seq::START);
        let recent = recent.unwrap_or_else(|| panic!("the tail has it"));
        let stored = history.stored(&room, Seq::START).await.expect("readable");
        assert_eq!(reactions(&recent), reactions(&stored));
        assert_eq!(reactions(&stored).len(), 4);
        assert_eq!(store.head(), Seq(154));
    }
}
