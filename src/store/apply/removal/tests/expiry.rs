//! Tests of expiry: the oldest messages leave the store and the memory.

use std::path::Path;

use crate::{
    fanout::{Applier, History},
    log::{Action, Draft, Entry},
    protocol::{ConnectionId, GapReason, Seq, WallTime, name::RoomName},
    store::{Outcome, Storage, check, database::Database, open},
};

fn opened(storage: &Storage) -> Applier<'static> {
    let (replica, _) = open(storage, "a test").expect("a store");
    Applier::local(replica).expect("a log")
}

fn publish(log: &mut Applier<'_>, room: &str, count: u64) {
    for _ in 0..count {
        let draft = Draft::of(room, "text");
        log.apply_messages(ConnectionId(7), [draft])
            .expect("stored");
    }
}

/// Expires one batch of messages, as retention does; returns the last number
/// expired.
async fn expire(log: &mut Applier<'_>, before: Option<WallTime>, keep: Option<u64>) -> Option<Seq> {
    let store = log.history().store();
    let upto = store.expirable(before, keep).await.expect("readable")?;
    let expired = log.apply_action(Action::Expire { upto }).expect("applied");
    assert_eq!(expired, Outcome::Expired(upto));
    Some(upto)
}

/// The last numbers of the holes, and the numbers of the messages, that a
/// reader of a room sees from a position on.
async fn seen(history: &History, room: &str, mut after: Seq) -> (Vec<u64>, Vec<u64>) {
    let room: RoomName = room.parse().expect("a room");
    let (mut holes, mut seqs) = (Vec::new(), Vec::new());
    while after < history.head() {
        let page = history.after(&room, after).await.expect("readable");
        if let Some((hole, _)) = page.gap() {
            assert_eq!(hole.reason, GapReason::Expired);
            holes.push(hole.upto.0);
        }
        let messages = page.room_batches.iter().flat_map(|run| run.messages());
        let later = messages.map(|m| m.seq).filter(|seq| *seq > after);
        seqs.extend(later.map(|seq| seq.0));
        after = page.upto;
    }
    (holes, seqs)
}

#[tokio::test]
async fn messages_expire_in_steps_and_from_memory() {
    let mut log = opened(&Storage::Memory);
    publish(&mut log, "a", 700);
    publish(&mut log, "b", 600);
    // All messages beyond the limit expire, even new ones.
    let mut expired = Vec::new();
    while let Some(upto) = expire(&mut log, None, Some(100)).await {
        expired.push(upto.0);
    }
    assert_eq!(expired, [500, 1000, 1200]);
    let history = log.history();
    for (after, holes) in [
        (0, vec![700]),
        (699, vec![700]),
        (700, vec![]),
        (900, vec![]),
        (1300, vec![]),
    ] {
        assert_eq!(seen(history, "a", Seq(after)).await, (holes, vec![]));
    }
    let last: Vec<u64> = (1201..=1300).collect();
    assert_eq!(seen(history, "b", Seq(0)).await, (vec![1200], last.clone()));
    assert_eq!(seen(history, "b", Seq(1200)).await, (vec![], last));
    let room = "b".parse().expect("a room");
    let position = history
        .backlog_start(&room, 1000)
        .await
        .expect("a position");
    assert_eq!(position, Seq(1200));
}

/// Verified to fail when a step is bounded by its count of messages only.
#[tokio::test]
async fn a_step_of_expiry_is_bounded_in_bytes() {
    let mut log = opened(&Storage::Memory);
    let drafts = (0..40).map(|_| Draft::of("a", "x".repeat(8 << 10)));
    log.apply_messages(ConnectionId(7), drafts).expect("stored");
    let mut expired = Vec::new();
    while let Some(upto) = expire(&mut log, None, Some(1)).await {
        expired.push(upto.0);
    }
    assert_eq!(expired, [16, 32, 39]);
}

#[tokio::test]
async fn numbers_continue_after_everything_has_expired() {
    let folder = tempfile::tempdir().expect("a folder");
    let storage = Storage::Folder(folder.path().to_owned());
    let mut log = opened(&storage);
    publish(&mut log, "a", 3);
    publish(&mut log, "b", 2);
    let any = Some(WallTime(i64::MAX));
    assert_eq!(expire(&mut log, any, None).await, Some(Seq(5)));
    assert_eq!(expire(&mut log, any, None).await, None);
    drop(log);
    let mut log = opened(&storage);
    assert_eq!(log.history().head(), Seq(5));
    assert_eq!(seen(log.history(), "a", Seq(2)).await, (vec![3], vec![]));
    publish(&mut log, "a", 1);
    assert_eq!(seen(log.history(), "a", Seq(3)).await, (vec![], vec![6]));
    assert_eq!(seen(log.history(), "a", Seq(2)).await, (vec![3], vec![6]));
}

