//! The applier: seals entries, has the log order them, and applies them to the
//! store and the history.

use std::{fmt, sync::Arc};

use super::{history::History, room_batch::MessageBatch};
use crate::{
    log::{Action, Draft, Entry, GuardedClock, LocalLog, Log, NoAnswer, SealedBatch, Sealer},
    protocol::ConnectionId,
    store::{AccessChange, Applied, Outcome, Replica, StartingState, StoreError},
};

/// Seals entries, has them ordered, and applies them in that order. A store has
/// one applier.
pub struct Applier<'a> {
    log: Box<dyn Log + 'a>,
    sealer: Sealer,
    replica: Replica,
    history: History,
    clock: Arc<GuardedClock>,
    /// Carries out changes of access.
    access_watcher: Option<AccessWatcher>,
}

/// Carries out changes of access in memory.
type AccessWatcher = Box<dyn Fn(Vec<AccessChange>) + Send>;

/// A batch that was applied.
#[derive(Debug)]
pub struct AppliedBatch {
    /// Its entries.
    pub sealed: SealedBatch,
    /// The outcome of each entry; empty for a repeated batch.
    pub outcomes: Vec<Outcome>,
    /// Its messages, as readers are sent them.
    pub batch: Arc<MessageBatch>,
}

/// Why a batch was not applied, as far as is known.
#[derive(Debug)]
pub enum ApplyError {
    /// The log gave no answer.
    Log(NoAnswer),
    /// The store could not be read or written.
    Store(StoreError),
}

impl ApplyError {
    /// Whether the store is damaged. The disk or the network can be the cause
    /// instead.
    pub fn is_damage(&self) -> bool {
        matches!(self, ApplyError::Store(error) if error.is_damage())
    }
}

impl From<NoAnswer> for ApplyError {
    fn from(error: NoAnswer) -> Self {
        ApplyError::Log(error)
    }
}

impl From<StoreError> for ApplyError {
    fn from(error: StoreError) -> Self {
        ApplyError::Store(error)
    }
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ApplyError::Log(error) => error.fmt(f),
            ApplyError::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ApplyError {}

impl<'a> Applier<'a> {
    /// Creates an applier over any log. It first applies the batches that the
    /// log has and the store has not applied.
    ///
    /// # Errors
    /// Fails if the log cannot be read or the store cannot be written.
    pub fn new(log: impl Log + 'a, replica: Replica, history: History) -> Result<Self, ApplyError> {
        let StartingState {
            last_batch: origin,
            clock,
            ..
        } = replica.starting_state()?;
        let clock = Arc::new(GuardedClock::after(clock));
        let mut applier = Applier {
            log: Box::new(log),
            sealer: Sealer::after(origin, Arc::clone(&clock)),
            replica,
            history,
            clock: Arc::clone(&clock),
            access_watcher: None,
        };
        applier.apply_ordered(&mut Vec::new())?;
        // The batches just applied may come from a later run of this server, so
        // its last origin is read only now.
        let StartingState {
            last_batch: origin, ..
        } = applier.replica.starting_state()?;
        applier.sealer = Sealer::after(origin, clock);
        Ok(applier)
    }

    /// Creates an applier over the local log: this process decides the order.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn local(replica: Replica) -> Result<Applier<'static>, ApplyError> {
        let history = History::new(replica.store().clone());
        Applier::new(LocalLog::default(), replica, history)
    }

    /// Has changes of access carried out before the messages of their batch can
    /// be read.
    pub fn watch_access(&mut self, watcher: impl Fn(Vec<AccessChange>) + Send + 'static) {
        self.access_watcher = Some(Box::new(watcher));
    }

    /// The history that readers are fed from.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The guarded clock; entries are sealed with its time.
    pub fn clock(&self) -> &Arc<GuardedClock> {
        &self.clock
    }

    /// The replica that applies the entries.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// Gives the replica back.
    pub fn into_replica(self) -> Replica {
        self.replica
    }

    /// Seals entries with the current time.
    pub fn seal(&mut self, entries: Vec<Entry>) -> SealedBatch {
        self.sealer.seal(entries)
    }

    /// Proposes a batch to the log, and applies every batch that the log has by
    /// then. If the log does not have the proposed batch yet, a later call
    /// applies it.
    ///
    /// # Errors
    /// Fails if the log gives no answer or the store cannot be written. Batches
    /// applied before the failure are in `committed`.
    pub fn commit(
        &mut self,
        sealed: &SealedBatch,
        committed: &mut Vec<AppliedBatch>,
    ) -> Result<(), ApplyError> {
        self.log.propose(sealed)?;
        self.apply_ordered(committed)
    }

    fn apply_ordered(&mut self, committed: &mut Vec<AppliedBatch>) -> Result<(), ApplyError> {
        loop {
            let (position, head) = self.replica.recover()?;
            self.history.skip_to(head);
            let Some(ordered) = self.log.read_after(position)? else {
                return Ok(());
            };
            let applied = self.replica.apply(&ordered)?;
            committed.push(self.add_to_history(ordered.sealed, applied));
        }
    }

