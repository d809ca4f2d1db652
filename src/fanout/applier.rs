//! Seals, orders and applies: the log, the store and the history in step.

use std::{fmt, sync::Arc};

use super::{history::History, run::Batch};
use crate::{
    log::{Action, Clock, Draft, Entry, Local, Log, Sealed, Sealer, Unanswered},
    protocol::{ConnectionId, Seq},
    store::{Applied, Outcome, Replica, Standing, StoreError},
};

/// What entries go through, in order; there is one for a store.
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
    /// What became of each; empty for a repeated batch.
    pub outcomes: Vec<Outcome>,
    /// Its messages, for readers.
    pub batch: Arc<Batch>,
}

/// A batch was not applied, as far as is known.
#[derive(Debug)]
pub enum NotApplied {
    /// The log gave no answer.
    Log(Unanswered),
    /// The store could not be read or written.
    Store(StoreError),
}

impl NotApplied {
    /// Whether it is damage, and not the disk or the network.
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
    /// Over a log of any kind. What the log has and the store has not is
    /// applied first.
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
        // Only now is it known which run of this server was the last one.
        let Standing { origin, .. } = applier.replica.standing()?;
        applier.sealer = Sealer::after(origin, clock);
        Ok(applier)
    }

    /// Over the order that this process decides itself.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn local(replica: Replica) -> Result<Applier<'static>, NotApplied> {
        let history = History::new(replica.store().clone());
        Applier::new(Local::default(), replica, history)
    }

    /// The history.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The guarded clock.
    pub fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }

    /// The replica.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// Seals entries, with the time of now.
    pub fn seal(&mut self, entries: Vec<Entry>) -> Sealed {
        self.sealer.seal(entries)
    }

    /// Has a batch ordered, and applies all that the log has by then. A batch
    /// that it does not have yet comes with a later call.
    ///
    /// # Errors
    /// Fails if the log gives no answer or the store cannot be written. What was
    /// applied before is in `committed` all the same.
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

    /// Makes what was applied readable.
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

    /// Takes back a batch that was not applied; false if the log keeps it.
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

    /// Applies one entry of the server's own.
    ///
    /// # Errors
    /// As [`Applier::commit`].
    pub fn act(&mut self, action: Action) -> Result<Outcome, NotApplied> {
        let mut committed = self.apply(vec![Entry::of_server(action)])?;
        committed.outcomes.pop().ok_or(NotApplied::Log(Unanswered))
    }

    /// Stores messages that come on one connection.
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

    /// The last number committed.
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

    /// Over an empty store, which has applied a first batch of its own.
    fn applier(log: Model) -> Applier<'static> {
        let (replica, store) = open(&Storage::Memory, "a test").expect("a store");
        Applier::new(log, replica, History::new(store)).expect("a log")
    }

    /// The numbers in a room, from the database.
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
            // Neither the first batch nor the first look at the log fails.
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
            // Another replica that reads the same log.
            model.heal();
            prop_assert!(model.len() > batches.len());
            let other = applier(model);
            prop_assert_eq!(&runtime.block_on(stored(other.history())), &all);
        }
    }
}
