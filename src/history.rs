//! The log: append a batch, read after a position.
//!
//! Everything that was ever said stands in SQLite, numbered; what was said
//! lately also stands encoded in memory. There is one [`Writer`] and any number
//! of readers. Knows neither who asks nor who is in a room.

mod audit;
mod backup;
mod change;
mod check;
mod erasure;
mod excerpt;
mod failure;
mod folder;
mod measures;
mod names;
mod pages;
mod retention;
mod row;
mod run;
mod schema;
mod search;
#[cfg(test)]
mod speed;
mod store;
mod tail;
mod topics;
mod wal;

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
};

use tokio::sync::{Mutex as FairMutex, MutexGuard as FairGuard, Notify};

pub use self::{
    backup::{BackupError, backup},
    change::Changing,
    check::{Report, check},
    erasure::{Erasing, Erasure},
    excerpt::{Excerpt, Span},
    failure::StoreError,
    folder::OpenError,
    measures::{Measure, What},
    names::Owned,
    retention::{Keep, Retention},
    run::{Batch, Block, Run},
    search::{Found, Words},
};
use self::{search::Index, store::Store, tail::Tail};
use crate::protocol::{
    Author, Epoch, GapReason, Kind, Seq,
    name::{MessageId, Name, RoomName},
    text::Text,
};

/// How much of the log is kept encoded in memory, in bytes of what its runs
/// occupy at most. At 100 bytes a message these are the last 10,000 of them.
const TAIL_BYTES: usize = 16 << 20;

/// Where the log is kept.
#[derive(Clone, Debug)]
pub enum Storage {
    /// A folder, created when it is not there.
    Folder(PathBuf),
    /// Memory: gone with the process.
    Memory,
}

/// A message before it has a number.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The room it is for.
    pub room: RoomName,
    /// Who says it.
    pub from: Author,
    /// What is said.
    pub text: Text,
    /// The publisher's id; the same one in the same room is stored once.
    pub id: Option<MessageId>,
    /// Said or done.
    pub kind: Kind,
    /// Whom it is for, where it is for one person alone: then the room is the
    /// author's inbox, and it is stored in that person's as well.
    pub to: Option<Name>,
}

#[cfg(test)]
impl Draft {
    /// What tests say, by somebody without a name.
    pub(crate) fn of(room: &str, text: impl Into<String>) -> Self {
        Draft {
            room: room.parse().expect("a room"),
            from: Author {
                name: None,
                addr: ([127, 0, 0, 1], 5000).into(),
            },
            text: text.into().into(),
            id: None,
            kind: Kind::Said,
            to: None,
        }
    }
}

/// What became of a draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is stored under this number.
    Stored(Seq),
    /// Its id had been stored before, under this number.
    Duplicate(Seq),
}

/// A stretch of one room's log.
#[derive(Debug, Default)]
pub struct Page {
    /// What is missing before the messages.
    pub hole: Option<Hole>,
    /// The messages, in order; empty at the end.
    pub runs: Vec<Arc<Run>>,
    /// Every message of the room up to this number is in the page or before it.
    pub upto: Seq,
}

/// A stretch of a room that is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// The last number in it.
    pub upto: Seq,
    /// Why.
    pub reason: GapReason,
}

impl Page {
    /// The hole before the messages, and the first number to be had after it.
    pub fn gap(&self) -> Option<(Hole, Seq)> {
        let hole = self.hole?;
        let first = self.runs.first().map(|run| run.first());
        Some((hole, first.unwrap_or(hole.upto.next())))
    }
}

/// The reading side; clones share the same log.
#[derive(Clone)]
pub struct History {
    shared: Arc<Shared>,
    /// Reads where it is asked, not on a thread for what blocks.
    in_place: bool,
}

struct Shared {
    epoch: Epoch,
    tail: Mutex<Tail>,
    /// Readers of the database take turns in the order they came. In memory it
    /// is the writer's own connection.
    reader: Arc<FairMutex<Store>>,
    /// Where words are looked up.
    index: Arc<FairMutex<Index>>,
    /// The number up to which everything was indexed when that was last looked at.
    indexed: AtomicU64,
    /// Tells whoever indexes that something was said.
    grown: Notify,
}

