//! The reading side of the store.

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::sync::{Mutex as FairMutex, MutexGuard as FairGuard, Notify, RwLock};

use super::{
    StoreError,
    database::Database,
    index::Index,
    pages::{Slots, StoredPage},
    unread::{self, Unread},
    used_bytes::used_bytes,
};
use crate::protocol::{Epoch, Lineage, OwnerNumber, Seq, Slot, WallTime, name::RoomName};

/// The reading side; clones share one store.
#[derive(Clone)]
pub struct Store {
    pub(super) shared: Arc<StoreState>,
    /// Reads on the caller's thread, not on a thread for blocking work.
    pub(super) on_caller_thread: bool,
}

pub(super) struct StoreState {
    pub(super) lineage: Lineage,
    /// The last number committed.
    pub(super) head: AtomicU64,
    /// Every message up to this number has expired.
    pub(super) expired: AtomicU64,
    /// The replica's connection.
    pub(super) writer: Arc<FairMutex<Database>>,
    /// The readers' connection, which they use in the order of their requests.
    /// In memory it is the replica's connection.
    pub(super) reader: Arc<FairMutex<Database>>,
    /// The index, as the one connection that writes it.
    pub(super) index: Arc<FairMutex<Index>>,
    /// Connections that only read the index. In memory there is none, and
    /// searches use the one that writes.
    pub(super) index_readers: Vec<Arc<FairMutex<Index>>>,
    /// Held for reading by each search, and for writing by a removal of words.
    pub(super) searching: Arc<RwLock<()>>,
    /// How many removals of words wait for searches: these stop.
    pub(super) removing: AtomicUsize,
    /// The number up to which every message was indexed at the last step.
    pub(super) indexed: AtomicU64,
    /// Whether shown addresses are hidden, and the key for that.
    pub(super) hides_addresses: AtomicBool,
    pub(super) guest_key: [u8; 16],
    /// The folder of its files; `None` in memory.
    pub(super) folder: Option<PathBuf>,
    /// How often all places of an owner were read.
    #[cfg(test)]
    pub(super) reads_of_places: AtomicUsize,
    /// Tells the indexing task that messages were stored or have expired.
    pub(super) index_behind: Notify,
}

/// Locks a mutex outside of a runtime. Within one the mutex must be free, as
/// waiting would panic.
pub(super) fn lock<T>(mutex: &FairMutex<T>) -> FairGuard<'_, T> {
    match mutex.try_lock() {
        Ok(guard) => guard,
        Err(_) => mutex.blocking_lock(),
    }
}

impl Store {
    /// The same store, which reads on the caller's thread: for a simulation,
    /// which runs on one thread.
    #[must_use]
    pub fn on_caller_thread(self) -> Self {
        Store {
            on_caller_thread: true,
            ..self
        }
    }

    /// The name of the log.
    pub fn epoch(&self) -> &Epoch {
        &self.lineage().epoch
    }

    /// The log, and the logs that it continues.
    pub fn lineage(&self) -> &Lineage {
        &self.shared.lineage
    }

    /// The last number committed.
    pub fn head(&self) -> Seq {
        Seq(self.shared.head.load(Ordering::Acquire))
    }

    /// Every message up to this number has expired.
    pub fn expired(&self) -> Seq {
        Seq(self.shared.expired.load(Ordering::Acquire))
    }

