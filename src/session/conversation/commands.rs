//! Carries out each command and answers it.

use std::pin::Pin;

use tracing::{error, info};

use super::{
    super::{
        delivered::DeliveredMark,
        pending::{Lookup, LookupResult, PendingCommand, PendingWork},
    },
    Conversation,
};
use crate::{
    fanout::{HistoryPage, PageQuery, Subscriber},
    hub::{Claim, Claimed, NameUse, Reply},
    log::{Draft, Recipient, SanctionKind},
    protocol::{
        Command, Event, HISTORY_PAGE, MAX_HISTORY_PAGE, MessageKind, PageEvent, Refusal,
        RefusalCode, Request, Search, Seq, Slot, Topic,
        close::{CloseReason, MAX_REASON_BYTES},
        command::table::Permission,
        command_target::CommandTarget,
        name::{MessageId, Name, Reference, RoomName},
        plain,
        secret::Secret,
        text::Text,
    },
    store::{StoreError, Words},
};

/// How many unowned names one connection may claim. This slows down a client
/// that tries to claim all of them.
const MAX_NEW_NAMES: u8 = 5;

/// The result of a command.
enum CommandResult {
    /// An answer, sent at once.
    Answer(Event),
    /// Work that takes longer.
    Work(PendingWork),
}

impl From<Event> for CommandResult {
    fn from(event: Event) -> Self {
        CommandResult::Answer(event)
    }
}

impl From<Lookup> for CommandResult {
    fn from(lookup: Lookup) -> Self {
        CommandResult::Work(PendingWork::LookUp(lookup))
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
    ) -> Result<Option<PendingCommand>, CloseReason> {
        let Some(Request { reference, command }) = self.format.parse(frame) else {
            return Ok(None);
        };
        let paced = self.pace(&command);
        let result = paced.and(command).and_then(|command| self.act(command));
        let answer = match result {
            Ok(CommandResult::Work(work)) => return Ok(Some(PendingCommand { work, reference })),
            Ok(CommandResult::Answer(event)) => event,
            Err(refusal) => Event::Refused(refusal),
        };
        self.answer(&answer, reference.as_ref(), subscriber);
        if self.operator.is_guessing() {
            return Err(CloseReason::WrongSecrets);
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
            // Without the id, the publisher of an invalid message would wait
            // for an answer for ever.
            Err(Refusal { id, .. }) => pace.command().map_err(|r| r.with_id(id.clone())),
            Ok(_) => pace.command(),
        }
    }

