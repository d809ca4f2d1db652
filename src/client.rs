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
mod conversation;
mod end;
pub mod failure;
pub mod folder;
mod happened;
pub mod ids;
pub mod input;
mod keyring;
pub mod lines;
mod link;
mod one_line;
mod outbox;
pub mod output;
mod position;
pub mod preferences;
pub mod screen;
#[cfg(test)]
mod scripted;

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep, sleep_until},
};

use self::{
    address::Target,
    backoff::{Backoff, LONGEST_DRAIN},
    connect::{Arrival, Connecting, Connector},
    conversation::{Conversation, NameRefused},
    link::{Link, TURN},
};
pub use self::{
    connect::ConnectError,
    end::End,
    happened::{Frame, Happened, State},
    keyring::Keyring,
    one_line::one_line,
    outbox::{Outbox, OutboxError},
    position::Position,
};
use crate::protocol::{Command, Start, Welcome};

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
    reconnect: bool,
    phase: Phase,
    backoff: Backoff,
    conversation: Conversation,
    /// When what was refused for now is sent again.
    alarm: Pin<Box<Sleep>>,
}

enum Phase {
    Up(Box<Link>),
    Connecting(Connecting),
    Waiting(Pin<Box<Sleep>>),
    Over(End),
}

impl Client {
    /// Connects to a room, and waits until the server has said welcome. This
    /// first attempt is the only one that fails.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, refuses the client, or does not answer.
    pub async fn connect(target: &Target, options: Options) -> Result<Self, ConnectError> {
        Self::begin(Connector::tcp(target), target, options).await
    }

