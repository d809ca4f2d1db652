//! The one place that writes to a connection's socket.
//!
//! Session and shard share it behind a lock. Whole frames only: the rest of a
//! frame whose beginning went out goes before anything else.

use std::{
    io::{self, IoSlice},
    mem::Discriminant,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use tokio::io::AsyncWrite;

use super::{
    Saying, Socket,
    reading::{Feed, Part, Reading},
    stretch::Stretch,
    waiting::{Cut, Waiting},
};
use crate::{
    history::{History, Run, StoreError},
    metrics::Tally,
    protocol::{Event, Seq, format::Format, name::RoomName},
};

/// The most pieces handed to one `writev(2)`.
const MAX_PIECES: usize = 64;

/// How much may be held back of what was said aside.
const MAX_HELD: usize = 1000;

/// How many bytes may wait for the socket where something is said aside.
const MAX_BEFORE_ASIDE: usize = 4096;

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
    socket: Option<Socket>,
    format: Format,
    /// Where its reader is, who may also be an author.
    pub(super) addr: SocketAddr,
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
    /// What was said aside of a room and is to be heard once that is live.
    held: Option<Box<Held>>,
    /// What goes before anything else.
    rest: Waiting,
    /// How many writes made progress; a writer that sees no change is blocked.
    pub(super) progress: u64,
    failed: Option<io::ErrorKind>,
    /// What was written and is not counted yet.
    pub(super) written: Tally,
    /// The session's, for when there is something to do for it.
    pub(super) waker: Option<Waker>,
    /// The shard's: the room it lists this subscriber under.
    pub(super) listed: Option<RoomName>,
    /// It waits in the shard's mailbox.
    pub(super) mailed: bool,
}

/// The inbox of a reader.
pub(super) struct Inbox {
    pub(super) feed: Feed,
    /// The last number of it that was written.
    pub(super) written: Seq,
}

/// What was said aside of a room and not heard: of each kind the last.
struct Held {
    room: RoomName,
    frames: Vec<Word>,
}

/// A frame, and what it is the last of, if only the last one counts.
type Word = (Option<Discriminant<Event>>, Arc<[u8]>);

