mod blocks;
mod interrupted;

use std::{fs, pin::pin, sync::atomic::AtomicBool};

use futures_util::future::join_all;

use super::*;
use crate::{
    fanout::Applier,
    log::{Action, Draft},
    protocol::ConnectionId,
    store::{Outcome, Storage, open},
};

fn opened(storage: &Storage) -> (Applier<'static>, Store) {
    let (replica, store) = open(storage, "a test").expect("a store");
    (Applier::local(replica).expect("a log"), store)
}

fn publish(log: &mut Applier<'_>, room: &str, texts: &[&str]) {
    let drafts = texts.iter().map(|text| Draft::of(room, *text));
    log.apply_messages(ConnectionId(7), drafts).expect("stored");
}

/// Redacts a message in lobby.
fn redact(log: &mut Applier<'_>, seq: u64) -> Outcome {
    let redact = Action::Redact {
        room: RoomName::lobby(),
        seq: Seq(seq),
        by: "op".into(),
    };
    log.apply_action(redact).expect("applied")
}

/// Expires all messages but the last, in steps, as retention does.
async fn expire(log: &mut Applier<'_>, store: &Store) {
    while let Some(upto) = store.expirable(None, Some(1)).await.expect("readable") {
        log.apply_action(Action::Expire { upto }).expect("applied");
    }
}

