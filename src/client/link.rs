//! One connection: frames in, commands out, and whether anything is heard.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Sink, SinkExt, Stream};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};
use tokio_websockets::Message;

use super::{connect::Socket, end::End, happened::Frame};

/// How long the server may take to answer our close frame. Nothing depends on
/// the answer, so a person at a terminal should not wait for long.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// How often it is checked whether the server was heard at all.
const LISTEN: Duration = Duration::from_secs(15);

/// After how many silent checks the server is asked for a sign of life.
const SILENT_ASK: u32 = 2;

/// After how many silent checks it is taken for gone.
const SILENT_GONE: u32 = 4;

/// How many frames are read, or commands gathered, before what waits is
/// written even though more can be read.
pub(super) const TURN: usize = 256;

/// How many pings may wait to be answered while the server does not read.
const MAX_PINGS: usize = 1000;

pub(super) struct Link {
    socket: Socket,
    since: Instant,
    /// The socket holds frames that are not flushed.
    unflushed: bool,
    /// Frames read since the last write.
    read: usize,
    /// Pings since the last complete flush.
    pings: usize,
    listen: Interval,
    /// Checks since something was heard.
    silent: u32,
}

impl Link {
    pub(super) fn new(socket: Socket) -> Self {
        let since = Instant::now();
        let mut listen = interval_at(since + LISTEN, LISTEN);
        // Ticks missed while nobody asked what is next say nothing about the
        // server.
        listen.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Link {
            socket,
            since,
            unflushed: false,
            read: 0,
            pings: 0,
            listen,
            silent: 0,
        }
    }

    /// How long it has lasted.
    pub(super) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// Whether so much was read that it is time to write.
    pub(super) fn has_read_enough(&self) -> bool {
        self.read >= TURN
    }

    /// The next frame with a text.
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

    /// Writes as many commands as the socket takes.
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

    /// Asks a silent server for a sign of life, and gives up one that gives
    /// none.
    pub(super) fn poll_listen(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
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

    /// Says goodbye and waits for the answer, but not for long.
    pub(super) async fn close(mut self) {
        // Whether the server answers changes nothing any more.
        let _ = timeout(CLOSE_DEADLINE, self.socket.close()).await;
    }
}
