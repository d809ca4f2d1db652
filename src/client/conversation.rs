//! The state of one conversation across its connections, and the handling of
//! each frame. It knows no connection.

use std::{collections::VecDeque, mem, time::Duration};

use tokio::time::Instant;
use tokio_websockets::Message;

use super::{
    address::Target,
    backoff,
    client_event::{ClientEvent, ConnectionState, Frame},
    ids,
    keyring::Keyring,
    outbox::{Outbox, Speaker},
    position::{Position, RoomReader, Step},
};
use crate::protocol::{
    Command, Event, Refusal, RefusalCode, Seq, Start, Welcome,
    ignored::IgnoredNames,
    json,
    name::{MessageId, Name},
    secret::Secret,
};

/// Typed in place of a name, it asks how to carry the name elsewhere.
const SHOW: &str = "--show";

/// How long temporary refusals must last before the face is told.
const REPORT_REFUSALS_AFTER: Duration = Duration::from_secs(5);

/// How many confirmed messages wait for a possible later echo: as many as the
/// outbox can have sent twice.
const MAX_HIDDEN_ECHOES: usize = 1000;

/// The name that a client wants, and the secret that proves it.
pub(super) type OwnName = (Name, Option<Secret>);

/// The ref of a question that a person asks.
///
/// The client ignores the ref of the answer. But the ref of a refusal shows
/// that it does not answer a change of name or room, which has no ref.
const QUESTION_REF: &str = "asked";

/// The state of a conversation, independent of its connections.
pub(super) struct ClientConversation {
    target: Target,
    /// Whether a message was shown or confirmed on this connection.
    pub(super) progress: bool,
    welcome: Welcome,
    /// The name that the client wants.
    name: Option<OwnName>,
    /// Whether the welcome did not give the client that name. The server sends
    /// the reason next; the client sends nothing before it.
    pub(super) awaiting_name_refusal: bool,
    keyring: Keyring,
    reader: RoomReader,
    pub(super) outbox: Outbox,
    /// Values that the client has not returned to its face yet.
    pub(super) events: VecDeque<ClientEvent>,
    /// The current series of temporary refusals.
    refusals: Option<RefusalSeries>,
    /// Own messages that were confirmed and may still be echoed; used only if
    /// the face wants no echoes.
    hidden_echoes: VecDeque<MessageId>,
    /// The names whose messages the face does not get.
    ignored: IgnoredNames,
}

/// A series of temporary refusals: its first, its last, and whether the face
/// was told.
struct RefusalSeries {
    since: Instant,
    last: Instant,
    told: bool,
}

/// A temporary refusal of the name in a connection's request.
pub(super) struct NameRefused {
    pub(super) frame: Frame,
    pub(super) refusal: Refusal,
}

impl ClientConversation {
    /// Starts a conversation with the first welcome, which answers `start`.
    pub(super) fn begin(
        target: &Target,
        keyring: Keyring,
        name: Option<OwnName>,
        outbox: Outbox,
        start: &Start,
        (frame, welcome): (Frame, Welcome),
    ) -> Self {
        let mut conversation = ClientConversation {
            target: target.clone(),
            progress: false,
            awaiting_name_refusal: name.is_some() && welcome.you.name.is_none(),
            name,
            keyring,
            reader: RoomReader::begin(&welcome, start, welcome.inbox),
            outbox,
            events: VecDeque::new(),
            refusals: None,
            hidden_echoes: VecDeque::new(),
            ignored: welcome.ignored.iter().cloned().collect(),
            welcome: welcome.clone(),
        };
        conversation.settle_name();
        conversation.remember_start();
        let welcome = ClientEvent::Event(frame, Event::Welcome(welcome));
        conversation.events.push_back(welcome);
        conversation.tell_catching_up();
        conversation
    }

