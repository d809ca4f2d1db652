//! The state of one conversation across its connections, and the handling of
//! each frame. It knows no connection.

use std::{collections::VecDeque, mem, time::Duration};

use tokio::time::Instant;
use tokio_websockets::Message;

use super::{
    address::Target,
    backoff,
    happened::{Frame, Happened, State},
    keyring::Keyring,
    outbox::Outbox,
    position::{Position, Reading, Step},
};
use crate::protocol::{
    Command, Event, Refusal, RefusalCode, Seq, Start, Welcome, json,
    name::{MessageId, Name},
    secret::Secret,
};

/// How long temporary refusals must last before the face is told.
const HELD_LONG: Duration = Duration::from_secs(5);

/// How many confirmed messages wait for a possible later echo: as many as the
/// outbox can have sent twice.
const MUTED: usize = 1000;

/// The name that a client wants, and the secret that proves it.
pub(super) type Claim = (Name, Option<Secret>);

/// The ref of a question that a person asks.
///
/// The client ignores the ref of the answer. But the ref of a refusal shows
/// that it does not answer a change of name or room, which has no ref.
const ASKED: &str = "asked";

/// The state of a conversation, independent of its connections.
pub(super) struct Conversation {
    target: Target,
    /// Whether a message was shown or confirmed on this connection.
    pub(super) progress: bool,
    welcome: Welcome,
    /// The name that the client wants.
    name: Option<Claim>,
    /// Whether the welcome did not give the client that name. The server sends
    /// the reason next; the client sends nothing before it.
    pub(super) unnamed: bool,
    keyring: Keyring,
    reading: Reading,
    pub(super) outbox: Outbox,
    /// Values that the client has not returned to its face yet.
    pub(super) happened: VecDeque<Happened>,
    /// The current series of temporary refusals.
    held: Option<Held>,
    /// Own messages that were confirmed and may still be echoed; used only if
    /// the face wants no echoes.
    muted: VecDeque<MessageId>,
}

/// A series of temporary refusals: its first, its last, and whether the face
/// was told.
struct Held {
    since: Instant,
    last: Instant,
    told: bool,
}

/// A temporary refusal of the name in a connection's request.
pub(super) struct NameRefused {
    pub(super) frame: Frame,
    pub(super) refusal: Refusal,
}

impl Conversation {
    /// Starts a conversation with the first welcome, which answers `start`.
    pub(super) fn begin(
        target: &Target,
        keyring: Keyring,
        name: Option<Claim>,
        outbox: Outbox,
        start: &Start,
        (frame, welcome): (Frame, Welcome),
    ) -> Self {
        let mut conversation = Conversation {
            target: target.clone(),
            progress: false,
            unnamed: name.is_some() && welcome.you.name.is_none(),
            name,
            keyring,
            reading: Reading::begin(&welcome, start, welcome.inbox),
            outbox,
            happened: VecDeque::new(),
            held: None,
            muted: VecDeque::new(),
            welcome: welcome.clone(),
        };
        conversation.remember_start();
        let welcome = Happened::Told(frame, Event::Welcome(welcome));
        conversation.happened.push_back(welcome);
        conversation.tell_catching_up();
        conversation
    }

    /// Continues over a new connection.
    pub(super) fn resume(&mut self, frame: Frame, welcome: Welcome) {
        self.progress = false;
        self.held = None;
        self.outbox.start_over();
        self.reading.resume(&welcome);
        self.welcome = welcome.clone();
        self.unnamed = self.name.is_some() && self.welcome.you.name.is_none();
        let welcome = Happened::Told(frame, Event::Welcome(welcome));
        self.happened
            .extend([Happened::State(State::Connected), welcome]);
        self.tell_catching_up();
    }

    /// The request that continues the conversation: a URI, and the secret of
    /// the name in it.
    pub(super) fn request(&self) -> (String, Option<&Secret>) {
        let (room, start) = (self.reading.room(), self.reading.start());
        let name = self.name.as_ref();
        let uri = self
            .target
            .resumed(room, &start, name.map(|(name, _)| name));
        (uri, name.and_then(|(_, secret)| secret.as_ref()))
    }

    pub(super) fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    pub(super) fn origin(&self) -> String {
        self.target.origin()
    }

    pub(super) fn position(&self) -> Option<&Position> {
        self.reading.position()
    }

    pub(super) fn remember(&mut self, position: &Position) {
        // A position in a room that the client has left does not count here.
        if position.room == *self.reading.room() {
            self.outbox.remember(position);
        }
    }

    pub(super) fn send(&mut self, mut command: Command) {
        match &mut command {
            Command::Name { name, secret } if secret.is_none() => {
                // Without a secret, the server makes one.
                let found = self.keyring.secret(&self.target.origin(), name);
                *secret = found.ok().flatten();
            }
            Command::Publish { .. }
            | Command::Private { .. }
            | Command::Name { .. }
            | Command::Join { .. } => {}
            _ => return self.ask(command, ASKED),
        }
        self.outbox.push(command);
    }

