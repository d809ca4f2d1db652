//! The outlet: the only code that writes to a connection's socket.
//!
//! The session and the shard share it behind a lock.

mod held;
mod wire;

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use self::{held::Held, wire::Wire};
use super::{
    ephemeral::Ephemeral,
    history::History,
    merged_page::{Feed, MergedPage, Part},
    room_batch::RoomBatch,
    room_batches::RoomBatches,
    socket::Socket,
};
use crate::{
    metrics::DeliveryCount,
    protocol::{ConnectionId, Event, Seq, format::Format, ignored::IgnoredNames, name::RoomName},
    store::StoreError,
};

/// An ephemeral event is sent at once only if fewer bytes than this wait for
/// the socket.
const MAX_BEFORE_EPHEMERAL: usize = 4096;

/// An outlet, shared by its session, its shard and its handles.
pub(super) struct SharedOutlet {
    outlet: Mutex<Outlet>,
}

impl SharedOutlet {
    pub(super) fn new(outlet: Outlet) -> Arc<Self> {
        let outlet = Mutex::new(outlet);
        Arc::new(SharedOutlet { outlet })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Outlet> {
        self.outlet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that writes messages to the socket now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// None: the subscriber follows no room.
    Idle,
    /// The session, from the history.
    CatchingUp,
    /// The shard.
    Live,
    /// None: the connection is closed.
    Gone,
}

pub(super) struct Outlet {
    wire: Wire,
    /// The connection; a message with this origin is the subscriber's own.
    pub(super) origin: ConnectionId,
    /// The subscriber's own messages after this number are not delivered.
    skip_own_after: Option<Seq>,
    pub(super) mode: Mode,
    pub(super) room: Feed,
    /// The reader is not shown what these names say in rooms. Only in the plain
    /// formats: a JSON client needs every message for its `prev`.
    ignored: Option<Box<IgnoredNames>>,
    /// The inbox of the reader, if the reader has a name.
    pub(super) inbox: Option<Box<Inbox>>,
    /// Every message for this reader up to this number was written, except
    /// for the bytes that wait.
    pub(super) position: Seq,
    /// A message was redacted since the session began to read, so it must read
    /// again.
    pub(super) must_reread: bool,
    /// The `live` event must still be sent.
    pub(super) live_event_due: bool,
    /// Ephemeral events to send once the subscriber is live.
    held: Held,
    /// The lists of the shard that hold this subscriber; the shard maintains
    /// this.
    pub(super) listed: Listed,
    /// The subscriber is in the shard's mailbox.
    pub(super) mailed: bool,
}

/// The inbox of a reader.
pub(super) struct Inbox {
    pub(super) feed: Feed,
    /// The number of its last message that was written.
    pub(super) delivered: Seq,
}

/// The lists of a shard that hold a subscriber.
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
        skip_own_after: Option<Seq>,
    ) -> Self {
        Outlet {
            wire: Wire::new(socket, format),
            origin,
            skip_own_after,
            mode: Mode::Idle,
            room: Feed {
                room: RoomName::lobby(),
                floor: Seq::START,
            },
            ignored: None,
            inbox: None,
            position: Seq::START,
            must_reread: false,
            live_event_due: false,
            held: Held::default(),
            listed: Listed::default(),
            mailed: false,
        }
    }

    pub(super) fn format(&self) -> Format {
        self.wire.format()
    }

    /// Hides what these names say in rooms, if the format has no `prev`.
    pub(super) fn ignore(&mut self, names: &IgnoredNames) {
        let hides = self.format().hides_ignored() && !names.is_empty();
        self.ignored = hides.then(|| Box::new(names.clone()));
    }

    /// Whether some messages of the room are not for this reader.
    fn hides_some(&self) -> bool {
        self.skip_own_after.is_some() || self.ignored.is_some()
    }

    /// Whether the message in this place, if it has one, is not for this reader.
    fn hides(&self, room_batch: &RoomBatch, index: usize) -> bool {
        let slot = &room_batch.slots()[index];
        let Some((_, connection)) = slot.author() else {
            return false;
        };
        let is_own = connection == self.origin
            && self.skip_own_after.is_some_and(|since| slot.seq() > since);
        let ignores = |names: &IgnoredNames| {
            let author = room_batch.author_key(index);
            let is_private = slot.message().is_some_and(|message| message.to.is_some());
            !is_private && author.is_some_and(|key| names.contains(key))
        };
        is_own || self.ignored.as_deref().is_some_and(ignores)
    }

    /// The number of bytes that must be written before any message.
    pub(super) fn waiting(&self) -> usize {
        self.wire.waiting()
    }