/// The lookup of a search for words in lobby, the first room.
fn lookup(typed: &str, after: u64) -> Lookup {
    Lookup {
        room: 1,
        words: Words::parse(typed).expect("words"),
        after: Seq(after),
        before: Seq(u64::MAX),
        limit: 50,
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().build().expect("a runtime")
}

async fn found(store: &Store, room: &str, typed: &str) -> Vec<u64> {
    let room = room.parse().expect("a room");
    let words = Words::parse(typed).expect("words");
    let found = store.search(&room, &words, None, 200, || false).await;
    let found = found.expect("searchable").expect("in time");
    found.messages.iter().map(|m| m.seq.0).collect()
}

#[test]
fn a_search_matches_words_and_reads_no_query_syntax() {
    let (mut log, store) = opened(&Storage::Memory);
    publish(
        &mut log,
        "lobby",
        &[
            "Green tea, please",
            "a teapot; tea: AND \"green\" (OR NOT) leaves",
            "GRÜNER Tee",
            "世界にこんにちは, hello",
            "हिन्दी में चाय",
            "Привет, мир",
            "foo-bar e\u{301}te\u{301} \u{1f44b} C++",
            "สวัสดีชาวโลก",
        ],
    );
    publish(&mut log, "tea", &["green tea"]);
    runtime().block_on(async {
        store.catch_up().await.expect("indexed");
        for (typed, expected) in [
            ("tea", vec![1, 2]),
            ("TEA", vec![1, 2]),
            ("teap", vec![2]),
            ("eapot", vec![]),
            ("green tea", vec![1, 2]),
            ("tea green", vec![1, 2]),
            ("tea plea", vec![1]),
            ("ple tea", vec![]),
            ("gruner", vec![3]),
            ("grü", vec![3]),
            ("世界", vec![4]),
            ("界", vec![4]),
            ("世に", vec![]),
            ("こんにちは hello", vec![4]),
            ("हिन्दी", vec![5]),
            ("चाय", vec![5]),
            ("привет", vec![6]),
            ("ете", vec![]),
            ("ete", vec![7]),
            ("été", vec![7]),
            ("foo-bar", vec![7]),
            ("bar-foo", vec![]),
            ("c++", vec![7]),
            ("ชาว", vec![8]),
            // Text that looks like query syntax is read as words.
            ("tea OR nothing", vec![]),
            ("tea AND green", vec![2]),
            ("NOT leaves", vec![2]),
            ("\"tea\"", vec![1, 2]),
            ("\"", vec![]),
            ("room:1", vec![]),
            ("room : 1", vec![]),
            ("text : tea", vec![]),
            ("te*", vec![1, 2, 3]),
            ("(tea", vec![1, 2]),
            ("tea) OR text : (mir", vec![]),
            ("^green", vec![1, 2]),
            ("NEAR(green tea)", vec![]),
            ("tea\0green", vec![]),
            ("{text room} : 1", vec![]),
        ] {
            if Words::parse(typed).is_ok() {
                assert_eq!(found(&store, "lobby", typed).await, expected, "{typed}");
            }
        }
        assert_eq!(found(&store, "tea", "tea").await, [9]);
        assert_eq!(found(&store, "nobody", "tea").await, [0; 0]);
    });
}

#[test]
fn search_results_are_paged_backwards() {
    let (mut log, store) = opened(&Storage::Memory);
    for _ in 0..100 {
        publish(&mut log, "lobby", &["tea one", "other"]);
        publish(&mut log, "tea", &["tea two"]);
    }
    runtime().block_on(async {
        store.catch_up().await.expect("indexed");
        let words = Words::parse("tea").expect("words");
        for (before, limit, first, count, more) in [
            (None, 3, Some(292), 3, true),
            (Some(7), 3, Some(1), 2, false),
            (Some(8), 3, Some(1), 3, false),
            (Some(8), 2, Some(4), 2, true),
            (Some(1), 2, None, 0, false),
            (None, 100, Some(1), 100, false),
            (None, 0, None, 0, true),
        ] {
            let room = RoomName::lobby();
            let found = store
                .search(&room, &words, before.map(Seq), limit, || false)
                .await;
            let SearchResult {
                messages,
                more: others,
                indexed,
            } = found.expect("searchable").expect("in time");
            assert_eq!(
                messages.first().map(|m| m.seq.0),
                first,
                "{before:?} {limit}"
            );
            assert_eq!(
                (messages.len(), others),
                (count, more),
                "{before:?} {limit}"
            );
            assert_eq!(indexed, Seq(300));
        }
    });
}

#[test]
fn searches_index_each_new_message_once() {
    let (mut log, store) = opened(&Storage::Memory);
    publish(&mut log, "lobby", &["tea"; 900]);
    runtime().block_on(async {
        let words = Words::parse("tea").expect("words");
        let room = RoomName::lobby();
        // Each search indexes one step, and tells the number it reached.
        for (indexed, count) in [(500, 200), (900, 200), (900, 200)] {
            let found = store.search(&room, &words, None, 200, || false).await;
            let found = found.expect("searchable").expect("in time");
            assert_eq!((found.indexed, found.messages.len()), (Seq(indexed), count));
            assert_eq!(found.messages.last().map(|m| m.seq), Some(Seq(indexed)));
        }
    });
    publish(&mut log, "lobby", &["other"; 100]);
    runtime().block_on(async {
        let many = (0..8).map(|_| store.catch_up());
        for caught_up in join_all(many).await {
            caught_up.expect("indexed");
        }
        assert_eq!(found(&store, "lobby", "other").await.len(), 100);
    });
}

#[test]
fn a_search_that_is_over_stops() {
    let (mut log, store) = opened(&Storage::Memory);
    // A phrase that may begin at each word of a long text.
    let text = "x ".repeat(400);
    publish(&mut log, "lobby", &[&*text; 50]);
    let phrase = lookup(&format!("{}y", "x-".repeat(15)), 0);
    runtime().block_on(async {
        store.catch_up().await.expect("indexed");
        publish_in_thread(&mut log);
        store.catch_up().await.expect("indexed");
        let stopped = store.look_up(Some(phrase), || true).await;
        assert_eq!(stopped.expect("searchable"), IndexLookup::TooLong);
        // The index is unchanged and answers the next search.
        assert_eq!(found(&store, "lobby", "last").await, [51]);
    });
}

/// Another search holds the index for the whole time.
#[test]
fn waiting_searches_block_neither_readers_nor_the_writer() {
    let (mut log, store) = opened(&Storage::Memory);
    publish(&mut log, "lobby", &["tea"; 3]);
    let mut threads = tokio::runtime::Builder::new_current_thread();
    let runtime = threads.enable_time().max_blocking_threads(2).build();
    runtime.expect("a runtime").block_on(async {
        let searching = store.index_turn().await;
        let words = Words::parse("tea").expect("words");
        let room = RoomName::lobby();
        let mut waiting = pin!(async {
            let search = || store.search(&room, &words, None, 1, || false);
            join_all([search(), search(), search()]).await
        });
        let others = async {
            publish_in_thread(&mut log);
            let page = store.page(&room, Seq::START, store.head()).await;
            assert_eq!(page.expect("readable").slots.len(), 4);
        };
        tokio::select! {
            biased;
            _ = &mut waiting => unreachable!("another search holds the index"),
            () = others => {}
        }
        drop(searching);
        for found in waiting.await {
            assert!(found.expect("searchable").is_some());
        }
    });
}

/// The search waits in its first steps until the redaction waits for it.
/// Verified to fail when a search does not check for removals of words.
#[test]
fn a_running_search_makes_way_for_a_redaction() {
    let folder = tempfile::tempdir().expect("a folder");
    for storage in [Storage::Memory, Storage::Folder(folder.path().to_owned())] {
        let (mut log, store) = opened(&storage);
        publish(&mut log, "lobby", &["tea"; 3]);
        runtime().block_on(async {
            store.catch_up().await.expect("indexed");
            let (begun, beginning) = std::sync::mpsc::channel();
            let shared = Arc::clone(&store.shared);
            let wait_for_removal = move || {
                let _ = begun.send(());
                while shared.removing.load(Ordering::Relaxed) == 0 {
                    std::thread::yield_now();
                }
                false
            };
            let search = store.look_up(Some(lookup("tea", 0)), wait_for_removal);
            let redact = tokio::task::spawn_blocking(move || {
                beginning.recv().expect("the search is under way");
                redact(&mut log, 2)
            });
            let (looked, redacted) = tokio::join!(search, redact);
            assert_eq!(looked.expect("searchable"), IndexLookup::MadeWay);
            assert_eq!(redacted.expect("no panic"), Outcome::Redacted);
            assert_eq!(found(&store, "lobby", "tea").await, [1, 3]);
        });
    }
}

/// Verified to fail when a search that made way finds nothing.
#[test]
fn a_search_that_made_way_still_answers() {
    let (mut log, store) = opened(&Storage::Memory);
    publish(&mut log, "lobby", &["tea"; 2]);
    let words = Words::parse("tea").expect("words");
    runtime().block_on(async {
        store.catch_up().await.expect("indexed");
        let removal = MakeWay::for_removal(&store.shared);
        let room = RoomName::lobby();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let is_over = move || {
            counted.fetch_add(1, Ordering::Relaxed);
            false
        };
        let mut search = pin!(store.search(&room, &words, None, 200, is_over));
        // It makes way, and starts over and over.
        let begins = async {
            while asked.load(Ordering::Relaxed) < 3 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            _ = &mut search => unreachable!("it makes way"),
            () = begins => {}
        }
        let redacted = tokio::task::spawn_blocking(move || redact(&mut log, 1));
        let (found, redacted) = tokio::join!(search, async {
            let redacted = redacted.await.expect("no panic");
            drop(removal);
            redacted
        });
        assert_eq!(redacted, Outcome::Redacted);
        let found = found.expect("searchable").expect("in time");
        let seqs: Vec<_> = found.messages.iter().map(|m| m.seq.0).collect();
        assert_eq!(seqs, [2]);
    });
}

/// Each search waits until all have begun. Verified to fail with one reader.
#[test]
fn searches_read_the_index_side_by_side() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut log, store) = opened(&Storage::Folder(folder.path().to_owned()));
    publish(&mut log, "lobby", &["tea"; 3]);
    runtime().block_on(async {
        store.catch_up().await.expect("indexed");
        let begun = Arc::new(AtomicUsize::new(0));
        let end = Instant::now() + Duration::from_secs(20);
        let search = |_| {
            let (begun, first) = (Arc::clone(&begun), AtomicBool::new(true));
            store.look_up(Some(lookup("tea", 0)), move || {
                begun.fetch_add(
                    usize::from(first.swap(false, Ordering::SeqCst)),
                    Ordering::SeqCst,
                );
                while begun.load(Ordering::SeqCst) < SEARCHES_AT_ONCE && Instant::now() < end {
                    std::thread::yield_now();
                }
                false
            })
        };
        for looked in join_all((0..SEARCHES_AT_ONCE).map(search)).await {
            let expected = IndexLookup::Found([3, 2, 1].map(Seq).into(), Seq(3));
            assert_eq!(looked.expect("searchable"), expected);
        }
        assert!(Instant::now() < end, "they waited for each other");
    });
}