    /// Makes an applied batch readable in the history.
    fn add_to_history(&self, sealed: SealedBatch, applied: Applied) -> AppliedBatch {
        if let Some(watcher) = &self.access_watcher
            && !applied.access_changes.is_empty()
        {
            watcher(applied.access_changes);
        }
        let batch = self.history.push(applied.messages);
        for (entry, outcome) in sealed.batch.entries.iter().zip(&applied.outcomes) {
            match (outcome, &entry.action) {
                (
                    Outcome::Redacted,
                    Action::Redact { room, seq, .. } | Action::Retract { room, seq, .. },
                ) => self.history.redact(room, *seq),
                (Outcome::Expired(upto), _) => self.history.expire(*upto),
                _ => {}
            }
        }
        AppliedBatch {
            sealed,
            outcomes: applied.outcomes,
            batch,
        }
    }

    /// Withdraws a batch that was not applied; returns false if the log keeps
    /// it.
    pub fn withdraw(&mut self, sealed: &SealedBatch) -> bool {
        self.log.withdraw(sealed.id())
    }

    /// Seals entries and applies them, all in one batch.
    ///
    /// # Errors
    /// As [`Applier::commit`].
    pub fn apply(&mut self, entries: Vec<Entry>) -> Result<AppliedBatch, ApplyError> {
        let sealed = self.seal(entries);
        let mut committed = Vec::new();
        let done = self.commit(&sealed, &mut committed);
        let own = |one: &AppliedBatch| one.sealed.id() == sealed.id();
        let own = committed.into_iter().find(own);
        own.ok_or_else(|| {
            self.withdraw(&sealed);
            done.err().unwrap_or(ApplyError::Log(NoAnswer))
        })
    }

    /// Applies one entry that the server itself makes.
    ///
    /// # Errors
    /// As [`Applier::commit`].
    pub fn apply_action(&mut self, action: Action) -> Result<Outcome, ApplyError> {
        let mut committed = self.apply(vec![Entry::of_server(action)])?;
        committed.outcomes.pop().ok_or(ApplyError::Log(NoAnswer))
    }

    /// Applies messages from one connection, all in one batch.
    ///
    /// # Errors
    /// As [`Applier::commit`].
    pub fn apply_messages(
        &mut self,
        connection: ConnectionId,
        drafts: impl IntoIterator<Item = Draft>,
    ) -> Result<AppliedBatch, ApplyError> {
        let entry = |draft| Entry {
            connection,
            action: Action::Message(draft),
        };
        self.apply(drafts.into_iter().map(entry).collect())
    }
}

impl fmt::Debug for Applier<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Applier").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        log::{
            BatchId, GuardedTime,
            model::{ModelLog, faults},
        },
        protocol::{Seq, name::RoomName},
        store::{Storage, open},
    };

    fn drafts(count: usize) -> Vec<Entry> {
        iter::repeat_n(Draft::of("lobby", "text").entry(), count).collect()
    }

    /// An applier over an empty store, which applies the batches of the log at
    /// once.
    fn applier(log: ModelLog) -> Applier<'static> {
        let (replica, store) = open(&Storage::Memory, "a test").expect("a store");
        Applier::new(log, replica, History::new(store)).expect("a log")
    }

    /// The numbers of all messages in a room, from the store.
    async fn stored(history: &History) -> Vec<u64> {
        let page = history.stored(&RoomName::lobby(), Seq::START).await;
        let runs = page.expect("readable").room_batches;
        let slots = runs.iter().flat_map(|run| run.slots());
        slots.map(|slot| slot.seq().0).collect()
    }

    proptest! {
        /// Verified to fail when a repeated batch is applied.
        #[test]
        fn a_faulty_log_stores_each_batch_once(
            faults in faults(),
            batches in proptest::collection::vec(1..4_usize, 1..10),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build()?;
            // The first proposal and the first read of the log do not fail.
            let mut model = ModelLog::with(iter::repeat_n(None, 2).chain(faults).collect());
            let clock = Arc::new(GuardedClock::after(GuardedTime(0)));
            let first = Sealer::after(BatchId::default(), clock).seal(Vec::new());
            model.propose(&first)?;
            let mut log = applier(model.clone());
            let mut last = 0;
            for count in &batches {
                let sealed = log.seal(drafts(*count));
                let mut outcomes = Vec::new();
                for attempt in 0.. {
                    let mut committed = Vec::new();
                    let answered = log.commit(&sealed, &mut committed);
                    outcomes.extend(committed.into_iter().flat_map(|one| one.outcomes));
                    if answered.is_ok() && !outcomes.is_empty() {
                        break;
                    }
                    if attempt == 20 {
                        model.heal();
                    }
                }
                let numbers = (last + 1..).take(*count);
                let stored: Vec<_> = numbers.map(|n| Outcome::Stored(Seq(n))).collect();
                prop_assert_eq!(outcomes, stored);
                last += *count as u64;
            }
            let all: Vec<_> = (1..=last).collect();
            prop_assert_eq!(&runtime.block_on(stored(log.history())), &all);
            // A second replica that reads the same log stores the same
            // messages.
            model.heal();
            prop_assert!(model.len() > batches.len());
            let other = applier(model);
            prop_assert_eq!(&runtime.block_on(stored(other.history())), &all);
        }
    }
}
