//! How fast the store appends and reads, for comparing before and after a
//! change: `cargo test --release --lib store::speed -- --ignored --nocapture`

use std::{path::Path, time::Duration};

use tokio::{runtime::Builder, time::Instant};

use super::{Storage, open};
use crate::{
    fanout::{Applier, History},
    log::{Draft, LocalLog},
    protocol::{ConnectionId, Seq, name::RoomName},
};

const BATCHES: usize = 200;
const DRAFTS: usize = 1000;

fn drafts(batch: usize, count: usize, rooms: usize, ids: bool) -> Vec<Draft> {
    let draft = |n: usize| Draft {
        id: ids.then(|| format!("job-{batch}-{n}").parse().expect("an id")),
        ..Draft::of(&format!("room-{}", n % rooms), format!("{n:064}"))
    };
    (0..count).map(draft).collect()
}

/// The mean of the middle quarter of the times: other work of the machine shows
/// in the shortest and longest ones.
fn typical(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    let middle = &times[times.len() * 3 / 8..=times.len() * 5 / 8];
    middle.iter().sum::<Duration>() / u32::try_from(middle.len()).expect("few")
}

/// A log in a folder, with the last `tail` bytes of its messages in memory.
fn log(folder: &Path, tail: usize) -> Applier<'static> {
    let storage = Storage::Folder(folder.to_owned());
    let (replica, store) = open(&storage, "speed").expect("a store");
    let history = History::with_tail(store, tail);
    Applier::new(LocalLog::default(), replica, history).expect("a log")
}

fn append(log: &mut Applier<'_>, count: usize, rooms: usize, ids: bool) -> Duration {
    let batches: Vec<_> = (0..BATCHES)
        .map(|batch| drafts(batch, count, rooms, ids))
        .collect();
    let times = batches.into_iter().map(|drafts| {
        let start = Instant::now();
        log.apply_messages(ConnectionId(7), drafts).expect("stored");
        start.elapsed()
    });
    typical(times.collect())
}

#[test]
#[ignore = "for people who compare figures"]
fn append_while_it_is_indexed() {
    for count in [1, 100, DRAFTS] {
        let mut typical = [Duration::ZERO; 2];
        // In turns, as the other work of the machine changes.
        for (round, indexing) in [false, true, false, true].into_iter().enumerate() {
            let folder = tempfile::tempdir_in(".").expect("a folder on a disk");
            let mut log = log(folder.path(), 1 << 20);
            let runtime = Builder::new_multi_thread().enable_time().build();
            let runtime = runtime.expect("a runtime");
            if indexing {
                runtime.spawn(log.history().store().clone().run_indexing());
            }
            typical[usize::from(indexing)] += append(&mut log, count, 10, true) / 2;
            runtime.shutdown_background();
            println!("round {round}: {count} a batch, indexing {indexing}");
        }
        let [without, with] = typical;
        println!("append {count}: {without:?} a batch, {with:?} while it is indexed");
    }
}

#[test]
#[ignore = "for people who compare figures"]
fn append_and_read() {
    for (count, rooms, ids) in [
        (DRAFTS, 1, false),
        (DRAFTS, 1, true),
        (DRAFTS, 10, false),
        (DRAFTS, 1000, false),
        (1, 1, false),
    ] {
        let folder = tempfile::tempdir_in(".").expect("a folder on a disk");
        let mut log = log(folder.path(), 0);
        let history = log.history().clone();
        let batch = append(&mut log, count, rooms, ids);
        let rate = count as u128 * 1_000_000_000 / batch.as_nanos();
        println!(
            "append {count} to {rooms} rooms, ids {ids}: {batch:?} a batch, {rate} messages/s"
        );
        if count == DRAFTS {
            let runtime = Builder::new_current_thread().build().expect("a runtime");
            let room: RoomName = "room-0".parse().expect("a room");
            let mut times = Vec::new();
            let mut read = 0;
            for _ in 0..10 {
                let mut after = Seq::START;
                while after < history.head() {
                    let start = Instant::now();
                    let page = runtime
                        .block_on(history.stored(&room, after))
                        .expect("a page");
                    read += page
                        .room_batches
                        .iter()
                        .map(|r| r.slots().len())
                        .sum::<usize>();
                    times.push(start.elapsed());
                    after = page.upto;
                }
            }
            let pages = times.len();
            println!(
                "  read {} messages a page: {:?} a page",
                read / pages,
                typical(times)
            );
            let start = Instant::now();
            for _ in 0..1000 {
                runtime
                    .block_on(history.backlog_start(&room, 50))
                    .expect("a position");
            }
            println!("  before the last 50: {:?}", start.elapsed() / 1000);
        }
    }
}
