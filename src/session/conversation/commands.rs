//! Carries out each command and answers it.

use std::pin::Pin;

use tracing::{error, info};

use super::{
    super::{
        pending::{Asked, Finding, Job, Lookup},
        shown::Shown,
    },
    Conversation,
};
use crate::{
    fanout::{Excerpt, Span, Subscriber},
    hub::{Claim, Lease, Reply, Taken},
    log::{Draft, Recipient, SanctionKind},
    protocol::{
        Command, EXCERPT, Event, Kind, MAX_EXCERPT, Page, Refusal, RefusalCode, Request, Search,
        Seq, Slot, Topic,
        close::{CloseReason, MAX_WHY},
        command::table::May,
        name::{MessageId, Name, Reference, RoomName},
        plain,
        secret::Secret,
        text::Text,
        who::Who,
    },
    store::{StoreError, Words},
};

/// How many unowned names one connection may claim. This slows down a client
/// that tries to claim all of them.
const MAX_NEW_NAMES: u8 = 5;

/// The result of a command.
enum Reaction {
    /// An answer, sent at once.
    Answer(Event),
    /// Work that takes longer.
    Job(Job),
}

impl From<Event> for Reaction {
    fn from(event: Event) -> Self {
        Reaction::Answer(event)
    }
}

impl From<Lookup> for Reaction {
    fn from(lookup: Lookup) -> Self {
        Reaction::Job(Job::LookUp(lookup))
    }
}