    /// The same over streams of any kind: `open` is called for every
    /// connection, and what it gives is spoken to as to a server just reached,
    /// from the HTTP upgrade on.
    ///
    /// # Errors
    ///
    /// Nothing can be opened, or the server refuses the client or does not answer.
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
        // It may have died in another room.
        if outbox.last_room().is_some_and(|room| room != target.room()) {
            outbox.push(Command::Join {
                room: target.room().clone(),
                start: Start::default(),
            });
        }
        let told = (arrival.frame, arrival.welcome);
        Ok(Client {
            connector,
            reconnect,
            phase: Phase::Up(Box::new(Link::new(arrival.socket))),
            backoff: Backoff::seeded(seed),
            conversation: Conversation::begin(target, keyring, name, outbox, &start, told),
            alarm: Box::pin(sleep_until(Instant::now())),
        })
    }

    /// What messages call the server: `host:port`.
    pub fn server(&self) -> &str {
        self.connector.server()
    }

    /// The last welcome: the room, and the limits that hold there.
    pub fn welcome(&self) -> &Welcome {
        self.conversation.welcome()
    }

    /// The server as its own: what is kept for one is kept for it alone.
    pub(crate) fn origin(&self) -> String {
        self.conversation.origin()
    }

    /// Whether another command may be sent now. While it may not, what comes
    /// [next](Self::next) makes room.
    pub fn has_room(&self) -> bool {
        self.conversation.outbox.has_room()
    }

    /// How many messages sent with an id have neither been stored nor refused.
    pub fn unconfirmed(&self) -> usize {
        self.conversation.outbox.unconfirmed()
    }

    /// Whether those outlive this client.
    pub fn is_kept(&self) -> bool {
        self.conversation.outbox.is_kept()
    }

    /// The last message given out; nothing while a backlog is still to come.
    pub fn position(&self) -> Option<&Position> {
        self.conversation.position()
    }

    /// Everything up to a position was shown, and need not be again: a later
    /// client with the same outbox goes on from there.
    pub fn remember(&mut self, position: &Position) {
        self.conversation.remember(position);
    }

    /// Queues a command; [`next`](Self::next) moves it on.
    pub fn send(&mut self, command: Command) {
        self.conversation.send(command);
    }

    /// Queues a question, whose [answer](Frame::reference) will carry this ref.
    pub fn ask(&mut self, question: Command, reference: &str) {
        self.conversation.ask(question, reference);
    }

    /// What happened next. Once ended, always that. Cancelled, it has lost
    /// nothing.
    pub async fn next(&mut self) -> Happened {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Waits until the messages that are not known to be stored are in the
    /// outbox's file, if it has one.
    ///
    /// # Errors
    ///
    /// The outbox cannot be written, and that was not told yet.
    pub async fn settle(&mut self) -> Result<(), End> {
        if self.unconfirmed() == 0 || matches!(self.phase, Phase::Over(End::Outbox(_))) {
            return Ok(());
        }
        let settled = self.conversation.outbox.settle().await;
        settled.map_err(|error| End::Outbox(error.to_string()))
    }

    /// Says goodbye and waits for the answer, but not for long. What is still
    /// queued is given up.
    pub async fn close(mut self) {
        // An outbox that cannot be written has been told of, or is of no use
        // any more.
        let _ = self.conversation.outbox.settle().await;
        if let Phase::Up(link) = self.phase {
            link.close().await;
        }
        self.conversation.outbox.end();
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Happened> {
        loop {
            if let Some(happened) = self.conversation.happened.pop_front() {
                return Poll::Ready(happened);
            }
            match self.poll_phase(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(end)) => self.lost(end),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_phase(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        match &mut self.phase {
            Phase::Up(_) => self.poll_link(cx),
            Phase::Connecting(connecting) => {
                settle(&mut self.conversation.outbox, cx)?;
                match ready!(connecting.as_mut().poll(cx)) {
                    Ok(arrival) => self.arrive(arrival),
                    Err(error) => self.failed(&error),
                }
                Poll::Ready(Ok(()))
            }
            Phase::Waiting(sleep) => {
                settle(&mut self.conversation.outbox, cx)?;
                ready!(sleep.as_mut().poll(cx));
                let (uri, secret) = self.conversation.request();
                self.phase = Phase::Connecting(self.connector.connect(uri, secret));
                Poll::Ready(Ok(()))
            }
            Phase::Over(end) => {
                let ended = Happened::Ended(end.clone());
                self.conversation.happened.push_back(ended);
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Reads first, and writes when there is nothing to read: under load many
    /// commands then share a write. But neither direction waits for the other.
    fn poll_link(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let talk = &mut self.conversation;
        while let Phase::Up(link) = &mut self.phase {
            if link.has_read_enough() || talk.outbox.waiting() >= TURN {
                write(link, talk, cx)?;
            }
            let Poll::Ready(frame) = link.poll_read(cx) else {
                break;
            };
            if let Err(refused) = talk.take(frame?) {
                self.name_refused(refused);
                return Poll::Ready(Ok(()));
            }
            if !talk.happened.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
        if let Some(until) = talk.outbox.held_until() {
            if self.alarm.deadline() != until {
                self.alarm.as_mut().reset(until);
            }
            if self.alarm.as_mut().poll(cx).is_ready() {
                talk.outbox.release();
            }
        }
        let Phase::Up(link) = &mut self.phase else {
            return Poll::Ready(Ok(()));
        };
        write(link, talk, cx)?;
        link.poll_listen(cx)?;
        Poll::Pending
    }

    /// The server refuses for now the name that this connection came with.
    fn name_refused(&mut self, NameRefused { frame, refusal }: NameRefused) {
        if self.reconnect {
            // What is said is to be said under it.
            self.wait(Some(backoff::asked(&refusal)), End::Lost(refusal.text));
        } else {
            self.conversation.tell_refused(frame, refusal);
        }
    }

    /// Goes on over a new connection.
    fn arrive(&mut self, arrival: Arrival) {
        self.phase = Phase::Up(Box::new(Link::new(arrival.socket)));
        self.conversation.resume(arrival.frame, arrival.welcome);
    }

    /// The connection has ended.
    fn lost(&mut self, end: End) {
        if let Phase::Up(link) = &self.phase
            && (self.conversation.progress || Backoff::has_lasted(link.age()))
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
        let offline = State::Offline { why, unsent, again };
        self.conversation.tell(offline);
    }

    fn end(&mut self, end: End) {
        self.phase = Phase::Over(end);
    }
}

/// Writes the outbox into its file, and hands over what is there.
fn write(link: &mut Link, talk: &mut Conversation, cx: &mut Context<'_>) -> Result<(), End> {
    settle(&mut talk.outbox, cx)?;
    if talk.unnamed {
        return Ok(());
    }
    link.poll_write(cx, || talk.outbox.next())
}

/// Writes the outbox into its file, without waiting for the disk.
fn settle(outbox: &mut Outbox, cx: &mut Context<'_>) -> Result<(), End> {
    match outbox.poll_settle(cx) {
        Poll::Ready(Err(error)) => Err(End::Outbox(error.to_string())),
        Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
    }
}

#[cfg(test)]
mod tests;