impl Shared {
    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one writer.
pub struct Writer {
    store: Arc<FairMutex<Store>>,
    history: History,
    /// What was in force at the start.
    measures: Vec<Measure>,
}

/// Opens the log, creating it where there is none. `holder` names this process
/// to another that wants the same folder.
pub fn open(storage: &Storage, holder: &str) -> Result<(Writer, History), OpenError> {
    open_with_tail(storage, holder, TAIL_BYTES)
}

/// The same, keeping so many bytes of the log encoded in memory.
pub(crate) fn open_with_tail(
    storage: &Storage,
    holder: &str,
    tail_bytes: usize,
) -> Result<(Writer, History), OpenError> {
    let (writer, reader) = match storage {
        Storage::Folder(folder) => {
            let writer = Store::create(folder, holder)?;
            let reader = writer.reader()?;
            (writer, Some(reader))
        }
        Storage::Memory => (Store::in_memory()?, None),
    };
    let (epoch, head) = writer.place()?;
    let measures = writer.measures()?;
    let folder = match storage {
        Storage::Folder(folder) => Some(folder.as_path()),
        Storage::Memory => None,
    };
    let mut index = Index::new(folder, epoch.clone());
    index.prepare();
    let writer = Arc::new(FairMutex::new(writer));
    let reader = reader.map_or_else(|| Arc::clone(&writer), |r| Arc::new(FairMutex::new(r)));
    let tail = Mutex::new(Tail::new(head, tail_bytes));
    let history = History {
        shared: Arc::new(Shared {
            epoch,
            tail,
            reader,
            index: Arc::new(FairMutex::new(index)),
            indexed: AtomicU64::new(0),
            grown: Notify::new(),
        }),
        in_place: false,
    };
    Ok((
        Writer {
            store: writer,
            history: history.clone(),
            measures,
        },
        history,
    ))
}

impl Writer {
    /// Stores the drafts in order, in one transaction, and makes them readable.
    ///
    /// When this returns the batch, it is on disk; when it returns an error,
    /// nothing of it may be acknowledged. After an error the next call first
    /// opens the database anew and makes sure of it. Blocks: for a thread of
    /// its own.
    pub fn append(&mut self, drafts: &[Draft]) -> Result<(Arc<Batch>, Vec<Outcome>), StoreError> {
        let mut store = self.store();
        let head = self.history.recovered(&mut store)?;
        let (messages, outcomes) = store.append(head, drafts)?;
        drop(store);
        let batch = Arc::new(Batch::of(messages));
        self.history.shared.tail().push(&batch);
        self.history.shared.grown.notify_one();
        Ok((batch, outcomes))
    }

    /// Where it writes. Whoever else holds it is a reader, in memory, or erases
    /// what is old.
    fn store(&self) -> FairGuard<'_, Store> {
        match self.store.try_lock() {
            Ok(store) => store,
            Err(_) => self.store.blocking_lock(),
        }
    }

    /// What erases old messages, and what erasing leaves behind.
    pub fn retention(&self, keep: Keep) -> Retention {
        let (store, history) = (Arc::clone(&self.store), self.history.clone());
        Retention::new(store, history, keep)
    }
}

impl History {
    /// From here on the database is read where it is asked: for a simulation,
    /// in which no thread is to run beside the one.
    #[must_use]
    pub fn in_place(self) -> Self {
        History {
            in_place: true,
            ..self
        }
    }

    /// Which log this is.
    pub fn epoch(&self) -> &Epoch {
        &self.shared.epoch
    }

    /// The last number committed.
    pub fn head(&self) -> Seq {
        self.shared.tail().head()
    }

    /// What follows `after` in a room, as far as memory has it without a hole;
    /// a part of it when it is long. `None` where only the database knows.
    pub fn recent(&self, room: &RoomName, after: Seq) -> Option<Page> {
        self.shared.tail().after(room, after)
    }

    /// What follows `after` in a room, from wherever it is; a part when long.
    pub async fn after(&self, room: &RoomName, after: Seq) -> Result<Page, StoreError> {
        match self.recent(room, after) {
            Some(page) => Ok(page),
            None => self.stored(room, after).await,
        }
    }

    /// What follows `after` in a room, from the database; a part when long.
    pub async fn stored(&self, room: &RoomName, after: Seq) -> Result<Page, StoreError> {
        let room = room.clone();
        let head = self.head();
        self.on_reader(move |store| store.page(&room, after, head))
            .await
    }

    /// Where the log ends, once the writer's store is in order.
    ///
    /// What became of a write that failed is known only to the database, opened
    /// anew: some of it may be there.
    fn recovered(&self, store: &mut Store) -> Result<Seq, StoreError> {
        let head = store.recover(self.head())?;
        self.shared.tail().skip_to(head);
        Ok(head)
    }

    /// The position after which exactly the last `count` messages of a room
    /// follow; where there are fewer, all of them.
    pub async fn before_last(&self, room: &RoomName, count: u32) -> Result<Seq, StoreError> {
        if count == 0 {
            return Ok(self.head());
        }
        self.before_last_upto(room, count, self.head()).await
    }

    /// The same of the last `count` messages up to `head`.
    async fn before_last_upto(
        &self,
        room: &RoomName,
        count: u32,
        head: Seq,
    ) -> Result<Seq, StoreError> {
        let room = room.clone();
        self.on_reader(move |store| store.before_last(&room, count, head))
            .await
    }

    /// A reader's turn at the database, held.
    #[cfg(test)]
    pub(crate) async fn turn(&self) -> impl Sized + use<> {
        Arc::clone(&self.shared.reader).lock_owned().await
    }

    async fn on_reader<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        if self.in_place {
            tokio::task::yield_now().await;
            // Let go of before anything else happens: in memory it is what the
            // writer writes to, which is a task then and may not block.
            return read(&mut *self.shared.reader.lock().await);
        }
        let mut store = Arc::clone(&self.shared.reader).lock_owned().await;
        tokio::task::spawn_blocking(move || read(&mut store))
            .await
            .map_err(|_| StoreError::stopped())?
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History")
            .field("epoch", &self.shared.epoch)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}
