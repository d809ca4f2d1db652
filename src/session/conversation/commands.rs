//! Each command, and its answer.

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

/// How many names that were nobody's one connection may make its own: nobody
/// needs many, and who wants all of them takes time.
const MAX_NEW_NAMES: u8 = 5;

/// What a command leads to.
enum Reaction {
    /// This answer, now.
    Answer(Event),
    /// Job that takes longer.
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
    /// Acts on a text frame; what takes longer is handed back.
    ///
    /// # Errors
    ///
    /// Fails with the reason to close, where the client has gone too far.
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

    /// Refuses a command that comes too soon.
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

    /// Does what a command asks for.
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

    /// A text that may be said, made safe.
    fn accept(&self, text: &str) -> Result<Text, Refusal> {
        self.registration.hears(self.author.name.as_ref())?;
        Text::accept(text, self.limits.text_bytes)
    }

    /// Says something to one person alone, if somebody is to get it.
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

    /// Does what an operator wants.
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

    /// Sends somebody away.
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

    /// What the room is about, or is to be about from now on.
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

    /// Wants a name as its own.
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

    /// Tells what was found, or hands back what is to be stored now.
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

    /// A page of the room's history.
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

    /// A page of what has these words.
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
            let _turn = place.turn().await;
            let found = history.store().search(&room, &words, before, limit).await;
            let Some(found) = found.transpose() else {
                let text = "It takes too long to find that; search for fewer or rarer words.";
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

    /// Passes on what became of a draft that the publisher does not see.
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

/// The reason an operator gives, made safe; refused where it is long or more than
/// a line.
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
            error!("what was said cannot be looked up: {why}");
            let text = "The history cannot be read just now; ask again in a while.";
            Event::Refused(Refusal::new(RefusalCode::Busy, text))
        },
        Event::Page,
    );
    Finding::Event(event)
}
