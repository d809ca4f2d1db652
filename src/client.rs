//! The client: it sends commands, returns events, and loses neither.
//!
//! A [`Client`] is one conversation with a room, always in the JSON format. It
//! outlives its connections: when one ends, the client makes another, resumes
//! after the last message shown, and sends every unconfirmed message again. It
//! does not use standard input or output. Its faces do: [`lines`] for pipes and
//! plain terminals, [`screen`] for people.

pub mod address;
mod backoff;
mod client_event;
mod connect;
mod conversation;
mod end;
pub mod failure;
pub mod folder;
pub mod ids;
pub mod input;
mod keyring;
pub mod last_visit;
pub mod lines;
mod link;
mod one_line;
mod outbox;
pub mod output;
mod pass;
mod position;
pub mod preferences;
pub mod screen;
#[cfg(test)]
mod scripted;
mod trust;

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
    connect::{Connecting, Connector, NewConnection},
    conversation::{ClientConversation, NameRefused},
    link::{ServerLink, TURN},
};
pub use self::{
    client_event::{ClientEvent, ConnectionState, Frame},
    connect::ConnectError,
    end::End,
    keyring::Keyring,
    one_line::one_line,
    outbox::{Outbox, OutboxError},
    pass::Pass,
    position::Position,
    trust::ServerTrust,
};
use crate::protocol::{Command, Start, Welcome};

/// The options of a [`Client`].
#[derive(Debug)]
pub struct ClientOptions {
    /// Whether the client connects again after it lost the connection.
    pub reconnect: bool,
    /// The seed of the random waits between attempts. Each client needs its
    /// own; the same seed gives the same waits.
    pub seed: u64,
    /// Holds the messages that the server has not confirmed as stored.
    pub outbox: Outbox,
    /// Holds the secrets of the client's names.
    pub keyring: Keyring,
}

/// One conversation with a room.
///
/// [`send`](Self::send) only queues a command. [`next`](Self::next) reads and
/// writes, so the caller must call it again and again.
pub struct Client {
    connector: Connector,
    reconnect: bool,
    phase: Phase,
    backoff: Backoff,
    conversation: ClientConversation,
    /// Fires when the client may send refused messages again.
    alarm: Pin<Box<Sleep>>,
}

enum Phase {
    Up(Box<ServerLink>),
    Connecting(Connecting),
    Waiting(Pin<Box<Sleep>>),
    Over(End),
}

impl Client {
    /// Connects to a room and waits for the welcome. This first attempt is
    /// never repeated.
    ///
    /// # Errors
    ///
    /// Fails if the server cannot be reached, refuses the client, or does not
    /// answer.
    pub async fn connect(target: &Target, options: ClientOptions) -> Result<Self, ConnectError> {
        Self::begin(Connector::tcp(target), target, options).await
    }