impl Conversation<'_> {
    /// Acts on a text frame; returns the work that takes longer.
    ///
    /// # Errors
    ///
    /// Fails with the close reason if the client guesses secrets or floods.
    pub(in crate::session) fn handle(
        &mut self,
        frame: &str,
        subscriber: &mut Subscriber,
    ) -> Result<Option<Asked>, CloseReason> {
        let Some(Request { reference, command }) = self.format.parse(frame) else {
            return Ok(None);
        };
        let paced = self.pace(&command);
        let reaction = paced.and(command).and_then(|command| self.act(command));
        let answer = match reaction {
            Ok(Reaction::Job(job)) => return Ok(Some(Asked { job, reference })),
            Ok(Reaction::Answer(event)) => event,
            Err(refusal) => Event::Refused(refusal),
        };
        self.answer(&answer, reference.as_ref(), subscriber);
        if self.operator.is_guessing() {
            return Err(CloseReason::Guessing);
        }
        if self.pace.as_ref().is_some_and(|pace| pace.is_flood()) {
            return Err(CloseReason::Flooding);
        }
        Ok(None)
    }

    /// Charges a command to the rate limit, or refuses it.
    fn pace(&mut self, command: &Result<Command, Refusal>) -> Result<(), Refusal> {
        let Some(pace) = &mut self.pace else {
            return Ok(());
        };
        match command {
            Ok(Command::Publish { id, follows, .. } | Command::Private { id, follows, .. }) => {
                pace.message(id.as_ref(), follows.as_ref())
            }
            _ => pace.command(),
        }
    }

    /// Carries out a command.
    fn act(&mut self, command: Command) -> Result<Reaction, Refusal> {
        let spec = command.spec();
        if spec.is_some_and(|spec| spec.may == May::Operators) {
            self.operator.check()?;
        }
        Ok(match command {
            Command::Publish {
                text,
                id,
                kind,
                follows,
            } => {
                let text = self
                    .accept(&text)
                    .map_err(|refusal| refusal.of(id.clone()))?;
                info!(target: "chat::message", "From client {} {:?}", self.author.addr, &*text);
                let (room, from) = (self.room.clone(), self.author.clone());
                let draft = Draft {
                    room,
                    from,
                    text,
                    id,
                    kind,
                    to: None,
                };
                Reaction::Job(Job::Publish(draft, follows))
            }
            Command::Private {
                to,
                text,
                id,
                follows,
            } => self
                .private(to, &text, id.clone(), follows)
                .map_err(|refusal| refusal.of(id))?
                .into(),
            Command::Name { name, secret } => {
                if secret.is_some() || self.key != Some(name.key()) {
                    Lookup::change(self.claim(name, secret)).into()
                } else {
                    self.rename(name, None, None).into()
                }
            }
            Command::Join { room, start } => Reaction::Job(Job::Join(room, start)),
            Command::Members => self.hub.members(&self.room).into(),
            Command::History { before, limit } => self.page(before, limit).into(),
            Command::Search {
                query,
                before,
                limit,
            } => self.search(Words::of(&query)?, before, limit)?.into(),
            Command::Rooms => self.hub.rooms().into(),
            Command::Topic { text } => {
                let text = text.as_deref().map(Topic::accept).transpose()?;
                Lookup::change(self.topic(text)).into()
            }
            Command::Operator { secret } => {
                self.operator.prove(&secret)?;
                let text = "You are an operator now: /help says what you can do.".into();
                Event::Notice { text }.into()
            }
            Command::Kick { .. }
            | Command::Ban { .. }
            | Command::Unban { .. }
            | Command::Mute { .. }
            | Command::Unmute { .. }
            | Command::Erase { .. } => self.keep_order(command)?.into(),
            Command::Help => plain::help().into(),
        })
    }

    /// Checks that the author may speak, and makes the text safe.
    fn accept(&self, text: &str) -> Result<Text, Refusal> {
        self.registration.hears(self.author.name.as_ref())?;
        Text::accept(text, self.limits.text_bytes)
    }

    /// Prepares a private message, if its recipient exists.
    fn private(
        &self,
        to: Name,
        text: &str,
        id: Option<MessageId>,
        follows: Option<MessageId>,
    ) -> Result<Lookup, Refusal> {
        let text = self.accept(text)?;
        let Some(key) = &self.key else {
            let text = "Take a name first, so that you can be answered: /name NAME.";
            return Err(Refusal::new(RefusalCode::NotAllowed, text));
        };
        let reaches = self.hub.reaches(&to);
        let draft = Draft {
            room: RoomName::inbox(key),
            from: self.author.clone(),
            text,
            id,
            kind: Kind::Said,
            to: Some(Recipient::new(to)),
        };
        Ok(Lookup::question(async move {
            match reaches.await {
                Ok(()) => Finding::Draft(draft, follows),
                Err(refusal) => Finding::Event(Event::Refused(refusal.of(draft.id))),
            }
        }))
    }

    /// Carries out an operator's command.
    fn keep_order(&self, command: Command) -> Result<Lookup, Refusal> {
        let (by, id) = (&self.author, self.registration.peer().id);
        let (told, done): (_, Pin<Box<dyn Future<Output = _> + Send>>) = match command {
            Command::Kick { who, reason } => {
                return Ok(Lookup::change(self.kick(&who, why(reason)?)));
            }
            Command::Ban { who, lasts, reason } => (
                format!("{who} is kept out."),
                Box::pin(
                    self.hub
                        .sanction(by, id, SanctionKind::Ban, &who, lasts, why(reason)?),
                ),
            ),
            Command::Mute { who, lasts } => (
                format!("{who} is muted."),
                Box::pin(
                    self.hub
                        .sanction(by, id, SanctionKind::Mute, &who, lasts, None),
                ),
            ),
            Command::Unban { who } => (
                format!("{who} is not kept out."),
                Box::pin(self.hub.lift(by, id, SanctionKind::Ban, &who)),
            ),
            Command::Unmute { who } => (
                format!("{who} is not muted."),
                Box::pin(self.hub.lift(by, id, SanctionKind::Mute, &who)),
            ),
            Command::Erase { seq } => (
                format!("Number {seq} is erased."),
                Box::pin(self.hub.redact(by, id, &self.room, seq)),
            ),
            _ => return Err(Refusal::new(RefusalCode::UnknownType, "No such command.")),
        };
        Ok(Lookup::change(async move {
            let text = match done.await {
                Ok(()) => told,
                Err(refusal) => return Finding::Event(Event::Refused(refusal)),
            };
            Finding::Event(Event::Notice { text })
        }))
    }

    /// Ends the connections of a person or address.
    fn kick(&self, who: &Who, why: Option<Text>) -> impl Future<Output = Finding> + use<> {
        let named = who.to_string();
        let kicked = self
            .hub
            .kick(&self.author, self.registration.peer().id, who, why);
        async move {
            let text = match kicked.await {
                Ok(0) => format!("{named} is not here."),
                Ok(1) => format!("{named} was sent away."),
                Ok(ended) => format!("{named} was sent away, from {ended} connections."),
                Err(refusal) => return Finding::Event(Event::Refused(refusal)),
            };
            Finding::Event(Event::Notice { text })
        }
    }

    /// Reads the room's topic, or sets it.
    fn topic(&self, text: Option<Text>) -> impl Future<Output = Finding> + use<> {
        let room = self.room.clone();
        let known = self.hub.topic(&room);
        let origin = self.registration.peer().id;
        let set = text.map(|text| self.hub.set_topic(&room, text, &self.author, origin));
        async move {
            let topic = match set {
                Some(set) => match set.await {
                    Ok(topic) => topic,
                    Err(refusal) => return Finding::Event(Event::Refused(refusal)),
                },
                None => known.unwrap_or_else(Topic::none),
            };
            Finding::Event(Event::Topic { room, topic })
        }
    }

    /// Claims a name.
    fn claim(&self, name: Name, secret: Option<Secret>) -> impl Future<Output = Finding> + use<> {
        let claimed = self.hub.claim(Claim {
            origin: self.registration.peer().id,
            name: name.clone(),
            secret,
            instead_of: self.key.clone(),
            may_be_new: self.new_names < MAX_NEW_NAMES,
        });
        async move {
            match claimed.await {
                Ok(taken) => Finding::Name(name, taken),
                Err(refusal) => Finding::Event(Event::Refused(refusal)),
            }
        }
    }

    /// Sends the result of a lookup, or returns the draft to store.
    pub(in crate::session) fn found(
        &mut self,
        found: Finding,
        reference: Option<Reference>,
        subscriber: &mut Subscriber,
    ) -> Option<Asked> {
        let event = match found {
            Finding::Event(event) => event,
            Finding::Draft(draft, follows) => {
                let job = Job::Publish(draft, follows);
                return Some(Asked { job, reference });
            }
            Finding::Name(name, Taken { lease, new, made }) => {
                if self.key.as_ref() != Some(lease.key()) {
                    let inbox = RoomName::inbox(lease.key());
                    subscriber.receive(inbox, lease.inbox(None));
                    self.shown = Shown::default();
                    self.key = Some(lease.key().clone());
                }
                self.new_names += u8::from(new);
                self.rename(name, Some(lease), made)
            }
        };
        self.answer(&event, reference.as_ref(), subscriber);
        None
    }

    fn rename(&mut self, name: Name, lease: Option<Lease>, secret: Option<Secret>) -> Event {
        self.registration.rename(&name, lease);
        self.author.name = Some(name.clone());
        Event::Name { name, secret }
    }

    /// Reads a history page of the room.
    fn page(&self, before: Option<Seq>, limit: Option<u32>) -> Lookup {
        let (history, room) = (self.hub.history().clone(), self.room.clone());
        let span = Span {
            after: None,
            before,
            limit: limit.unwrap_or(EXCERPT).min(MAX_EXCERPT),
        };
        Lookup::question(async move {
            let excerpt = history.excerpt(&room, span).await;
            looked_up(excerpt.map(|Excerpt { messages, more, .. }| Page {
                messages,
                more,
                search: None,
            }))
        })
    }

    /// Searches the room: one page of messages that contain these words.
    fn search(
        &self,
        words: Words,
        before: Option<Seq>,
        limit: Option<u32>,
    ) -> Result<Lookup, Refusal> {
        let place = self.registration.search()?;
        let (history, room) = (self.hub.history().clone(), self.room.clone());
        let limit = limit.unwrap_or(EXCERPT).min(MAX_EXCERPT);
        Ok(Lookup::question(async move {
            let _turn = place.lock().await;
            let found = history.store().search(&room, &words, before, limit).await;
            let Some(found) = found.transpose() else {
                let text = "The search took too long; use fewer or rarer words.";
                let refusal = Refusal::new(RefusalCode::TooLong, text);
                return Finding::Event(Event::Refused(refusal));
            };
            looked_up(found.map(|found| Page {
                messages: found.messages.into_iter().map(Slot::Message).collect(),
                more: found.more,
                search: Some(Search {
                    query: words.typed().to_owned(),
                    indexed: found.indexed,
                }),
            }))
        }))
    }

    /// Sends the reply to a draft.
    pub(in crate::session) fn reply(
        &self,
        reply: Reply,
        reference: Option<&Reference>,
        subscriber: &mut Subscriber,
    ) {
        let event = match reply {
            Reply::Stored { id, seq, duplicate } => Event::Accepted { id, seq, duplicate },
            Reply::Refused(refusal) => Event::Refused(refusal),
        };
        self.answer(&event, reference, subscriber);
    }
}

/// Makes an operator's reason safe. A reason of more than one line or more than
/// [`MAX_WHY`] bytes is refused.
fn why(reason: Option<String>) -> Result<Option<Text>, Refusal> {
    let text = Text::from(reason.unwrap_or_default().trim().to_owned());
    if text.len() > MAX_WHY || text.contains('\n') {
        let rule = format!("A reason is one line of at most {MAX_WHY} bytes.");
        return Err(Refusal::new(RefusalCode::BadField, rule));
    }
    Ok((!text.is_empty()).then_some(text))
}

fn looked_up(page: Result<Page, StoreError>) -> Finding {
    let event = page.map_or_else(
        |why| {
            error!("the history cannot be read: {why}");
            let text = "The history cannot be read just now; ask again in a while.";
            Event::Refused(Refusal::new(RefusalCode::Busy, text))
        },
        Event::Page,
    );
    Finding::Event(event)
}
