//! Searches messages by their words, and indexes them in the background.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{MutexGuard as FairGuard, OwnedMutexGuard as OwnedFairGuard, RwLockWriteGuard},
    task::unconstrained,
    time::{Instant, sleep},
};
use tracing::{info, warn};

use super::{
    StoreError,
    index::{
        BlockLimits, Index, IndexLookup, IndexedMessage, Lookup, RemovedWords, SPAN_MS, Words,
        find_until, indexed_upto, removed,
    },
    reader::{Store, StoreState, lock},
};
use crate::protocol::{Message, Seq, name::RoomName};

/// How long the indexing task waits for more messages: indexing them together
/// is less work. A search does not wait for this.
const BATCH_DELAY: Duration = Duration::from_secs(1);

/// While messages are being stored, the indexing task rests this many times as
/// long as its last step took: it takes a twentieth of a core at most.
const REST_FACTOR: u32 = 19;

/// From this many messages to index on, the indexing task logs their number. It
/// also adds more messages at a time: FTS5 then has fewer parts to merge.
const REPORT_FROM: u64 = 100_000;

/// How many pages of messages one step adds to the index while so many are to be
/// indexed. A removal of words waits for one step.
const PAGES_OF_MANY: usize = 16;

/// How much time passes between two of these log lines.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// How many searches may read the index at a time. In memory they take turns.
pub const SEARCHES_AT_ONCE: usize = 4;

/// How long the indexing task waits after a failure.
const RETRY: Duration = Duration::from_secs(10);

/// The result of a search.
#[derive(Debug)]
pub struct SearchResult {
    /// The newest messages that match, oldest first.
    pub messages: Vec<Message>,
    /// Whether earlier messages match too.
    pub more: bool,
    /// Only the messages up to this number were searched.
    pub indexed: Seq,
}

impl Store {
    /// The newest `limit` messages of a room that have all words and, if given,
    /// a number below `before`. `None` if `is_over` stops the search, which asks
    /// it again and again.
    ///
    /// # Errors
    /// Fails if the index or the database cannot be read.
    pub async fn search(
        &self,
        room: &RoomName,
        words: &Words,
        before: Option<Seq>,
        limit: u32,
        is_over: impl Fn() -> bool + Clone + Send + Sync + 'static,
    ) -> Result<Option<SearchResult>, StoreError> {
        // In a quiet chat this indexes every new message. If it fails, the
        // search uses what is indexed, and the indexing task reports the error.
        let _ = self.index_some(self.head()).await;
        let name = room.clone();
        let id = self.on_reader(move |database| database.room(&name)).await?;
        let (seqs, indexed) = loop {
            let lookup = id.map(|room| Lookup {
                room,
                words: words.clone(),
                after: self.expired(),
                before: before.unwrap_or(Seq(u64::MAX)),
                // One match more shows whether there are others.
                limit: (limit as usize).saturating_add(1),
            });
            match self.look_up(lookup, is_over.clone()).await? {
                IndexLookup::Found(seqs, indexed) => break (seqs, indexed),
                IndexLookup::TooLong => return Ok(None),
                IndexLookup::MadeWay => {}
            }
        };
        let name = room.clone();
        let shown = self
            .on_reader(move |database| database.messages_by_number(&name, &seqs, limit as usize));
        let (mut messages, more) = shown.await?;
        self.conceal(messages.iter_mut().flat_map(Message::authors_mut));
        Ok(Some(SearchResult {
            messages,
            more,
            indexed,
        }))
    }