#[test]
fn a_message_expires_after_all_messages_before_it() {
    let mut database = Database::in_memory().expect("a store");
    // The clock was wrong when some of them were sealed.
    for at in [10, 20, 90, 20, 30] {
        let entry = Draft::of("a", "text").entry();
        database.apply_next(WallTime(at), vec![entry]);
    }
    let mut expire = |before| {
        let upto = database.expirable(Some(WallTime(before)), Seq::START);
        let upto = upto.expect("readable")?;
        let entry = Entry::of_server(Action::Expire { upto });
        let applied = database.apply_next(WallTime(100), vec![entry]);
        assert_eq!(applied.outcomes, [Outcome::Expired(upto)]);
        Some(upto)
    };
    assert_eq!(expire(10), None);
    assert_eq!(expire(50), Some(Seq(2)));
    assert_eq!(expire(91), Some(Seq(5)));
}

fn sweep(log: &mut Applier<'_>, room: &str) {
    let room = room.parse().expect("a room");
    log.apply_action(Action::ExpireRoom { room })
        .expect("applied");
}

/// Verified to fail when a room without a row has no gap. Also verified for a
/// room made again, in the store and in the tail.
#[tokio::test]
async fn a_reader_from_before_a_swept_room_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let storage = Storage::Folder(folder.path().to_owned());
    let mut log = opened(&storage);
    publish(&mut log, "a", 3);
    publish(&mut log, "b", 2);
    // A room with a message stays.
    sweep(&mut log, "a");
    assert_eq!(
        seen(log.history(), "a", Seq(0)).await,
        (vec![], vec![1, 2, 3])
    );
    assert_eq!(expire(&mut log, None, Some(1)).await, Some(Seq(4)));
    sweep(&mut log, "a");
    sweep(&mut log, "b");
    let a = "a".parse().expect("a room");
    assert_eq!(
        log.history().backlog_start(&a, 9).await.expect("found"),
        Seq(5)
    );
    assert_eq!(seen(log.history(), "a", Seq(2)).await, (vec![3], vec![]));
    assert_eq!(seen(log.history(), "a", Seq(3)).await, (vec![], vec![]));
    assert_eq!(seen(log.history(), "b", Seq(3)).await, (vec![4], vec![5]));
    publish(&mut log, "a", 2);
    for _ in 0..2 {
        assert_eq!(
            seen(log.history(), "a", Seq(2)).await,
            (vec![3], vec![6, 7])
        );
        // People in the room missed nothing: the numbers begin again.
        let page = log.history().after(&a, Seq(3)).await.expect("readable");
        let first = page.room_batches.first().expect("messages");
        assert_eq!((first.prev(), page.gap()), (Seq::START, None));
        assert_eq!(seen(log.history(), "a", Seq(3)).await, (vec![], vec![6, 7]));
        // Now from the store alone.
        drop(log);
        log = opened(&storage);
    }
    // Everything is gone, and the store still opens.
    let any = Some(WallTime(i64::MAX));
    assert_eq!(expire(&mut log, any, None).await, Some(Seq(7)));
    sweep(&mut log, "a");
    sweep(&mut log, "b");
    drop(log);
    let checked = crate::store::check(folder.path()).expect("readable");
    assert_eq!((checked.faults, checked.rooms), (vec![], 0));
    let mut log = opened(&storage);
    publish(&mut log, "b", 1);
    assert_eq!(seen(log.history(), "b", Seq(7)).await, (vec![], vec![8]));
    assert_eq!(seen(log.history(), "b", Seq(6)).await, (vec![7], vec![8]));
}

/// Verified to fail when a room is removed before its batch is whole, and when
/// the replica still knows the removed room.
#[test]
fn a_room_is_removed_at_the_end_of_its_batch() {
    let mut database = Database::in_memory().expect("a store");
    let room = || "a".parse().expect("a room");
    let mut apply = |actions: Vec<Action>| {
        let entries = actions.into_iter().map(Entry::of_server).collect();
        database.apply_next(WallTime(1), entries);
        let check = check::whole(database.db(), Path::new("")).expect("readable");
        assert_eq!(check.faults, [""; 0]);
        check.rooms
    };
    let message = || Action::Message(Draft::of("a", "text"));
    let expire = |upto| Action::Expire { upto: Seq(upto) };
    let sweep = || Action::ExpireRoom { room: room() };
    assert_eq!(apply(vec![message(), expire(1), sweep(), message()]), 1);
    assert_eq!(apply(vec![expire(2), sweep()]), 0);
    assert_eq!(apply(vec![message()]), 1);
}
