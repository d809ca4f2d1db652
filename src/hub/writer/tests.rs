use std::{collections::VecDeque, iter};

use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    history::{self, Storage},
    hub::{self, Receipts, Wanted, inbox::inbox},
    protocol::{
        Author, Seq,
        name::{MessageId, RoomName},
    },
};

/// A publisher as the protocol wants it: much under way, each message following
/// the one before; what is refused for now is said again, from the first one on.
struct Publisher {
    receipts: Receipts,
    port: u16,
    /// What is still to be stored, by number.
    left: VecDeque<usize>,
    /// What is under way.
    sent: usize,
}

fn id(n: usize) -> MessageId {
    // The same for all publishers.
    format!("m-{n}").parse().expect("an id")
}

impl Publisher {
    fn new(port: u16, count: usize) -> Self {
        Publisher {
            receipts: Receipts::new(Wanted::All),
            port,
            left: (1..=count).collect(),
            sent: 0,
        }
    }

    /// Its next message.
    fn next(&mut self) -> Option<Submission> {
        let n = *self.left.get(self.sent)?;
        // After a refusal the first one follows nothing.
        let follows = (self.sent > 0).then(|| id(self.left[self.sent - 1]));
        self.sent += 1;
        let addr = ([127, 0, 0, 1], self.port).into();
        let draft = Draft {
            from: Author { name: None, addr },
            id: Some(id(n)),
            // The same id in another room is another message.
            ..Draft::of(&format!("room-{}", self.port), n.to_string())
        };
        Some(Submission::draft(draft, follows, self.receipts.expect()))
    }

    /// Hears what has become of its messages; starts over once it knows of all.
    fn hear(&mut self, heard: &mut usize) {
        while let Some(reply) = self.receipts.take() {
            *heard += 1;
            if let Reply::Stored {
                id: Some(stored), ..
            } = reply
            {
                let place = self.left.iter().position(|n| id(*n) == stored);
                self.left.remove(place.expect("under way"));
                self.sent -= 1;
                *heard -= 1;
            }
        }
        if *heard == self.sent {
            self.sent = 0;
            *heard = 0;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever fails, and however much is under way: each publisher's messages
    /// are stored once and in their order.
    #[test]
    fn order_survives_failures(
        fails in proptest::collection::vec(proptest::bool::weighted(0.4), 1..40),
        turns in proptest::collection::vec((0..3_usize, 1..40_usize), 1..60),
    ) {
        const COUNT: usize = 60;
        let (mut log, history) = history::open(&Storage::Memory, "a test").expect("a log");
        let mut fails = fails.into_iter();
        let mut log = Failing {
            log: &mut log,
            fails: &mut || fails.next().unwrap_or(false),
        };
        let (batches, _) = broadcast::channel(1);
        let mut publishers: Vec<_> = (1..=3)
            .map(|port| (Publisher::new(port, COUNT), 0))
            .collect();
        // In each turn some say something, and the writer empties its inbox in
        // batches of all sizes.
        let rest = [(0, COUNT), (1, COUNT), (2, COUNT)].into_iter().cycle().take(300);
        for (who, count) in turns.into_iter().chain(rest) {
            let (inbox, waiting) = inbox();
            for (publisher, _) in &mut publishers {
                for _ in 0..count.min(publisher.left.len()) {
                    let Some(submission) = publisher.next() else { break };
                    inbox.try_send(submission).expect("room");
                }
            }
            drop(inbox);
            step(&mut log, waiting, &batches, count);
            let (publisher, heard) = &mut publishers[who];
            publisher.hear(heard);
        }
        for (publisher, _) in &publishers {
            prop_assert!(publisher.left.is_empty(), "{:?}", publisher.left);
            let room: RoomName = format!("room-{}", publisher.port).parse().expect("a room");
            let page = history.recent(&room, Seq::START).expect("in memory");
            let said: Vec<String> = page
                .runs
                .iter()
                .flat_map(|run| run.messages())
                .map(|message| message.text.to_string())
                .collect();
            let expected: Vec<String> = (1..=COUNT).map(|n| n.to_string()).collect();
            prop_assert_eq!(said, expected);
        }
    }
}

/// A log that fails now and then.
struct Failing<'a> {
    log: &'a mut history::Writer,
    fails: &'a mut (dyn FnMut() -> bool + Send),
}

impl Failing<'_> {
    fn fail(&mut self) -> Result<(), Failure> {
        if !(self.fails)() {
            return Ok(());
        }
        Err(Failure {
            why: "the disk is full".into(),
            damage: false,
        })
    }
}

impl Log for &mut Failing<'_> {
    fn append(&mut self, drafts: &[Draft]) -> Result<(Arc<Batch>, Vec<Outcome>), Failure> {
        self.fail()?;
        Log::append(self.log, drafts)
    }

    fn change(&mut self, order: Order) -> Result<Made, Failure> {
        self.fail()?;
        Log::change(self.log, order)
    }
}