    /// A page of the messages of a room after a number, up to `head`.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub async fn page(
        &self,
        room: &RoomName,
        after: Seq,
        head: Seq,
    ) -> Result<StoredPage, StoreError> {
        self.slots(room, (after, head), Slots::All).await
    }

    /// The same page without changes of messages.
    ///
    /// # Errors
    /// As [`Store::page`].
    pub async fn messages(
        &self,
        room: &RoomName,
        after: Seq,
        head: Seq,
    ) -> Result<StoredPage, StoreError> {
        self.slots(room, (after, head), Slots::Messages).await
    }

    async fn slots(
        &self,
        room: &RoomName,
        span: (Seq, Seq),
        wanted: Slots,
    ) -> Result<StoredPage, StoreError> {
        let room = room.clone();
        let page = self.on_reader(move |database| database.page(&room, span, wanted));
        let mut page = page.await?;
        self.conceal(page.slots.iter_mut().flat_map(Slot::authors_mut));
        Ok(page)
    }

    /// The position after which exactly the last `count` messages of a room up
    /// to `head` follow; if there are fewer, all of them.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub async fn backlog_start(
        &self,
        room: &RoomName,
        count: u32,
        head: Seq,
    ) -> Result<Seq, StoreError> {
        let room = room.clone();
        self.on_reader(move |database| database.backlog_start(&room, count, head))
            .await
    }

    /// The private messages in an inbox after a number.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub async fn unread(&self, owner: OwnerNumber, after: Seq) -> Result<Unread, StoreError> {
        self.on_reader(move |database| {
            unread::read(database.db(), owner, after, unread::MAX_COUNTED)
        })
        .await
    }

    /// The number up to which the oldest messages may expire, at most one batch
    /// of them: those sealed before a time, and all but the last `keep`.
    ///
    /// A message expires after all messages before it, even if the clock was
    /// wrong when they were sealed.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub async fn expirable(
        &self,
        before: Option<WallTime>,
        keep: Option<u64>,
    ) -> Result<Option<Seq>, StoreError> {
        let head = self.head();
        let surplus = Seq(keep.map_or(0, |keep| head.0.saturating_sub(keep)));
        self.on_reader(move |database| database.expirable(before, surplus))
            .await
    }

    /// The bytes that the store and its index use, without free pages and
    /// write-ahead logs.
    ///
    /// # Errors
    /// Fails if a database cannot be read.
    pub async fn used_bytes(&self) -> Result<u64, StoreError> {
        let store = self.on_reader(|database| used_bytes(database.db()));
        let store = store.await?;
        Ok(store + self.on_index(Index::used_bytes).await?)
    }

    /// Empties the write-ahead log if it may hold redacted or expired words.
    /// While a reader still sees an earlier state, this does nothing.
    ///
    /// # Errors
    /// Fails if the database cannot be written.
    pub async fn empty_wal(&self) -> Result<(), StoreError> {
        let mut database = Arc::clone(&self.shared.writer).lock_owned().await;
        if self.on_caller_thread {
            return database.empty_wal();
        }
        tokio::task::spawn_blocking(move || database.empty_wal())
            .await
            .map_err(|_| StoreError::stopped())?
    }

    /// Closes all files, once all reads are done: each database is one file then.
    /// Later calls fail. A store in memory stays.
    ///
    /// # Errors
    /// Fails if a file cannot be written.
    pub async fn close(&self) -> Result<(), StoreError> {
        if self.shared.folder.is_none() {
            return Ok(());
        }
        // The connections that write come last: the others move no commits.
        for reader in &self.shared.index_readers {
            reader.lock().await.close();
        }
        self.on_index(|index| {
            index.close();
            Ok(())
        })
        .await?;
        self.on_reader(Database::close).await?;
        let mut writer = Arc::clone(&self.shared.writer).lock_owned().await;
        tokio::task::spawn_blocking(move || writer.close())
            .await
            .map_err(|_| StoreError::stopped())?
    }

    /// Holds the readers' connection for as long as the result is kept.
    #[cfg(test)]
    pub(crate) async fn hold_reader(&self) -> impl Sized + use<> {
        Arc::clone(&self.shared.reader).lock_owned().await
    }

    /// Runs `read` on the readers' connection, once all earlier reads are done.
    ///
    /// # Errors
    /// Fails if `read` fails, or the program is ending.
    pub(super) async fn on_reader<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Database) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        if self.on_caller_thread {
            tokio::task::yield_now().await;
            // This releases the lock at once. In memory it is the replica's
            // connection, and the replica must not wait for it.
            return read(&mut *self.shared.reader.lock().await);
        }
        let mut database = Arc::clone(&self.shared.reader).lock_owned().await;
        tokio::task::spawn_blocking(move || read(&mut database))
            .await
            .map_err(|_| StoreError::stopped())?
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("epoch", self.epoch())
            .finish_non_exhaustive()
    }
}