/// Verified to fail when the words of all rooms are in one list.
#[test]
fn a_lookup_reads_the_words_of_its_room_only() {
    let (mut log, store) = opened(&Storage::Memory);
    publish(&mut log, "lobby", &["green tea"; 3]);
    publish(&mut log, "large", &["tea"; 300]);
    runtime().block_on(async {
        store.catch_up().await.expect("indexed");
        // Each entry: how many messages SQLite reads for a word.
        let lists = store.on_index(|index| {
            index.with_db(|db| {
                db.execute_batch("CREATE VIRTUAL TABLE terms USING fts5vocab (words_1, 'row')")?;
                let mut terms = db.prepare("SELECT term, doc FROM terms ORDER BY doc")?;
                let terms = terms.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
                Ok(terms.collect::<Result<Vec<(String, i64)>, _>>()?)
            })
        });
        let lists = lists.await.expect("readable");
        let expected = [("1xgreen", 3), ("1xtea", 3), ("2xtea", 300)];
        assert_eq!(
            lists,
            expected.map(|(term, count)| (term.to_owned(), count))
        );
    });
}

/// Verified to fail when a reader keeps the deleted files open.
#[test]
fn no_search_reads_a_deleted_index() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut log, store) = opened(&Storage::Folder(folder.path().to_owned()));
    publish(&mut log, "lobby", &["tea"; 2]);
    runtime().block_on(async {
        for numbers in [vec![1, 2], vec![1, 2, 3]] {
            assert_eq!(found(&store, "lobby", "tea").await, numbers);
            let deleted = store.on_index(Index::delete_files).await;
            deleted.expect("deleted");
            std::thread::scope(|scope| {
                let said = scope.spawn(|| publish(&mut log, "lobby", &["more tea"]));
                said.join().expect("no panic");
            });
        }
        assert_eq!(found(&store, "lobby", "more").await, [3, 4]);
    });
}