    /// Queues a question whose answer will carry this ref.
    pub(super) fn ask(&mut self, question: Command, reference: &str) {
        self.outbox.ask(question, reference.parse().ok());
    }

    pub(super) fn tell(&mut self, state: State) {
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

    /// Notes the position at which the client enters a room, before any message
    /// of it is shown.
    fn remember_start(&mut self) {
        if let Some(position) = self.reading.position() {
            self.outbox.remember(position);
        }
    }

    /// Handles a frame from the server.
    ///
    /// # Errors
    ///
    /// Fails if the frame temporarily refuses the name in the request.
    pub(super) fn take(&mut self, frame: Frame) -> Result<(), NameRefused> {
        let Ok(event) = json::parse_event(frame.text()) else {
            self.happened.push_back(Happened::Heard(frame));
            return Ok(());
        };
        match &event {
            Event::Message(message) => {
                let step = self.reading.take(message);
                if !self.step(&step, message.id.as_ref(), message.seq) {
                    return Ok(());
                }
            }
            Event::Private(private) => {
                let step = self.reading.take_private(private);
                if !self.step(&step, private.id.as_ref(), private.seq) {
                    return Ok(());
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
                // Without `prev`, the redacted message was shown before.
                if let Some(prev) = prev
                    && let Step::Hole { after, next } = self.reading.pass(*prev, *seq)
                {
                    self.happened.push_back(Happened::Hole { after, next });
                }
            }
            Event::Gap { next, .. } => self.reading.skip_to(*next),
            Event::Live { seq } => {
                // A refusal of the name would have come before `live`.
                self.unnamed = false;
                self.reading.caught_up(*seq);
                self.happened.push_back(Happened::Told(frame, event));
                self.tell(State::CaughtUp);
                return Ok(());
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
                self.tell_catching_up();
                return Ok(());
            }
            _ => {}
        }
        self.happened.push_back(Happened::Told(frame, event));
        Ok(())
    }

    /// Handles a message's place in its room's order. Returns whether the face
    /// gets the message.
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
            // The face wants no echo, so it gets a receipt instead.
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

    /// Takes a stored message out of the outbox; returns whether it was there.
    fn confirm(&mut self, id: &MessageId) -> bool {
        let waited = self.outbox.confirm(id);
        if waited {
            self.progress = true;
            let quiet = |held: &Held| held.last.elapsed() > HELD_LONG;
            self.held.take_if(|held| quiet(held));
        }
        waited
    }

    /// Whether a message with this id is an echo of this client's own.
    fn is_own_echo(&mut self, id: &MessageId) -> bool {
        let muted = self.muted.iter().position(|muted| muted == id);
        if let Some(n) = muted {
            self.muted.remove(n);
        }
        self.confirm(id) || muted.is_some()
    }

    fn refused(&mut self, frame: Frame, refusal: Refusal) -> Result<(), NameRefused> {
        let for_now = matches!(refusal.code, RefusalCode::Rate | RefusalCode::Busy)
            || refusal.retry_ms.is_some();
        let Some(id) = &refusal.id else {
            // A refusal with neither id nor ref answers a change of name or
            // room. The first one may instead answer the name in the request.
            if frame.reference().is_some() {
                // The server refused a question.
            } else if !mem::take(&mut self.unnamed) {
                self.outbox.changed();
            } else if for_now {
                return Err(NameRefused { frame, refusal });
            }
            self.tell_refused(frame, refusal);
            return Ok(());
        };
        if for_now {
            let again = Instant::now() + backoff::asked(&refusal);
            let held = self.outbox.hold(id, again);
            self.happened.push_back(Happened::Heard(frame));
            // If not held, the message was sent twice and is already stored.
            if held {
                self.hold(refusal.text, again);
            }
        } else if self.outbox.refuse(id) {
            let (id, text) = (id.clone(), refusal.text);
            self.happened
                .push_back(Happened::Refused { frame, id, text });
        } else {
            self.tell_refused(frame, refusal);
        }
        Ok(())
    }

    pub(super) fn tell_refused(&mut self, frame: Frame, refusal: Refusal) {
        let refused = Happened::Told(frame, Event::Refused(refusal));
        self.happened.push_back(refused);
    }

    /// Notes the client's new name; the client asks for it again after every
    /// break.
    fn named(&mut self, name: Name, secret: Option<Secret>) {
        if let Some(secret) = &secret {
            // If the file cannot be written, the secret lasts as long as this
            // client.
            let _ = self.keyring.keep(&self.target.origin(), &name, secret);
        }
        // A new spelling of the same name keeps the secret.
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

    /// Notes a temporary refusal, and tells the face once they have lasted
    /// [`HELD_LONG`].
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
            let unsent = self.outbox.unconfirmed();
            self.tell(State::Held { why, unsent, again });
        }
    }
}
