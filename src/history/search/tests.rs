use std::pin::pin;

use futures_util::future::join_all;

use super::*;
use crate::history::{Draft, Storage, Writer, open, open_with_tail};

fn said(writer: &mut Writer, room: &str, texts: &[&str]) {
    let drafts: Vec<_> = texts.iter().map(|text| Draft::of(room, *text)).collect();
    writer.append(&drafts).expect("stored");
}

fn runtime() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().build().expect("a runtime")
}

async fn found(history: &History, room: &str, typed: &str) -> Vec<u64> {
    let room = room.parse().expect("a room");
    let words = Words::of(typed).expect("words");
    let found = history.search(&room, &words, None, 200).await;
    let found = found.expect("searchable").expect("in time");
    found.messages.iter().map(|m| m.seq.0).collect()
}

#[test]
fn what_is_found() {
    let (mut writer, history) = open(&Storage::Memory, "a test").expect("a log");
    said(
        &mut writer,
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
    said(&mut writer, "tea", &["green tea"]);
    runtime().block_on(async {
        history.catch_up().await.expect("indexed");
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
            // No syntax, whatever it looks like.
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
            if Words::of(typed).is_ok() {
                assert_eq!(found(&history, "lobby", typed).await, expected, "{typed}");
            }
        }
        assert_eq!(found(&history, "tea", "tea").await, [9]);
        assert_eq!(found(&history, "nobody", "tea").await, [0; 0]);
    });
}

