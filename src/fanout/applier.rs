//! The applier: seals entries, has the log order them, and applies them to the
//! store and the history.

use std::{fmt, sync::Arc};

use super::{history::History, run::Batch};
use crate::{
    log::{Action, Clock, Draft, Entry, Local, Log, Sealed, Sealer, Unanswered},
    protocol::{ConnectionId, Seq},
    store::{Applied, Outcome, Replica, Standing, StoreError},
};

/// Seals entries, has them ordered, and applies them in that order. A store has
/// one applier.
pub struct Applier<'a> {
    log: Box<dyn Log + 'a>,
    sealer: Sealer,
    replica: Replica,
    history: History,
    clock: Arc<Clock>,
}

/// A batch that was applied.
#[derive(Debug)]
pub struct Committed {
    /// Its entries.
    pub sealed: Sealed,
    /// The outcome of each entry; empty for a repeated batch.
    pub outcomes: Vec<Outcome>,
    /// Its messages, as readers are sent them.
    pub batch: Arc<Batch>,
}

/// Why a batch was not applied, as far as is known.
#[derive(Debug)]
pub enum NotApplied {
    /// The log gave no answer.
    Log(Unanswered),
    /// The store could not be read or written.
    Store(StoreError),
}

impl NotApplied {
    /// Whether the store is damaged. The disk or the network can be the cause
    /// instead.
    pub fn is_damage(&self) -> bool {
        matches!(self, NotApplied::Store(error) if error.is_damage())
    }
}

impl From<Unanswered> for NotApplied {
    fn from(error: Unanswered) -> Self {
        NotApplied::Log(error)
    }
}

impl From<StoreError> for NotApplied {
    fn from(error: StoreError) -> Self {
        NotApplied::Store(error)
    }
}

impl fmt::Display for NotApplied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotApplied::Log(error) => error.fmt(f),
            NotApplied::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NotApplied {}

impl<'a> Applier<'a> {
    /// Creates an applier over any log. It first applies the batches that the
    /// log has and the store has not applied.
    ///
    /// # Errors
    /// Fails if the log cannot be read or the store cannot be written.
    pub fn new(log: impl Log + 'a, replica: Replica, history: History) -> Result<Self, NotApplied> {
        let Standing { origin, clock, .. } = replica.standing()?;
        let clock = Arc::new(Clock::after(clock));
        let mut applier = Applier {
            log: Box::new(log),
            sealer: Sealer::after(origin, Arc::clone(&clock)),
            replica,
            history,
            clock: Arc::clone(&clock),
        };
        applier.read(&mut Vec::new())?;
        // The batches just applied may come from a later run of this server, so
        // its last origin is read only now.
        let Standing { origin, .. } = applier.replica.standing()?;
        applier.sealer = Sealer::after(origin, clock);
        Ok(applier)
    }

    /// Creates an applier over the local log: this process decides the order.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn local(replica: Replica) -> Result<Applier<'static>, NotApplied> {
        let history = History::new(replica.store().clone());
        Applier::new(Local::default(), replica, history)
    }

    /// The history that readers are fed from.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The guarded clock; entries are sealed with its time.
    pub fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }

    /// The replica that applies the entries.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// Seals entries with the current time.
    pub fn seal(&mut self, entries: Vec<Entry>) -> Sealed {
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
        sealed: &Sealed,
        committed: &mut Vec<Committed>,
    ) -> Result<(), NotApplied> {
        self.log.propose(sealed)?;
        self.read(committed)
    }

    fn read(&mut self, committed: &mut Vec<Committed>) -> Result<(), NotApplied> {
        loop {
            let (position, head) = self.replica.position()?;
            self.history.skip_to(head);
            let Some(ordered) = self.log.next(position)? else {
                return Ok(());
            };
            let applied = self.replica.apply(&ordered)?;
            committed.push(self.take(ordered.sealed, applied));
        }
    }

    /// Makes an applied batch readable in the history.
    fn take(&self, sealed: Sealed, applied: Applied) -> Committed {
        let batch = self.history.push(applied.messages);
        for (entry, outcome) in sealed.batch.entries.iter().zip(&applied.outcomes) {
            match (outcome, &entry.action) {
                (Outcome::Redacted, Action::Redact { seq, .. }) => self.history.redacted(*seq),
                (Outcome::Expired(upto), _) => self.history.expired(*upto),
                _ => {}
            }
        }
        Committed {
            sealed,
            outcomes: applied.outcomes,
            batch,
        }
    }

    /// Withdraws a batch that was not applied; returns false if the log keeps
    /// it.
    pub fn withdraw(&mut self, sealed: &Sealed) -> bool {
        self.log.withdraw(sealed.origin())
    }

    /// Seals entries and applies them, all in one batch.
    ///
    /// # Errors
    /// As [`Applier::commit`].
    pub fn apply(&mut self, entries: Vec<Entry>) -> Result<Committed, NotApplied> {
        let sealed = self.seal(entries);
        let mut committed = Vec::new();
        let done = self.commit(&sealed, &mut committed);
        let own = |one: &Committed| one.sealed.origin() == sealed.origin();
        let own = committed.into_iter().find(own);
        own.ok_or_else(|| {
            self.withdraw(&sealed);
            done.err().unwrap_or(NotApplied::Log(Unanswered))
        })
    }

    /// Applies one entry that the server itself makes.
    ///
    /// # Errors
    /// As [`Applier::commit`].
    pub fn act(&mut self, action: Action) -> Result<Outcome, NotApplied> {
        let mut committed = self.apply(vec![Entry::of_server(action)])?;
        committed.outcomes.pop().ok_or(NotApplied::Log(Unanswered))
    }

    /// Applies messages from one connection, all in one batch.
    ///
    /// # Errors
    /// As [`Applier::commit`].
    pub fn say(
        &mut self,
        connection: ConnectionId,
        drafts: impl IntoIterator<Item = Draft>,
    ) -> Result<Committed, NotApplied> {
        let entry = |draft| Entry {
            connection,
            action: Action::Message(draft),
        };
        self.apply(drafts.into_iter().map(entry).collect())
    }

    /// The number of the last committed message.
    pub fn head(&self) -> Seq {
        self.history.store().head()
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
            ClockTime, Origin,
            model::{Model, faults},
        },
        protocol::name::RoomName,
        store::{Storage, open},
    };

    fn drafts(count: usize) -> Vec<Entry> {
        iter::repeat_n(Draft::of("lobby", "text").entry(), count).collect()
    }

    /// An applier over an empty store, which applies the batches of the log at
    /// once.
    fn applier(log: Model) -> Applier<'static> {
        let (replica, store) = open(&Storage::Memory, "a test").expect("a store");
        Applier::new(log, replica, History::new(store)).expect("a log")
    }

    /// The numbers of all messages in a room, from the store.
    async fn stored(history: &History) -> Vec<u64> {
        let page = history.stored(&RoomName::lobby(), Seq::START).await;
        let runs = page.expect("readable").runs;
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
            let mut model = Model::with(iter::repeat_n(None, 2).chain(faults).collect());
            let clock = Arc::new(Clock::after(ClockTime(0)));
            let first = Sealer::after(Origin::default(), clock).seal(Vec::new());
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