    /// Connects as [`connect`](Self::connect) does, over streams of any kind.
    ///
    /// The client calls `open` for every connection. It starts on the stream
    /// with the HTTP upgrade.
    ///
    /// # Errors
    ///
    /// Fails if `open` fails, or if the server refuses the client or does not
    /// answer.
    pub async fn over<F, S>(
        open: impl FnMut() -> F + Send + 'static,
        target: &Target,
        options: ClientOptions,
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
        options: ClientOptions,
    ) -> Result<Self, ConnectError> {
        let ClientOptions {
            reconnect,
            seed,
            mut outbox,
            keyring,
        } = options;
        let name = target.name().map(|name| {
            // Without a secret, the client leases the name instead of owning
            // it.
            let secret = keyring.secret(&target.origin(), &name).ok().flatten();
            (name, secret)
        });
        let secret = name.as_ref().and_then(|(_, secret)| secret.as_ref());
        let (uri, start) = match outbox.position() {
            // An earlier client with this outbox has read up to here.
            Some(position) => {
                let start = Start {
                    after: Some(position.seq),
                    epoch: Some(position.epoch.clone()),
                    backlog: None,
                    inbox: position.inbox,
                };
                (target.resume_uri(&position.room, &start, None), start)
            }
            None => (target.uri().to_string(), target.start().clone()),
        };
        let pass = target.pass();
        let arrival = match connector.connect(uri.clone(), secret, pass).await {
            // The name may be admitted, by an earlier use of the invitation.
            Err(error) if matches!(pass, Some(Pass::Invitation(_))) && error.is_forbidden() => {
                let again = connector.connect(uri, secret, None).await;
                again.map_err(|_| error)?
            }
            arrival => arrival?,
        };
        // The earlier client may have ended in another room.
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
            phase: Phase::Up(Box::new(ServerLink::new(arrival.socket))),
            backoff: Backoff::seeded(seed),
            conversation: ClientConversation::begin(target, keyring, name, outbox, &start, told),
            alarm: Box::pin(sleep_until(Instant::now())),
        })
    }

    /// The server as `host:port`, for sentences shown to people.
    pub fn server(&self) -> &str {
        self.connector.server()
    }

    /// The last welcome: the room and its limits.
    pub fn welcome(&self) -> &Welcome {
        self.conversation.welcome()
    }

    /// The server as scheme, host and port: the key of everything that the
    /// client keeps for one server alone.
    pub(crate) fn origin(&self) -> String {
        self.conversation.origin()
    }

    /// Whether the outbox has room for another command. Receipts make room;
    /// [`next`](Self::next) reads them.
    pub fn has_room(&self) -> bool {
        self.conversation.outbox.has_room()
    }

    /// The number of messages with an id that the server has neither stored nor
    /// refused.
    pub fn unconfirmed(&self) -> usize {
        self.conversation.outbox.unconfirmed()
    }

    /// Whether a command waits to be sent.
    pub fn has_unsent(&self) -> bool {
        self.conversation.outbox.waiting() > 0
    }

    /// Whether unconfirmed messages outlive this client, in a file.
    pub fn is_kept(&self) -> bool {
        self.conversation.outbox.is_kept()
    }

    /// The position of the last message that [`next`](Self::next) returned;
    /// `None` until the first message of a backlog has arrived.
    pub fn position(&self) -> Option<&Position> {
        self.conversation.position()
    }

    /// Notes that everything up to a position was shown. A later client with
    /// the same outbox resumes there.
    pub fn remember(&mut self, position: &Position) {
        self.conversation.remember(position);
    }

    /// Queues a command; [`next`](Self::next) sends it.
    pub fn send(&mut self, command: Command) {
        self.conversation.send(command);
    }

    /// Queues a question whose [answer](Frame::reference) will carry this ref.
    pub fn ask(&mut self, question: Command, reference: &str) {
        self.conversation.ask(question, reference);
    }

    /// Waits for the next thing that happens. After the conversation has ended,
    /// it returns the end every time. It is cancel-safe.
    pub async fn next(&mut self) -> ClientEvent {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Waits until the outbox's file, if it has one, holds every unconfirmed
    /// message.
    ///
    /// # Errors
    ///
    /// Fails if the outbox cannot be written and [`next`](Self::next) has not
    /// returned that yet.
    pub async fn settle(&mut self) -> Result<(), End> {
        if self.unconfirmed() == 0 || matches!(self.phase, Phase::Over(End::Outbox(_))) {
            return Ok(());
        }
        let settled = self.conversation.outbox.settle().await;
        settled.map_err(|error| End::Outbox(error.to_string()))
    }

    /// Sends a close frame and waits up to 2 s for the answer. Commands that
    /// are still queued are not sent.
    pub async fn close(mut self) {
        // The caller knows already that the outbox cannot be written, or no
        // longer needs it.
        let _ = self.conversation.outbox.settle().await;
        if let Phase::Up(link) = self.phase {
            link.close().await;
        }
        self.conversation.outbox.end();
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<ClientEvent> {
        loop {
            if let Some(happened) = self.conversation.events.pop_front() {
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
                    Ok(arrival) => self.resume_over(arrival),
                    Err(error) => self.failed(&error),
                }
                Poll::Ready(Ok(()))
            }
            Phase::Waiting(sleep) => {
                settle(&mut self.conversation.outbox, cx)?;
                ready!(sleep.as_mut().poll(cx));
                let (uri, secret) = self.conversation.request();
                self.phase = Phase::Connecting(self.connector.connect(uri, secret, None));
                Poll::Ready(Ok(()))
            }
            Phase::Over(end) => {
                let ended = ClientEvent::Ended(end.clone());
                self.conversation.events.push_back(ended);
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Reads first, and writes when there is nothing to read, so that many
    /// commands share a write under load. Neither direction waits for the
    /// other: after [`TURN`] frames it writes even if more can be read.
    fn poll_link(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let talk = &mut self.conversation;
        while let Phase::Up(link) = &mut self.phase {
            if link.has_read_enough() || talk.outbox.waiting() >= TURN {
                write(link, talk, cx)?;
            }
            let Poll::Ready(frame) = link.poll_read(cx) else {
                break;
            };
            if let Err(refused) = talk.handle_frame(frame?) {
                self.name_refused(refused);
                return Poll::Ready(Ok(()));
            }
            if !talk.events.is_empty() {
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
        link.poll_silence(cx)?;
        Poll::Pending
    }

    /// Handles a refusal of the name in the connection's request: a temporary
    /// one, or a final one while messages sent under the name have no receipt.
    fn name_refused(&mut self, NameRefused { frame, refusal }: NameRefused) {
        if self.reconnect {
            // Queued messages must go out under that name, so the client
            // connects again and asks for it once more.
            // After a final refusal the name may still become free.
            let for_now = refusal.code.is_temporary() || refusal.retry_ms.is_some();
            let asked = for_now.then(|| backoff::refusal_delay(&refusal));
            self.wait(asked, End::Lost(refusal.text));
        } else if self.conversation.needs_name() {
            self.end(End::Rejected(refusal.text));
        } else {
            self.conversation.tell_refused(frame, refusal);
        }
    }

    /// Continues the conversation over a new connection.
    fn resume_over(&mut self, arrival: NewConnection) {
        self.phase = Phase::Up(Box::new(ServerLink::new(arrival.socket)));
        self.conversation.resume(arrival.frame, arrival.welcome);
    }

    /// Handles the end of a connection.
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

    /// Handles a failed attempt to connect.
    fn failed(&mut self, error: &ConnectError) {
        let why = error.to_string();
        if error.is_final() {
            self.end(End::Rejected(why));
        } else {
            // A server tells all clients the same time, so each adds a random
            // wait of its own.
            let least = error.retry_after().map(|least| least.min(LONGEST_DRAIN));
            let wait = least.map(|least| least + self.backoff.next());
            self.wait(wait.or_else(|| error.wait()), End::Lost(why));
        }
    }

    fn wait(&mut self, asked: Option<Duration>, why: End) {
        let again = Instant::now() + asked.unwrap_or_else(|| self.backoff.next());
        self.phase = Phase::Waiting(Box::pin(sleep_until(again)));
        let unsent = self.unconfirmed();
        let offline = ConnectionState::Offline { why, unsent, again };
        self.conversation.tell(offline);
    }

    fn end(&mut self, end: End) {
        self.phase = Phase::Over(end);
    }
}

/// Writes the outbox into its file, and sends the commands that are on disk.
fn write(
    link: &mut ServerLink,
    talk: &mut ClientConversation,
    cx: &mut Context<'_>,
) -> Result<(), End> {
    settle(&mut talk.outbox, cx)?;
    if talk.awaiting_name_refusal {
        return Ok(());
    }
    link.poll_write(cx, || talk.outbox.next_to_send())
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
