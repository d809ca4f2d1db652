//! One connection: it reads frames, writes commands, and notices a silent
//! server.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Sink, SinkExt, Stream};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};
use tokio_websockets::Message;

use super::{client_event::Frame, connect::ClientSocket, end::End};

/// How long the server may take to answer our close frame. The answer changes
/// nothing, so a person at a terminal should not wait long for it.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// The interval of the checks for a silent server.
const CHECK_INTERVAL: Duration = Duration::from_secs(15);

/// The number of silent checks after which the client pings the server.
const SILENT_ASK: u32 = 2;

/// The number of silent checks after which the connection counts as lost.
const SILENT_GONE: u32 = 4;

/// The number of frames read, or of commands waiting, after which the client
/// writes even though it could read more.
pub(super) const TURN: usize = 256;

/// The number of pings that may wait for their pongs while the server does not
/// read.
const MAX_PINGS: usize = 1000;

/// One connection of a client.
pub(super) struct ServerLink {
    socket: ClientSocket,
    since: Instant,
    /// Whether the socket holds frames that are not flushed.
    unflushed: bool,
    /// Frames read since the last write.
    read: usize,
    /// Pings since the last complete flush.
    pings: usize,
    listen: Interval,
    /// Checks since the last frame arrived.
    silent: u32,
}

impl ServerLink {
    pub(super) fn new(socket: ClientSocket) -> Self {
        let since = Instant::now();
        let mut listen = interval_at(since + CHECK_INTERVAL, CHECK_INTERVAL);
        // Checks missed while the caller did not poll say nothing about the
        // server, so they must not fire in a burst.
        listen.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ServerLink {
            socket,
            since,
            unflushed: false,
            read: 0,
            pings: 0,
            listen,
            silent: 0,
        }
    }

    /// The time since the connection was made.
    pub(super) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// Whether [`TURN`] frames were read since the last write.
    pub(super) fn has_read_enough(&self) -> bool {
        self.read >= TURN
    }

    /// Reads the next text frame.
    ///
    /// # Errors
    ///
    /// Fails if the connection has ended, or if the server sent a binary frame
    /// or too many pings.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, End>> {
        loop {
            let frame = match Pin::new(&mut self.socket).poll_next(cx) {
                Poll::Ready(Some(frame)) => frame?,
                Poll::Ready(None) => return Poll::Ready(Err(End::cut_off())),
                Poll::Pending => return Poll::Pending,
            };
            self.read += 1;
            self.silent = 0;
            if frame.is_ping() {
                // The library has queued the answer.
                self.unflushed = true;
                self.pings += 1;
                if self.pings > MAX_PINGS {
                    let why = "it pings without reading the answers".to_owned();
                    return Poll::Ready(Err(End::Lost(why)));
                }
                if self.has_read_enough() {
                    self.poll_write(cx, || None)?;
                }
            } else if let Some(end) = End::closed(&frame) {
                return Poll::Ready(Err(end));
            } else if frame.is_binary() {
                return Poll::Ready(Err(End::Lost("it sent a binary message".to_owned())));
            } else if frame.is_text() {
                return Poll::Ready(Ok(Frame(frame)));
            }
        }
    }

    /// Writes commands from `next` until the socket takes no more.
    ///
    /// # Errors
    ///
    /// Fails if the socket fails.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        mut next: impl FnMut() -> Option<String>,
    ) -> Result<(), End> {
        self.read = 0;
        let mut socket = Pin::new(&mut self.socket);
        loop {
            if socket.as_mut().poll_ready(cx)?.is_pending() {
                return Ok(());
            }
            let Some(command) = next() else { break };
            socket.as_mut().start_send(Message::text(command))?;
            self.unflushed = true;
        }
        if self.unflushed && socket.poll_flush(cx)?.is_ready() {
            self.unflushed = false;
            self.pings = 0;
        }
        Ok(())
    }

    /// Pings a server that was silent for 30 s.
    ///
    /// # Errors
    ///
    /// Fails if the server was silent for 60 s, or if the socket fails.
    pub(super) fn poll_silence(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        while self.listen.poll_tick(cx).is_ready() {
            self.silent += 1;
            if self.silent >= SILENT_GONE {
                return Err(End::Silent);
            }
            if self.silent == SILENT_ASK {
                Pin::new(&mut self.socket).start_send(Message::ping(""))?;
                self.unflushed = true;
                self.poll_write(cx, || None)?;
            }
        }
        Ok(())
    }

    /// Sends a close frame and waits up to [`CLOSE_DEADLINE`] for the answer.
    pub(super) async fn close(mut self) {
        // The connection is over whether or not the server answers.
        let _ = timeout(CLOSE_DEADLINE, self.socket.close()).await;
    }
}
