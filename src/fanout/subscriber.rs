//! A session's delivery end.

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Sleep;

use super::{
    handle::Handle,
    history::History,
    mailbox::Mailbox,
    outlet::{Inbox, Mode, Outlet, Shared},
    reading::{Feed, Reading},
};
use crate::{
    metrics::Metrics,
    protocol::{Seq, name::RoomName},
    store::StoreError,
};

/// How long a socket may take nothing before its reader is given up. Longer
/// than the 20 s that a busy or suspended program may well stand still.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);

/// Why delivery ended before its time.
#[derive(Debug)]
pub enum Undelivered {
    /// The socket took nothing for the whole write deadline.
    Slow,
    /// The connection broke.
    Lost(io::Error),
    /// The log could not be read.
    Unreadable(StoreError),
}

/// What is read from the database while it is awaited.
type Looking = Pin<Box<dyn Future<Output = Result<Reading, StoreError>> + Send>>;

/// The session's end: follows one room, and says what else is to be said.
///
/// Nothing moves unless [`Subscriber::deliver`] is polled. Dropping it leaves
/// the room and closes the socket.
pub struct Subscriber {
    shared: Arc<Shared>,
    mailbox: Arc<Mailbox>,
    history: History,
    reading: Option<Looking>,
    /// While the socket is full: when it is given up, and the progress seen.
    deadline: Option<(Pin<Box<Sleep>>, u64)>,
    /// Deliver what there is, and end.
    ending: bool,
    metrics: Arc<Metrics>,
}

impl Subscriber {
    pub(super) fn new(
        history: History,
        mailbox: Arc<Mailbox>,
        outlet: Outlet,
        metrics: Arc<Metrics>,
    ) -> Self {
        Subscriber {
            metrics,
            shared: Shared::new(outlet),
            mailbox,
            history,
            reading: None,
            deadline: None,
            ending: false,
        }
    }

    /// Follows a room from after a position, in place of any followed before.
    pub fn follow(&mut self, room: RoomName, after: Seq) {
        self.ending = false;
        self.reading = None;
        let mut guard = self.shared.lock();
        let outlet = &mut *guard;
        outlet.room = Feed { room, floor: after };
        let written = std::mem::replace(&mut outlet.position, after);
        if let Some(inbox) = &mut outlet.inbox {
            inbox.feed.floor = inbox.feed.floor.max(written);
            outlet.position = after.min(inbox.feed.floor);
        }
        outlet.announce = true;
        self.set_mode(outlet, Mode::CatchingUp);
    }

    /// Reads the inbox of somebody as well, from after a number, in place of any
    /// that was read before.
    pub fn receive(&mut self, inbox: RoomName, after: Seq) {
        self.reading = None;
        let mut guard = self.shared.lock();
        let outlet = &mut *guard;
        let feed = Feed {
            room: inbox,
            floor: after,
        };
        outlet.inbox = Some(Box::new(Inbox {
            feed,
            written: after,
        }));
        if outlet.mode != Mode::Idle {
            outlet.room.floor = outlet.room.floor.max(outlet.position);
            outlet.position = outlet.position.min(after);
            self.set_mode(outlet, Mode::CatchingUp);
        }
    }

    /// Up to which number everything that was said to its reader alone has gone
    /// out, as far as there is anything.
    pub fn received(&self) -> Option<Seq> {
        let outlet = self.shared.lock();
        let inbox = outlet.inbox.as_ref()?;
        (outlet.waiting() == 0).then_some(inbox.written)
    }

    /// Delivers everything committed so far; then [`Subscriber::deliver`] ends.
    pub fn finish(&mut self) {
        self.ending = true;
        let mut outlet = self.shared.lock();
        if outlet.mode != Mode::Idle {
            self.set_mode(&mut outlet, Mode::CatchingUp);
        }
    }

    /// Follows nothing any more; [`Subscriber::deliver`] ends when what was
    /// sent is out.
    pub fn stop(&mut self) {
        self.ending = true;
        self.reading = None;
        self.set_mode(&mut self.shared.lock(), Mode::Idle);
    }

    /// Takes the subscriber out of the shard's hands.
    fn set_mode(&self, outlet: &mut Outlet, mode: Mode) {
        outlet.mode = mode;
        if outlet.listed.is_anywhere() {
            self.mailbox.put(&self.shared, outlet);
        }
    }

    /// Says something of the session's own, in whole frames, before any message
    /// that is not yet begun.
    pub fn send(&mut self, frames: &[u8]) {
        self.shared.lock().send(frames);
    }

    /// How many bytes the socket has not taken yet of what was sent.
    pub fn waiting(&self) -> usize {
        self.shared.lock().waiting()
    }

