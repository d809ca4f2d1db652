//! The client: commands in, events out, and nothing lost between them.
//!
//! A [`Client`] is one conversation with a room, always in the JSON format. It
//! outlives its connections: when one ends it makes another, resumes after the
//! last message shown, and says again what is not known to be stored. It knows
//! nothing of standard input and output: those are its faces, [`lines`] for
//! pipes and plain terminals and [`screen`] for people.

pub mod address;
mod backoff;
mod connect;
mod end;
pub mod failure;
pub mod folder;
pub mod ids;
pub mod input;
mod keyring;
pub mod lines;
mod link;
mod outbox;
pub mod output;
mod position;
pub mod preferences;
pub mod screen;
#[cfg(test)]
mod scripted;

use std::{
    collections::VecDeque,
    future::poll_fn,
    io, mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep, sleep_until},
};
use tokio_websockets::Message;

use self::{
    address::Target,
    backoff::Backoff,
    connect::{Arrival, Connecting, Connector},
    link::{Link, TURN},
    position::{Reading, Step},
};
pub use self::{
    connect::ConnectError,
    end::End,
    keyring::Keyring,
    outbox::{Outbox, OutboxError},
    position::Position,
};
use crate::protocol::{
    Command, Event, Refusal, RefusalCode, Seq, Start, Welcome, json,
    name::{MessageId, Name},
    secret::Secret,
    text::clean,
};

/// How long to wait when a refusal for now does not say.
const RETRY: Duration = Duration::from_secs(1);

/// The bounds of what a server may ask for: neither a loop nor the end.
const SHORTEST_RETRY: Duration = Duration::from_millis(10);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// The longest wait a server that goes away may ask for.
const LONGEST_DRAIN: Duration = Duration::from_secs(300);

/// How long refusals for now are kept to oneself.
const HELD_LONG: Duration = Duration::from_secs(5);

/// How many receipts that were no echo are remembered until the echo comes:
/// as many as can have been said twice.
const MUTED: usize = 1000;

/// How a client is to behave.
#[derive(Debug)]
pub struct Options {
    /// Whether it connects again when the connection is lost.
    pub reconnect: bool,
    /// What decides how long it waits before that. Clients are to differ in it;
    /// the same one always waits the same.
    pub seed: u64,
    /// What it has said and was not told to be stored.
    pub outbox: Outbox,
    /// Where the secrets of its names are kept.
    pub keyring: Keyring,
}

/// One conversation with a room.
///
/// [`send`](Self::send) only queues: [`next`](Self::next) moves both directions,
/// so it is to be called again and again.
pub struct Client {
    connector: Connector,
    target: Target,
    reconnect: bool,
    phase: Phase,
    backoff: Backoff,
    /// On this connection something was shown or stored.
    progress: bool,
    welcome: Welcome,
    /// The name it wants to carry, and what proves it.
    name: Option<(Name, Option<Secret>)>,
    /// It was not welcomed under that name: why not is told next, and nothing
    /// is said before.
    unnamed: bool,
    keyring: Keyring,
    reading: Reading,
    outbox: Outbox,
    /// What has happened and was not yet given out.
    happened: VecDeque<Happened>,
    /// When what was refused for now is sent again.
    alarm: Pin<Box<Sleep>>,
    /// Refusals for now: since when, when last, and whether it was told.
    held: Option<Held>,
    /// Own messages that were confirmed and may still be echoed, where echoes
    /// are not wanted.
    muted: VecDeque<MessageId>,
}

enum Phase {
    Up(Box<Link>),
    Connecting(Connecting),
    Waiting(Pin<Box<Sleep>>),
    Over(End),
}

struct Held {
    since: Instant,
    last: Instant,
    told: bool,
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
    /// The server told something that is for programs only: what this version
    /// does not know, or what the client itself takes care of.
    Heard(Frame),
    /// Messages are missing, and the server has not said why.
    Hole {
        /// The last number shown before.
        after: Seq,
        /// The number that came next.
        next: Seq,
    },
    /// Something about the connection itself.
    State(State),
    /// The conversation is over.
    Ended(End),
}

