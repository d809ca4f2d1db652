//! The subscriber: the delivery end of a session.

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

use super::{
    handle::Handle,
    history::History,
    mailbox::Mailbox,
    merged_page::{Feed, MergedPage},
    outlet::{Inbox, Mode, Outlet, SharedOutlet},
};
use crate::{
    metrics::Metrics,
    protocol::{Seq, ignored::IgnoredNames, name::RoomName},
    store::StoreError,
};

/// How long a socket may take nothing before its reader is disconnected. This
/// is longer than the 20 s for which a busy or suspended program may stand
/// still.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);

/// Why delivery ended early.
#[derive(Debug)]
pub enum DeliveryError {
    /// The socket took nothing for the whole write deadline.
    Stalled,
    /// The connection broke.
    Lost(io::Error),
    /// The store could not be read.
    Unreadable(StoreError),
}

/// A read of the history that is under way.
type PendingRead = Pin<Box<dyn Future<Output = Result<MergedPage, StoreError>> + Send>>;

/// The delivery end of a session: follows one room, and sends the session's own
/// frames.
///
/// It catches up only while [`Subscriber::deliver`] is polled. Dropping it
/// leaves the room and closes the socket.
pub struct Subscriber {
    shared: Arc<SharedOutlet>,
    mailbox: Arc<Mailbox>,
    history: History,
    pending_read: Option<PendingRead>,
    /// While the socket is full: when the reader is disconnected, and the
    /// progress when this was set.
    deadline: Option<(Pin<Box<Sleep>>, u64)>,
    /// Since when it has been catching up.
    catching_up: Option<Instant>,
    /// Delivery ends once everything due is written.
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
            shared: SharedOutlet::new(outlet),
            mailbox,
            history,
            pending_read: None,
            deadline: None,
            catching_up: None,
            ending: false,
        }
    }

    /// Follows a room from a position on, instead of the room followed before.
    pub fn follow(&mut self, room: RoomName, after: Seq) {
        self.ending = false;
        self.pending_read = None;
        let mut guard = self.shared.lock();
        let outlet = &mut *guard;
        outlet.room = Feed { room, floor: after };
        let written = std::mem::replace(&mut outlet.position, after);
        if let Some(inbox) = &mut outlet.inbox {
            inbox.feed.floor = inbox.feed.floor.max(written);
            outlet.position = after.min(inbox.feed.floor);
        }
        outlet.live_event_due = true;
        self.set_mode(outlet, Mode::CatchingUp);
    }

    /// Also reads a person's inbox after a number, instead of any inbox read
    /// before.
    pub fn follow_inbox(&mut self, inbox: RoomName, after: Seq) {
        self.pending_read = None;
        let mut guard = self.shared.lock();
        let outlet = &mut *guard;
        let feed = Feed {
            room: inbox,
            floor: after,
        };
        outlet.inbox = Some(Box::new(Inbox {
            feed,
            delivered: after,
        }));
        if outlet.mode != Mode::Idle {
            outlet.room.floor = outlet.room.floor.max(outlet.position);
            outlet.position = outlet.position.min(after);
            self.set_mode(outlet, Mode::CatchingUp);
        }
    }

    /// Hides what these names say in rooms, in the plain formats.
    pub fn ignore(&mut self, names: &IgnoredNames) {
        self.shared.lock().ignore(names);
    }

    /// The number up to which the reader's private messages were written.
    /// `None` if it reads no inbox, or if bytes still wait for the socket.
    pub fn inbox_delivered(&self) -> Option<Seq> {
        let outlet = self.shared.lock();
        let inbox = outlet.inbox.as_ref()?;
        (outlet.waiting() == 0).then_some(inbox.delivered)
    }

    /// Delivers everything committed so far; then [`Subscriber::deliver`] ends.
    pub fn stop_at_head(&mut self) {
        self.ending = true;
        let mut outlet = self.shared.lock();
        if outlet.mode != Mode::Idle {
            self.set_mode(&mut outlet, Mode::CatchingUp);
        }
    }

    /// Follows no room any more. [`Subscriber::deliver`] ends once everything
    /// sent before is written.
    pub fn unfollow(&mut self) {
        self.ending = true;
        self.pending_read = None;
        self.set_mode(&mut self.shared.lock(), Mode::Idle);
    }

    /// Sets the mode, and puts a listed subscriber into the mailbox so that its
    /// shard notices.
    fn set_mode(&self, outlet: &mut Outlet, mode: Mode) {
        outlet.mode = mode;
        if outlet.listed.is_anywhere() {
            self.mailbox.put(&self.shared, outlet);
        }
    }

    /// Sends whole frames of the session, before any message whose frame is not
    /// yet partly written.
    pub fn send(&mut self, frames: &[u8]) {
        self.shared.lock().send(frames);
    }

    /// The number of sent bytes that the socket has not taken yet.
    pub fn waiting(&self) -> usize {
        self.shared.lock().waiting()
    }

    /// Whether the socket took fewer bytes than there were for it.
    pub fn is_blocked(&self) -> bool {
        self.deadline.is_some() || self.waiting() > 0
    }

    /// A handle to this subscriber for the rest of the server.
    pub fn handle(&self) -> Handle {
        Handle::new(&self.shared)
    }

    /// Drives delivery; ends after `stop_at_head` or `unfollow`, or when delivery
    /// fails.
    /// It can be dropped and called again.
    ///
    /// # Errors
    /// Fails if the socket takes nothing for the write deadline, the connection
    /// breaks or the store cannot be read.
    pub async fn deliver(&mut self) -> Result<(), DeliveryError> {
        poll_fn(|cx| self.poll_deliver(cx)).await
    }

    /// Writes the recent messages that the socket takes at once. A frame sent
    /// next comes behind them.
    pub fn deliver_recent(&mut self) {
        {
            let mut outlet = self.shared.lock();
            if outlet.mode == Mode::Live {
                self.set_mode(&mut outlet, Mode::CatchingUp);
            }
        }
        // The session polls again, and then learns of an error.
        let _ = self.poll_deliver(&mut Context::from_waker(Waker::noop()));
    }

    /// Drives delivery like [`Subscriber::deliver`]. But if `most` bytes or
    /// more wait at the start, it returns false once fewer wait.
    ///
    /// # Errors
    /// As [`Subscriber::deliver`].
    pub fn deliver_below(
        &mut self,
        most: usize,
    ) -> impl Future<Output = Result<bool, DeliveryError>> {
        let many = self.waiting() >= most;
        poll_fn(move |cx| match self.poll_deliver(cx) {
            Poll::Pending if many && self.waiting() < most => Poll::Ready(Ok(false)),
            delivered => delivered.map_ok(|()| true),
        })
    }

    pub(super) fn poll_deliver(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), DeliveryError>> {
        loop {
            let mut outlet = self.shared.lock();
            // Needed even while the session waits for its socket: a `send`
            // replaces the socket's one waker and wakes this one instead.
            outlet.register_waker(cx);
            match outlet.poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    self.pending_read = None;
                    return Poll::Ready(Err(DeliveryError::Lost(error)));
                }
                Poll::Pending => {
                    // A read in progress would hold up other readers of the
                    // store.
                    self.pending_read = None;
                    drop(outlet);
                    return self.poll_deadline(cx).map(Err);
                }
            }
            match outlet.mode {
                Mode::Idle if self.ending => return Poll::Ready(Ok(())),
                Mode::Idle | Mode::Live | Mode::Gone => {
                    self.deadline = None;
                    self.catching_up = None;
                    return Poll::Pending;
                }
                Mode::CatchingUp => {}
            }
            let since = *self.catching_up.get_or_insert_with(Instant::now);
            let page = if let Some(pending) = &mut self.pending_read {
                drop(outlet);
                let Poll::Ready(found) = pending.as_mut().poll(cx) else {
                    return Poll::Pending;
                };
                self.pending_read = None;
                outlet = self.shared.lock();
                let page = found.map_err(DeliveryError::Unreadable)?;
                // It may also have been stopped meanwhile.
                if outlet.must_reread || outlet.mode != Mode::CatchingUp {
                    continue;
                }
                page
            } else if let Some(page) = outlet.recent(&self.history) {
                if page.is_empty() {
                    outlet.position = outlet.position.max(page.upto());
                    if self.ending {
                        outlet.mode = Mode::Idle;
                    } else if outlet.mailed {
                        // The shard looks into its mailbox before it writes any
                        // later batch of the room or the inbox.
                        outlet.go_live();
                        let took = since.elapsed().as_secs_f64();
                        self.metrics.catching_up_time.observe(took);
                    } else {
                        // The next look into the tail finds the batches that
                        // came before.
                        self.mailbox.put(&self.shared, &mut outlet);
                    }
                    continue;
                }
                page
            } else {
                outlet.must_reread = false;
                self.metrics.pages.inc();
                self.pending_read = Some(Box::pin(outlet.find(self.history.clone())));
                continue;
            };
            outlet.announce_holes(&page);
            // Messages that the socket does not take now are not kept, but read
            // again when it is ready; only the rest of one frame is kept. So
            // memory does not grow with slowness.
            let written = outlet.write_page(cx, &page);
            self.metrics.delivered(outlet.take_written());
            match written {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(DeliveryError::Lost(error))),
                Poll::Pending => {
                    drop(outlet);
                    return self.poll_deadline(cx).map(Err);
                }
            }
        }
    }

    /// Waits for a full socket, at most for the write deadline; progress
    /// restarts the deadline.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<DeliveryError> {
        let progress = self.shared.lock().progress();
        let sleep = match &mut self.deadline {
            Some((sleep, seen)) if *seen == progress => sleep,
            deadline => {
                let sleep = Box::pin(tokio::time::sleep(WRITE_DEADLINE));
                &mut deadline.insert((sleep, progress)).0
            }
        };
        sleep.as_mut().poll(cx).map(|()| DeliveryError::Stalled)
    }

    #[cfg(test)]
    pub(super) fn has_pending_read(&self) -> bool {
        self.pending_read.is_some()
    }

    #[cfg(test)]
    pub(super) fn outlet(&self) -> std::sync::MutexGuard<'_, Outlet> {
        self.shared.lock()
    }

    /// Shuts down the sending direction of the connection.
    pub async fn shutdown(&mut self) {
        // The peer may be gone; then nothing is left to shut down.
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
