mod fan_out;

use std::{
    collections::VecDeque,
    iter,
    sync::{Mutex, atomic::AtomicUsize},
    time::Duration,
};

use futures_util::future::join_all;
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    fanout::History,
    hub::{
        receipts::{Receipts, Reply, WantedReplies},
        registry::Registry,
        submissions::{Submitter as Sender, queue},
    },
    log::{
        Action, BatchId, BatchPosition, Draft, LocalLog, Log, NoAnswer, OrderedBatch,
        model::{ModelLog, faults},
    },
    protocol::{
        ConnectionId, OwnerNumber, Seq,
        name::{MessageId, Name, RoomName},
    },
    store::{self, Ownership, Storage},
};

/// A publisher that does what the protocol asks. It has many messages under
/// way, each following the one before. It sends refused messages again, from
/// the first one on.
struct Publisher {
    receipts: Receipts,
    port: u16,
    /// The numbers of the messages not known to be stored.
    left: VecDeque<usize>,
    /// How many messages are under way.
    sent: usize,
}

fn id(n: usize) -> MessageId {
    // All publishers use the same ids.
    format!("m-{n}").parse().expect("an id")
}

impl Publisher {
    fn new(port: u16, count: usize) -> Self {
        Publisher {
            receipts: Receipts::new(ConnectionId(port.into()), WantedReplies::All),
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
        let draft = Draft {
            id: Some(id(n)),
            follows,
            // The same id in another room is another message.
            ..Draft::of(&format!("room-{}", self.port), n.to_string())
        };
        Some(Submission::message(draft, self.receipts.issue()))
    }

    /// Loses its connection: it will send all messages not known to be stored
    /// again.
    fn forget(&mut self) {
        self.sent = 0;
        self.receipts = Receipts::new(ConnectionId(self.port.into()), WantedReplies::All);
    }

    /// Takes the replies to its messages. Starts over once it has all of them.
    fn hear(&mut self, heard: &mut usize) {
        while let Some(told) = self.receipts.try_next() {
            *heard += 1;
            if let Reply::Stored {
                id: Some(stored), ..
            } = told.reply
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

/// A local log that gives no answer when `fails` says so.
struct Failing<F> {
    local: LocalLog,
    fails: F,
}

impl<F: FnMut() -> bool + Send> Log for Failing<F> {
    fn propose(&mut self, sealed: &SealedBatch) -> Result<(), NoAnswer> {
        if (self.fails)() {
            return Err(NoAnswer);
        }
        self.local.propose(sealed)
    }

    fn read_after(&mut self, after: BatchPosition) -> Result<Option<OrderedBatch>, NoAnswer> {
        self.local.read_after(after)
    }

    fn withdraw(&mut self, origin: BatchId) -> bool {
        self.local.withdraw(origin)
    }
}

/// A local log whose disk takes 10 ms for each batch. It counts the batches.
struct Slow {
    local: LocalLog,
    batches: Arc<AtomicUsize>,
}

impl Log for Slow {
    fn propose(&mut self, sealed: &SealedBatch) -> Result<(), NoAnswer> {
        self.batches.fetch_add(1, Ordering::SeqCst);
        std::thread::park_timeout(Duration::from_millis(10));
        self.local.propose(sealed)
    }

    fn read_after(&mut self, after: BatchPosition) -> Result<Option<OrderedBatch>, NoAnswer> {
        self.local.read_after(after)
    }

    fn withdraw(&mut self, origin: BatchId) -> bool {
        self.local.withdraw(origin)
    }
}

/// An applier over a log and an opened store.
fn applier<'a>(log: impl Log + 'a, storage: &Storage) -> Applier<'a> {
    let (replica, store) = store::open(storage, "a test").expect("a store");
    Applier::new(log, replica, History::new(store.on_caller_thread())).expect("in step")
}

fn work(
    applier: Applier<'_>,
    inbox: Submissions,
    batches: broadcast::Sender<InFlightBatch>,
) -> Writer<'_> {
    let over = CancellationToken::new().drop_guard();
    let effects = Effects::new(Registry::unlimited());
    let (metrics, pulse) = (Arc::default(), Arc::default());
    Writer::new(applier, effects, inbox, batches, metrics, pulse, over)
}

/// A writer that does one step at a time.
struct Stepped<'a> {
    work: Writer<'a>,
    sender: Sender,
    history: History,
    _fresh: broadcast::Receiver<InFlightBatch>,
}

