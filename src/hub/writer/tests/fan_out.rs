use std::{iter, thread::JoinHandle, time::Duration};

use tokio::{sync::broadcast, time::Instant};

use super::{Publisher, applier, claim, work};
use crate::{
    fanout::InFlightBatch,
    hub::{
        submissions::{Submission, Submitter as Sender, queue},
        writer::fan_out_wait::MAX_FAN_OUT_WAIT,
    },
    log::LocalLog,
    protocol::{ConnectionId, OwnerNumber, Seq},
    store::{Outcome, Ownership, Storage},
};

/// Starts a writer on a thread. Returns a publisher, its fan-out and its
/// thread.
fn running(
    fanned_out_within: Duration,
) -> (Sender, broadcast::Receiver<InFlightBatch>, JoinHandle<()>) {
    let (batches, fresh) = broadcast::channel(10);
    let (inbox, waiting) = queue();
    let applier = applier(LocalLog::default(), &Storage::Memory);
    let mut work = work(applier, waiting, batches);
    work.fan_out_wait.limit = fanned_out_within;
    (inbox, fresh, std::thread::spawn(|| work.run()))
}

/// Has a publisher send `count` messages.
fn say(inbox: &Sender, publisher: &mut Publisher, count: usize) {
    for draft in iter::from_fn(|| publisher.next()).take(count) {
        inbox.try_send(draft).expect("room");
        // Long enough for a writer that does not wait to commit this message.
        pause();
    }
}

/// Gives the writer time to do a wrong step.
fn pause() {
    (0..200).for_each(|_| std::thread::yield_now());
}

/// Verified to fail when the writer does not wait, or waits for one entry more
/// than the last batch had. It also fails when it does not wait for the earlier
/// fan-out, or counts entries that arrived before the end of that fan-out.
#[test]
fn messages_sent_during_a_fan_out_share_one_commit() {
    let (inbox, mut fresh, thread) = running(Duration::from_hours(1));
    let mut publisher = Publisher::new(1, 20);
    let mut batch = |upto: u64| {
        let begun = Instant::now();
        let batch = loop {
            assert!(begun.elapsed() < Duration::from_secs(60), "no {upto}");
            match fresh.try_recv() {
                Ok(batch) => break batch,
                Err(_) => std::thread::yield_now(),
            }
        };
        assert_eq!(batch.batch.last, Seq(upto));
        batch
    };
    say(&inbox, &mut publisher, 1);
    let first = batch(1);
    // As many messages as the last batch had, and at least two.
    say(&inbox, &mut publisher, 2);
    let second = batch(3);
    // Messages that arrive while an earlier batch is fanned out do not count as
    // answers. Otherwise publishers that are late once would have a batch of
    // their own for ever.
    say(&inbox, &mut publisher, 2);
    drop(first);
    pause();
    say(&inbox, &mut publisher, 2);
    drop(second);
    let third = batch(7);
    // Fewer messages wait for the end of the fan-out.
    say(&inbox, &mut publisher, 3);
    drop(third);
    let fourth = batch(10);
    drop((fourth, fresh, inbox));
    thread.join().expect("an end");
}

/// Verified to fail when the writer waits before it looks at the entry.
#[test]
fn an_action_does_not_wait_for_a_fan_out() {
    let (inbox, mut fresh, thread) = running(Duration::from_hours(1));
    let draft = Publisher::new(1, 1).next().expect("a message");
    inbox.try_send(draft).expect("room");
    let underway = fresh.blocking_recv().expect("a batch");
    for (name, number) in [("ana", 1), ("bob", 2)] {
        let (submission, made) = Submission::action(ConnectionId(1), claim(name));
        inbox.try_send(submission).expect("room");
        let made = made.blocking_recv().expect("made while it goes on");
        let ownership = Ownership {
            owner: OwnerNumber(number),
            delivered: Seq(1),
            standing: crate::log::Standing::Claimed,
        };
        assert_eq!(made.outcome, Outcome::Claimed(ownership));
    }
    drop((underway, fresh, inbox));
    thread.join().expect("an end");
}

/// Verified to fail when the writer waits without a time limit.
#[test]
fn an_endless_fan_out_does_not_block_the_writer() {
    let (inbox, mut fresh, thread) = running(MAX_FAN_OUT_WAIT);
    let mut publisher = Publisher::new(1, 2);
    let mut all = Vec::new();
    for last in 1..=2 {
        let draft = publisher.next().expect("a message");
        inbox.try_send(draft).expect("room");
        all.push(fresh.blocking_recv().expect("a batch"));
        assert_eq!(all[all.len() - 1].batch.last, Seq(last));
    }
    drop((fresh, inbox));
    thread.join().expect("an end");
}
