//! Tests of expiry: the oldest messages leave the store and the memory.

use crate::{
    fanout::{Applier, History},
    log::{Action, Draft, Entry},
    protocol::{ConnectionId, GapReason, Seq, WallTime, name::RoomName},
    store::{Outcome, Storage, database::Database, open},
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