impl<'a> Stepped<'a> {
    fn new(applier: Applier<'a>) -> Self {
        let history = applier.history().clone();
        let (sender, waiting) = queue();
        let (batches, fresh) = broadcast::channel(1);
        Stepped {
            work: work(applier, waiting, batches),
            sender,
            history,
            _fresh: fresh,
        }
    }

    /// Handles all waiting entries, in batches of at most `count`.
    fn run(&mut self, count: usize) {
        let mut waiting: VecDeque<_> = iter::from_fn(|| self.work.submissions.try_recv()).collect();
        while !waiting.is_empty() {
            for submission in waiting.drain(..waiting.len().min(count)) {
                self.sender.try_send(submission).expect("room");
            }
            while let Some(first) = self.work.submissions.try_recv() {
                self.resume();
                self.work.retry_budget = RetryBudget::new();
                let tried = self.work.attempt(first);
                self.work.settle_all(tried);
            }
            self.resume();
        }
    }

    /// Tries an open batch again until it is committed or withdrawn.
    fn resume(&mut self) {
        while self.work.open.is_some() {
            let tried = self.work.commit_open();
            self.work.settle_all(tried);
        }
    }

    /// The texts of all messages in a room.
    fn said(&self, room: &str) -> Vec<String> {
        let room: RoomName = room.parse().expect("a room");
        let (mut after, mut said) = (Seq::START, Vec::new());
        while after < self.history.head() {
            let page = tokio::runtime::Builder::new_current_thread()
                .build()
                .expect("a runtime")
                .block_on(self.history.after(&room, after));
            let page = page.expect("readable");
            let messages = page.room_batches.iter().flat_map(|run| run.messages());
            said.extend(messages.map(|message| message.text.to_string()));
            after = page.upto;
        }
        said
    }
}

const COUNT: usize = 60;

fn numbers() -> Vec<String> {
    (1..=COUNT).map(|n| n.to_string()).collect()
}

/// In each turn `(hears, count)` every publisher sends up to `count` messages.
/// The writer empties its inbox in batches of at most `count`, and publisher
/// `hears` takes its replies.
fn publish(
    world: &mut Stepped<'_>,
    publishers: &mut [(Publisher, usize)],
    turns: impl IntoIterator<Item = (usize, usize)>,
) {
    for (hears, count) in turns {
        for (publisher, _) in &mut *publishers {
            for _ in 0..count.min(publisher.left.len()) {
                let Some(submission) = publisher.next() else {
                    break;
                };
                world.sender.try_send(submission).expect("room");
            }
        }
        world.run(count);
        let (publisher, heard) = &mut publishers[hears];
        publisher.hear(heard);
    }
}

fn publishers() -> Vec<(Publisher, usize)> {
    (1..=3)
        .map(|port| (Publisher::new(port, COUNT), 0))
        .collect()
}

fn rest() -> impl Iterator<Item = (usize, usize)> {
    let rest = [(0, COUNT), (1, COUNT), (2, COUNT)];
    rest.into_iter().cycle().take(300)
}