    /// Continues over a new connection.
    pub(super) fn resume(&mut self, frame: Frame, welcome: Welcome) {
        self.progress = false;
        self.refusals = None;
        self.outbox.start_over();
        self.reader.resume(&welcome);
        self.welcome = welcome.clone();
        self.ignored = welcome.ignored.iter().cloned().collect();
        self.awaiting_name_refusal = self.wanted().is_some() && self.welcome.you.name.is_none();
        self.settle_name();
        let welcome = ClientEvent::Event(frame, Event::Welcome(welcome));
        self.events
            .extend([ClientEvent::State(ConnectionState::Connected), welcome]);
        self.tell_catching_up();
    }

    /// The request that continues the conversation: a URI, and the secret of
    /// the name in it.
    pub(super) fn request(&self) -> (String, Option<&Secret>) {
        let (room, start) = (self.reader.room(), self.reader.start());
        let name = self.wanted();
        let uri = self
            .target
            .resume_uri(room, &start, name.map(|(name, _)| name));
        (uri, name.and_then(|(_, secret)| secret.as_ref()))
    }

    /// The name to ask for on the next connection: none while messages that were
    /// sent without a name have no receipt.
    fn wanted(&self) -> Option<&OwnName> {
        let sent = self.outbox.unconfirmed_speaker();
        self.name
            .as_ref()
            .filter(|_| sent.is_none_or(Speaker::is_named))
    }

    /// Whether messages without a receipt were sent under a name.
    pub(super) fn needs_name(&self) -> bool {
        let sent = self.outbox.unconfirmed_speaker();
        sent.is_some_and(Speaker::is_named)
    }

    /// Sends messages under the name of this connection, once that is certain.
    fn settle_name(&mut self) {
        if !self.awaiting_name_refusal {
            self.outbox.send_as(self.welcome.you.name.as_ref());
        }
    }

    pub(super) fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    pub(super) fn origin(&self) -> String {
        self.target.origin()
    }

    pub(super) fn position(&self) -> Option<&Position> {
        self.reader.position()
    }

    pub(super) fn remember(&mut self, position: &Position) {
        // A position in a room that the client has left does not count here.
        if position.room == *self.reader.room() {
            self.outbox.remember(position);
        }
    }

    pub(super) fn send(&mut self, mut command: Command) {
        match &mut command {
            Command::Name { name, secret: None } if name.as_str() == SHOW => {
                return self.show_name();
            }
            Command::Name { name, secret } if secret.is_none() => {
                // Without a secret, the server makes one.
                let found = self.keyring.secret(&self.target.origin(), name);
                *secret = found.ok().flatten();
            }
            Command::Link { secret } if secret.is_none() => {
                *secret = self.name.as_ref().and_then(|(_, secret)| secret.clone());
                return self.ask(command, QUESTION_REF);
            }
            // The ref asks the server whether the recipient is away.
            Command::Private { .. } => {
                return self.outbox.push_asking(command, QUESTION_REF.parse().ok());
            }
            Command::Publish { .. } | Command::Name { .. } | Command::Join { .. } => {}
            _ => return self.ask(command, QUESTION_REF),
        }
        self.outbox.push(command);
    }

    /// Tells how to carry the client's name to another program.
    fn show_name(&mut self) {
        let text = match &self.name {
            Some((name, Some(secret))) => format!(
                "In another program: /name {name} {}\nOr on another device: /link",
                secret.reveal()
            ),
            _ => "You own no name here: /name NAME makes one yours.".to_owned(),
        };
        let event = Event::Notice { text };
        let frame = Frame(Message::text(json::event(&event)));
        self.events.push_back(ClientEvent::Event(frame, event));
    }

    /// Queues a question whose answer will carry this ref.
    pub(super) fn ask(&mut self, question: Command, reference: &str) {
        self.outbox.ask(question, reference.parse().ok());
    }

    pub(super) fn tell(&mut self, state: ConnectionState) {
        self.events.push_back(ClientEvent::State(state));
    }

    fn tell_catching_up(&mut self) {
        let head = self.welcome.head;
        if let Some(at) = self.position().map(|position| position.seq)
            && at < head
        {
            self.tell(ConnectionState::CatchingUp { at, head });
        }
    }