/// How it stands with the connection: what a person may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// There is no connection, but there will be. Told again after every
    /// attempt that failed.
    Offline {
        /// What ended the connection, or made the attempt fail.
        why: End,
        /// How many messages are not known to be stored.
        unsent: usize,
        /// When it is tried again.
        again: Instant,
    },
    /// There is a connection again. The welcome comes next.
    Connected,
    /// What was missed is being shown.
    CatchingUp {
        /// The number shown last.
        at: Seq,
        /// Where the log ended at the welcome.
        head: Seq,
    },
    /// Everything was shown: from here on, things are seen as they happen.
    CaughtUp,
    /// The server has been taking messages slower than they are said.
    Held {
        /// Why, as it says; not yet safe to show.
        why: String,
        /// How many messages are not known to be stored.
        unsent: usize,
        /// When it is tried again.
        again: Instant,
    },
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

impl Client {
    /// Connects to a room, and waits until the server has said welcome. This
    /// first attempt is the only one that fails.
    pub async fn connect(target: &Target, options: Options) -> Result<Self, ConnectError> {
        Self::begin(Connector::tcp(target), target, options).await
    }

    /// The same over streams of any kind: `open` is called for every
    /// connection, and what it gives is spoken to as to a server just reached,
    /// from the HTTP upgrade on.
    pub async fn over<F, S>(
        open: impl FnMut() -> F + Send + 'static,
        target: &Target,
        options: Options,
    ) -> Result<Self, ConnectError>
    where
        F: Future<Output = io::Result<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Self::begin(Connector::over(open, target), target, options).await
    }

    async fn begin(
        mut connector: Connector,
        target: &Target,
        options: Options,
    ) -> Result<Self, ConnectError> {
        let Options {
            reconnect,
            seed,
            mut outbox,
            keyring,
        } = options;
        let name = target.name().map(|name| {
            // Without a secret it is borrowed.
            let secret = keyring.secret(&target.origin(), &name).ok().flatten();
            (name, secret)
        });
        let secret = name.as_ref().and_then(|(_, secret)| secret.as_ref());
        let (uri, start) = match outbox.position() {
            // An earlier client has read so far.
            Some(position) => {
                let start = Start {
                    after: Some(position.seq),
                    epoch: Some(position.epoch.clone()),
                    backlog: None,
                    inbox: position.inbox,
                };
                (target.resumed(&position.room, &start, None), start)
            }
            None => (target.uri().to_string(), target.start().clone()),
        };
        let arrival = connector.connect(uri, secret).await?;
        let welcome = arrival.welcome;
        // It may have died in another room.
        if outbox.last_room().is_some_and(|room| room != target.room()) {
            outbox.push(Command::Join {
                room: target.room().clone(),
                start: Start::default(),
            });
        }
        let mut client = Client {
            connector,
            target: target.clone(),
            reconnect,
            phase: Phase::Up(Box::new(Link::new(arrival.socket))),
            backoff: Backoff::seeded(seed),
            progress: false,
            unnamed: name.is_some() && welcome.you.name.is_none(),
            name,
            keyring,
            reading: Reading::begin(&welcome, &start, welcome.inbox),
            outbox,
            happened: VecDeque::new(),
            alarm: Box::pin(sleep_until(Instant::now())),
            held: None,
            muted: VecDeque::new(),
            welcome: welcome.clone(),
        };
        client.remember_start();
        client.happened = VecDeque::from([Happened::Told(arrival.frame, Event::Welcome(welcome))]);
        client.tell_catching_up();
        Ok(client)
    }

    /// What messages call the server: `host:port`.
    pub fn server(&self) -> &str {
        self.connector.server()
    }

    /// The last welcome: the room, and the limits that hold there.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Whether another command may be sent now. While it may not, what comes
    /// [next](Self::next) makes room.
    pub fn has_room(&self) -> bool {
        self.outbox.has_room()
    }

    /// How many messages sent with an id have neither been stored nor refused.
    pub fn unconfirmed(&self) -> usize {
        self.outbox.unconfirmed()
    }

    /// Whether those outlive this client.
    pub fn is_kept(&self) -> bool {
        self.outbox.is_kept()
    }

    /// The last message given out; nothing while a backlog is still to come.
    pub fn position(&self) -> Option<&Position> {
        self.reading.position()
    }

    /// Everything up to a position was shown, and need not be again: a later
    /// client with the same outbox goes on from there.
    pub fn remember(&mut self, position: &Position) {
        // What was shown of a room since left says nothing about this one.
        if position.room == *self.reading.room() {
            self.outbox.remember(position);
        }
    }

    /// Queues a command; [`next`](Self::next) moves it on.
    pub fn send(&mut self, mut command: Command) {
        if let Command::Name { name, secret } = &mut command
            && secret.is_none()
        {
            // Without one, the server makes it.
            let found = self.keyring.secret(&self.target.origin(), name);
            *secret = found.ok().flatten();
        }
        self.outbox.push(command);
    }

    /// What happened next. Once ended, always that. Cancelled, it has lost
    /// nothing.
    pub async fn next(&mut self) -> Happened {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Says goodbye and waits for the answer, but not for long. What is still
    /// queued is given up.
    pub async fn close(mut self) {
        // An outbox that cannot be written has been told of, or is of no use
        // any more.
        let _ = self.outbox.settle();
        if let Phase::Up(link) = self.phase {
            link.close().await;
        }
        self.outbox.end();
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Happened> {
        loop {
            if let Some(happened) = self.happened.pop_front() {
                return Poll::Ready(happened);
            }
            match self.poll_phase(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(end)) => self.lost(end),
                Poll::Pending => match self.outbox.settle() {
                    Ok(()) => return Poll::Pending,
                    Err(error) => self.end(End::Outbox(error.to_string())),
                },
            }
        }
    }

    fn poll_phase(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        match &mut self.phase {
            Phase::Up(_) => self.poll_link(cx),
            Phase::Connecting(connecting) => {
                match ready!(connecting.as_mut().poll(cx)) {
                    Ok(arrival) => self.arrive(arrival),
                    Err(error) => self.failed(&error),
                }
                Poll::Ready(Ok(()))
            }
            Phase::Waiting(sleep) => {
                ready!(sleep.as_mut().poll(cx));
                let (room, start) = (self.reading.room(), self.reading.start());
                let name = self.name.as_ref();
                let uri = self
                    .target
                    .resumed(room, &start, name.map(|(name, _)| name));
                let secret = name.and_then(|(_, secret)| secret.as_ref());
                self.phase = Phase::Connecting(self.connector.connect(uri, secret));
                Poll::Ready(Ok(()))
            }
            Phase::Over(end) => {
                self.happened.push_back(Happened::Ended(end.clone()));
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Reads first, and writes when there is nothing to read: under load many
    /// commands then share a write. But neither direction waits for the other.
    fn poll_link(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        while let Phase::Up(link) = &mut self.phase {
            if !self.unnamed && (link.has_read_enough() || self.outbox.waiting() >= TURN) {
                write(link, &mut self.outbox, cx)?;
            }
            let Poll::Ready(frame) = link.poll_read(cx) else {
                break;
            };
            self.take(frame?);
            if !self.happened.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
        if let Some(until) = self.outbox.held_until() {
            if self.alarm.deadline() != until {
                self.alarm.as_mut().reset(until);
            }
            if self.alarm.as_mut().poll(cx).is_ready() {
                self.outbox.release();
            }
        }
        let Phase::Up(link) = &mut self.phase else {
            return Poll::Ready(Ok(()));
        };
        if !self.unnamed {
            write(link, &mut self.outbox, cx)?;
        }
        link.poll_listen(cx)?;
        Poll::Pending
    }

    /// Goes on over a new connection.
    fn arrive(&mut self, arrival: Arrival) {
        self.phase = Phase::Up(Box::new(Link::new(arrival.socket)));
        self.progress = false;
        self.held = None;
        self.outbox.start_over();
        self.reading.resume(&arrival.welcome);
        self.welcome = arrival.welcome.clone();
        self.unnamed = self.name.is_some() && self.welcome.you.name.is_none();
        let welcome = Happened::Told(arrival.frame, Event::Welcome(arrival.welcome));
        self.happened
            .extend([Happened::State(State::Connected), welcome]);
        self.tell_catching_up();
    }

    /// The connection has ended.
    fn lost(&mut self, end: End) {
        if let Phase::Up(link) = &self.phase
            && (self.progress || Backoff::has_lasted(link.age()))
        {
            self.backoff.start_over();
        }
        if end.is_final() || !self.reconnect {
            self.end(end);
        } else {
            self.wait(end.wait(), end);
        }
    }

    /// An attempt to connect has led nowhere.
    fn failed(&mut self, error: &ConnectError) {
        let why = error.to_string();
        if error.is_final() {
            self.end(End::Rejected(why));
        } else {
            // What everyone is told alike, everyone adds something to.
            let least = error.retry_after().map(|least| least.min(LONGEST_DRAIN));
            let wait = least.map(|least| least + self.backoff.next());
            self.wait(wait.or_else(|| error.wait()), End::Lost(why));
        }
    }

    fn wait(&mut self, asked: Option<Duration>, why: End) {
        let again = Instant::now() + asked.unwrap_or_else(|| self.backoff.next());
        self.phase = Phase::Waiting(Box::pin(sleep_until(again)));
        let unsent = self.unconfirmed();
        self.tell(State::Offline { why, unsent, again });
    }

    fn end(&mut self, end: End) {
        self.phase = Phase::Over(end);
    }

    fn tell(&mut self, state: State) {
        self.happened.push_back(Happened::State(state));
    }

    fn tell_catching_up(&mut self) {
        let head = self.welcome.head;
        if let Some(at) = self.position().map(|position| position.seq)
            && at < head
        {
            self.tell(State::CatchingUp { at, head });
        }
    }

    /// Before anything is shown of a room, the place to go on from is known.
    fn remember_start(&mut self) {
        if let Some(position) = self.reading.position() {
            self.outbox.remember(position);
        }
    }

    /// What a frame says, and what follows from it.
    fn take(&mut self, frame: Frame) {
        let Ok(event) = json::parse_event(frame.text()) else {
            return self.happened.push_back(Happened::Heard(frame));
        };
        match &event {
            Event::Message(message) => {
                let step = self.reading.take(message);
                if !self.step(&step, message.id.as_ref(), message.seq) {
                    return;
                }
            }
            Event::Private(private) => {
                let step = self.reading.take_private(private);
                if !self.step(&step, private.id.as_ref(), private.seq) {
                    return;
                }
            }
            Event::Accepted { id: Some(id), .. } => {
                let own = self.confirm(id);
                if own && self.target.mute {
                    self.muted.truncate(MUTED - 1);
                    self.muted.push_front(id.clone());
                }
            }
            Event::Refused(refusal) => return self.refused(frame, refusal.clone()),
            Event::Erased { seq, prev, id } => {
                if let Some(id) = id {
                    self.confirm(id);
                }
                // Told aside, it is of something shown before.
                if let Some(prev) = prev
                    && let Step::Hole { after, next } = self.reading.pass(*prev, *seq)
                {
                    self.happened.push_back(Happened::Hole { after, next });
                }
            }
            Event::Gap { next, .. } => self.reading.skip_to(*next),
            Event::Live { seq } => {
                // Then nothing is told of it any more.
                self.unnamed = false;
                self.reading.caught_up(*seq);
                self.happened.push_back(Happened::Told(frame, event));
                return self.tell(State::CaughtUp);
            }
            Event::Name { name, secret } => {
                let given = match self.outbox.changed() {
                    Some(Command::Name { secret, .. }) => secret,
                    _ => None,
                };
                self.named(name.clone(), secret.clone().or(given));
            }
            Event::Welcome(welcome) => {
                let start = match self.outbox.changed() {
                    Some(Command::Join { start, .. }) => start,
                    _ => Start::default(),
                };
                self.welcome = welcome.clone();
                let inbox = self.reading.inbox();
                self.reading = Reading::begin(welcome, &start, inbox);
                self.remember_start();
                self.happened.push_back(Happened::Told(frame, event));
                return self.tell_catching_up();
            }
            _ => {}
        }
        self.happened.push_back(Happened::Told(frame, event));
    }

    /// What follows from where a message stands; whether it is shown itself.
    fn step(&mut self, step: &Step, id: Option<&MessageId>, seq: Seq) -> bool {
        match *step {
            Step::Repeated => {
                if let Some(id) = id {
                    self.confirm(id);
                }
                return false;
            }
            Step::Hole { after, next } => {
                self.happened.push_back(Happened::Hole { after, next });
            }
            Step::Next => {}
        }
        self.progress = true;
        let own = id.filter(|id| self.is_own_echo(id));
        if let Some(id) = own.filter(|_| self.target.mute) {
            // What stands for an echo that is not wanted.
            let receipt = Event::Accepted {
                id: Some(id.clone()),
                seq,
                duplicate: false,
            };
            let frame = Frame(Message::text(json::event(&receipt)));
            self.happened.push_back(Happened::Told(frame, receipt));
            return false;
        }
        true
    }

    /// Whether it was a message of this client that still waited: it is stored.
    fn confirm(&mut self, id: &MessageId) -> bool {
        let waited = self.outbox.confirm(id);
        if waited {
            self.progress = true;
            let quiet = |held: &Held| held.last.elapsed() > HELD_LONG;
            self.held.take_if(|held| quiet(held));
        }
        waited
    }

    /// Whether it is an echo of this client.
    fn is_own_echo(&mut self, id: &MessageId) -> bool {
        let muted = self.muted.iter().position(|muted| muted == id);
        if let Some(n) = muted {
            self.muted.remove(n);
        }
        self.confirm(id) || muted.is_some()
    }

    fn refused(&mut self, frame: Frame, refusal: Refusal) {
        let for_now = matches!(refusal.code, RefusalCode::Rate | RefusalCode::Busy)
            || refusal.retry_ms.is_some();
        let Some(id) = &refusal.id else {
            // Only what changes a name or a room is waited for without an id;
            // but first comes the answer to the name it came with.
            if !mem::take(&mut self.unnamed) {
                self.outbox.changed();
            } else if for_now && self.reconnect {
                // What is said is to be said under it.
                let wait = refusal.retry_ms.map_or(RETRY, Duration::from_millis);
                let wait = wait.clamp(SHORTEST_RETRY, LONGEST_RETRY);
                return self.wait(Some(wait), End::Lost(refusal.text));
            }
            return self
                .happened
                .push_back(Happened::Told(frame, Event::Refused(refusal)));
        };
        if for_now {
            let wait = refusal.retry_ms.map_or(RETRY, Duration::from_millis);
            let again = Instant::now() + wait.clamp(SHORTEST_RETRY, LONGEST_RETRY);
            let held = self.outbox.hold(id, again);
            self.happened.push_back(Happened::Heard(frame));
            // Otherwise it was said twice, and is known to be stored.
            if held {
                self.hold(refusal.text, again);
            }
            return;
        }
        let happened = if self.outbox.refuse(id) {
            let Refusal { id, text, .. } = refusal;
            match id {
                Some(id) => Happened::Refused { frame, id, text },
                None => return,
            }
        } else {
            Happened::Told(frame, Event::Refused(refusal))
        };
        self.happened.push_back(happened);
    }

    /// It carries a name from here on, also after a break.
    fn named(&mut self, name: Name, secret: Option<Secret>) {
        if let Some(secret) = &secret {
            // Where it cannot be written it is known for as long as this lives.
            let _ = self.keyring.keep(&self.target.origin(), &name, secret);
        }
        // Written another way it is proved as before.
        let before = self
            .name
            .take()
            .filter(|(before, _)| before.key() == name.key());
        if before.is_none() {
            self.reading.renamed();
        }
        let secret = secret.or_else(|| before.and_then(|(_, secret)| secret));
        self.name = Some((name, secret));
    }

    /// Tells that messages are refused for now, once it has gone on for a while.
    fn hold(&mut self, why: String, again: Instant) {
        let now = Instant::now();
        let held = self.held.get_or_insert(Held {
            since: now,
            last: now,
            told: false,
        });
        held.last = now;
        if !held.told && held.since.elapsed() >= HELD_LONG {
            held.told = true;
            let unsent = self.unconfirmed();
            self.tell(State::Held { why, unsent, again });
        }
    }
}

/// Hands over what may be, once it is where it has to be.
fn write(link: &mut Link, outbox: &mut Outbox, cx: &mut Context<'_>) -> Result<(), End> {
    outbox
        .settle()
        .map_err(|error| End::Outbox(error.to_string()))?;
    link.poll_write(cx, || outbox.next())
}

/// Text on one line, safe to show: what comes from a server may want to be more.
fn one_line(text: &str) -> String {
    clean(text).replace('\n', " ")
}

#[cfg(test)]
mod tests;