/// Starts a server, on which the publishers send all their messages, first in
/// `turns`. Each publisher's messages are stored once and in their order.
fn publish_all(
    log: impl Log,
    storage: &Storage,
    publishers: &mut [(Publisher, usize)],
    turns: impl IntoIterator<Item = (usize, usize)>,
) -> Result<(), TestCaseError> {
    let mut world = Stepped::new(applier(log, storage));
    publish(&mut world, publishers, turns.into_iter().chain(rest()));
    for (publisher, _) in publishers {
        prop_assert!(publisher.left.is_empty(), "{:?}", publisher.left);
        prop_assert_eq!(world.said(&format!("room-{}", publisher.port)), numbers());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Each publisher's messages are stored once and in their order.
    #[test]
    fn publish_order_survives_log_failures(
        fails in proptest::collection::vec(proptest::bool::weighted(0.4), 1..40),
        turns in proptest::collection::vec((0..3_usize, 1..40_usize), 1..60),
    ) {
        let mut fails = fails.into_iter();
        let log = Failing {
            local: LocalLog::default(),
            fails: move || fails.next().unwrap_or(false),
        };
        publish_all(log, &Storage::Memory, &mut publishers(), turns)?;
    }

    /// The log loses proposals and acknowledgements, orders batches twice and
    /// stalls.
    #[test]
    fn publish_order_survives_a_faulty_log(
        faults in faults(),
        turns in proptest::collection::vec((0..3_usize, 1..40_usize), 1..60),
    ) {
        let log = Behind::new(ModelLog::with(faults));
        publish_all(log, &Storage::Memory, &mut publishers(), turns)?;
    }

    /// A batch that the log has twice is applied once, so messages without an
    /// id are stored once too.
    #[test]
    fn messages_without_an_id_are_stored_once(faults in faults()) {
        let log = Behind::new(ModelLog::with(faults));
        let mut world = Stepped::new(applier(log.clone(), &Storage::Memory));
        let receipts = Receipts::new(ConnectionId(7), WantedReplies::All);
        let mut acknowledged = Vec::new();
        for n in 0..40 {
            let draft = Draft::of("lobby", n.to_string());
            let submission = Submission::message(draft, receipts.issue());
            world.sender.try_send(submission).expect("room");
            world.run(1);
        }
        log.model.heal();
        let draft = Draft::of("lobby", "the last");
        let submission = Submission::message(draft, receipts.issue());
        world.sender.try_send(submission).expect("room");
        world.run(1);
        while let Some(told) = receipts.try_next() {
            if let Reply::Stored { seq, .. } = told.reply {
                acknowledged.push(seq);
            }
        }
        let said = world.said("lobby");
        let mut once = said.clone();
        once.dedup();
        prop_assert_eq!(&said, &once);
        prop_assert_eq!(said.len(), acknowledged.len(), "all that is stored was acknowledged");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// The server dies between any two steps. Another one goes on with the same
    /// log and the same files.
    #[test]
    fn no_message_is_lost_when_a_server_dies(
        faults in faults(),
        lives in proptest::collection::vec(
            proptest::collection::vec((0..3_usize, 1..40_usize), 1..6),
            1..5,
        ),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = Storage::Folder(folder.path().to_owned());
        let log = Behind::new(ModelLog::with(faults));
        let mut publishers = publishers();
        for turns in lives {
            let mut world = Stepped::new(applier(log.clone(), &storage));
            publish(&mut world, &mut publishers, turns);
            // The server dies: no publisher gets a reply that was not sent.
            drop(world);
            for (publisher, heard) in &mut publishers {
                publisher.hear(heard);
                publisher.forget();
                *heard = 0;
            }
            log.reading_works();
        }
        publish_all(log, &storage, &mut publishers, iter::empty())?;
    }
}

/// A model whose positions come after the first entry, which a store makes
/// itself. While a server starts, reading never fails.
#[derive(Clone)]
struct Behind {
    model: ModelLog,
    starting: Arc<Mutex<bool>>,
}

impl Behind {
    fn new(model: ModelLog) -> Self {
        Behind {
            model,
            starting: Arc::new(Mutex::new(true)),
        }
    }

    fn reading_works(&self) {
        *self.starting.lock().expect("no panic") = true;
    }
}

impl Log for Behind {
    fn propose(&mut self, sealed: &SealedBatch) -> Result<(), NoAnswer> {
        *self.starting.lock().expect("no panic") = false;
        self.model.propose(sealed)
    }

    fn read_after(&mut self, after: BatchPosition) -> Result<Option<OrderedBatch>, NoAnswer> {
        let place = BatchPosition(after.0 - 1);
        let ordered = if *self.starting.lock().expect("no panic") {
            self.model.read(place)
        } else {
            self.model.read_after(place)?
        };
        Ok(ordered.map(|ordered| OrderedBatch {
            position: after.next(),
            ..ordered
        }))
    }

    fn withdraw(&mut self, origin: BatchId) -> bool {
        self.model.withdraw(origin)
    }
}

/// A claim of a name. Its outcome has the last number before it.
fn claim(name: &str) -> Action {
    let name: crate::protocol::name::Name = name.parse().expect("a name");
    Action::Claim {
        key: name.key(),
        name,
        salt: [0; 16],
        tag: [0; 32],
    }
}

#[test]
fn entries_are_applied_in_order_within_a_batch() {
    let mut world = Stepped::new(applier(LocalLog::default(), &Storage::Memory));
    let mut publisher = Publisher::new(1, 4);
    let mut told = Vec::new();
    for name in ["ana", "bob"] {
        for _ in 0..2 {
            let message = publisher.next().expect("a message");
            world.sender.try_send(message).expect("room");
        }
        let (submission, made) = Submission::action(ConnectionId(1), claim(name));
        world.sender.try_send(submission).expect("room");
        told.push(made);
    }
    world.run(6);
    for (made, number) in told.into_iter().zip(1..) {
        let made = made.blocking_recv().expect("made");
        let ownership = Ownership {
            owner: OwnerNumber(number),
            delivered: Seq(2 * number),
            standing: crate::log::Standing::Claimed,
        };
        assert_eq!(made.outcome, Outcome::Claimed(ownership));
    }
    assert_eq!(
        world.work.fan_out_wait.last_messages, 4,
        "one batch had all four messages"
    );
}

/// Twelve people at once, each waiting for an answer before the next entry.
/// Verified to fail when an entry other than a message ends its batch.
#[tokio::test]
async fn topics_names_and_messages_share_the_syncs_of_a_slow_disk() {
    const PEOPLE: u64 = 12;
    const ROUNDS: usize = 10;
    let batches = Arc::<AtomicUsize>::default();
    let log = Slow {
        local: LocalLog::default(),
        batches: Arc::clone(&batches),
    };
    let (sender, waiting) = queue();
    let (fresh, _ignored) = broadcast::channel(1);
    let applier = applier(log, &Storage::Memory);
    let begun = batches.load(Ordering::SeqCst);
    let writer = work(applier, waiting, fresh);
    let writer = tokio::task::spawn_blocking(move || writer.run());
    let person = async |n: u64| {
        let connection = ConnectionId(n);
        let receipts = Receipts::new(connection, WantedReplies::All);
        for round in 0..ROUNDS {
            let name: Name = format!("p-{n}-{round}").parse().expect("a name");
            let claim = Action::Claim {
                key: name.key(),
                name,
                salt: [1; 16],
                tag: [1; 32],
            };
            let topic = Action::Topic {
                room: RoomName::lobby(),
                text: format!("{n} {round}").into(),
                by: "ana".into(),
            };
            for action in [claim, topic] {
                let (submission, outcome) = Submission::action(connection, action);
                sender.send(submission).await.expect("it runs");
                outcome.await.expect("answered");
            }
            let draft = Draft::of("lobby", "text");
            let submission = Submission::message(draft, receipts.issue());
            sender.send(submission).await.expect("it runs");
            receipts.next(Some(0)).await.expect("answered");
        }
    };
    join_all((1..=PEOPLE).map(person)).await;
    let batches = batches.load(Ordering::SeqCst) - begun;
    drop(sender);
    writer.await.expect("no panic");
    // Each person needs 30 syncs. Alone they would need 360 together.
    assert!(batches < 30 * 4, "{batches} syncs");
}
