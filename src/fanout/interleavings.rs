//! Random interleavings of writer, shard, session and socket. In every order,
//! each reader is shown each message of its room once and in order. A reader
//! that was told of a redaction is not shown the message afterwards.

mod world;

use std::{collections::BTreeSet, future::poll_fn, sync::Arc, task::Poll, time::Duration};

use proptest::prelude::*;

use self::world::{FORMATS, ModelStep, READERS, World, here, inbox};
use super::{ephemeral::Ephemeral, outlet::Mode};
use crate::protocol::{Event, Seq, format::Format, json, name::RoomName};

fn step() -> impl Strategy<Value = ModelStep> {
    let session = prop_oneof![
        (0..READERS).prop_map(ModelStep::Deliver),
        (0..READERS).prop_map(ModelStep::Follow),
        (0..READERS).prop_map(ModelStep::Say),
        (0..READERS, 0..120_u16).prop_map(|(reader, bytes)| ModelStep::Read(reader, bytes)),
    ];
    let meanwhile = proptest::option::of(session.prop_map(Box::new));
    prop_oneof![
        3 => (0..4_u8, prop_oneof![3 => Just(0_u8), 1 => 1..3_u8], 0..3_u8).prop_map(
            |(here, private, elsewhere)| ModelStep::Publish { here, private, elsewhere }
        ),
        4 => (1..4_u8, meanwhile).prop_map(|(count, step)| ModelStep::FanOut(count, step)),
        1 => (1..4_u8).prop_map(ModelStep::Lag),
        4 => Just(ModelStep::UpdateLists),
        6 => (0..READERS).prop_map(ModelStep::Deliver),
        1 => (0..READERS).prop_map(ModelStep::Say),
        4 => (0..READERS, 0..120_u16).prop_map(|(reader, bytes)| ModelStep::Read(reader, bytes)),
        1 => (0..READERS).prop_map(ModelStep::Follow),
        1 => (0..READERS).prop_map(ModelStep::BeginRead),
        1 => (0..6_u8).prop_map(ModelStep::Redact),
        1 => Just(ModelStep::TellRedactions),
    ]
}

/// Reads the texts of whole frames.
fn texts(mut bytes: &[u8]) -> Vec<String> {
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
    assert!(bytes.is_empty(), "only whole frames leave: {bytes:?}");
    texts
}

/// The frames that a reader was shown.
#[derive(Default)]
struct Shown {
    /// The number of frames that its session sent.
    own: usize,
    /// The numbers of messages and of redactions in their places, in order.
    numbers: Vec<u64>,
}

/// Reads the frames of a reader. Panics if it was shown a message after the
/// redaction of that message, or was not told of the redaction of a message it
/// was shown.
fn shown(texts: &[String], format: Format, redacted: &BTreeSet<Seq>) -> Shown {
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
                    assert!(!gone.contains(&message.seq), "shown once redacted: {text}");
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
        .intersection(redacted)
        .filter(|seq| !gone.contains(seq))
        .collect();
    assert!(
        secret.is_empty(),
        "shown and redacted, but its reader was not told: {secret:?}"
    );
    shown
}

/// The numbers of all messages in a room, from the store.
fn stored(world: &World, room: &RoomName) -> Vec<u64> {
    let mut all: Vec<u64> = Vec::new();
    let mut upto = Seq::START;
    while upto < world.history.head() {
        let page = world
            .runtime
            .block_on(world.history.stored(room, upto))
            .unwrap();
        all.extend(
            page.room_batches
                .iter()
                .flat_map(|run| run.slots())
                .map(|entry| entry.seq().0),
        );
        upto = page.upto;
    }
    all
}

