//! The process ends between a step in the store and its step in the index.

use std::path::Path;

use rusqlite::Connection;

use super::*;
use crate::{
    protocol::{About, AboutKind},
    store::index::IndexedMessage,
};

fn edit(log: &mut Applier<'_>, connection: u64, seq: u64, text: &str) -> Outcome {
    let about = About {
        seq: Seq(seq),
        kind: AboutKind::Edit,
    };
    let draft = Draft {
        about: Some(about),
        ..Draft::of("lobby", text)
    };
    let mut applied = log
        .apply_messages(ConnectionId(connection), [draft])
        .expect("applied");
    applied.outcomes.pop().expect("an outcome")
}

/// A store whose messages may be changed, with two of them in the index.
fn with_two_messages(storage: &Storage) -> (Applier<'static>, Store) {
    let (mut log, store) = opened(storage);
    let settings = Action::Settings {
        name_expiry_ms: 0,
        edit_window_ms: u64::MAX,
    };
    log.apply_action(settings).expect("applied");
    publish(&mut log, "lobby", &["green tea", "black tea"]);
    assert_eq!(runtime().block_on(found(&store, "lobby", "green")), [1]);
    (log, store)
}

/// The statistics of the first block: how many rows and words it has.
fn statistics(folder: &Path) -> Vec<u8> {
    let db = Connection::open(folder.join("search.sqlite")).expect("an index");
    let averages = "SELECT block FROM words_1_data WHERE id = 1";
    db.query_row(averages, [], |row| row.get(0))
        .expect("the statistics")
}

// Verified to fail when the index does not note the removed words, and when it
// removes them twice.
#[test]
fn an_index_is_right_after_an_end_between_two_steps() {
    let told = [false, true].map(|ends_early| {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = Storage::Folder(folder.path().to_owned());
        let (mut log, mut store) = with_two_messages(&storage);
        let runtime = runtime();
        let find = |store: &Store, typed| runtime.block_on(found(store, "lobby", typed));
        if ends_early {
            // The words have left the index, and the batch is not committed.
            let mut words = RemovedWords::default();
            words.add(IndexedMessage {
                seq: Seq(1),
                room: 1,
                at: 0,
                text: "green tea".into(),
            });
            for _ in 0..2 {
                drop(store.remove_words(&words).expect("removed"));
            }
            drop((log, store));
            (log, store) = opened(&storage);
            assert_eq!(find(&store, "green"), [1]);
        }
        assert_eq!(edit(&mut log, 7, 1, "mint tea"), Outcome::Stored(Seq(3)));
        if ends_early {
            // The batch is committed, and the index has no new words.
            drop((log, store));
            (log, store) = opened(&storage);
        }
        let words = ["green", "mint", "tea"].map(|typed| find(&store, typed));
        assert_eq!(words, [vec![], vec![1], vec![1, 2]]);
        assert_eq!(redact(&mut log, 2), Outcome::Redacted);
        if ends_early {
            drop((log, store));
            (log, store) = opened(&storage);
        }
        let words = ["black", "tea"].map(|typed| find(&store, typed));
        assert_eq!(words, [vec![], vec![1]]);
        drop((log, store));
        statistics(folder.path())
    });
    assert_eq!(told[0], told[1]);
}

// Verified to fail when the index is locked for each correction.
#[test]
fn only_a_change_that_removes_words_waits_for_the_index() {
    let (mut log, store) = with_two_messages(&Storage::Memory);
    runtime().block_on(async {
        // To wait for this would be a panic, as this is no thread of its own.
        let held = store.hold_index().await;
        let denied = Outcome::Denied(crate::store::Denial::NotAuthor);
        assert_eq!(edit(&mut log, 8, 1, "milk"), denied);
        assert_eq!(edit(&mut log, 7, 9, "milk"), Outcome::NotHere);
        drop(held);
        assert_eq!(edit(&mut log, 7, 1, "milk"), Outcome::Stored(Seq(3)));
        assert_eq!(found(&store, "lobby", "milk").await, [1]);
    });
}
