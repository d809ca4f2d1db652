//! The client: commands in, events out, and a count of what is not yet stored.
//!
//! A [`Client`] is one conversation with a room, always in the JSON format. It
//! knows nothing of standard input and output: those are its faces, of which
//! [`lines`] is the first.

pub mod address;
mod connect;
pub mod ids;
pub mod input;
pub mod lines;
pub mod output;

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};
use tokio_websockets::{Error, Message};

pub use self::connect::{ConnectError, connect, over};
use self::connect::{Socket, Why};
use crate::protocol::{self, Command, Event, Refusal, Welcome, json, name::MessageId, text::clean};

/// How long the server may take to answer our close frame. Nothing depends on
/// the answer, so a person at a terminal should not wait for long.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// How often it is checked whether the server was heard at all.
const LISTEN: Duration = Duration::from_secs(15);

/// After how many silent checks the server is asked for a sign of life.
const SILENT_ASK: u32 = 2;

/// After how many silent checks it is taken for gone.
const SILENT_GONE: u32 = 4;

/// How many messages may wait for their receipts: enough to keep a server busy
/// that commits in batches.
const WINDOW: usize = 1000;

/// How many bytes of text may wait for their receipts.
const WINDOW_BYTES: usize = 4 * 1024 * 1024;

/// How many frames are read, or commands gathered, before what waits is
/// written even though more can be read.
const TURN: usize = 256;

/// How many pings may wait to be answered while the server does not read.
const MAX_PINGS: usize = 1000;

/// One conversation with a room.
///
/// [`send`](Self::send) only queues: [`next`](Self::next) moves both directions,
/// so it is to be called again and again.
pub struct Client {
    socket: Socket,
    server: Arc<str>,
    welcome: Welcome,
    /// What has arrived and was not yet given out.
    first: Option<Happened>,
    /// Commands not yet handed to the socket.
    outgoing: VecDeque<String>,
    /// The socket holds frames that are not flushed.
    unflushed: bool,
    /// Frames read since the last write.
    read: usize,
    /// Pings since the last complete flush.
    pings: usize,
    /// Messages without a receipt, each with the size of its text.
    unconfirmed: HashMap<MessageId, usize>,
    unconfirmed_bytes: usize,
    listen: Interval,
    /// Checks since something was heard.
    silent: u32,
    ended: Option<End>,
}

/// What happened.
#[derive(Debug)]
pub enum Happened {
    /// The server told something.
    Told(Frame, Event),
    /// A message of this client was refused, and so was not stored.
    Refused {
        /// The event.
        frame: Frame,
        /// The id it was sent with.
        id: MessageId,
        /// Why; not yet safe to show.
        text: String,
    },
    /// The server told something this version does not know.
    Unknown(Frame),
    /// The conversation is over.
    Ended(End),
}

/// An event as it was received.
#[derive(Debug)]
pub struct Frame(Message);

impl Frame {
    /// The JSON text; not yet safe to show.
    pub fn text(&self) -> &str {
        // Not `as_text`: it takes the library's word for UTF-8, which does not
        // hold where the last fragment is empty (0.13.3).
        str::from_utf8(self.0.as_payload()).unwrap_or_default()
    }
}

/// Why a conversation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The server sent a close frame.
    Closed {
        /// The close code; 1005 when it gave none.
        code: u16,
        /// The reason; not yet safe to show.
        reason: String,
    },
    /// The connection broke.
    Lost(String),
    /// Nothing was heard for a minute.
    Silent,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Closed { code: 1000, reason } if reason.is_empty() => {
                f.write_str("it closed the connection")
            }
            End::Closed { code: 1005, .. } => {
                f.write_str("it closed the connection and gave no reason")
            }
            End::Closed { code: 1000, reason } => f.write_str(reason),
            End::Closed { code, reason } if reason.is_empty() => write!(f, "{code}"),
            End::Closed { code, reason } => write!(f, "{code}: {reason}"),
            End::Lost(why) => f.write_str(why),
            End::Silent => f.write_str("nothing was heard from it for a minute"),
        }
    }
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        End::Lost(match error {
            Error::Io(error) => match error.kind() {
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                    "the connection was reset".to_owned()
                }
                _ => error.to_string(),
            },
            Error::Protocol(error) => format!("it broke the WebSocket protocol: {error}"),
            error => error.to_string(),
        })
    }
}