fn check(steps: &[ModelStep], tail_bytes: usize) {
    let mut world = World::new(tail_bytes);
    for step in steps {
        world.run(step);
    }
    world.settle_all();
    let (all, private) = (stored(&world, &here()), stored(&world, &inbox()));
    for (reader, format) in world.readers.iter().zip(FORMATS) {
        let state = reader.pipe.0.lock().unwrap();
        let Shown { own, numbers } = shown(&texts(&state.taken), format, &world.redacted);
        assert_eq!(own, reader.frames_sent);
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        let (to_all, to_it): (Vec<u64>, Vec<u64>) =
            numbers.iter().partition(|number| all.contains(number));
        // Each private message once, wherever the reader follows the room from.
        assert_eq!(to_it, private, "private messages");
        let (mut all, mut numbers) = (all.clone(), to_all);
        if format == Format::NumberedPlain {
            // Lines do not show a redacted message, unless they did before the
            // redaction.
            numbers.retain(|seq| !world.redacted.contains(&Seq(*seq)));
            all.retain(|seq| !world.redacted.contains(&Seq(*seq)));
        }
        // Each `follow` begins a stretch of numbers without holes. The last
        // stretch reaches the head; earlier ones may end before it.
        let mut rest = &numbers[..];
        for (index, after) in reader.follow_starts.iter().enumerate() {
            let due = all.iter().filter(|seq| **seq > after.0);
            let last = index + 1 == reader.follow_starts.len();
            let next_starts = reader
                .follow_starts
                .get(index + 1)
                .map_or(u64::MAX, |next| next.0);
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
        let outlet = reader.subscriber.outlet();
        assert_eq!(outlet.mode, Mode::Live, "in the end every reader is live");
        assert_eq!(outlet.waiting(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_message_is_shown_once_and_in_order(
        steps in proptest::collection::vec(step(), 1..60),
        tail_bytes in prop_oneof![Just(0_usize), Just(900), Just(usize::MAX)],
    ) {
        check(&steps, tail_bytes);
    }
}

#[test]
fn only_the_rest_of_one_frame_is_kept_for_a_stalled_reader() {
    let mut world = World::new(usize::MAX);
    world.deliver(0);
    world.shard.update_lists();
    let frame = 2 + "1 127.0.0.1:5000: text".len();
    world.readers[0].pipe.0.lock().unwrap().capacity = 10;
    let mut runs = Vec::new();
    for _ in 0..1000 {
        world.publish(3, 0, 0);
        runs.push(Arc::clone(&world.undelivered[0].room_batches[0]));
        world.fan_out(1);
        world.deliver(0);
    }
    let outlet = world.readers[0].subscriber.outlet();
    assert_eq!(outlet.position, Seq(1), "the first frame is partly written");
    assert_eq!(outlet.kept(), frame - 10, "bytes");
    let held: Vec<_> = runs.iter().map(Arc::strong_count).collect();
    assert_eq!(
        held.iter().min(),
        held.iter().max(),
        "no reference to the first room batch is left"
    );
}

/// Verified to fail when only the number of waiting bytes is looked at.
#[test]
fn a_socket_that_is_full_between_two_frames_is_blocked() {
    let mut world = World::new(usize::MAX);
    world.settle_all();
    let blocked = |world: &World| world.readers[0].subscriber.is_blocked();
    let frame = b"\x81\x171 127.0.0.1:5000: text".len();
    world.readers[0].pipe.0.lock().unwrap().capacity = frame;
    world.publish(2, 0, 0);
    world.fan_out(1);
    world.deliver(0);
    assert_eq!(world.readers[0].subscriber.waiting(), 0);
    assert!(blocked(&world));
    world.settle_all();
    assert!(!blocked(&world));
}

/// The rest of a partly written frame leaves before the close frame; the
/// messages behind it do not leave.
#[test]
fn nothing_follows_the_close_frame() {
    let mut world = World::new(usize::MAX);
    world.settle_all();
    world.readers[0].pipe.0.lock().unwrap().capacity = 10;
    world.publish(3, 0, 0);
    world.fan_out(1);
    let reader = &mut world.readers[0];
    assert!(reader.subscriber.waiting() > 0);
    let mut close = Vec::new();
    crate::protocol::frame::put_text(&mut close, b"* closed");
    reader.subscriber.unfollow();
    reader.subscriber.send(&close);
    reader.pipe.0.lock().unwrap().capacity = 1000;
    let over = poll_fn(|cx| reader.subscriber.poll_deliver(cx));
    world.runtime.block_on(over).expect("all is out");
    let shown = texts(&world.readers[0].pipe.0.lock().unwrap().taken);
    assert_eq!(shown, ["1 127.0.0.1:5000: text", "* closed"]);
}

/// Verified to fail when the session keeps its place in the queue of reads
/// although it is not polled.
#[test]
fn a_full_socket_does_not_hold_up_other_reads() {
    let mut world = World::new(0);
    world.settle_all();
    world.publish(1, 0, 0);
    world.run(&ModelStep::Lag(1));
    world.readers[0].pipe.0.lock().unwrap().capacity = 0;
    let turn = world.runtime.block_on(world.history.store().hold_reader());
    let poll = |world: &mut World| {
        let subscriber = &mut world.readers[0].subscriber;
        let once = poll_fn(|cx| Poll::Ready(subscriber.poll_deliver(cx).is_pending()));
        assert!(world.runtime.block_on(once));
    };
    poll(&mut world);
    assert!(world.readers[0].subscriber.has_pending_read());
    world.run(&ModelStep::Say(0));
    poll(&mut world);
    drop(turn);
    let here = here();
    let page = world.runtime.block_on(async {
        let read = world.history.stored(&here, Seq::START);
        tokio::time::timeout(Duration::from_secs(60), read).await
    });
    assert_eq!(page.expect("its turn").unwrap().room_batches.len(), 1);
}

/// Verified to fail when the session has no waker while it waits for its
/// socket.
#[test]
fn a_send_wakes_a_session_that_waits_for_its_socket() {
    let mut world = World::new(usize::MAX);
    world.settle_all();
    world.readers[0].pipe.0.lock().unwrap().capacity = 0;
    world.publish(1, 0, 0);
    world.fan_out(1);
    for _ in 0..2 {
        world.deliver(0);
        let reader = &mut world.readers[0];
        assert!(reader.subscriber.outlet().has_waker());
        // `send` replaces the socket's one waker, so it wakes the session.
        reader.subscriber.send(b"\x81\x01*");
        assert!(!reader.subscriber.outlet().has_waker());
    }
}

/// Verified to fail when a live subscriber with a full socket stays live.
#[test]
fn an_event_held_for_a_full_socket_is_sent_without_a_message() {
    let mut world = World::new(usize::MAX);
    world.settle_all();
    world.readers[0].pipe.0.lock().unwrap().capacity = 0;
    for number in 0..100 {
        let text = format!("{number:0100}");
        let event = Ephemeral::new(&Event::Notice { text });
        let mut outlet = world.readers[0].subscriber.outlet();
        outlet.send_ephemeral(&here(), &event, &event);
    }
    world.settle_all();
    let shown = texts(&world.readers[0].pipe.0.lock().unwrap().taken);
    let last = shown.last().expect("an event");
    assert!(last.ends_with("99"), "{last}");
}

#[test]
fn a_follow_within_a_frame_first_completes_the_frame() {
    let mut world = World::new(usize::MAX);
    world.settle_all();
    world.publish(2, 0, 0);
    world.fan_out(1);
    world.readers[0].pipe.0.lock().unwrap().capacity = 10;
    world.publish(1, 0, 0);
    world.fan_out(1);
    let reader = &mut world.readers[0];
    assert!(reader.subscriber.waiting() > 0);
    reader.subscriber.follow(here(), Seq(1));
    reader.pipe.0.lock().unwrap().capacity = 1000;
    world.deliver(0);
    let shown = texts(&world.readers[0].pipe.0.lock().unwrap().taken);
    let numbers: Vec<_> = shown.iter().map(|text| &text[..1]).collect();
    assert_eq!(numbers, ["1", "2", "3", "2", "3"]);
}

#[test]
fn a_message_redacted_within_its_frame_is_completed_and_its_reader_told() {
    for tail_bytes in [0, usize::MAX] {
        let mut world = World::new(tail_bytes);
        world.settle_all();
        world.readers[1].pipe.0.lock().unwrap().capacity = 10;
        world.publish(2, 0, 0);
        world.fan_out(1);
        assert!(world.readers[1].subscriber.waiting() > 0);
        world.redact(1);
        world.settle_all();
        let texts = texts(&world.readers[1].pipe.0.lock().unwrap().taken);
        let shown = shown(&texts, FORMATS[1], &world.redacted);
        assert_eq!(shown.numbers, [1, 2]);
    }
}

// Verified to fail when only a reader that lacks the message reads again.
#[test]
fn a_reply_on_its_way_has_no_quote_of_a_redacted_message() {
    for tail_bytes in [0, usize::MAX] {
        let mut world = World::new(tail_bytes);
        world.publish(1, 0, 0);
        world.settle_all();
        world.reply(Seq(1));
        world.redact(0);
        world.settle_all();
        let texts = texts(&world.readers[1].pipe.0.lock().unwrap().taken);
        let reply = texts.iter().find_map(|text| match json::parse_event(text) {
            Ok(Event::Message(message)) if message.seq == Seq(2) => Some(message),
            _ => None,
        });
        assert!(reply.expect("the reply").quote.is_none(), "{texts:?}");
    }
}

#[test]
fn prev_reveals_a_hole_that_the_history_fills() {
    let mut world = World::new(usize::MAX);
    world.settle_all();
    world.publish(1, 0, 0);
    // The shard is not told that it missed this batch.
    world.undelivered.clear();
    world.publish(1, 0, 0);
    world.fan_out(1);
    world.deliver(0);
    let shown = texts(&world.readers[0].pipe.0.lock().unwrap().taken);
    let said = "127.0.0.1:5000: text";
    assert_eq!(shown, [format!("1 {said}"), format!("2 {said}")]);
}

#[test]
fn a_dropped_subscriber_leaves_nothing_behind() {
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
    world.shard.update_lists();
    assert!(
        world.shard.is_empty(),
        "the shard drops its list without a new batch"
    );
}
