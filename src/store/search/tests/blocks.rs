//! Tests of the blocks of the index: expiry, redactions and searches.

use std::{fs, path::Path};

use super::*;

/// Whether any file of the folder holds a word.
fn is_anywhere(folder: &Path, word: &str) -> bool {
    let files = fs::read_dir(folder).expect("a folder");
    files.map(|file| file.expect("a file").path()).any(|path| {
        let bytes = fs::read(&path).expect("a file");
        bytes
            .windows(word.len())
            .any(|part| part == word.as_bytes())
    })
}

/// Limits the blocks of the index to this many messages.
async fn limit_blocks(store: &Store, messages: i64) {
    store.index_turn().await.limits.messages = messages;
}

/// The words of a message, which share no beginning with those of others.
fn secret(n: u64) -> String {
    format!("{}quicksilver{n}z", char::from(b'a' + (n % 26) as u8))
}

/// Verified to fail when a block is dropped before its last message has
/// expired, when it is not dropped, and when a lookup finds expired messages.
#[test]
fn expired_words_leave_the_index_in_blocks() {
    let folder = tempfile::tempdir().expect("a folder");
    let storage = Storage::Folder(folder.path().to_owned());
    let (mut log, store) = opened(&storage);
    for n in 1..=25 {
        publish(&mut log, "lobby", &[&format!("tea {}", secret(n))]);
    }
    let expire = |log: &mut Applier<'_>, upto| {
        let upto = Seq(upto);
        let expired = log.apply_action(Action::Expire { upto });
        assert_eq!(expired.expect("applied"), Outcome::Expired(upto));
    };
    let anywhere = |n| is_anywhere(folder.path(), &secret(n)[1..]);
    runtime().block_on(async {
        limit_blocks(&store, 10).await;
        store.catch_up().await.expect("indexed");
        assert!((1..=25).all(anywhere));
        for (upto, dropped) in [(9, 0), (14, 10), (20, 20), (24, 20)] {
            expire(&mut log, upto);
            // The words of the whole block are still there.
            let left: Vec<_> = (upto + 1..=25).collect();
            assert_eq!(found(&store, "lobby", "tea").await, left);
            let looked = store.look_up(Some(lookup("tea", upto)), || false);
            let seqs: Vec<_> = left.into_iter().rev().map(Seq).collect();
            let expected = IndexLookup::Found(seqs, Seq(25));
            assert_eq!(looked.await.expect("searchable"), expected);
            store.catch_up().await.expect("dropped");
            store.empty_wal().await.expect("emptied");
            for n in 1..=25 {
                assert_eq!(anywhere(n), n > dropped, "{n} of {upto}");
            }
        }
        expire(&mut log, 25);
        store.catch_up().await.expect("dropped");
        publish_in_thread(&mut log);
        assert_eq!(found(&store, "lobby", "last").await, [26]);
    });
    drop((log, store));
    assert!(!(1..=25).any(anywhere));
}

/// Verified to fail when expiry removes each message from the index.
#[test]
fn expiry_does_not_wait_for_the_index() {
    let (mut log, store) = opened(&Storage::Memory);
    publish(&mut log, "lobby", &["tea"; 700]);
    runtime().block_on(async {
        store.catch_up().await.expect("indexed");
        let searching = store.index_turn().await;
        expire(&mut log, &store).await;
        assert_eq!(store.expired(), Seq(699));
        drop(searching);
        assert_eq!(found(&store, "lobby", "tea").await, [700]);
    });
}

/// Verified to fail when a redaction looks into the last block only.
#[test]
fn a_redaction_removes_words_from_their_block() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut log, store) = opened(&Storage::Folder(folder.path().to_owned()));
    for n in 1..=25 {
        publish(&mut log, "lobby", &[&format!("tea {}", secret(n))]);
    }
    let anywhere = |n| is_anywhere(folder.path(), &secret(n)[1..]);
    runtime().block_on(async {
        limit_blocks(&store, 10).await;
        store.catch_up().await.expect("indexed");
        // One is the first of its block, and one the last.
        for seq in [5, 11, 20, 25] {
            assert!(anywhere(seq));
            std::thread::scope(|scope| {
                let redacted = scope.spawn(|| redact(&mut log, seq)).join();
                assert_eq!(redacted.expect("no panic"), Outcome::Redacted);
            });
            assert!(!anywhere(seq), "{seq}");
        }
        let left: Vec<_> = (1..=25).filter(|n| ![5, 11, 20, 25].contains(n)).collect();
        assert_eq!(found(&store, "lobby", "tea").await, left);
    });
}

/// Pages of results go from block to block.
#[test]
fn a_search_finds_the_newest_of_all_blocks() {
    let (mut log, store) = opened(&Storage::Memory);
    publish(&mut log, "lobby", &["tea"; 25]);
    runtime().block_on(async {
        limit_blocks(&store, 10).await;
        store.catch_up().await.expect("indexed");
        for (before, limit, seqs, more) in [
            (None, 8, 18..=25, true),
            (Some(20), 12, 8..=19, true),
            (Some(11), 10, 1..=10, false),
        ] {
            let words = Words::parse("tea").expect("words");
            let room = RoomName::lobby();
            let found = store
                .search(&room, &words, before.map(Seq), limit, || false)
                .await;
            let found = found.expect("searchable").expect("in time");
            let seen: Vec<_> = found.messages.iter().map(|m| m.seq.0).collect();
            assert_eq!((seen, found.more), (seqs.collect(), more));
        }
    });
}