impl Outlet {
    pub(super) fn new(socket: Socket, format: Format, addr: SocketAddr, skip: Option<Seq>) -> Self {
        Outlet {
            socket: Some(socket),
            format,
            addr,
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
            held: None,
            rest: Waiting::default(),
            progress: 0,
            failed: None,
            written: Tally::default(),
            waker: None,
            listed: None,
            mailed: false,
        }
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// How many bytes wait to go first.
    pub(super) fn waiting(&self) -> usize {
        self.rest.len()
    }

    /// How many bytes are kept in memory until the socket takes them.
    pub(super) fn kept(&self) -> usize {
        let held = self.held.iter().flat_map(|held| &held.frames);
        self.rest.said().len() + held.map(|(_, frame)| frame.len()).sum::<usize>()
    }

    /// From here on the session is woken when there is something to do for it.
    pub(super) fn is_awaited(&mut self, cx: &Context<'_>) {
        let awaited = |waker: &Waker| waker.will_wake(cx.waker());
        if !self.waker.as_ref().is_some_and(awaited) {
            self.waker = Some(cx.waker().clone());
        }
    }

    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Hands back to the session: it feeds the subscriber from the log.
    pub(super) fn fall_behind(&mut self) {
        self.mode = Mode::CatchingUp;
        self.wake();
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
        let after = self.rest.cut().map_or(self.position, Cut::before);
        match self.rest.cut() {
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
        self.socket = None;
        self.held = None;
        self.rest = Waiting::default();
        self.waker = None;
    }

    /// Queues whole frames and writes what the socket takes at once.
    pub(super) fn send(&mut self, frames: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        self.rest.say(frames);
        // A failure shows at the next poll of the session.
        let mut cx = Context::from_waker(Waker::noop());
        if self.is_cut() || self.poll_said(&mut cx).is_pending() {
            self.wake();
        }
    }

    /// Says something of a room that is no message; or `later`, at the next
    /// time the room is live.
    pub(super) fn say_aside(&mut self, room: &RoomName, now: &Saying, later: &Saying) {
        let kind = later.kind;
        let (Some(now), Some(later)) = (now.frame(self.format), later.frame(self.format)) else {
            return;
        };
        if let Some(held) = &mut self.held {
            held.frames
                .retain(|(other, _)| kind.is_none() || *other != kind);
        }
        let follows = matches!(self.mode, Mode::CatchingUp | Mode::Live)
            && !self.announce
            && self.room.room == *room;
        if follows && self.waiting() < MAX_BEFORE_ASIDE {
            self.send(now);
        } else if self.mode != Mode::Gone {
            let held = self.held.take().filter(|held| held.room == *room);
            let mut held = held.unwrap_or_else(|| {
                let (room, frames) = (room.clone(), Vec::new());
                Box::new(Held { room, frames })
            });
            // More than that are erased while a socket takes nothing: then some
            // are told no more, as to who is not connected.
            if held.frames.len() < MAX_HELD {
                held.frames.push((kind, Arc::clone(later)));
            }
            self.held = Some(held);
        }
    }

    /// What was said in a room under a number is erased: where it was shown that
    /// is told, and where not nobody shows it any more.
    pub(super) fn erased(&mut self, room: &RoomName, seq: Seq, told: &Saying) {
        if self.room.room != *room {
            return;
        }
        if self.position.max(self.room.floor) >= seq {
            return self.say_aside(room, told, told);
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
        if let Some(frame) = self.format.frame(event) {
            self.send(&frame);
        }
    }

    /// Says `live`, and is.
    pub(super) fn go_live(&mut self) {
        self.mode = Mode::Live;
        if std::mem::take(&mut self.announce) {
            self.say(&Event::Live { seq: self.position });
        }
        if let Some(held) = self.held.take()
            && held.room == self.room.room
        {
            for (_, frame) in &held.frames {
                self.send(frame);
            }
        }
    }

    /// Whether a frame is partly out.
    pub(super) fn is_cut(&self) -> bool {
        self.rest.cut().is_some()
    }

    /// Writes what the session said, unless a frame has to be completed before;
    /// then waits for the socket where the log goes on. (So nothing is read for
    /// one that is full.)
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_cut() {
            ready!(self.poll_said(cx))?;
        }
        match &self.socket {
            Some(socket) if self.is_cut() || self.mode == Mode::CatchingUp => socket.poll_ready(cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Writes what the session said; to be called where no frame is partly out.
    fn poll_said(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.rest.said().is_empty() {
            let written = ready!(self.poll_write(cx, |outlet, socket, cx| {
                socket.poll_write(cx, outlet.rest.said())
            }))?;
            self.rest.advance(written);
        }
        match self.failed {
            Some(kind) => Poll::Ready(Err(kind.into())),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Writes the rest of the frame that is partly out, which is the first of
    /// what was read.
    fn poll_cut(&mut self, cx: &mut Context<'_>, reading: &Reading) -> Poll<io::Result<()>> {
        let parts = reading.parts();
        let format = self.format;
        while let Some(cut) = self.rest.cut() {
            let frame = parts.first().and_then(|part| cut.find(part, format));
            let Some(frame) = frame else {
                // Nothing can follow half a frame.
                let erased = io::Error::other("what it was shown a part of is erased");
                return Poll::Ready(Err(self.fail(&erased)));
            };
            let out = cut.out;
            let written =
                ready!(self.poll_write(cx, |_, socket, cx| socket.poll_write(cx, &frame[out..])))?;
            if self.rest.advance_cut(written) {
                self.written.add(1, frame.len());
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what is new in the room, like [`Outlet::write_runs`]; nobody is
    /// woken when more would go.
    pub(super) fn write_stretch(&mut self, stretch: &Stretch) -> io::Result<bool> {
        let whole = self.waiting() == 0 && self.skip.is_none() && stretch.follows(self.position);
        let (true, Some(socket), None) = (whole, &mut self.socket, self.failed) else {
            return self.write_runs(&mut Context::from_waker(Waker::noop()), stretch.runs());
        };
        // What nearly every delivery is: all of it is new, and goes at once.
        let frames = stretch.frames(self.format);
        let written = match socket.try_write(frames) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(self.fail(&error)),
        };
        if written == frames.len() {
            self.progress += 1;
            self.position = stretch.last();
            self.written.add(stretch.messages(), frames.len());
            return Ok(true);
        }
        self.progress += u64::from(written > 0);
        let mut out = written;
        for run in stretch.runs() {
            let length = run.block(self.format).all().len();
            let (from, to) = (0, run.entries().len());
            if out < length {
                self.stop_in(&Part { run, from, to }, out);
                break;
            }
            self.written.add(to, length);
            self.position = run.last();
            out -= length;
        }
        Ok(false)
    }

    /// Writes what was read of the log. Pending where the socket is full: then
    /// the position tells how far it came.
    pub(super) fn write_reading(
        &mut self,
        cx: &mut Context<'_>,
        reading: &Reading,
    ) -> Poll<io::Result<()>> {
        // What is missing behind the frame is said before what follows that.
        let goes_on = match self.rest.cut() {
            Some(cut) => self.goes_on(cut) && reading.missing().is_none(),
            None => true,
        };
        ready!(self.poll_cut(cx, reading))?;
        ready!(self.poll_said(cx))?;
        if !goes_on {
            return Poll::Ready(Ok(()));
        }
        let mut pieces = Vec::new();
        for part in reading.parts() {
            self.add_pieces(&part, &mut pieces);
        }
        let reached = self.position.max(reading.upto());
        let written = self.write_pieces(cx, &pieces, reached);
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
        for run in runs {
            if run.last() <= reached {
                continue;
            }
            if run.prev() > reached {
                let _full = self.write_pieces(cx, &pieces, reached)?;
                return Ok(false);
            }
            let (from, to) = (0, run.entries().len());
            self.add_pieces(&Part { run, from, to }, &mut pieces);
            reached = run.last();
        }
        Ok(self.write_pieces(cx, &pieces, reached)?.is_ready())
    }

    /// The pieces of a part that are to be written, none of them without a frame.
    fn add_pieces<'a>(&self, part: &Part<'a>, pieces: &mut Vec<Part<'a>>) {
        let Part { run, from, to } = *part;
        let mut from = from.max(run.index_after(self.position));
        let block = run.block(self.format);
        let mut put = |from, to| {
            if !block.frames(from, to).is_empty() {
                pieces.push(Part { run, from, to });
            }
        };
        if let Some(since) = self.skip {
            for (index, entry) in run.entries()[..to].iter().enumerate().skip(from) {
                if entry.seq() > since && entry.message().is_some_and(|m| m.from.addr == self.addr)
                {
                    put(from, index);
                    from = index + 1;
                }
            }
        }
        put(from, to);
    }

    /// Writes the pieces; with all of them out, the position is `reached`.
    fn write_pieces(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[Part<'_>],
        reached: Seq,
    ) -> Poll<io::Result<()>> {
        let format = self.format;
        let mut first = 0;
        // How much of the first is out.
        let mut out = 0;
        while first < pieces.len() {
            let mut slices: Vec<IoSlice<'_>> = pieces[first..]
                .iter()
                .take(MAX_PIECES)
                .map(|piece| IoSlice::new(piece.frames(format)))
                .collect();
            slices[0].advance(out);
            let written = self.poll_write(cx, |_, socket, cx| match &slices[..] {
                [one] => socket.poll_write(cx, one),
                many => socket.poll_write_vectored(cx, many),
            });
            drop(slices);
            let Poll::Ready(written) = written else {
                self.stop_in(&pieces[first], out);
                return Poll::Pending;
            };
            out += written?;
            while let Some(piece) = pieces.get(first)
                && let length = piece.frames(format).len()
                && out >= length
            {
                out -= length;
                self.written.add(piece.to - piece.from, length);
                self.position = piece.last();
                first += 1;
            }
        }
        self.position = reached;
        Poll::Ready(Ok(()))
    }

    /// The socket took `out` bytes of a piece and no more: between two frames, or
    /// in the middle of one.
    fn stop_in(&mut self, piece: &Part<'_>, mut out: usize) {
        let Part { run, from, to } = *piece;
        let block = run.block(self.format);
        for at in from..to {
            let length = block.frames(at, at + 1).len();
            let seq = run.entries()[at].seq();
            if out < length {
                if out > 0 {
                    let room = run.room().clone();
                    self.position = seq;
                    self.rest.cut_at(Cut {
                        room,
                        seq,
                        length,
                        out,
                    });
                }
                return;
            }
            out -= length;
            self.written.add(1, length);
            self.position = seq;
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(&Self, Pin<&mut Socket>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Some(kind) = self.failed {
            return Poll::Ready(Err(kind.into()));
        }
        let Some(mut socket) = self.socket.take() else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let written = write(self, Pin::new(&mut socket), cx);
        self.socket = Some(socket);
        match written {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(0)) => Poll::Ready(Err(self.fail(&io::ErrorKind::WriteZero.into()))),
            Poll::Ready(Ok(written)) => {
                self.progress += 1;
                Poll::Ready(Ok(written))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.fail(&error))),
        }
    }

    /// A socket that failed once has nothing more to say to anyone.
    fn fail(&mut self, error: &io::Error) -> io::Error {
        self.failed = Some(error.kind());
        self.rest = Waiting::default();
        self.wake();
        error.kind().into()
    }

    /// Ends the sending direction.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Some(socket) => Pin::new(socket).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Of which message a frame is partly out.
    #[cfg(test)]
    pub(super) fn cut(&self) -> Option<Seq> {
        self.rest.cut().map(|cut| cut.seq)
    }
}