/// Runs the writer over what waits, in batches of at most so many drafts.
fn step(
    log: &mut Failing<'_>,
    mut waiting: Inbox,
    batches: &broadcast::Sender<Fresh>,
    count: usize,
) {
    loop {
        let mut waiting = iter::from_fn(|| waiting.try_recv()).take(count).peekable();
        if waiting.peek().is_none() {
            return;
        }
        let (inbox, part) = inbox();
        for submission in waiting {
            inbox.try_send(submission).expect("room");
        }
        drop(inbox);
        let over = CancellationToken::new().drop_guard();
        let (metrics, failing) = (Arc::default(), Arc::default());
        Work::new(&mut *log, part, batches.clone(), metrics, failing, over).run();
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_fails_is_not_tried_for_every_message() {
    let mut tries = Tries::new();
    let count = |tries: &mut Tries| (0..100).filter(|_| tries.another()).count();
    assert_eq!(count(&mut tries), 8);
    tokio::time::advance(TRY_EVERY * 3).await;
    assert_eq!(count(&mut tries), 3);
    tokio::time::advance(TRY_EVERY * 300).await;
    assert_eq!(count(&mut tries), 8);
}

/// A change is made after what came before it and before what comes after, and
/// waits for no batch to be full.
#[test]
fn changes_are_made_in_their_place() {
    let (log, history) = history::open(&Storage::Memory, "a test").expect("a log");
    let (batches, _) = broadcast::channel(1);
    let (inbox, waiting) = inbox();
    let mut publisher = Publisher::new(1, 4);
    let mut heads = Vec::new();
    for _ in 0..2 {
        for _ in 0..2 {
            let draft = publisher.next().expect("a message");
            inbox.try_send(draft).expect("room");
        }
        let history = history.clone();
        let (order, head) = Order::new(move |_| Ok(history.head()), |_| {});
        inbox.try_send(Submission::Change(order)).expect("room");
        heads.push(head);
    }
    drop(inbox);
    let over = CancellationToken::new().drop_guard();
    Work::new(log, waiting, batches, Arc::default(), Arc::default(), over).run();
    for (head, expected) in heads.into_iter().zip([2, 4]) {
        assert_eq!(head.blocking_recv(), Ok(Seq(expected)));
    }
}

/// A writer on a thread, a publisher for it, and what it fans out.
fn running(
    fanned_out_within: Duration,
) -> (
    hub::Publisher,
    broadcast::Receiver<Fresh>,
    std::thread::JoinHandle<()>,
) {
    let (log, _) = history::open(&Storage::Memory, "a test").expect("a log");
    let (batches, fresh) = broadcast::channel(10);
    let (inbox, waiting) = inbox();
    let over = CancellationToken::new().drop_guard();
    let mut work = Work::new(log, waiting, batches, Arc::default(), Arc::default(), over);
    work.fanned_out_within = fanned_out_within;
    (inbox, fresh, std::thread::spawn(|| work.run()))
}

/// So many things that a publisher says.
fn say(inbox: &hub::Publisher, publisher: &mut Publisher, count: usize) {
    for draft in iter::from_fn(|| publisher.next()).take(count) {
        inbox.try_send(draft).expect("room");
        // A writer that does not wait has the time to commit this.
        pause();
    }
}

/// Time for the writer to do what it should not.
fn pause() {
    (0..200).for_each(|_| std::thread::yield_now());
}

/// Broken to see it fail: the writer does not wait; it waits for one more than
/// the last batch had; it goes on without waiting for the fan-out before; or it
/// counts what had come by the end of that.
#[test]
fn what_comes_during_a_fan_out_goes_into_one_commit() {
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
    // As much as was said in the last batch, and more than one.
    say(&inbox, &mut publisher, 2);
    let second = batch(3);
    // But what comes while another is fanned out before that is no answer to it:
    // else those who answered late once were a batch of their own for ever.
    say(&inbox, &mut publisher, 2);
    drop(first);
    pause();
    say(&inbox, &mut publisher, 2);
    drop(second);
    let third = batch(7);
    // Less than that waits for the end.
    say(&inbox, &mut publisher, 3);
    drop(third);
    let fourth = batch(10);
    drop((fourth, fresh, inbox));
    thread.join().expect("an end");
}

/// Broken to see it fail: the writer waits before it looks at what comes.
#[test]
fn a_change_waits_for_no_fan_out() {
    let (inbox, mut fresh, thread) = running(Duration::from_hours(1));
    let draft = Publisher::new(1, 1).next().expect("a message");
    inbox.try_send(draft).expect("room");
    let underway = fresh.blocking_recv().expect("a batch");
    for _ in 0..2 {
        let (made, heard) = std::sync::mpsc::channel();
        let told = move |()| made.send(()).expect("somebody listens");
        let (order, _told) = Order::new(|_| Ok(()), move |&made| told(made));
        inbox.try_send(Submission::Change(order)).expect("room");
        let heard = heard.recv_timeout(Duration::from_secs(60));
        heard.expect("made while it goes on");
    }
    drop((underway, fresh, inbox));
    thread.join().expect("an end");
}

/// Broken to see it fail: the writer waits for as long as it takes.
#[test]
fn a_fan_out_without_end_holds_nobody_up() {
    let (inbox, mut fresh, thread) = running(FANNED_OUT_WITHIN);
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
