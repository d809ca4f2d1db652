//! The one place that writes to a connection's socket.
//!
//! Session and shard share it behind a lock.

mod held;
mod waiting;
mod wire;

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use self::{held::Held, waiting::Cut, wire::Wire};
use super::{
    ephemeral::Ephemeral,
    history::History,
    reading::{Feed, Part, Reading},
    run::Run,
    socket::Socket,
    stretch::Stretch,
};
use crate::{
    metrics::Tally,
    protocol::{ConnectionId, Event, Seq, format::Format, name::RoomName},
    store::StoreError,
};

/// How many bytes may wait for the socket where an ephemeral event is sent.
const MAX_BEFORE_EPHEMERAL: usize = 4096;

/// An outlet, as its session, its shard and handles share it.
pub(super) struct Shared {
    outlet: Mutex<Outlet>,
}

impl Shared {
    pub(super) fn new(outlet: Outlet) -> Arc<Self> {
        let outlet = Mutex::new(outlet);
        Arc::new(Shared { outlet })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Outlet> {
        self.outlet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who writes messages to the socket now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Nobody: no room is followed.
    Idle,
    /// The session, from the log.
    CatchingUp,
    /// The shard.
    Live,
    /// Nobody any more: the connection is gone.
    Gone,
}

pub(super) struct Outlet {
    wire: Wire,
    /// The connection, on which messages may be said too.
    pub(super) origin: ConnectionId,
    /// Its own messages after this number are left out.
    skip: Option<Seq>,
    pub(super) mode: Mode,
    pub(super) room: Feed,
    /// Of whom it is that reads, where that person has a name.
    pub(super) inbox: Option<Box<Inbox>>,
    /// Everything up to this number was written, of what is for this reader.
    pub(super) position: Seq,
    /// What the session has read of the log is old: it is to be read anew.
    pub(super) outdated: bool,
    /// `live` is still to be said.
    pub(super) announce: bool,
    /// Ephemeral events to be sent once the room is live.
    held: Held,
    /// The shard's: where it lists this subscriber.
    pub(super) listed: Listed,
    /// It waits in the shard's mailbox.
    pub(super) mailed: bool,
}

/// The inbox of a reader.
pub(super) struct Inbox {
    pub(super) feed: Feed,
    /// The last number of it that was written.
    pub(super) written: Seq,
}

/// The lists of a shard that a subscriber stands in.
#[derive(Default)]
pub(super) struct Listed {
    pub(super) room: Option<RoomName>,
    pub(super) inbox: Option<RoomName>,
}

impl Listed {
    pub(super) fn is_anywhere(&self) -> bool {
        self.room.is_some() || self.inbox.is_some()
    }
}

impl Outlet {
    pub(super) fn new(
        socket: Socket,
        format: Format,
        origin: ConnectionId,
        skip: Option<Seq>,
    ) -> Self {
        Outlet {
            wire: Wire::new(socket, format),
            origin,
            skip,
            mode: Mode::Idle,
            room: Feed {
                room: RoomName::lobby(),
                floor: Seq::START,
            },
            inbox: None,
            position: Seq::START,
            outdated: false,
            announce: false,
            held: Held::default(),
            listed: Listed::default(),
            mailed: false,
        }
    }

    pub(super) fn format(&self) -> Format {
        self.wire.format()
    }

    /// How many bytes wait to go first.
    pub(super) fn waiting(&self) -> usize {
        self.wire.waiting()
    }

    /// How many bytes are kept in memory until the socket takes them.
    pub(super) fn kept(&self) -> usize {
        self.wire.kept() + self.held.len()
    }

    /// How many writes made progress; a writer that sees no change is blocked.
    pub(super) fn progress(&self) -> u64 {
        self.wire.progress()
    }

    /// What was written since this was called last.
    pub(super) fn take_written(&mut self) -> Tally {
        self.wire.take_written()
    }

    /// From here on the session is woken when there is something to do for it.
    pub(super) fn is_awaited(&mut self, cx: &Context<'_>) {
        self.wire.is_awaited(cx);
    }

    /// Hands back to the session: it feeds the subscriber from the log.
    pub(super) fn fall_behind(&mut self) {
        self.mode = Mode::CatchingUp;
        self.wire.wake();
    }

    /// What comes next in the log for this reader, as far as memory has it.
    pub(super) fn recent(&self, history: &History) -> Option<Reading> {
        let (after, room, inbox) = self.next();
        Reading::recent(history, after, &room, inbox.as_ref())
    }

    /// The same from wherever it is.
    pub(super) fn find(
        &self,
        history: History,
    ) -> impl Future<Output = Result<Reading, StoreError>> + use<> {
        let (after, room, inbox) = self.next();
        Reading::find(history, after, room, inbox)
    }

    /// After which number what is to be read; first of all a frame that is partly
    /// out, once more.
    fn next(&self) -> (Seq, Feed, Option<Feed>) {
        let after = self.wire.cut().map_or(self.position, Cut::before);
        match self.wire.cut() {
            Some(cut) if !self.goes_on(cut) => (after, cut.feed(), None),
            _ => {
                let inbox = self.inbox.as_ref().map(|inbox| inbox.feed.clone());
                (after, self.room.clone(), inbox)
            }
        }
    }

    /// Whether what its reader follows goes on behind a frame that is partly out.
    /// Who went elsewhere meanwhile goes on there, and who is to hear no more
    /// nowhere.
    fn goes_on(&self, cut: &Cut) -> bool {
        let is_in = |feed: &Feed| feed.room == cut.room && feed.floor < cut.seq;
        let private = self.inbox.as_ref().is_some_and(|inbox| is_in(&inbox.feed));
        let stayed = self.mode == Mode::CatchingUp && self.position == cut.seq;
        stayed && (private || is_in(&self.room))
    }

    /// Lets go of the socket.
    pub(super) fn close(&mut self) {
        self.mode = Mode::Gone;
        self.wire.close();
        self.held = Held::default();
    }

    /// Queues whole frames and writes what the socket takes at once.
    pub(super) fn send(&mut self, frames: &[u8]) {
        self.wire.send(frames);
    }

    /// Sends an ephemeral event of a room; or `later`, once the room is live.
    pub(super) fn send_ephemeral(&mut self, room: &RoomName, now: &Ephemeral, later: &Ephemeral) {
        let format = self.format();
        let (Some(frame), Some(_)) = (now.frame(format), later.frame(format)) else {
            return;
        };
        self.held.replace(later);
        let follows = matches!(self.mode, Mode::CatchingUp | Mode::Live)
            && !self.announce
            && self.room.room == *room;
        if follows && self.waiting() < MAX_BEFORE_EPHEMERAL {
            self.send(frame);
        } else if self.mode != Mode::Gone {
            self.held.put(room, later, format);
        }
    }

    /// The message under a number was redacted: a reader that was shown it is told
    /// so, and any other is not shown it any more.
    pub(super) fn redacted(&mut self, room: &RoomName, seq: Seq, told: &Ephemeral) {
        if self.room.room != *room {
            return;
        }
        if self.position.max(self.room.floor) >= seq {
            return self.send_ephemeral(room, told, told);
        }
        self.outdated = true;
        if self.mode == Mode::Live {
            self.fall_behind();
        }
    }

    /// Says what is not to be had of what is to be read.
    pub(super) fn say_missing(&mut self, reading: &Reading) {
        if let Some((hole, next)) = reading.gap()
            && hole.upto > self.position.max(self.room.floor)
        {
            self.say(&Event::Gap {
                after: self.position.max(self.room.floor),
                next,
                reason: hole.reason,
            });
            self.room.floor = hole.upto;
            self.position = hole.upto;
        }
        if let (Some(hole), Some(inbox)) = (reading.missing(), &mut self.inbox)
            && hole.upto > inbox.feed.floor
        {
            inbox.feed.floor = hole.upto;
            self.say(&Event::Notice {
                text: "Something that was said to you alone is not to be had any more.".into(),
            });
        }
    }

    fn say(&mut self, event: &Event) {
        if let Some(frame) = self.format().frame(event) {
            self.send(&frame);
        }
    }

    /// Says `live`, and is.
    pub(super) fn go_live(&mut self) {
        self.mode = Mode::Live;
        if std::mem::take(&mut self.announce) {
            self.say(&Event::Live { seq: self.position });
        }
        for (_, frame) in self.held.take(&self.room.room) {
            self.send(&frame);
        }
    }

    /// Whether a frame is partly out.
    pub(super) fn is_cut(&self) -> bool {
        self.wire.cut().is_some()
    }

    /// Writes what the session said, unless a frame has to be completed before;
    /// then waits for the socket where the log goes on. (So nothing is read for
    /// one that is full.)
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.poll_ready(cx, self.mode == Mode::CatchingUp)
    }

    /// Writes what is new in the room, like [`Outlet::write_runs`]; nobody is
    /// woken when more would go.
    pub(super) fn write_stretch(&mut self, stretch: &Stretch) -> io::Result<bool> {
        // What nearly every delivery is: all of it is new, and goes at once.
        if self.skip.is_none()
            && stretch.follows(self.position)
            && let Some(written) = self.wire.try_write(stretch, &mut self.position)
        {
            return written;
        }
        self.write_runs(&mut Context::from_waker(Waker::noop()), stretch.runs())
    }

    /// Writes what was read of the log. Pending where the socket is full: then
    /// the position tells how far it came.
    pub(super) fn write_reading(
        &mut self,
        cx: &mut Context<'_>,
        reading: &Reading,
    ) -> Poll<io::Result<()>> {
        // What is missing behind the frame is said before what follows that.
        let goes_on = match self.wire.cut() {
            Some(cut) => self.goes_on(cut) && reading.missing().is_none(),
            None => true,
        };
        ready!(self.wire.poll_cut(cx, reading))?;
        ready!(self.wire.poll_said(cx))?;
        if !goes_on {
            return Poll::Ready(Ok(()));
        }
        let mut pieces = Vec::new();
        for part in reading.parts() {
            self.add_pieces(&part, &mut pieces);
        }
        let reached = self.position.max(reading.upto());
        let wire = &mut self.wire;
        let written = wire.write_pieces(cx, &pieces, &mut self.position, reached);
        if let Some(inbox) = &mut self.inbox
            && let Some(last) = reading.last_private(self.position)
        {
            inbox.written = inbox.written.max(last);
        }
        written
    }

    /// Writes what is new of the runs, which follow each other in the room.
    ///
    /// True when all of it went out. False when the socket is full, or a run
    /// does not follow what was written before: the position tells how far it
    /// came.
    fn write_runs(&mut self, cx: &mut Context<'_>, runs: &[Arc<Run>]) -> io::Result<bool> {
        if self.waiting() > 0 {
            return Ok(false);
        }
        let mut pieces = Vec::with_capacity(runs.len());
        let mut reached = self.position;
        let mut follow = true;
        for run in runs {
            if run.last() <= reached {
                continue;
            }
            if run.prev() > reached {
                follow = false;
                break;
            }
            let (from, to) = (0, run.slots().len());
            self.add_pieces(&Part { run, from, to }, &mut pieces);
            reached = run.last();
        }
        let wire = &mut self.wire;
        let written = wire.write_pieces(cx, &pieces, &mut self.position, reached)?;
        Ok(follow && written.is_ready())
    }

    /// The pieces of a part that are to be written, none of them without a frame.
    fn add_pieces<'a>(&self, part: &Part<'a>, pieces: &mut Vec<Part<'a>>) {
        let Part { run, from, to } = *part;
        let mut from = from.max(run.index_after(self.position));
        let block = run.block(self.format());
        let mut put = |from, to| {
            if !block.frames(from, to).is_empty() {
                pieces.push(Part { run, from, to });
            }
        };
        if let Some(since) = self.skip {
            for (index, entry) in run.slots()[..to].iter().enumerate().skip(from) {
                if entry.seq() > since && entry.message().is_some_and(|m| m.origin == self.origin) {
                    put(from, index);
                    from = index + 1;
                }
            }
        }
        put(from, to);
    }

    /// Ends the sending direction.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.poll_shutdown(cx)
    }

    /// Of which message a frame is partly out.
    #[cfg(test)]
    pub(super) fn cut(&self) -> Option<Seq> {
        self.wire.cut().map(|cut| cut.seq)
    }

    /// Whether its session is woken when there is something to do for it.
    #[cfg(test)]
    pub(super) fn has_waker(&self) -> bool {
        self.wire.has_waker()
    }
}
