//! Random interleavings of writer, shard, session and socket: whatever the
//! order, each reader is shown each message of its room once and in order; and
//! nothing of one that was erased after it was told so.

use std::{
    collections::{BTreeSet, VecDeque},
    future::poll_fn,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use proptest::prelude::*;
use tokio::{io::AsyncWrite, runtime::Runtime, time::Instant};

use super::{
    Fresh, Socket,
    directory::Directory,
    outlet::Outlet,
    shard::{Mailbox, Shard},
    subscriber::{Subscriber, Undelivered},
};
use crate::{
    history::{self, Batch, Changing, Draft, Erasure, History, Storage, Writer},
    protocol::{
        Event, Seq,
        format::Format,
        json,
        name::{Name, RoomName},
    },
};

/// What may happen next.
#[derive(Clone, Debug)]
enum Step {
    /// Somebody publishes so many messages in one batch: in the room, to the
    /// readers alone, and elsewhere.
    Publish {
        here: u8,
        private: u8,
        elsewhere: u8,
    },
    /// The shard takes the next so many batches at once; between its look at who
    /// is live and its writing, something else happens.
    FanOut(u8, Option<Box<Step>>),
    /// The shard was too slow: so many batches pass it.
    Lag(u8),
    /// The shard looks into its mailbox.
    Settle,
    /// A reader's session runs.
    Deliver(u8),
    /// A reader's session says something of its own.
    Say(u8),
    /// A reader's peer takes so many bytes.
    Read(u8, u16),
    /// A reader starts over from here.
    Follow(u8),
    /// A reader's session begins to read the log, and is not heard of any more.
    Begin(u8),
    /// An operator erases what was said so many messages ago.
    Erase(u8),
    /// Readers hear of it.
    Tell,
}

fn step() -> impl Strategy<Value = Step> {
    let session = prop_oneof![
        (0..READERS).prop_map(Step::Deliver),
        (0..READERS).prop_map(Step::Follow),
        (0..READERS).prop_map(Step::Say),
        (0..READERS, 0..120_u16).prop_map(|(reader, bytes)| Step::Read(reader, bytes)),
    ];
    let meanwhile = proptest::option::of(session.prop_map(Box::new));
    prop_oneof![
        3 => (0..4_u8, prop_oneof![3 => Just(0_u8), 1 => 1..3_u8], 0..3_u8).prop_map(
            |(here, private, elsewhere)| Step::Publish { here, private, elsewhere }
        ),
        4 => (1..4_u8, meanwhile).prop_map(|(count, step)| Step::FanOut(count, step)),
        1 => (1..4_u8).prop_map(Step::Lag),
        4 => Just(Step::Settle),
        6 => (0..READERS).prop_map(Step::Deliver),
        1 => (0..READERS).prop_map(Step::Say),
        4 => (0..READERS, 0..120_u16).prop_map(|(reader, bytes)| Step::Read(reader, bytes)),
        1 => (0..READERS).prop_map(Step::Follow),
        1 => (0..READERS).prop_map(Step::Begin),
        1 => (0..6_u8).prop_map(Step::Erase),
        1 => Just(Step::Tell),
    ]
}

/// One reads numbered lines, the other JSON.
const READERS: u8 = 2;
const FORMATS: [Format; READERS as usize] = [Format::NumberedPlain, Format::Json];

/// A socket that takes bytes as long as its peer has room for them.
#[derive(Clone, Default)]
struct Pipe(Arc<Mutex<PipeState>>);

#[derive(Default)]
struct PipeState {
    taken: Vec<u8>,
    room: usize,
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock().unwrap();
        let count = bytes.len().min(state.room);
        if count == 0 {
            return Poll::Pending;
        }
        state.room -= count;
        state.taken.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

struct Reader {
    subscriber: Subscriber,
    pipe: Pipe,
    /// From which positions it followed the room, one after the other.
    since: Vec<Seq>,
    /// How often its session said something.
    said: usize,
    /// Delivery ended: half of a message was out when that was erased.
    ended: bool,
}

impl Reader {
    /// Polls the session, which may end where it cannot complete what it began.
    fn poll(&mut self, cx: &mut Context<'_>, erased: &BTreeSet<Seq>) -> Poll<()> {
        let cut = self.subscriber.outlet().cut();
        match self.subscriber.poll_deliver(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(Undelivered::Lost(_)))
                if cut.is_some_and(|cut| erased.contains(&cut)) =>
            {
                self.ended = true;
                Poll::Ready(())
            }
            Poll::Ready(end) => panic!("delivery ended: {end:?}, {cut:?}"),
        }
    }
}

struct World {
    runtime: Runtime,
    writer: Writer,
    history: History,
    shard: Shard,
    coming: VecDeque<Arc<Batch>>,
    directory: Arc<Directory>,
    /// What was said here.
    said: Vec<Seq>,
    /// What of it was erased.
    erased: BTreeSet<Seq>,
    /// What readers have not been told of yet.
    untold: Vec<Seq>,
    readers: Vec<Reader>,
}

fn here() -> RoomName {
    RoomName::lobby()
}

fn name(name: &str) -> Name {
    name.parse().unwrap()
}

/// Of the readers: both are ana.
fn inbox() -> RoomName {
    RoomName::inbox(&name("ana").key())
}

impl World {
    fn new(tail_bytes: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (writer, history) =
            history::open_with_tail(&Storage::Memory, "a test", tail_bytes).unwrap();
        let mailbox = Arc::new(Mailbox::default());
        let directory = Arc::<Directory>::default();
        let shard = Shard::new(Arc::clone(&mailbox), Arc::default(), Arc::clone(&directory));
        let readers = FORMATS
            .into_iter()
            .map(|format| {
                let pipe = Pipe::default();
                let addr = ([127, 0, 0, 1], 5000).into();
                let mut subscriber = Subscriber::new(
                    history.clone(),
                    Arc::clone(&mailbox),
                    Outlet::new(Socket::Other(Box::new(pipe.clone())), format, addr, None),
                    Arc::default(),
                    &directory,
                );
                subscriber.receive(inbox(), Seq::START);
                subscriber.follow(here(), Seq::START);
                let since = vec![Seq::START];
                Reader {
                    subscriber,
                    pipe,
                    since,
                    said: 0,
                    ended: false,
                }
            })
            .collect();
        let coming = VecDeque::new();
        World {
            runtime,
            writer,
            history,
            shard,
            coming,
            directory,
            said: Vec::new(),
            erased: BTreeSet::new(),
            untold: Vec::new(),
            readers,
        }
    }

    fn publish(&mut self, here_count: u8, private: u8, elsewhere: u8) {
        let draft = |room| Draft::of(room, "text");
        let mut drafts: Vec<_> = (0..elsewhere).map(|_| draft("tea")).collect();
        // In turns, so that one stands between two of the other.
        for number in 0..here_count.max(private) {
            drafts.extend((number < here_count).then(|| draft("lobby")));
            let mut to_ana = draft("lobby");
            to_ana.room = RoomName::inbox(&name("bob").key());
            to_ana.from.name = Some(name("bob"));
            to_ana.to = Some(name("ana"));
            drafts.extend((number < private).then_some(to_ana));
        }
        let (batch, _) = self.writer.append(&drafts).unwrap();
        let runs = batch.runs.iter().filter(|run| *run.room() == here());
        self.said
            .extend(runs.flat_map(|run| run.messages()).map(|m| m.seq));
        if !batch.runs.is_empty() {
            self.coming.push_back(batch);
        }
    }

    fn fan_out(&mut self, count: usize) {
        self.fan_out_while(count, None);
    }

    fn fan_out_while(&mut self, count: usize, meanwhile: Option<&Step>) {
        let coming = self.coming.drain(..count.min(self.coming.len()));
        let batches: Vec<_> = coming
            .map(|batch| Fresh::new(batch, Instant::now()).0)
            .collect();
        self.shard.settle();
        if let Some(step) = meanwhile {
            self.run(step);
        }
        self.shard.fan_out(&batches);
    }

    fn erase(&mut self, ago: usize) {
        let Some(seq) = self.said.iter().rev().nth(ago).copied() else {
            return;
        };
        let mut turn = self.runtime.block_on(self.history.erasing());
        let erase = |log: &mut Changing<'_>| log.erase(&here(), seq, &mut turn);
        let erasure = self.writer.change(erase).unwrap();
        let new = matches!(erasure, Erasure::Done { .. });
        assert_eq!(new, self.erased.insert(seq), "{erasure:?}");
        self.untold.extend(new.then_some(seq));
    }

    fn tell(&mut self) {
        for seq in self.untold.drain(..) {
            self.directory.erased(&here(), seq);
        }
    }

    /// Runs a session until it reads from the database, and what it reads is
    /// there.
    fn begin(&mut self, reader: usize) {
        let reader = &mut self.readers[reader];
        self.runtime.block_on(poll_fn(|cx| {
            let _over = reader.poll(cx, &self.erased);
            Poll::Ready(())
        }));
        // Readers take turns: this one comes after it.
        let here = here();
        let turn = self.history.stored(&here, Seq::START);
        self.runtime.block_on(turn).unwrap();
    }

    /// Runs a session until it can do nothing more now.
    fn deliver(&mut self, reader: usize) {
        let reader = &mut self.readers[reader];
        self.runtime.block_on(poll_fn(|cx| {
            let over = reader.poll(cx, &self.erased);
            // What it reads it awaits, but not a socket that is full.
            let outlet = reader.subscriber.outlet();
            let blocked = outlet.waiting() > 0 && !outlet.is_cut();
            drop(outlet);
            if over.is_pending() && reader.subscriber.is_reading() && !blocked {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        }));
    }

    /// Whether a session goes on.
    fn goes_on(&self, reader: u8) -> bool {
        !self.readers[usize::from(reader)].ended
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Deliver(reader)
            | Step::Say(reader)
            | Step::Follow(reader)
            | Step::Begin(reader)
                if !self.goes_on(reader) => {}
            Step::Publish {
                here,
                private,
                elsewhere,
            } => self.publish(here, private, elsewhere),
            Step::FanOut(count, ref meanwhile) => {
                self.fan_out_while(count.into(), meanwhile.as_deref());
            }
            Step::Lag(count) => {
                let lost = self
                    .coming
                    .drain(..usize::from(count).min(self.coming.len()));
                if lost.count() > 0 {
                    self.shard.miss();
                }
            }
            Step::Settle => self.shard.settle(),
            Step::Deliver(reader) => self.deliver(reader.into()),
            Step::Say(reader) => {
                let reader = &mut self.readers[usize::from(reader)];
                let mut frame = Vec::new();
                crate::protocol::frame::put_text(&mut frame, b"* own");
                reader.subscriber.send(&frame);
                reader.said += 1;
            }
            Step::Read(reader, bytes) => {
                self.readers[usize::from(reader)]
                    .pipe
                    .0
                    .lock()
                    .unwrap()
                    .room += usize::from(bytes);
            }
            Step::Begin(reader) => self.begin(reader.into()),
            Step::Erase(ago) => self.erase(ago.into()),
            Step::Tell => self.tell(),
            Step::Follow(reader) => {
                let after = self.history.head();
                let reader = &mut self.readers[usize::from(reader)];
                reader.subscriber.follow(here(), after);
                reader.since.push(after);
            }
        }
    }

    /// Lets everything come to rest.
    fn settle_all(&mut self) {
        for reader in &self.readers {
            reader.pipe.0.lock().unwrap().room = usize::MAX / 2;
        }
        self.tell();
        for _ in 0..4 {
            self.fan_out(usize::MAX);
            (0..READERS)
                .filter(|reader| self.goes_on(*reader))
                .collect::<Vec<_>>()
                .into_iter()
                .for_each(|reader| self.deliver(reader.into()));
            self.shard.settle();
        }
        assert!(self.coming.is_empty());
    }
}

/// The texts of whole frames end to end, and what there is of one more.
fn texts_and_rest(mut bytes: &[u8]) -> (Vec<String>, &[u8]) {
    let mut texts = Vec::new();
    while let [0x81, length, rest @ ..] = bytes {
        let (length, rest) = match (*length, rest) {
            (126, [high, low, rest @ ..]) => (u16::from_be_bytes([*high, *low]), rest),
            (short, rest) => (short.into(), rest),
        };
        let Some((text, rest)) = rest.split_at_checked(length.into()) else {
            break;
        };
        texts.push(String::from_utf8(text.to_vec()).unwrap());
        bytes = rest;
    }
    (texts, bytes)
}

fn texts(bytes: &[u8]) -> Vec<String> {
    let (texts, rest) = texts_and_rest(bytes);
    assert!(rest.is_empty(), "only whole frames leave: {rest:?}");
    texts
}

/// What a reader was shown.
#[derive(Default)]
struct Shown {
    /// What its session said.
    own: usize,
    /// The numbers, in order, of messages and of what stood in their places.
    numbers: Vec<u64>,
}

/// Reads what a reader was shown, and sees that it was shown nothing that it had
/// been told is erased, and told so of all that is.
fn shown(texts: &[String], format: Format, erased: &BTreeSet<Seq>) -> Shown {
    let mut shown = Shown::default();
    let (mut seen, mut gone) = (BTreeSet::new(), BTreeSet::new());
    for text in texts {
        if text.starts_with('*') {
            shown.own += 1;
        } else if format == Format::NumberedPlain {
            shown
                .numbers
                .push(text.split(' ').next().unwrap().parse().unwrap());
        } else {
            match json::parse_event(text).unwrap() {
                Event::Message(message) => {
                    assert!(!gone.contains(&message.seq), "shown after all: {text}");
                    seen.insert(message.seq);
                    shown.numbers.push(message.seq.0);
                }
                Event::Erased { seq, prev, .. } => {
                    gone.insert(seq);
                    shown.numbers.extend(prev.map(|_| seq.0));
                }
                Event::Private(private) => shown.numbers.push(private.seq.0),
                Event::Live { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
    let secret: Vec<_> = seen
        .intersection(erased)
        .filter(|seq| !gone.contains(seq))
        .collect();
    assert!(
        secret.is_empty(),
        "shown, erased, and not told so: {secret:?}"
    );
    shown
}

/// All there is of a room: the truth, from the database.
fn stored(world: &World, room: &RoomName) -> Vec<u64> {
    let mut all: Vec<u64> = Vec::new();
    let mut upto = Seq::START;
    while upto < world.history.head() {
        let page = world
            .runtime
            .block_on(world.history.stored(room, upto))
            .unwrap();
        all.extend(
            page.runs
                .iter()
                .flat_map(|run| run.entries())
                .map(|entry| entry.seq().0),
        );
        upto = page.upto;
    }
    all
}

fn check(steps: &[Step], tail_bytes: usize) {
    let mut world = World::new(tail_bytes);
    for step in steps {
        world.run(step);
    }
    world.settle_all();
    let (all, private) = (stored(&world, &here()), stored(&world, &inbox()));
    for (reader, format) in world.readers.iter().zip(FORMATS) {
        let state = reader.pipe.0.lock().unwrap();
        let (texts, part) = texts_and_rest(&state.taken);
        assert_eq!(!part.is_empty(), reader.ended, "only whole frames leave");
        let told = if reader.ended {
            // Nobody tells it any more.
            &BTreeSet::new()
        } else {
            &world.erased
        };
        let Shown { own, numbers } = shown(&texts, format, told);
        assert!(own == reader.said || reader.ended);
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        let (to_all, to_it): (Vec<u64>, Vec<u64>) =
            numbers.iter().partition(|number| all.contains(number));
        // Wherever it follows the room from, each once.
        if reader.ended {
            assert!(private.starts_with(&to_it), "said to it alone");
        } else {
            assert_eq!(to_it, private, "said to it alone");
        }
        let (mut all, mut numbers) = (all.clone(), to_all);
        if format == Format::NumberedPlain {
            // Lines show nothing of it, or did before.
            numbers.retain(|seq| !world.erased.contains(&Seq(*seq)));
            all.retain(|seq| !world.erased.contains(&Seq(*seq)));
        }
        // Each start begins a stretch; it is unbroken, and the last one reaches
        // the head. Those before it may be cut short, but have no holes.
        let mut rest = &numbers[..];
        for (index, after) in reader.since.iter().enumerate() {
            let due = all.iter().filter(|seq| **seq > after.0);
            let last = index + 1 == reader.since.len() && !reader.ended;
            let next_starts = reader.since.get(index + 1).map_or(u64::MAX, |next| next.0);
            let stretch: Vec<u64> = due.copied().filter(|seq| *seq <= next_starts).collect();
            let common = rest
                .iter()
                .zip(&stretch)
                .take_while(|(a, b)| a == b)
                .count();
            assert!(
                !last || common == stretch.len(),
                "missing: {numbers:?} of {all:?}"
            );
            rest = &rest[common..];
        }
        assert!(
            rest.is_empty(),
            "doubled or out of order: {numbers:?} of {all:?}"
        );
        if reader.ended {
            continue;
        }
        let outlet = reader.subscriber.outlet();
        assert_eq!(
            outlet.mode,
            super::outlet::Mode::Live,
            "at rest everyone is live"
        );
        assert_eq!(outlet.waiting(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn once_and_in_order(
        steps in proptest::collection::vec(step(), 1..60),
        tail_bytes in prop_oneof![Just(0_usize), Just(900), Just(usize::MAX)],
    ) {
        check(&steps, tail_bytes);
    }
}

/// Broken to see it fail: the rest of the frame is kept.
#[test]
fn nothing_is_kept_for_a_stalled_reader() {
    let mut world = World::new(usize::MAX);
    world.deliver(0);
    world.shard.settle();
    world.readers[0].pipe.0.lock().unwrap().room = 10;
    let mut runs = Vec::new();
    for _ in 0..1000 {
        world.publish(3, 0, 0);
        runs.push(Arc::clone(&world.coming[0].runs[0]));
        world.fan_out(1);
        world.deliver(0);
    }
    let outlet = world.readers[0].subscriber.outlet();
    assert_eq!(outlet.cut(), Some(Seq(1)), "half of the first is out");
    assert_eq!(outlet.kept(), 0, "bytes");
    let held: Vec<_> = runs.iter().map(Arc::strong_count).collect();
    assert_eq!(
        held.iter().min(),
        held.iter().max(),
        "the first is held by nobody"
    );
}

/// Broken to see it fail: only what waits is looked at.
#[test]
fn a_socket_that_is_full_between_two_frames_is_blocked() {
    let mut world = World::new(usize::MAX);
    world.settle_all();
    let blocked = |world: &World| world.readers[0].subscriber.is_blocked();
    let frame = b"\x81\x171 127.0.0.1:5000: text".len();
    world.readers[0].pipe.0.lock().unwrap().room = frame;
    world.publish(2, 0, 0);
    world.fan_out(1);
    world.deliver(0);
    assert_eq!(world.readers[0].subscriber.waiting(), 0);
    assert!(blocked(&world));
    world.settle_all();
    assert!(!blocked(&world));
}

/// Broken to see it fail: what was read behind the frame is written as well.
#[test]
fn nothing_follows_the_close_frame() {
    let mut world = World::new(usize::MAX);
    world.settle_all();
    world.readers[0].pipe.0.lock().unwrap().room = 10;
    world.publish(3, 0, 0);
    world.fan_out(1);
    let reader = &mut world.readers[0];
    assert_eq!(reader.subscriber.outlet().cut(), Some(Seq(1)));
    let mut close = Vec::new();
    crate::protocol::frame::put_text(&mut close, b"* closed");
    reader.subscriber.stop();
    reader.subscriber.send(&close);
    reader.pipe.0.lock().unwrap().room = 1000;
    let over = poll_fn(|cx| reader.subscriber.poll_deliver(cx));
    world.runtime.block_on(over).expect("all is out");
    let shown = texts(&world.readers[0].pipe.0.lock().unwrap().taken);
    assert_eq!(shown, ["1 127.0.0.1:5000: text", "* closed"]);
}

/// Broken to see it fail: what it reads is still awaited, though not polled.
#[test]
fn who_waits_for_its_socket_is_in_no_readers_way() {
    let mut world = World::new(0);
    world.settle_all();
    world.publish(1, 0, 0);
    world.run(&Step::Lag(1));
    world.readers[0].pipe.0.lock().unwrap().room = 0;
    let turn = world.runtime.block_on(world.history.turn());
    let poll = |world: &mut World| {
        let subscriber = &mut world.readers[0].subscriber;
        let once = poll_fn(|cx| Poll::Ready(subscriber.poll_deliver(cx).is_pending()));
        assert!(world.runtime.block_on(once));
    };
    poll(&mut world);
    assert!(world.readers[0].subscriber.is_reading());
    world.run(&Step::Say(0));
    poll(&mut world);
    drop(turn);
    let here = here();
    let page = world.runtime.block_on(async {
        let read = world.history.stored(&here, Seq::START);
        tokio::time::timeout(Duration::from_secs(60), read).await
    });
    assert_eq!(page.expect("its turn").unwrap().runs.len(), 1);
}

/// Broken to see it fail: the session is not awaited while it waits for its socket.
#[test]
fn who_waits_for_its_socket_is_woken_by_what_is_said_meanwhile() {
    let mut world = World::new(usize::MAX);
    world.settle_all();
    world.readers[0].pipe.0.lock().unwrap().room = 0;
    world.publish(1, 0, 0);
    world.fan_out(1);
    for _ in 0..2 {
        world.deliver(0);
        let reader = &mut world.readers[0];
        assert!(reader.subscriber.outlet().waker.is_some());
        // It takes the socket's one waker; so the session's is called.
        reader.subscriber.send(b"\x81\x01*");
        assert!(reader.subscriber.outlet().waker.is_none());
    }
}

/// Broken to see it fail: it is not looked at how far its reader is now.
#[test]
fn who_starts_over_in_the_middle_of_a_frame_is_shown_all_of_it_and_then_the_rest() {
    let mut world = World::new(usize::MAX);
    world.settle_all();
    world.publish(2, 0, 0);
    world.fan_out(1);
    world.readers[0].pipe.0.lock().unwrap().room = 10;
    world.publish(1, 0, 0);
    world.fan_out(1);
    let reader = &mut world.readers[0];
    assert_eq!(reader.subscriber.outlet().cut(), Some(Seq(3)));
    reader.subscriber.follow(here(), Seq(1));
    reader.pipe.0.lock().unwrap().room = 1000;
    world.deliver(0);
    let shown = texts(&world.readers[0].pipe.0.lock().unwrap().taken);
    let numbers: Vec<_> = shown.iter().map(|text| &text[..1]).collect();
    assert_eq!(numbers, ["1", "2", "3", "2", "3"]);
}

/// Broken to see it fail: the frame is completed with what stands there now.
#[test]
fn what_is_erased_while_half_of_it_is_out_is_not_completed() {
    for tail_bytes in [0, usize::MAX] {
        let mut world = World::new(tail_bytes);
        world.settle_all();
        world.readers[1].pipe.0.lock().unwrap().room = 10;
        world.publish(2, 0, 0);
        world.fan_out(1);
        world.erase(1);
        world.tell();
        world.readers[1].pipe.0.lock().unwrap().room = 1000;
        let before = world.readers[1].pipe.0.lock().unwrap().taken.len();
        world.deliver(1);
        assert!(world.readers[1].ended);
        assert_eq!(world.readers[1].pipe.0.lock().unwrap().taken.len(), before);
    }
}

#[test]
fn a_hole_is_seen_by_its_prev_and_filled_from_the_log() {
    let mut world = World::new(usize::MAX);
    world.settle_all();
    world.publish(1, 0, 0);
    // Nobody tells the shard that this one passed it.
    world.coming.clear();
    world.publish(1, 0, 0);
    world.fan_out(1);
    world.deliver(0);
    let shown = texts(&world.readers[0].pipe.0.lock().unwrap().taken);
    let said = "127.0.0.1:5000: text";
    assert_eq!(shown, [format!("1 {said}"), format!("2 {said}")]);
}

#[test]
fn a_subscriber_that_leaves_is_let_go_of() {
    let mut world = World::new(usize::MAX);
    world.settle_all();
    let pipe = world.readers[0].pipe.clone();
    assert_eq!(Arc::strong_count(&pipe.0), 3);
    world.readers.clear();
    assert_eq!(
        Arc::strong_count(&pipe.0),
        1,
        "the socket is closed at once"
    );
    world.shard.settle();
    assert!(
        world.shard.is_empty(),
        "and the room forgotten, though nobody says anything"
    );
}
