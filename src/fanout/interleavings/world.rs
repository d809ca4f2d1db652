//! A writer, a shard and two readers; the test decides on every step.

use std::{
    collections::{BTreeSet, VecDeque},
    future::poll_fn,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use tokio::{io::AsyncWrite, runtime::Runtime, time::Instant};

use crate::{
    fanout::{
        Applier, History, MessageBatch, handle::tell_redaction, in_flight::InFlightBatch,
        mailbox::Mailbox, outlet::Outlet, shard::Shard, socket::Socket, subscriber::Subscriber,
    },
    log::{Action, Draft, LocalLog, Recipient},
    protocol::{
        About, AboutKind, ConnectionId, OwnerNumber, Seq,
        format::Format,
        name::{Name, RoomName},
    },
    store::{Outcome, Storage, open},
};

/// One step of a world.
#[derive(Clone, Debug)]
pub(super) enum ModelStep {
    /// The writer commits one batch with this many messages: in the room,
    /// private ones to the readers, and in another room.
    Publish {
        here: u8,
        private: u8,
        elsewhere: u8,
    },
    /// The shard takes up to this many batches at once. The other step happens
    /// between its look into the mailbox and its write.
    FanOut(u8, Option<Box<ModelStep>>),
    /// The shard misses up to this many batches.
    Lag(u8),
    /// The shard looks into its mailbox.
    UpdateLists,
    /// A reader's session runs.
    Deliver(u8),
    /// A reader's session sends a frame of its own.
    Say(u8),
    /// A reader's peer takes this many more bytes.
    Read(u8, u16),
    /// A reader follows the room again, from the current head on.
    Follow(u8),
    /// A reader's session begins to read the history, and is not polled until a
    /// later step.
    BeginRead(u8),
    /// An operator redacts the message sent this many messages ago.
    Redact(u8),
    /// The readers are told of the redactions.
    TellRedactions,
}

/// The number of readers: the first reads numbered lines, the second JSON.
pub(super) const READERS: u8 = 2;
pub(super) const FORMATS: [Format; READERS as usize] = [Format::NumberedPlain, Format::Json];

/// A socket that takes bytes as long as its peer has room for them.
#[derive(Clone, Default)]
pub(super) struct Pipe(pub(super) Arc<Mutex<PipeState>>);

#[derive(Default)]
pub(super) struct PipeState {
    pub(super) taken: Vec<u8>,
    pub(super) capacity: usize,
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock().unwrap();
        let count = bytes.len().min(state.capacity);
        if count == 0 {
            return Poll::Pending;
        }
        state.capacity -= count;
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

pub(super) struct Reader {
    pub(super) subscriber: Subscriber,
    pub(super) pipe: Pipe,
    /// The positions after which it followed the room, in order.
    pub(super) follow_starts: Vec<Seq>,
    /// How many frames its session sent.
    pub(super) frames_sent: usize,
}

impl Reader {
    /// Polls the session, which does not end.
    fn poll(&mut self, cx: &mut Context<'_>) {
        let delivered = self.subscriber.poll_deliver(cx);
        assert!(delivered.is_pending(), "delivery ended: {delivered:?}");
    }
}

pub(super) struct World {
    pub(super) runtime: Runtime,
    log: Applier<'static>,
    pub(super) history: History,
    pub(super) shard: Shard,
    pub(super) undelivered: VecDeque<Arc<MessageBatch>>,
    /// The messages in the room.
    pub(super) sent: Vec<Seq>,
    /// The redacted messages of the room.
    pub(super) redacted: BTreeSet<Seq>,
    /// The redactions that the readers were not told of yet.
    unannounced: Vec<Seq>,
    pub(super) readers: Vec<Reader>,
}

pub(super) fn here() -> RoomName {
    RoomName::lobby()
}

fn name(name: &str) -> Name {
    name.parse().unwrap()
}

/// The inbox of the readers: both own the name ana.
pub(super) fn inbox() -> RoomName {
    RoomName::inbox(OwnerNumber(1))
}

impl World {
    pub(super) fn new(tail_bytes: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (replica, store) = open(&Storage::Memory, "a test").unwrap();
        let history = History::with_tail(store, tail_bytes);
        let log = Applier::new(LocalLog::default(), replica, history.clone()).unwrap();
        let mailbox = Arc::new(Mailbox::default());
        let shard = Shard::new(Arc::clone(&mailbox), Arc::default());
        let readers = FORMATS
            .into_iter()
            .map(|format| {
                let pipe = Pipe::default();
                let mut subscriber = Subscriber::new(
                    history.clone(),
                    Arc::clone(&mailbox),
                    Outlet::new(
                        Socket::Other(Box::new(pipe.clone())),
                        format,
                        ConnectionId::SERVER,
                        None,
                    ),
                    Arc::default(),
                );
                subscriber.follow_inbox(inbox(), Seq::START);
                subscriber.follow(here(), Seq::START);
                let follow_starts = vec![Seq::START];
                Reader {
                    subscriber,
                    pipe,
                    follow_starts,
                    frames_sent: 0,
                }
            })
            .collect();
        let undelivered = VecDeque::new();
        World {
            runtime,
            log,
            history,
            shard,
            undelivered,
            sent: Vec::new(),
            redacted: BTreeSet::new(),
            unannounced: Vec::new(),
            readers,
        }
    }

    pub(super) fn publish(&mut self, here_count: u8, private: u8, elsewhere: u8) {
        let draft = |room| Draft::of(room, "text");
        let mut drafts: Vec<_> = (0..elsewhere).map(|_| draft("tea")).collect();
        // Messages to the room and private messages alternate in the log.
        for number in 0..here_count.max(private) {
            drafts.extend((number < here_count).then(|| draft("lobby")));
            let mut to_ana = draft("lobby");
            to_ana.room = RoomName::inbox(OwnerNumber(2));
            to_ana.from.name = Some(name("bob"));
            to_ana.from.owner = Some(OwnerNumber(2));
            to_ana.to = Some(Recipient {
                name: name("ana"),
                owner: OwnerNumber(1),
                ignores: false,
                unread: None,
            });
            drafts.extend((number < private).then_some(to_ana));
        }
        let batch = self
            .log
            .apply_messages(ConnectionId(7), drafts)
            .unwrap()
            .batch;
        let runs = batch
            .room_batches
            .iter()
            .filter(|run| *run.room() == here());
        self.sent
            .extend(runs.flat_map(|run| run.messages()).map(|m| m.seq));
        if !batch.room_batches.is_empty() {
            self.undelivered.push_back(batch);
        }
    }

    /// Publishes a reply to a message of the room.
    pub(super) fn reply(&mut self, about: Seq) {
        let kind = AboutKind::Reply;
        let draft = Draft {
            about: Some(About { seq: about, kind }),
            ..Draft::of("lobby", "reply")
        };
        let drafts = [draft];
        let applied = self.log.apply_messages(ConnectionId(7), drafts).unwrap();
        self.undelivered.push_back(applied.batch);
    }

    pub(super) fn fan_out(&mut self, count: usize) {
        self.fan_out_while(count, None);
    }

    fn fan_out_while(&mut self, count: usize, meanwhile: Option<&ModelStep>) {
        let undelivered = self.undelivered.drain(..count.min(self.undelivered.len()));
        let batches: Vec<_> = undelivered
            .map(|batch| InFlightBatch::new(batch, Instant::now()).0)
            .collect();
        self.shard.update_lists();
        if let Some(step) = meanwhile {
            self.run(step);
        }
        self.shard.fan_out(&batches);
    }

    pub(super) fn redact(&mut self, ago: usize) {
        let Some(seq) = self.sent.iter().rev().nth(ago).copied() else {
            return;
        };
        let outcome = self.log.apply_action(Action::Redact {
            room: here(),
            seq,
            by: "op".into(),
        });
        let outcome = outcome.unwrap();
        let new = outcome == Outcome::Redacted;
        assert_eq!(new, self.redacted.insert(seq), "{outcome:?}");
        self.unannounced.extend(new.then_some(seq));
    }

    fn tell(&mut self) {
        for seq in self.unannounced.drain(..) {
            let readers = self.readers.iter();
            tell_redaction(
                readers.map(|reader| reader.subscriber.handle()),
                &here(),
                seq,
            );
        }
    }

    /// Polls a session once, and waits until the read that it began is done.
    fn begin_read(&mut self, reader: usize) {
        let reader = &mut self.readers[reader];
        self.runtime.block_on(poll_fn(|cx| {
            reader.poll(cx);
            Poll::Ready(())
        }));
        // Reads of the store take turns, so this one is done after the
        // session's.
        let here = here();
        let turn = self.history.stored(&here, Seq::START);
        self.runtime.block_on(turn).unwrap();
    }

    /// Runs a session until it can do nothing more for now.
    pub(super) fn deliver(&mut self, reader: usize) {
        let reader = &mut self.readers[reader];
        self.runtime.block_on(poll_fn(|cx| {
            reader.poll(cx);
            // The session's read is awaited, but a full socket is not.
            if reader.subscriber.has_pending_read() {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        }));
    }

    pub(super) fn run(&mut self, step: &ModelStep) {
        match *step {
            ModelStep::Publish {
                here,
                private,
                elsewhere,
            } => self.publish(here, private, elsewhere),
            ModelStep::FanOut(count, ref meanwhile) => {
                self.fan_out_while(count.into(), meanwhile.as_deref());
            }
            ModelStep::Lag(count) => {
                let lost = self
                    .undelivered
                    .drain(..usize::from(count).min(self.undelivered.len()));
                if lost.count() > 0 {
                    self.shard.handle_lag();
                }
            }
            ModelStep::UpdateLists => self.shard.update_lists(),
            ModelStep::Deliver(reader) => self.deliver(reader.into()),
            ModelStep::Say(reader) => {
                let reader = &mut self.readers[usize::from(reader)];
                let mut frame = Vec::new();
                crate::protocol::frame::put_text(&mut frame, b"* own");
                reader.subscriber.send(&frame);
                reader.frames_sent += 1;
            }
            ModelStep::Read(reader, bytes) => {
                self.readers[usize::from(reader)]
                    .pipe
                    .0
                    .lock()
                    .unwrap()
                    .capacity += usize::from(bytes);
            }
            ModelStep::BeginRead(reader) => self.begin_read(reader.into()),
            ModelStep::Redact(ago) => self.redact(ago.into()),
            ModelStep::TellRedactions => self.tell(),
            ModelStep::Follow(reader) => {
                let after = self.history.head();
                let reader = &mut self.readers[usize::from(reader)];
                reader.subscriber.follow(here(), after);
                reader.follow_starts.push(after);
            }
        }
    }

    /// Opens every socket, and runs everything until nothing is left to do.
    pub(super) fn settle_all(&mut self) {
        for reader in &self.readers {
            reader.pipe.0.lock().unwrap().capacity = usize::MAX / 2;
        }
        self.tell();
        for _ in 0..4 {
            self.fan_out(usize::MAX);
            (0..READERS).for_each(|reader| self.deliver(reader.into()));
            self.shard.update_lists();
        }
        assert!(self.undelivered.is_empty());
    }
}