impl Client {
    async fn welcomed(mut socket: Socket, server: Arc<str>) -> Result<Self, Why> {
        let told = loop {
            match socket.next().await {
                Some(Ok(frame)) if frame.is_text() => break Frame(frame),
                Some(Ok(frame)) if frame.is_binary() => {
                    return Err(Why::OtherChat("began with a binary message"));
                }
                Some(Ok(frame)) => {
                    if let Some(end) = closed(&frame) {
                        return Err(Why::Ended(end));
                    }
                }
                Some(Err(error)) => return Err(Why::Ended(error.into())),
                None => return Err(Why::Ended(End::Lost(CUT_OFF.to_owned()))),
            }
        };
        let Ok(Event::Welcome(welcome)) = json::parse_event(told.text()) else {
            return Err(Why::OtherChat("did not begin with a welcome"));
        };
        let mut listen = interval_at(Instant::now() + LISTEN, LISTEN);
        // Ticks missed while nobody asked what is next say nothing about the
        // server.
        listen.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Client {
            socket,
            server,
            first: Some(Happened::Told(told, Event::Welcome(welcome.clone()))),
            welcome,
            outgoing: VecDeque::new(),
            unflushed: false,
            read: 0,
            pings: 0,
            unconfirmed: HashMap::new(),
            unconfirmed_bytes: 0,
            listen,
            silent: 0,
            ended: None,
        })
    }

    /// What messages call the server: `host:port`.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The first event: the room, and the limits that hold there.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Whether another command may be sent now. While it may not, what comes
    /// [next](Self::next) makes room.
    pub fn has_room(&self) -> bool {
        self.unconfirmed.len() < WINDOW
            && self.unconfirmed_bytes < WINDOW_BYTES
            && self.outgoing.len() < WINDOW
    }

    /// How many messages sent with an id have neither been stored nor refused.
    pub fn unconfirmed(&self) -> usize {
        self.unconfirmed.len()
    }

    /// Queues a command; [`next`](Self::next) moves it on.
    pub fn send(&mut self, command: &Command) {
        if let Command::Publish {
            text, id: Some(id), ..
        } = command
        {
            self.unconfirmed_bytes += text.len();
            if let Some(before) = self.unconfirmed.insert(id.clone(), text.len()) {
                self.unconfirmed_bytes -= before;
            }
        }
        self.outgoing.push_back(json::command(command));
    }

    /// What happened next. Once ended, always that. Cancelled, it has lost
    /// nothing.
    pub async fn next(&mut self) -> Happened {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Says goodbye and waits for the answer, but not for long. What is still
    /// queued is given up.
    pub async fn close(mut self) {
        // Whether the server answers changes nothing any more.
        let _ = timeout(CLOSE_DEADLINE, self.socket.close()).await;
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Happened> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(first);
        }
        if let Some(end) = &self.ended {
            return Poll::Ready(Happened::Ended(end.clone()));
        }
        let happened = ready!(self.poll_turn(cx)).unwrap_or_else(|end| {
            self.ended = Some(end.clone());
            Happened::Ended(end)
        });
        Poll::Ready(happened)
    }

    /// Reads first, and writes when there is nothing to read: under load many
    /// commands then share a write. But neither direction waits for the other.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<Happened, End>> {
        loop {
            if self.read >= TURN || self.outgoing.len() >= TURN {
                self.poll_write(cx)?;
            }
            match Pin::new(&mut self.socket).poll_next(cx) {
                Poll::Ready(Some(frame)) => {
                    self.read += 1;
                    self.silent = 0;
                    if let Some(happened) = self.take(frame?)? {
                        return Poll::Ready(Ok(happened));
                    }
                }
                Poll::Ready(None) => {
                    return Poll::Ready(Err(End::Lost(CUT_OFF.to_owned())));
                }
                Poll::Pending => break,
            }
        }
        self.poll_write(cx)?;
        while self.listen.poll_tick(cx).is_ready() {
            self.silent += 1;
            if self.silent >= SILENT_GONE {
                return Poll::Ready(Err(End::Silent));
            }
            if self.silent == SILENT_ASK {
                Pin::new(&mut self.socket).start_send(Message::ping(""))?;
                self.unflushed = true;
                self.poll_write(cx)?;
            }
        }
        Poll::Pending
    }

    /// Writes as much as the socket takes.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        self.read = 0;
        let mut socket = Pin::new(&mut self.socket);
        while !self.outgoing.is_empty() {
            if socket.as_mut().poll_ready(cx)?.is_pending() {
                return Ok(());
            }
            if let Some(command) = self.outgoing.pop_front() {
                socket.as_mut().start_send(Message::text(command))?;
                self.unflushed = true;
            }
        }
        if self.unflushed && socket.poll_flush(cx)?.is_ready() {
            self.unflushed = false;
            self.pings = 0;
        }
        Ok(())
    }

    /// What a frame says; nothing when it is none of the faces' business.
    fn take(&mut self, frame: Message) -> Result<Option<Happened>, End> {
        if frame.is_ping() {
            // The library has queued the answer.
            self.unflushed = true;
            self.pings += 1;
            if self.pings > MAX_PINGS {
                return Err(End::Lost("it pings without reading the answers".to_owned()));
            }
        }
        if let Some(end) = closed(&frame) {
            return Err(end);
        }
        if frame.is_binary() {
            return Err(End::Lost("it sent a binary message".to_owned()));
        }
        if !frame.is_text() {
            return Ok(None);
        }
        let frame = Frame(frame);
        let Ok(event) = json::parse_event(frame.text()) else {
            return Ok(Some(Happened::Unknown(frame)));
        };
        Ok(Some(match event {
            Event::Refused(Refusal {
                id: Some(id), text, ..
            }) if self.confirm(&id) => Happened::Refused { frame, id, text },
            event => {
                if let Event::Message(protocol::Message { id: Some(id), .. })
                | Event::Accepted { id: Some(id), .. } = &event
                {
                    self.confirm(id);
                }
                Happened::Told(frame, event)
            }
        }))
    }

    /// Whether it was a message of this client that still waited.
    fn confirm(&mut self, id: &MessageId) -> bool {
        let bytes = self.unconfirmed.remove(id);
        self.unconfirmed_bytes -= bytes.unwrap_or_default();
        bytes.is_some()
    }
}

/// What is said of a connection that ended without a close frame.
const CUT_OFF: &str = "the connection was cut off";

fn closed(frame: &Message) -> Option<End> {
    frame.as_close().map(|(code, reason)| End::Closed {
        code: code.into(),
        reason: reason.to_owned(),
    })
}

/// Text on one line, safe to show: what comes from a server may want to be more.
fn one_line(text: &str) -> String {
    clean(text).replace('\n', " ")
}