    /// Notes the position at which the client enters a room, before any message
    /// of it is shown.
    fn remember_start(&mut self) {
        if let Some(position) = self.reader.position() {
            self.outbox.remember(position);
        }
    }

    /// Handles a frame from the server.
    ///
    /// # Errors
    ///
    /// Fails if the frame temporarily refuses the name in the request.
    pub(super) fn handle_frame(&mut self, frame: Frame) -> Result<(), NameRefused> {
        let Ok(mut event) = json::parse_event(frame.text()) else {
            self.events.push_back(ClientEvent::ForPrograms(frame));
            return Ok(());
        };
        match &mut event {
            Event::Message(message) => {
                let step = self.reader.receive(message);
                let is_own = |id: &&MessageId| !self.outbox.is_of_another(id, message);
                let id = message.id.as_ref().filter(is_own);
                if !self.step(&step, id, message.seq) {
                    return Ok(());
                }
                if self.ignored.hides(&message.from) {
                    self.events.push_back(ClientEvent::ForPrograms(frame));
                    return Ok(());
                }
                self.ignored.hide_quote(message);
            }
            Event::Changed(change) => {
                let step = self.reader.advance(change.prev, change.seq);
                let is_own = |id: &&MessageId| !self.outbox.is_another_change(id, change);
                let id = change.id.as_ref().filter(is_own);
                if !self.step(&step, id, change.seq) {
                    return Ok(());
                }
                if self.ignored.hides(&change.from) {
                    self.events.push_back(ClientEvent::Hidden(frame, event));
                    return Ok(());
                }
            }
            Event::Page(page) => self.ignored.hide_in(page),
            Event::Ignored { names } => self.ignored = names.iter().cloned().collect(),
            Event::Private(private) => {
                let step = self.reader.receive_private(private);
                if !self.step(&step, private.id.as_ref(), private.seq) {
                    return Ok(());
                }
            }
            Event::Accepted { id: Some(id), .. } => {
                let own = self.confirm(id);
                if own && self.target.hide_echoes {
                    self.hidden_echoes.truncate(MAX_HIDDEN_ECHOES - 1);
                    self.hidden_echoes.push_front(id.clone());
                }
            }
            Event::Refused(refusal) => return self.refused(frame, refusal.clone()),
            Event::Erased { seq, prev, id } => {
                if let Some(id) = id {
                    self.confirm(id);
                }
                // Without `prev`, the redacted message was shown before.
                if let Some(prev) = prev
                    && let Step::Missing { after, next } = self.reader.advance(*prev, *seq)
                {
                    self.events.push_back(ClientEvent::Missing { after, next });
                }
            }
            Event::Gap { next, .. } => self.reader.skip_to(*next),
            Event::Live { seq } => {
                // A refusal of the name would have come before `live`.
                self.awaiting_name_refusal = false;
                self.settle_name();
                self.reader.caught_up(*seq);
                self.events.push_back(ClientEvent::Event(frame, event));
                self.tell(ConnectionState::CaughtUp);
                return Ok(());
            }
            Event::Name { name, secret } => {
                let given = match self.outbox.take_change() {
                    Some(Command::Name { secret, .. }) => secret,
                    _ => None,
                };
                self.set_name(name.clone(), secret.clone().or(given));
            }
            Event::Welcome(welcome) => {
                self.ignored = welcome.ignored.iter().cloned().collect();
                let start = match self.outbox.take_change() {
                    Some(Command::Join { start, .. }) => start,
                    _ => Start::default(),
                };
                self.welcome = welcome.clone();
                let inbox = self.reader.inbox();
                self.reader = RoomReader::begin(welcome, &start, inbox);
                self.remember_start();
                self.events.push_back(ClientEvent::Event(frame, event));
                self.tell_catching_up();
                return Ok(());
            }
            _ => {}
        }
        self.events.push_back(ClientEvent::Event(frame, event));
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
            Step::Missing { after, next } => {
                self.events.push_back(ClientEvent::Missing { after, next });
            }
            Step::Next => {}
        }
        self.progress = true;
        let own = id.filter(|id| self.is_own_echo(id));
        if let Some(id) = own.filter(|_| self.target.hide_echoes) {
            // The face wants no echo, so it gets a receipt instead.
            let receipt = Event::Accepted {
                id: Some(id.clone()),
                seq,
                duplicate: false,
            };
            let frame = Frame(Message::text(json::event(&receipt)));
            self.events.push_back(ClientEvent::Event(frame, receipt));
            return false;
        }
        true
    }

    /// Takes a stored message out of the outbox; returns whether it was there.
    fn confirm(&mut self, id: &MessageId) -> bool {
        let waited = self.outbox.confirm(id);
        if waited {
            self.progress = true;
            let quiet = |held: &RefusalSeries| held.last.elapsed() > REPORT_REFUSALS_AFTER;
            self.refusals.take_if(|held| quiet(held));
        }
        waited
    }

    /// Whether a message with this id is an echo of this client's own.
    fn is_own_echo(&mut self, id: &MessageId) -> bool {
        let muted = self.hidden_echoes.iter().position(|muted| muted == id);
        if let Some(n) = muted {
            self.hidden_echoes.remove(n);
        }
        self.confirm(id) || muted.is_some()
    }

    fn refused(&mut self, frame: Frame, refusal: Refusal) -> Result<(), NameRefused> {
        let for_now = refusal.code.is_temporary() || refusal.retry_ms.is_some();
        let Some(id) = &refusal.id else {
            // A refusal with neither id nor ref answers a change of name or
            // room. The first one may instead answer the name in the request.
            if frame.reference().is_some() {
                // The server refused a question.
            } else if !mem::take(&mut self.awaiting_name_refusal) {
                self.outbox.take_change();
            } else if for_now || self.needs_name() {
                return Err(NameRefused { frame, refusal });
            } else {
                self.settle_name();
            }
            self.tell_refused(frame, refusal);
            return Ok(());
        };
        if for_now {
            let again = Instant::now() + backoff::refusal_delay(&refusal);
            let held = self.outbox.hold(id, again);
            self.events.push_back(ClientEvent::ForPrograms(frame));
            // If not held, the message was sent twice and is already stored.
            if held {
                self.note_temporary_refusal(refusal.text, again);
            }
        } else if refusal.code == RefusalCode::IdTaken
            && let Ok(new_id) = ids::draw()
            && self.outbox.renew(id, new_id.clone())
        {
            let id = id.clone();
            self.events
                .push_back(ClientEvent::Renewed { frame, id, new_id });
        } else if self.outbox.refuse(id) {
            let (id, text) = (id.clone(), refusal.text);
            self.events
                .push_back(ClientEvent::Refused { frame, id, text });
        } else {
            self.tell_refused(frame, refusal);
        }
        Ok(())
    }

    pub(super) fn tell_refused(&mut self, frame: Frame, refusal: Refusal) {
        let refused = ClientEvent::Event(frame, Event::Refused(refusal));
        self.events.push_back(refused);
    }

    /// Notes the client's new name; the client asks for it again after every
    /// break.
    fn set_name(&mut self, name: Name, secret: Option<Secret>) {
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
            self.reader.renamed();
        }
        let secret = secret.or_else(|| before.and_then(|(_, secret)| secret));
        self.outbox.send_as(Some(&name));
        self.welcome.you.name = Some(name.clone());
        self.name = Some((name, secret));
    }

    /// Notes a temporary refusal, and tells the face once they have lasted
    /// [`REPORT_REFUSALS_AFTER`].
    fn note_temporary_refusal(&mut self, why: String, again: Instant) {
        let now = Instant::now();
        let held = self.refusals.get_or_insert(RefusalSeries {
            since: now,
            last: now,
            told: false,
        });
        held.last = now;
        if !held.told && held.since.elapsed() >= REPORT_REFUSALS_AFTER {
            held.told = true;
            let unsent = self.outbox.unconfirmed();
            self.tell(ConnectionState::Refusing { why, unsent, again });
        }
    }
}