fn publish_in_thread(log: &mut Applier<'_>) {
    std::thread::scope(|scope| {
        let said = scope.spawn(|| publish(log, "lobby", &["the last"]));
        said.join().expect("no panic");
    });
}

#[test]
fn a_damaged_or_foreign_index_is_made_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let storage = Storage::Folder(folder.path().to_owned());
    let path = folder.path().join("search.sqlite");
    let other = tempfile::tempdir().expect("a folder");
    {
        let storage = Storage::Folder(other.path().to_owned());
        let (mut log, store) = opened(&storage);
        publish(&mut log, "lobby", &["another tea", "tea"]);
        runtime().block_on(store.catch_up()).expect("indexed");
    }
    let (mut log, _) = opened(&storage);
    publish(&mut log, "lobby", &["no", "tea"]);
    drop(log);
    for (what, damage) in [
        ("nothing", None),
        ("no database", Some(vec![7; 100_000])),
        ("an empty one", Some(Vec::new())),
        (
            "another log's",
            Some(fs::read(other.path().join("search.sqlite")).expect("it")),
        ),
        ("another version", None),
        ("a damaged one", None),
    ] {
        if let Some(bytes) = damage {
            fs::write(&path, bytes).expect("a file");
        } else if what == "a damaged one" {
            let mut bytes = fs::read(&path).expect("the index");
            let pages = bytes.len() / 4096;
            bytes[4096..4096 * pages].fill(0x55);
            fs::write(&path, bytes).expect("a file");
        }
        if what == "another version" {
            let index = rusqlite::Connection::open(&path).expect("the index");
            let older = "PRAGMA user_version = 1; DROP TABLE blocks;";
            index.execute_batch(older).expect("written");
        }
        let (log, store) = opened(&storage);
        runtime().block_on(async {
            // The first attempt may find the damage; the next one finds a new
            // index.
            while store.catch_up().await.is_err() {}
            assert_eq!(found(&store, "lobby", "tea").await, [2], "{what}");
        });
        drop(log);
    }
}