    /// Carries out a command.
    fn act(&mut self, command: Command) -> Result<CommandResult, Refusal> {
        let spec = command.spec();
        if spec.is_some_and(|spec| spec.permission == Permission::Operators) {
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
                    .map_err(|refusal| refusal.with_id(id.clone()))?;
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
                CommandResult::Work(PendingWork::Publish(draft, follows))
            }
            Command::Private {
                to,
                text,
                id,
                follows,
            } => self
                .private(to, &text, id.clone(), follows)
                .map_err(|refusal| refusal.with_id(id))?
                .into(),
            Command::Name { name, secret } => {
                if secret.is_some() || self.key != Some(name.key()) {
                    Lookup::write(self.claim(name, secret)).into()
                } else {
                    self.rename(name, None, None).into()
                }
            }
            Command::Join { room, start } => CommandResult::Work(PendingWork::Join(room, start)),
            Command::Members => self.hub.members_event(&self.room).into(),
            Command::History { before, limit } => self.page(before, limit).into(),
            Command::Search {
                query,
                before,
                limit,
            } => self.search(Words::parse(&query)?, before, limit)?.into(),
            Command::Rooms => self.hub.rooms_event().into(),
            Command::Topic { text } => {
                let text = text.as_deref().map(Topic::parse_text).transpose()?;
                Lookup::write(self.topic(text)).into()
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
            | Command::Erase { .. } => self.operator_command(command)?.into(),
            Command::Help => plain::help().into(),
        })
    }

    /// Checks that the author may speak, and makes the text safe.
    fn accept(&self, text: &str) -> Result<Text, Refusal> {
        self.registration.check_mute(self.author.name.as_ref())?;
        Text::parse(text, self.limits.text_bytes)
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
        let reaches = self.hub.check_recipient(&to);
        let draft = Draft {
            room: RoomName::inbox(key),
            from: self.author.clone(),
            text,
            id,
            kind: MessageKind::Said,
            to: Some(Recipient::new(to)),
        };
        Ok(Lookup::read(async move {
            match reaches.await {
                Ok(()) => LookupResult::Draft(draft, follows),
                Err(refusal) => LookupResult::Event(Event::Refused(refusal.with_id(draft.id))),
            }
        }))
    }

    /// Carries out an operator's command.
    fn operator_command(&self, command: Command) -> Result<Lookup, Refusal> {
        let (by, id) = (&self.author, self.registration.peer().id);
        let (told, done): (_, Pin<Box<dyn Future<Output = _> + Send>>) = match command {
            Command::Kick { who, reason } => {
                return Ok(Lookup::write(self.kick(&who, accept_reason(reason)?)));
            }
            Command::Ban {
                who,
                duration,
                reason,
            } => (
                format!("{who} is kept out."),
                Box::pin(self.hub.sanction(
                    by,
                    id,
                    SanctionKind::Ban,
                    &who,
                    duration,
                    accept_reason(reason)?,
                )),
            ),
            Command::Mute { who, duration } => (
                format!("{who} is muted."),
                Box::pin(
                    self.hub
                        .sanction(by, id, SanctionKind::Mute, &who, duration, None),
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
        Ok(Lookup::write(async move {
            let text = match done.await {
                Ok(()) => told,
                Err(refusal) => return LookupResult::Event(Event::Refused(refusal)),
            };
            LookupResult::Event(Event::Notice { text })
        }))
    }

    /// Ends the connections of a person or address.
    fn kick(
        &self,
        who: &CommandTarget,
        why: Option<Text>,
    ) -> impl Future<Output = LookupResult> + use<> {
        let named = who.to_string();
        let kicked = self
            .hub
            .kick(&self.author, self.registration.peer().id, who, why);
        async move {
            let text = match kicked.await {
                Ok(0) => format!("{named} is not here."),
                Ok(1) => format!("{named} was sent away."),
                Ok(ended) => format!("{named} was sent away, from {ended} connections."),
                Err(refusal) => return LookupResult::Event(Event::Refused(refusal)),
            };
            LookupResult::Event(Event::Notice { text })
        }
    }

    /// Reads the room's topic, or sets it.
    fn topic(&self, text: Option<Text>) -> impl Future<Output = LookupResult> + use<> {
        let room = self.room.clone();
        let known = self.hub.topic(&room);
        let origin = self.registration.peer().id;
        let set = text.map(|text| self.hub.set_topic(&room, text, &self.author, origin));
        async move {
            let topic = match set {
                Some(set) => match set.await {
                    Ok(topic) => topic,
                    Err(refusal) => return LookupResult::Event(Event::Refused(refusal)),
                },
                None => known.unwrap_or_else(Topic::none),
            };
            LookupResult::Event(Event::Topic { room, topic })
        }
    }

    /// Claims a name.
    fn claim(
        &self,
        name: Name,
        secret: Option<Secret>,
    ) -> impl Future<Output = LookupResult> + use<> {
        let claimed = self.hub.claim(Claim {
            origin: self.registration.peer().id,
            name: name.clone(),
            secret,
            current_name: self.key.clone(),
            may_be_new: self.new_names < MAX_NEW_NAMES,
        });
        async move {
            match claimed.await {
                Ok(taken) => LookupResult::Name(name, taken),
                Err(refusal) => LookupResult::Event(Event::Refused(refusal)),
            }
        }
    }

    /// Sends the result of a lookup, or returns the draft to store.
    pub(in crate::session) fn finish_lookup(
        &mut self,
        found: LookupResult,
        reference: Option<Reference>,
        subscriber: &mut Subscriber,
    ) -> Option<PendingCommand> {
        let event = match found {
            LookupResult::Event(event) => event,
            LookupResult::Draft(draft, follows) => {
                let work = PendingWork::Publish(draft, follows);
                return Some(PendingCommand { work, reference });
            }
            LookupResult::Name(
                name,
                Claimed {
                    name_use: lease,
                    new,
                    new_secret: made,
                },
            ) => {
                if self.key.as_ref() != Some(lease.key()) {
                    let inbox = RoomName::inbox(lease.key());
                    subscriber.follow_inbox(inbox, lease.inbox_start(None));
                    self.shown = DeliveredMark::default();
                    self.key = Some(lease.key().clone());
                }
                self.new_names += u8::from(new);
                self.rename(name, Some(lease), made)
            }
        };
        self.answer(&event, reference.as_ref(), subscriber);
        None
    }

    fn rename(&mut self, name: Name, lease: Option<NameUse>, secret: Option<Secret>) -> Event {
        self.registration.rename(&name, lease);
        self.author.name = Some(name.clone());
        Event::Name { name, secret }
    }

    /// Reads a history page of the room.
    fn page(&self, before: Option<Seq>, limit: Option<u32>) -> Lookup {
        let (history, room) = (self.hub.history().clone(), self.room.clone());
        let span = PageQuery {
            after: None,
            before,
            limit: limit.unwrap_or(HISTORY_PAGE).min(MAX_HISTORY_PAGE),
        };
        Lookup::read(async move {
            let excerpt = history.page(&room, span).await;
            page_result(excerpt.map(|HistoryPage { messages, more, .. }| PageEvent {
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
        let place = self.registration.queue_search()?;
        let (history, room) = (self.hub.history().clone(), self.room.clone());
        let limit = limit.unwrap_or(HISTORY_PAGE).min(MAX_HISTORY_PAGE);
        Ok(Lookup::read(async move {
            let _turn = place.lock().await;
            let found = history.store().search(&room, &words, before, limit).await;
            let Some(found) = found.transpose() else {
                let text = "The search took too long; use fewer or rarer words.";
                let refusal = Refusal::new(RefusalCode::TooLong, text);
                return LookupResult::Event(Event::Refused(refusal));
            };
            page_result(found.map(|found| PageEvent {
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
/// [`MAX_REASON_BYTES`] bytes is refused.
fn accept_reason(reason: Option<String>) -> Result<Option<Text>, Refusal> {
    let text = Text::from(reason.unwrap_or_default().trim().to_owned());
    if text.len() > MAX_REASON_BYTES || text.contains('\n') {
        let rule = format!("A reason is one line of at most {MAX_REASON_BYTES} bytes.");
        return Err(Refusal::new(RefusalCode::BadField, rule));
    }
    Ok((!text.is_empty()).then_some(text))
}

fn page_result(page: Result<PageEvent, StoreError>) -> LookupResult {
    let event = page.map_or_else(
        |why| {
            error!("the history cannot be read: {why}");
            let text = "The history cannot be read just now; ask again in a while.";
            Event::Refused(Refusal::new(RefusalCode::Busy, text))
        },
        Event::Page,
    );
    LookupResult::Event(event)
}
