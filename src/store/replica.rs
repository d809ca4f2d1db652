//! The writing side of the store.

use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::sync::{Mutex as FairMutex, MutexGuard as FairGuard, Notify};

use super::{
    StoreError,
    access::AccessChange,
    apply::Applied,
    database::Database,
    folder::{OpenError, Storage},
    index::Index,
    memberships, names,
    outcome::Outcome,
    reader::{Store, StoreState, lock},
    sanctions::{self, Sanction},
    search::SEARCHES_AT_ONCE,
};
use crate::{
    log::{BatchId, BatchPosition, GuardedTime, OrderedBatch},
    protocol::{OwnerNumber, Seq, Slot, name::Name},
};

/// The writing side: applies batches.
pub struct Replica {
    store: Store,
}

/// The state from which a server continues when it starts.
#[derive(Clone, Copy, Debug)]
pub struct StartingState {
    /// The origin of the last batch applied.
    pub last_batch: BatchId,
    /// Where the guarded clock starts.
    pub clock: GuardedTime,
    /// The name expiry that replicas share, in milliseconds.
    pub name_expiry_ms: u64,
    /// For so many milliseconds the author of a message may change it.
    pub edit_window_ms: u64,
}

/// Opens a store, and creates it if it is missing. `holder` names this process
/// to another one that wants the same folder.
///
/// # Errors
/// [`OpenError`] if the folder is in use, cannot be used, is damaged or was
/// written in another format.
pub fn open(storage: &Storage, holder: &str) -> Result<(Replica, Store), OpenError> {
    let (writer, reader, folder) = match storage {
        Storage::Folder(folder) => {
            let writer = Database::open(folder, holder)?;
            let reader = writer.reader()?;
            (writer, Some(reader), Some(folder.as_path()))
        }
        Storage::Memory => (Database::in_memory()?, None, None),
    };
    let state = writer.state().clone();
    let lineage = writer.lineage().map_err(|error| match storage {
        Storage::Folder(folder) => OpenError::database(&folder.join("chat.sqlite"), error),
        Storage::Memory => OpenError::memory(error),
    })?;
    let mut index = Index::new(folder, state.epoch.clone());
    index.prepare();
    let readers = std::iter::from_fn(|| index.reader());
    let index_readers = readers.take(SEARCHES_AT_ONCE).map(|mut reader| {
        reader.prepare();
        Arc::new(FairMutex::new(reader))
    });
    let index_readers = index_readers.collect();
    let writer = Arc::new(FairMutex::new(writer));
    let reader = reader.map_or_else(|| Arc::clone(&writer), |r| Arc::new(FairMutex::new(r)));
    let store = Store {
        shared: Arc::new(StoreState {
            lineage,
            head: AtomicU64::new(state.head.0),
            expired: AtomicU64::new(state.expired.0),
            writer,
            reader,
            index: Arc::new(FairMutex::new(index)),
            index_readers,
            searching: Arc::default(),
            removing: AtomicUsize::new(0),
            indexed: AtomicU64::new(0),
            hides_addresses: AtomicBool::new(false),
            guest_key: state.guests,
            folder: folder.map(Path::to_owned),
            #[cfg(test)]
            reads_of_places: AtomicUsize::new(0),
            index_behind: Notify::new(),
        }),
        on_caller_thread: false,
    };
    let replica = Replica {
        store: store.clone(),
    };
    Ok((replica, store))
}

impl Replica {
    /// The reading side.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The position of the last batch applied, and the last message number
    /// after it. After a failed write this first opens the database again and
    /// checks that everything acknowledged is there.
    ///
    /// Blocks, so it must run on a thread of its own.
    ///
    /// # Errors
    /// Fails as long as the database cannot be read and written.
    pub fn recover(&mut self) -> Result<(BatchPosition, Seq), StoreError> {
        let mut database = self.database();
        database.recover()?;
        let state = database.state();
        let (applied, head, expired) = (state.applied, state.head, state.expired);
        drop(database);
        let shared = &self.store.shared;
        shared.head.store(head.0, Ordering::Release);
        shared.expired.store(expired.0, Ordering::Release);
        Ok((applied, head))
    }

    /// The state from which a server continues when it starts.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub fn starting_state(&self) -> Result<StartingState, StoreError> {
        let database = self.database();
        let state = database.state();
        // The guarded clock may have distrusted the wall clock of the last
        // message. After a restart that time is trusted.
        let said = database.last_sealed_at()?.map_or(0, |at| at.0);
        Ok(StartingState {
            last_batch: state.last_batch,
            clock: state.clock.max(GuardedTime(said)),
            name_expiry_ms: state.name_expiry_ms,
            edit_window_ms: state.edit_window_ms,
        })
    }

    /// The sanctions in force.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub fn sanctions(&self) -> Result<Vec<Sanction>, StoreError> {
        sanctions::all(self.database().db())
    }

    /// Whether an invitation admitted any name, or an operator has one.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub fn has_admitted_names(&self) -> Result<bool, StoreError> {
        let database = self.database();
        let mut admitted = database
            .db()
            .prepare_cached("SELECT 1 FROM names WHERE standing > 0")?;
        Ok(admitted.exists([])?)
    }

    /// The owned names of people, each in the spelling of its claim.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub fn owned_names(&self) -> Result<Vec<(Name, OwnerNumber)>, StoreError> {
        names::all(self.database().db())
    }

    /// The private rooms and their members, as the changes that made them.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub fn access(&self) -> Result<Vec<AccessChange>, StoreError> {
        memberships::all(self.database().db())
    }

    /// Applies the next batch, in one transaction.
    ///
    /// When this returns, the batch is on disk. When it fails, nothing of the
    /// batch may be acknowledged, and [`Replica::recover`] must be called
    /// next. A batch that was applied before changes nothing.
    ///
    /// Blocks, so it must run on a thread of its own.
    ///
    /// # Errors
    /// Fails if the database cannot be written, or a batch is missing before
    /// this one.
    pub fn apply(&mut self, ordered: &OrderedBatch) -> Result<Applied, StoreError> {
        let shared = &self.store.shared;
        let mut database = self.database();
        let mut applied = database.apply(ordered, |words| self.store.remove_words(words))?;
        // A quote may be of a message that was stored with its address.
        let slots = applied.messages.iter_mut();
        self.store.conceal(slots.flat_map(Slot::authors_mut));
        if applied.outcomes.contains(&Outcome::Redacted) {
            // If a reader prevents this, a later call tries again.
            let _ = database.empty_wal();
        }
        let (head, expired) = (database.state().head, database.state().expired);
        drop(database);
        shared.head.store(head.0, Ordering::Release);
        let expired_before = shared.expired.swap(expired.0, Ordering::Release);
        if !applied.messages.is_empty() || expired.0 > expired_before {
            shared.index_behind.notify_one();
        }
        Ok(applied)
    }

    /// Locks the replica's connection. Readers of a store in memory use it too,
    /// and so does the task that empties the write-ahead log.
    fn database(&self) -> FairGuard<'_, Database> {
        lock(&self.store.shared.writer)
    }
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").finish_non_exhaustive()
    }
}