    /// Looks words up in the index, while another task may write it.
    async fn look_up(
        &self,
        lookup: Option<Lookup>,
        is_over: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Result<IndexLookup, StoreError> {
        // A simulation must not run another task between the two.
        let (searching, mut index) = unconstrained(async {
            let searching = Arc::clone(&self.shared.searching).read_owned().await;
            (searching, self.index_to_read().await)
        })
        .await;
        let shared = Arc::clone(&self.shared);
        let is_removing = move || shared.removing.load(Ordering::Relaxed) > 0;
        let work = move || {
            let _searching = searching;
            index.read(|db| match &lookup {
                Some(lookup) => find_until(db, lookup, is_over, is_removing),
                None => Ok(IndexLookup::Found(Vec::new(), indexed_upto(db)?)),
            })
        };
        let looked = if self.on_caller_thread {
            work()
        } else {
            let looked = tokio::task::spawn_blocking(work).await;
            looked.map_err(|_| StoreError::stopped())?
        };
        match looked {
            Err(why) if why.is_damage() => {
                let healed = self.on_index(move |index| index.heal(&why).and(Err(why)));
                healed.await
            }
            looked => looked,
        }
    }

    /// Indexes messages as they are stored, and drops blocks of the index as
    /// they expire; ends only when it is dropped.
    pub async fn run_indexing(self) {
        let mut failing = false;
        loop {
            let caught_up = self.catch_up().await;
            if let Err(why) = &caught_up
                && !failing
            {
                warn!("new messages cannot be indexed for searching: {why}");
            } else if caught_up.is_ok() && failing {
                info!("new messages can be indexed again");
            }
            failing = caught_up.is_err();
            if failing {
                sleep(RETRY).await;
            } else {
                self.shared.index_behind.notified().await;
                sleep(BATCH_DELAY).await;
            }
        }
    }

    /// Sets how large the blocks of the index become. If messages expire by age,
    /// each block ends after a day; if by size, each holds a part of it. Expired
    /// words leave the index with their block.
    pub(crate) async fn limit_blocks(&self, by_age: bool, size: Option<u64>) {
        let mut limits = size.map_or_else(BlockLimits::default, BlockLimits::for_size);
        if by_age {
            limits.span_ms = SPAN_MS;
        }
        self.shared.index.lock().await.limits = limits;
    }

    /// How many numbers of the log are not indexed yet. Expired messages are
    /// not indexed any more.
    pub fn unindexed_count(&self) -> u64 {
        let indexed = self.shared.indexed.load(Ordering::Relaxed);
        let done = indexed.max(self.expired().0);
        self.head().0.saturating_sub(done)
    }

    async fn catch_up(&self) -> Result<(), StoreError> {
        let mut told: Option<Instant> = None;
        loop {
            let head = self.head();
            let begun = Instant::now();
            let dropped = self.drop_expired_words().await?;
            if self.index_some(head).await? >= head && !dropped {
                if told.is_some() {
                    info!("everything is indexed for searching");
                }
                return Ok(());
            }
            let left = self.unindexed_count();
            if left >= REPORT_FROM && told.is_none_or(|at| at.elapsed() >= REPORT_EVERY) {
                info!("{left} messages are still to be indexed for searching");
                told = Some(Instant::now());
            }
            // Publishers come first.
            if self.head() > head {
                sleep(begun.elapsed() * REST_FACTOR).await;
            }
        }
    }

    /// Indexes some messages; returns the number up to which all are indexed.
    async fn index_some(&self, head: Seq) -> Result<Seq, StoreError> {
        let indexed = self.index_page(head).await?;
        self.shared.indexed.store(indexed.0, Ordering::Relaxed);
        Ok(indexed)
    }

    async fn index_page(&self, head: Seq) -> Result<Seq, StoreError> {
        self.put_words_back().await?;
        let (done, removals) = self
            .on_index(move |index| Ok((index.with_db(|db| indexed_upto(db))?, index.removals)))
            .await?;
        if done > head {
            // The index is ahead of the store, so it is of another past.
            self.on_index(Index::delete_files).await?;
            return Ok(Seq::START);
        }
        if done == head {
            return Ok(done);
        }
        let is_many = head.0.saturating_sub(done.0.max(self.expired().0)) >= REPORT_FROM;
        let pages = if is_many { PAGES_OF_MANY } else { 1 };
        let (mut entries, mut reached) = (Vec::new(), done);
        for _ in 0..pages {
            let read = self.on_reader(move |database| database.unindexed(reached, head));
            let (page, upto) = read.await?;
            entries.extend(page);
            reached = upto;
        }
        self.on_index(move |index| {
            // Meanwhile some of these messages may have been removed, or
            // indexed by another task.
            if index.removals != removals {
                return Ok(done);
            }
            let now = index.with_db(|db| indexed_upto(db))?;
            if now != done {
                return Ok(now);
            }
            index.add(&entries, reached)?;
            Ok(reached)
        })
        .await
    }

    /// Indexes the messages whose words were removed, as they are now: corrected
    /// ones, and those whose change was not stored.
    async fn put_words_back(&self) -> Result<(), StoreError> {
        loop {
            let (seqs, removals) = self
                .on_index(|index| Ok((index.with_db(|db| removed(db))?, index.removals)))
                .await?;
            if seqs.is_empty() {
                return Ok(());
            }
            let wanted = seqs.clone();
            let read = self.on_reader(move |database| IndexedMessage::all(database.db(), &wanted));
            let entries = read.await?;
            self.on_index(move |index| {
                // Meanwhile some of these messages may have been changed again.
                if index.removals == removals {
                    index.put_back(&seqs, &entries)?;
                }
                Ok(())
            })
            .await?;
        }
    }

    /// Drops the oldest block of the index if it has expired; false if it has
    /// not. It drops one block at a time, as redactions wait for it.
    ///
    /// # Errors
    /// Fails if the index cannot be opened, read or written.
    pub(crate) async fn drop_expired_words(&self) -> Result<bool, StoreError> {
        let expired = self.expired();
        let has_expired = self.on_index(move |index| index.has_expired(expired));
        if !has_expired.await? {
            return Ok(false);
        }
        let waiting = MakeWay::for_removal(&self.shared);
        unconstrained(async {
            let alone = Arc::clone(&self.shared.searching).write_owned().await;
            drop(waiting);
            self.on_index(move |index| {
                let _alone = alone;
                index.drop_expired(expired)
            })
            .await
        })
        .await
    }

    /// Removes words from the index before a batch is committed: searches make
    /// way. Until the result is dropped, nobody writes or reads the index.
    ///
    /// # Errors
    /// Fails if the index can be neither written nor deleted.
    pub(super) fn remove_words(
        &self,
        words: &RemovedWords,
    ) -> Result<Option<IndexAlone<'_>>, StoreError> {
        if words.is_empty() {
            return Ok(None);
        }
        let _waiting = MakeWay::for_removal(&self.shared);
        let searching = &self.shared.searching;
        let searching = match searching.try_write() {
            Ok(guard) => guard,
            Err(_) => searching.blocking_write(),
        };
        let mut index = lock(&self.shared.index);
        index.remove(words)?;
        Ok(Some(IndexAlone {
            _index: index,
            _searching: searching,
        }))
    }