    /// Whether the socket took less than there was for it.
    pub fn is_blocked(&self) -> bool {
        self.deadline.is_some() || self.waiting() > 0
    }

    /// A way to this subscriber for the rest of the server.
    pub fn handle(&self) -> Handle {
        Handle::new(&self.shared)
    }

    /// Drives delivery; ends after `finish` or `stop`, and when it fails. Safe
    /// to drop and call again.
    pub async fn deliver(&mut self) -> Result<(), Undelivered> {
        poll_fn(|cx| self.poll_deliver(cx)).await
    }

    /// The same; but where so many bytes wait, or more, it ends with false once
    /// there are fewer.
    pub async fn deliver_below(&mut self, most: usize) -> Result<bool, Undelivered> {
        let many = self.waiting() >= most;
        poll_fn(|cx| match self.poll_deliver(cx) {
            Poll::Pending if many && self.waiting() < most => Poll::Ready(Ok(false)),
            delivered => delivered.map_ok(|()| true),
        })
        .await
    }

    pub(super) fn poll_deliver(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Undelivered>> {
        loop {
            let mut outlet = self.shared.lock();
            // Also while it waits for its socket, whose one waker others take when
            // they say something.
            outlet.is_awaited(cx);
            match outlet.poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    self.reading = None;
                    return Poll::Ready(Err(Undelivered::Lost(error)));
                }
                Poll::Pending => {
                    // Whoever waits for the socket is not in the way of others
                    // who read.
                    self.reading = None;
                    drop(outlet);
                    return self.poll_deadline(cx).map(Err);
                }
            }
            match outlet.mode {
                _ if outlet.is_cut() => {}
                Mode::Idle if self.ending => return Poll::Ready(Ok(())),
                Mode::Idle | Mode::Live | Mode::Gone => {
                    self.deadline = None;
                    return Poll::Pending;
                }
                Mode::CatchingUp => {}
            }
            let reading = if let Some(looking) = &mut self.reading {
                drop(outlet);
                let Poll::Ready(found) = looking.as_mut().poll(cx) else {
                    return Poll::Pending;
                };
                self.reading = None;
                outlet = self.shared.lock();
                let reading = found.map_err(Undelivered::Unreadable)?;
                if outlet.outdated {
                    continue;
                }
                reading
            } else if let Some(reading) = outlet.recent(&self.history) {
                if reading.is_empty() && !outlet.is_cut() {
                    outlet.position = outlet.position.max(reading.upto());
                    if self.ending {
                        outlet.mode = Mode::Idle;
                    } else if outlet.mailed {
                        // The shard looks into its mailbox before it writes what
                        // comes from here on, in the room and in the inbox.
                        outlet.go_live();
                    } else {
                        // What came before is found by another look.
                        self.mailbox.put(&self.shared, &mut outlet);
                    }
                    continue;
                }
                reading
            } else {
                outlet.outdated = false;
                self.metrics.pages.inc();
                self.reading = Some(Box::pin(outlet.find(self.history.clone())));
                continue;
            };
            if !outlet.is_cut() {
                outlet.say_missing(&reading);
            }
            // What does not go out now is not kept, but read again when the
            // socket is ready: memory does not grow with slowness.
            let written = outlet.write_reading(cx, &reading);
            self.metrics.delivered(outlet.take_written());
            match written {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Undelivered::Lost(error))),
                Poll::Pending => {
                    drop(outlet);
                    return self.poll_deadline(cx).map(Err);
                }
            }
        }
    }

    /// The socket is full: waits for it, but not for ever.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Undelivered> {
        let progress = self.shared.lock().progress();
        let sleep = match &mut self.deadline {
            Some((sleep, seen)) if *seen == progress => sleep,
            deadline => {
                let sleep = Box::pin(tokio::time::sleep(WRITE_DEADLINE));
                &mut deadline.insert((sleep, progress)).0
            }
        };
        sleep.as_mut().poll(cx).map(|()| Undelivered::Slow)
    }

    #[cfg(test)]
    pub(super) fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    #[cfg(test)]
    pub(super) fn outlet(&self) -> std::sync::MutexGuard<'_, Outlet> {
        self.shared.lock()
    }

    /// Ends the sending direction of the connection.
    pub async fn shutdown(&mut self) {
        // The peer may be gone: then there is nothing left to end.
        let _gone = poll_fn(|cx| self.shared.lock().poll_shutdown(cx)).await;
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let mut outlet = self.shared.lock();
        outlet.close();
        if outlet.listed.is_anywhere() {
            self.mailbox.put(&self.shared, &mut outlet);
        }
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber")
            .field("ending", &self.ending)
            .finish_non_exhaustive()
    }
}
