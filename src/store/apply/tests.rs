use std::path::Path;

use proptest::prelude::*;

use crate::{
    log::{OrderedBatch, SealedBatch, decode, model::history},
    protocol::Epoch,
    store::{Applied, StoreError, check, database::Database, digest::digests, index::Index},
};

/// A store and its search index.
struct Fed {
    database: Database,
    index: Index,
}

impl Fed {
    fn new(database: Database) -> Self {
        let index = Index::new(None, Epoch("".into()));
        Fed { database, index }
    }

    fn empty() -> Self {
        Fed::new(Database::empty().expect("a store"))
    }

    fn apply(&mut self, ordered: &OrderedBatch) -> Result<Applied, StoreError> {
        let index = &mut self.index;
        self.database.apply(ordered, |words| index.remove(words))
    }

    /// Applies batches until one fails.
    fn feed_some(&mut self, log: &[OrderedBatch]) {
        let _all = log.iter().all(|ordered| self.apply(ordered).is_ok());
    }

    /// Applies everything after the store's position.
    fn feed(&mut self, log: &[OrderedBatch]) {
        for ordered in log {
            self.apply(ordered).expect("applied");
        }
    }

    fn digests(&self) -> Vec<(&'static str, String)> {
        digests(self.database.db()).expect("readable")
    }
}

/// The same batches as another server reads them: from their bytes.
fn read(log: &[OrderedBatch]) -> Vec<OrderedBatch> {
    log.iter()
        .map(|ordered| OrderedBatch {
            position: ordered.position,
            sealed: SealedBatch::new(decode(&ordered.sealed.bytes).expect("a batch")),
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Verified to fail with the wall clock in place of the stamp in a topic's
    /// `at`, and with a random number in place of a name's salt.
    #[test]
    fn the_same_entries_make_the_same_store(log in history()) {
        let (mut one, mut other) = (Fed::empty(), Fed::empty());
        one.feed(&log);
        other.feed(&read(&log));
        prop_assert_eq!(one.digests(), other.digests());
        let checked = check::whole(one.database.db(), Path::new("")).expect("readable");
        prop_assert_eq!(checked.faults, [""; 0]);
        prop_assert_eq!(one.database.state(), other.database.state());
    }

    /// A batch is interrupted at any step of SQLite's virtual machine.
    #[test]
    fn an_interrupted_store_continues_from_its_position(
        log in history(),
        steps in proptest::collection::vec(1..20_000_u32, 1..6),
    ) {
        let mut whole = Fed::empty();
        whole.feed(&log);
        let mut stopped = Fed::empty();
        for step in steps {
            stopped.database.interrupt_at(step);
            stopped.feed_some(&log);
            stopped.database.interrupt_at(0);
            stopped.database.recover().expect("sound");
        }
        stopped.feed(&log);
        prop_assert_eq!(whole.digests(), stopped.digests());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// The process is killed between any two batches, or in the middle of one.
    /// Another process then opens the files.
    #[test]
    fn a_killed_store_continues_from_its_position(
        log in history(),
        kills in proptest::collection::vec((0..8_usize, 1..20_000_u32), 1..4),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || Fed::new(Database::open(folder.path(), "a test").expect("a store"));
        let mut fed = open();
        // The store has applied the first entry of its own log.
        let first = fed.database.state().applied;
        let log: Vec<_> = log
            .into_iter()
            .map(|ordered| OrderedBatch {
                position: crate::log::BatchPosition(ordered.position.0 + first.0),
                ..ordered
            })
            .collect();
        let mut whole = Fed::empty();
        let begun = fed.database.state().clone();
        for (batches, step) in kills {
            fed.feed_some(&log[..batches.min(log.len())]);
            fed.database.interrupt_at(step);
            fed.feed_some(&log);
            drop(fed);
            fed = open();
        }
        fed.feed(&log);
        // The same batches without a kill, after the same first entry.
        whole.database.copy_state(&begun);
        whole.feed(&log);
        prop_assert_eq!(whole.digests(), fed.digests());
    }
}
