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
        Applier, Batch, History, fresh::Fresh, handle::redacted, mailbox::Mailbox, outlet::Outlet,
        shard::Shard, socket::Socket, subscriber::Subscriber,
    },
    log::{Action, Draft, Local, Recipient},
    protocol::{
        ConnectionId, Seq,
        format::Format,
        name::{Name, RoomName},
    },
    store::{Outcome, Storage, open},
};

/// One step of a world.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The writer commits one batch with this many messages: in the room,
    /// private ones to the readers, and in another room.
    Publish {
        here: u8,
        private: u8,
        elsewhere: u8,
    },
    /// The shard takes up to this many batches at once. The other step happens
    /// between its look into the mailbox and its write.
    FanOut(u8, Option<Box<Step>>),
    /// The shard misses up to this many batches.
    Lag(u8),
    /// The shard looks into its mailbox.
    Settle,
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
    Begin(u8),
    /// An operator redacts the message sent this many messages ago.
    Erase(u8),
    /// The readers are told of the redactions.
    Tell,
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
    pub(super) room: usize,
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

pub(super) struct Reader {
    pub(super) subscriber: Subscriber,
    pub(super) pipe: Pipe,
    /// The positions after which it followed the room, in order.
    pub(super) since: Vec<Seq>,
    /// How many frames its session sent.
    pub(super) said: usize,
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
    pub(super) coming: VecDeque<Arc<Batch>>,
    /// The messages in the room.
    pub(super) said: Vec<Seq>,
    /// The redacted messages of the room.
    pub(super) erased: BTreeSet<Seq>,
    /// The redactions that the readers were not told of yet.
    untold: Vec<Seq>,
    pub(super) readers: Vec<Reader>,
}

pub(super) fn here() -> RoomName {
    RoomName::lobby()
}

fn name(name: &str) -> Name {
    name.parse().unwrap()
}

/// The inbox of the readers: both have the name ana.
pub(super) fn inbox() -> RoomName {
    RoomName::inbox(&name("ana").key())
}

impl World {
    pub(super) fn new(tail_bytes: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (replica, store) = open(&Storage::Memory, "a test").unwrap();
        let history = History::with_tail(store, tail_bytes);
        let log = Applier::new(Local::default(), replica, history.clone()).unwrap();
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
                subscriber.receive(inbox(), Seq::START);
                subscriber.follow(here(), Seq::START);
                let since = vec![Seq::START];
                Reader {
                    subscriber,
                    pipe,
                    since,
                    said: 0,
                }
            })
            .collect();
        let coming = VecDeque::new();
        World {
            runtime,
            log,
            history,
            shard,
            coming,
            said: Vec::new(),
            erased: BTreeSet::new(),
            untold: Vec::new(),
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
            to_ana.room = RoomName::inbox(&name("bob").key());
            to_ana.from.name = Some(name("bob"));
            to_ana.to = Some(Recipient::new(name("ana")));
            drafts.extend((number < private).then_some(to_ana));
        }
        let batch = self.log.say(ConnectionId(7), drafts).unwrap().batch;
        let runs = batch.runs.iter().filter(|run| *run.room() == here());
        self.said
            .extend(runs.flat_map(|run| run.messages()).map(|m| m.seq));
        if !batch.runs.is_empty() {
            self.coming.push_back(batch);
        }
    }

    pub(super) fn fan_out(&mut self, count: usize) {
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

    pub(super) fn erase(&mut self, ago: usize) {
        let Some(seq) = self.said.iter().rev().nth(ago).copied() else {
            return;
        };
        let outcome = self.log.act(Action::Redact {
            room: here(),
            seq,
            by: "op".into(),
        });
        let outcome = outcome.unwrap();
        let new = outcome == Outcome::Redacted;
        assert_eq!(new, self.erased.insert(seq), "{outcome:?}");
        self.untold.extend(new.then_some(seq));
    }

    fn tell(&mut self) {
        for seq in self.untold.drain(..) {
            let readers = self.readers.iter();
            redacted(
                readers.map(|reader| reader.subscriber.handle()),
                &here(),
                seq,
            );
        }
    }

    /// Polls a session once, and waits until the read that it began is done.
    fn begin(&mut self, reader: usize) {
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
            if reader.subscriber.is_reading() {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        }));
    }

    pub(super) fn run(&mut self, step: &Step) {
        match *step {
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

    /// Opens every socket, and runs everything until nothing is left to do.
    pub(super) fn settle_all(&mut self) {
        for reader in &self.readers {
            reader.pipe.0.lock().unwrap().room = usize::MAX / 2;
        }
        self.tell();
        for _ in 0..4 {
            self.fan_out(usize::MAX);
            (0..READERS).for_each(|reader| self.deliver(reader.into()));
            self.shard.settle();
        }
        assert!(self.coming.is_empty());
    }
}