    /// The number of bytes kept in memory until the socket takes them.
    pub(super) fn kept(&self) -> usize {
        self.wire.waiting() + self.held.len()
    }

    /// The number of writes that made progress. While it stays the same, the
    /// writer is blocked.
    pub(super) fn progress(&self) -> u64 {
        self.wire.progress()
    }

    /// Takes the tally of what was written since the last call.
    pub(super) fn take_written(&mut self) -> DeliveryCount {
        self.wire.take_written()
    }

    /// Registers the session's waker: from here on the session is woken when it
    /// has something to do.
    pub(super) fn register_waker(&mut self, cx: &Context<'_>) {
        self.wire.register_waker(cx);
    }

    /// Ends live delivery and wakes the session, which feeds the subscriber
    /// from the history.
    pub(super) fn fall_behind(&mut self) {
        self.mode = Mode::CatchingUp;
        self.wire.wake();
    }

    /// Reads the next messages for this reader from the tail; `None` if the
    /// tail may not have all of them.
    pub(super) fn recent(&self, history: &History) -> Option<MergedPage> {
        let inbox = self.inbox.as_ref().map(|inbox| &inbox.feed);
        MergedPage::recent(history, self.position, &self.room, inbox)
    }

    /// Reads the next messages for this reader from the tail or the store.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub(super) fn find(
        &self,
        history: History,
    ) -> impl Future<Output = Result<MergedPage, StoreError>> + use<> {
        let inbox = self.inbox.as_ref().map(|inbox| inbox.feed.clone());
        MergedPage::find(history, self.position, self.room.clone(), inbox)
    }

    /// Stops delivery for good, and drops the events that wait for it.
    pub(super) fn stop(&mut self) {
        if self.mode != Mode::Gone {
            self.mode = Mode::Idle;
        }
        self.held = Held::default();
    }

    /// Closes the socket and drops everything that waits for it.
    pub(super) fn close(&mut self) {
        self.mode = Mode::Gone;
        self.wire.close();
        self.held = Held::default();
    }

    /// Queues whole frames and writes what the socket takes at once.
    pub(super) fn send(&mut self, frames: &[u8]) {
        self.wire.send(frames);
    }

    /// Sends an ephemeral event of a room now, or holds `later` until the
    /// subscriber goes live. A live one whose socket is full catches up first.
    pub(super) fn send_ephemeral(&mut self, room: &RoomName, now: &Ephemeral, later: &Ephemeral) {
        let format = self.format();
        let (Some(frame), Some(_)) = (now.frame(format), later.frame(format)) else {
            return;
        };
        self.held.replace(later);
        let follows = matches!(self.mode, Mode::CatchingUp | Mode::Live)
            && !self.live_event_due
            && self.room.room == *room;
        if follows && self.waiting() < MAX_BEFORE_EPHEMERAL {
            self.send(frame);
        } else if self.mode != Mode::Gone {
            self.held.put(room, later, format);
            // The held events leave when the subscriber goes live again.
            if follows && self.mode == Mode::Live {
                self.fall_behind();
            }
        }
    }

    /// Sends an event of another room, if the subscriber has seen its replay and
    /// few bytes wait for the socket. Returns false if it was not sent.
    pub(super) fn tell(&mut self, event: &Event) -> bool {
        let is_ready = matches!(self.mode, Mode::CatchingUp | Mode::Live)
            && !self.live_event_due
            && self.waiting() < MAX_BEFORE_EPHEMERAL;
        if is_ready {
            self.send_event(event);
        }
        is_ready
    }

    /// Handles a redaction. A reader that was shown the message is sent `told`.
    /// Every reader reads the history again: a batch on its way may still quote
    /// the message.
    ///
    /// A frame that is partly written counts as shown. Its rest is still sent,
    /// as no other frame can follow half a frame; `told` comes behind it.
    pub(super) fn tell_redaction(&mut self, room: &RoomName, seq: Seq, told: &Ephemeral) {
        if self.room.room != *room {
            return;
        }
        if self.position.max(self.room.floor) >= seq {
            self.send_ephemeral(room, told, told);
        }
        self.must_reread = true;
        if self.mode == Mode::Live {
            self.fall_behind();
        }
    }

    /// Announces the holes of a reading that were not announced yet.
    pub(super) fn announce_holes(&mut self, page: &MergedPage) {
        if let Some((hole, next)) = page.gap()
            && hole.upto > self.position.max(self.room.floor)
        {
            self.send_event(&Event::Gap {
                after: self.position.max(self.room.floor),
                next,
                reason: hole.reason,
            });
            self.room.floor = hole.upto;
            self.position = hole.upto;
        }
        if let (Some(hole), Some(inbox)) = (page.inbox_hole(), &mut self.inbox)
            && hole.upto > inbox.feed.floor
        {
            inbox.feed.floor = hole.upto;
            self.send_event(&Event::Notice {
                text: "A private message to you is no longer available.".into(),
            });
        }
    }

    fn send_event(&mut self, event: &Event) {
        if let Some(frame) = self.format().frame(event) {
            self.send(&frame);
        }
    }

    /// Makes the subscriber live. Sends the `live` event if it is due, then the
    /// held events.
    pub(super) fn go_live(&mut self) {
        self.mode = Mode::Live;
        if std::mem::take(&mut self.live_event_due) {
            self.send_event(&Event::Live { seq: self.position });
        }
        for (_, frame) in self.held.take(&self.room.room) {
            self.send(&frame);
        }
    }

    /// Writes the bytes that come before any message. Then waits for the socket
    /// if messages are to be written, so that nothing is read for a full
    /// socket.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.poll_ready(cx, self.mode == Mode::CatchingUp)
    }

    /// Writes the new messages of a room, like [`Outlet::write_room_batches`]. No task
    /// is woken when the socket takes more.
    ///
    /// # Errors
    /// Fails if the connection is broken.
    pub(super) fn write_live(&mut self, room_batches: &RoomBatches) -> io::Result<bool> {
        // In nearly every delivery the whole stretch is new, and the socket
        // takes it at once.
        if !self.hides_some()
            && room_batches.follows(self.position)
            && let Some(written) = self.wire.try_write(room_batches, &mut self.position)
        {
            return written;
        }
        self.write_room_batches(
            &mut Context::from_waker(Waker::noop()),
            room_batches.as_slice(),
        )
    }

    /// Writes a reading. Pending if the socket is full: then the position tells
    /// how far the write came.
    pub(super) fn write_page(
        &mut self,
        cx: &mut Context<'_>,
        page: &MergedPage,
    ) -> Poll<io::Result<()>> {
        ready!(self.wire.poll_rest(cx))?;
        let mut pieces = Vec::new();
        for part in page.parts() {
            self.add_pieces(&part, &mut pieces);
        }
        let reached = self.position.max(page.upto());
        let wire = &mut self.wire;
        let written = wire.write_pieces(cx, &pieces, &mut self.position, reached);
        if let Some(inbox) = &mut self.inbox
            && let Some(last) = page.last_private(self.position)
        {
            inbox.delivered = inbox.delivered.max(last);
        }
        written
    }

    /// Writes the new messages of room batches that follow each other in the
    /// room.
    ///
    /// Returns true if everything was written. Returns false if the socket is
    /// full, or if a room batch does not follow the messages written before.
    /// Then the position tells how far the write came.
    fn write_room_batches(
        &mut self,
        cx: &mut Context<'_>,
        room_batches: &[Arc<RoomBatch>],
    ) -> io::Result<bool> {
        if self.waiting() > 0 {
            return Ok(false);
        }
        let mut pieces = Vec::with_capacity(room_batches.len());
        let mut reached = self.position;
        let mut follow = true;
        for room_batch in room_batches {
            if room_batch.last() <= reached {
                continue;
            }
            if room_batch.prev() > reached {
                follow = false;
                break;
            }
            let (from, to) = (0, room_batch.slots().len());
            self.add_pieces(
                &Part {
                    room_batch,
                    from,
                    to,
                },
                &mut pieces,
            );
            reached = room_batch.last();
        }
        let wire = &mut self.wire;
        let written = wire.write_pieces(cx, &pieces, &mut self.position, reached)?;
        Ok(follow && written.is_ready() && self.waiting() == 0)
    }

    /// Adds the pieces of a part that must be written; each piece has a frame.
    fn add_pieces<'a>(&self, part: &Part<'a>, pieces: &mut Vec<Part<'a>>) {
        let Part {
            room_batch,
            from,
            to,
        } = *part;
        let first = from.max(room_batch.index_after(self.position));
        let block = room_batch.block(self.format());
        let mut put = |from, to| {
            if !block.frames(from, to).is_empty() {
                pieces.push(Part {
                    room_batch,
                    from,
                    to,
                });
            }
        };
        let mut from = first;
        if self.hides_some() {
            for index in first..to {
                if self.hides(room_batch, index) {
                    put(from, index);
                    from = index + 1;
                }
            }
        }
        put(from, to);
    }

    /// Shuts down the sending direction of the connection.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.poll_shutdown(cx)
    }

    /// Whether the session's waker is registered.
    #[cfg(test)]
    pub(super) fn has_waker(&self) -> bool {
        self.wire.has_waker()
    }
}