    /// Holds the index for as long as the result is kept.
    #[cfg(test)]
    pub(crate) async fn hold_index(&self) -> impl Sized {
        self.index_turn().await
    }

    /// Locks the index, in the order of the requests. A waiting task holds no
    /// thread: readers of the store need the threads.
    pub(super) async fn index_turn(&self) -> OwnedFairGuard<Index> {
        Arc::clone(&self.shared.index).lock_owned().await
    }

    /// Locks a connection that reads the index, a free one if there is one.
    async fn index_to_read(&self) -> OwnedFairGuard<Index> {
        let readers = &self.shared.index_readers;
        let free = readers
            .iter()
            .find_map(|one| Arc::clone(one).try_lock_owned().ok());
        match (free, readers.first()) {
            (Some(free), _) => free,
            (None, Some(first)) => Arc::clone(first).lock_owned().await,
            (None, None) => self.index_turn().await,
        }
    }

    pub(super) async fn on_index<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Index) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let mut index = self.index_turn().await;
        if self.on_caller_thread {
            return work(&mut index);
        }
        tokio::task::spawn_blocking(move || work(&mut index))
            .await
            .map_err(|_| StoreError::stopped())?
    }
}

/// A removal of words that waits for searches to make way.
struct MakeWay<'a>(&'a AtomicUsize);

impl<'a> MakeWay<'a> {
    fn for_removal(shared: &'a StoreState) -> Self {
        shared.removing.fetch_add(1, Ordering::Relaxed);
        MakeWay(&shared.removing)
    }
}

impl Drop for MakeWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The index while no search reads it: removed words leave its files only then.
pub(super) struct IndexAlone<'a> {
    _index: FairGuard<'a, Index>,
    _searching: RwLockWriteGuard<'a, ()>,
}

#[cfg(test)]
mod tests;
