//! Random interleavings of writer, shard, session and socket: whatever the
//! order, each reader is shown each message of its room once and in order; and
//! nothing of one that was erased after it was told so.

mod world;

use std::{collections::BTreeSet, future::poll_fn, sync::Arc, task::Poll, time::Duration};

use proptest::prelude::*;

use self::world::{FORMATS, READERS, Step, World, here, inbox};
use super::outlet::Mode;
use crate::protocol::{Event, Seq, format::Format, json, name::RoomName};

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
                .flat_map(|run| run.slots())
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
        assert_eq!(outlet.mode, Mode::Live, "at rest everyone is live");
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
    let turn = world.runtime.block_on(world.history.store().turn());
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
        assert!(reader.subscriber.outlet().has_waker());
        // It takes the socket's one waker; so the session's is called.
        reader.subscriber.send(b"\x81\x01*");
        assert!(!reader.subscriber.outlet().has_waker());
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