#[test]
fn pages_of_what_is_found() {
    let (mut writer, history) = open(&Storage::Memory, "a test").expect("a log");
    for _ in 0..100 {
        said(&mut writer, "lobby", &["tea one", "other"]);
        said(&mut writer, "tea", &["tea two"]);
    }
    runtime().block_on(async {
        history.catch_up().await.expect("indexed");
        let words = Words::of("tea").expect("words");
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
            let found = history.search(&room, &words, before.map(Seq), limit).await;
            let Found {
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
fn a_search_indexes_what_is_new_and_nobody_twice() {
    let (mut writer, history) = open(&Storage::Memory, "a test").expect("a log");
    said(&mut writer, "lobby", &["tea"; 900]);
    runtime().block_on(async {
        let words = Words::of("tea").expect("words");
        let room = RoomName::lobby();
        // A step for each search, and it says how far it came.
        for (indexed, count) in [(500, 200), (900, 200), (900, 200)] {
            let found = history.search(&room, &words, None, 200).await;
            let found = found.expect("searchable").expect("in time");
            assert_eq!((found.indexed, found.messages.len()), (Seq(indexed), count));
            assert_eq!(found.messages.last().map(|m| m.seq), Some(Seq(indexed)));
        }
    });
    said(&mut writer, "lobby", &["other"; 100]);
    runtime().block_on(async {
        let many = (0..8).map(|_| history.catch_up());
        for caught_up in join_all(many).await {
            caught_up.expect("indexed");
        }
        assert_eq!(found(&history, "lobby", "other").await.len(), 100);
    });
}

#[test]
fn a_search_that_takes_long_is_given_up() {
    let (mut writer, history) = open(&Storage::Memory, "a test").expect("a log");
    // A row of words to be found at each word of a long text.
    let text = "x ".repeat(4000);
    for _ in 0..20 {
        said(&mut writer, "lobby", &[&*text; 50]);
    }
    let words = Words::of(&format!("{}y", "x-".repeat(120))).expect("words");
    runtime().block_on(async {
        history.catch_up().await.expect("indexed");
        said_later(&mut writer);
        history.catch_up().await.expect("indexed");
        let search = |patience| {
            let words = words.clone();
            history.on_index(move |index| {
                index.on(|db| find_in_time(db, 1, &words, Seq(u64::MAX), 50, patience))
            })
        };
        assert_eq!(search(Duration::ZERO).await.expect("searchable"), None);
        // The index is as it was, and waits for the next.
        assert_eq!(found(&history, "lobby", "last").await, [1001]);
    });
}

/// Somebody's search that takes for ever is under way.
#[test]
fn a_search_stops_neither_readers_nor_the_writer() {
    let (mut writer, history) = open_with_tail(&Storage::Memory, "a test", 0).expect("a log");
    said(&mut writer, "lobby", &["tea"; 3]);
    let keep = crate::history::Keep {
        age: None,
        messages: Some(1),
    };
    let retention = writer.retention(keep);
    let mut threads = tokio::runtime::Builder::new_current_thread();
    let runtime = threads.enable_time().max_blocking_threads(2).build();
    runtime.expect("a runtime").block_on(async {
        let searching = history.index_turn().await;
        let words = Words::of("tea").expect("words");
        let room = RoomName::lobby();
        let mut waiting = pin!(async {
            let search = || history.search(&room, &words, None, 1);
            let searches = [search(), search(), search()];
            tokio::join!(join_all(searches), retention.erase(None))
        });
        let others = async {
            said_later(&mut writer);
            history.stored(&room, Seq::START).await.expect("readable");
        };
        tokio::select! {
            biased;
            _ = &mut waiting => unreachable!("the index is not theirs"),
            () = others => {}
        }
        drop(searching);
        let (found, erased) = waiting.await;
        for found in found {
            assert!(found.expect("searchable").is_some());
        }
        assert!(erased.expect("erased").is_some());
    });
}

/// Whether a word stands in any file of the folder.
fn is_anywhere(folder: &Path, word: &str) -> bool {
    let files = fs::read_dir(folder).expect("a folder");
    files.map(|file| file.expect("a file").path()).any(|path| {
        let bytes = fs::read(&path).expect("a file");
        bytes
            .windows(word.len())
            .any(|part| part == word.as_bytes())
    })
}

#[test]
fn what_is_erased_is_nowhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let storage = Storage::Folder(folder.path().to_owned());
    let (mut writer, history) = open(&storage, "a test").expect("a log");
    for n in 0..700 {
        let secret = format!("tea {n} quicksilver");
        said(&mut writer, "lobby", &[&secret, "tea"]);
    }
    runtime().block_on(async {
        history.catch_up().await.expect("indexed");
        assert_eq!(found(&history, "lobby", "quicksilver 699").await, [1399]);
        assert!(is_anywhere(folder.path(), "uicksilv"));
        said_later(&mut writer);
        let keep = crate::history::Keep {
            age: None,
            messages: Some(1),
        };
        let retention = writer.retention(keep);
        while retention.erase(None).await.expect("erased").is_some() {}
        assert_eq!(found(&history, "lobby", "quicksilver").await, [0; 0]);
        assert_eq!(found(&history, "lobby", "tea").await, [0; 0]);
        history.catch_up().await.expect("indexed");
        assert_eq!(found(&history, "lobby", "last").await, [1401]);
    });
    drop((writer, history));
    // The log's journal goes with its last connection.
    assert!(!is_anywhere(folder.path(), "uicksilv"));
}

fn said_later(writer: &mut Writer) {
    std::thread::scope(|scope| {
        let said = scope.spawn(|| said(writer, "lobby", &["the last"]));
        said.join().expect("no panic");
    });
}

#[test]
fn an_index_that_is_damaged_or_of_another_log_is_made_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let storage = Storage::Folder(folder.path().to_owned());
    let path = folder.path().join("search.sqlite");
    let other = tempfile::tempdir().expect("a folder");
    {
        let storage = Storage::Folder(other.path().to_owned());
        let (mut writer, history) = open(&storage, "a test").expect("a log");
        said(&mut writer, "lobby", &["another tea", "tea"]);
        runtime().block_on(history.catch_up()).expect("indexed");
    }
    let (mut writer, _) = open(&storage, "a test").expect("a log");
    said(&mut writer, "lobby", &["no", "tea"]);
    drop(writer);
    for (what, damage) in [
        ("nothing", None),
        ("no database", Some(vec![7; 100_000])),
        ("an empty one", Some(Vec::new())),
        (
            "another log's",
            Some(fs::read(other.path().join("search.sqlite")).expect("it")),
        ),
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
        let (writer, history) = open(&storage, "a test").expect("a log");
        runtime().block_on(async {
            // The first look may find the damage, the next one finds it mended.
            while history.catch_up().await.is_err() {}
            assert_eq!(found(&history, "lobby", "tea").await, [2], "{what}");
        });
        drop(writer);
    }
}
