//! Carries out each command.

use std::pin::Pin;

use tracing::info;

use super::{
    super::{
        delivered::DeliveredMark,
        inbox_start::InboxStart,
        pending::{PendingCommand, PendingWork, SideTask, SideTaskResult},
    },
    Conversation,
};
use crate::{
    fanout::Subscriber,
    hub::{Claim, Claimed, NameUse, Reply},
    log::{Draft, SanctionKind},
    protocol::{
        Command, Event, MessageKind, Refusal, RefusalCode, Topic,
        close::MAX_REASON_BYTES,
        command::table::Permission,
        command_target::CommandTarget,
        ignored::IgnoredNames,
        name::{MessageId, Name, NameKey, Reference, RoomName},
        plain,
        secret::Secret,
        text::Text,
    },
    store::Words,
};

/// How many unowned names one connection may claim. This slows down a client
/// that tries to claim all of them.
const MAX_NEW_NAMES: u8 = 5;

/// The result of a command.
pub(super) enum CommandResult {
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

impl From<SideTask> for CommandResult {
    fn from(lookup: SideTask) -> Self {
        CommandResult::Work(PendingWork::LookUp(lookup))
    }
}

impl Conversation<'_> {
    /// Carries out a command.
    pub(super) fn act(&mut self, command: Command) -> Result<CommandResult, Refusal> {
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
                let is_own = |key: &NameKey| key.covers(&name.key());
                if secret.is_some() || !self.key.as_ref().is_some_and(is_own) {
                    SideTask::write(self.claim(name, secret)).into()
                } else {
                    self.rename(name, None, None).into()
                }
            }
            Command::Inbox { before, limit } => self.inbox(before, limit)?.into(),
            Command::Ignore { name: None } => self.ignored_event().into(),
            Command::Ignore { name: Some(name) } => self.ignore(name, true)?,
            Command::Unignore { name } => self.ignore(name, false)?,
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
                SideTask::write(self.topic(text)).into()
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
    ) -> Result<SideTask, Refusal> {
        let text = self.accept(text)?;
        let Some(key) = &self.key else {
            let text = "Take a name first, so that you can be answered: /name NAME.";
            return Err(Refusal::new(RefusalCode::NotAllowed, text));
        };
        let recipient = self.hub.find_recipient(to, key.clone());
        let draft = Draft {
            room: RoomName::inbox(key),
            from: self.author.clone(),
            text,
            id,
            kind: MessageKind::Said,
            to: None,
        };
        Ok(SideTask::read(async move {
            match recipient.await {
                Ok(to) => {
                    let to = Some(to);
                    SideTaskResult::Draft(Draft { to, ..draft }, follows)
                }
                Err(refusal) => SideTaskResult::Event(Event::Refused(refusal.with_id(draft.id))),
            }
        }))
    }

    /// Hides what a name says from this reader, or shows it again. An owner's
    /// list is stored; another one lasts as long as the connection.
    fn ignore(&mut self, name: Name, is_ignored: bool) -> Result<CommandResult, Refusal> {
        let key = name.key();
        if is_ignored && self.key.as_ref() == Some(&key) {
            let text = "You cannot ignore yourself.";
            return Err(Refusal::new(RefusalCode::NotAllowed, text));
        }
        let origin = self.registration.peer().id;
        let own = self.key.as_ref();
        let stored = own.and_then(|own| self.hub.ignore(own, origin, name.clone(), is_ignored));
        if let Some(stored) = stored {
            let stored = async move {
                match stored.await {
                    Ok(names) => SideTaskResult::Ignored(names),
                    Err(refusal) => SideTaskResult::Event(Event::Refused(refusal)),
                }
            };
            return Ok(SideTask::write(stored).into());
        }
        let mut names = self.ignored.clone();
        if is_ignored {
            names.add(name)?;
        } else {
            names.remove(&key);
        }
        Ok(SideTask::read(async { SideTaskResult::Ignored(names) }).into())
    }

    fn ignored_event(&self) -> Event {
        let names = self.ignored.names();
        Event::Ignored { names }
    }

    /// Carries out an operator's command.
    fn operator_command(&self, command: Command) -> Result<SideTask, Refusal> {
        let (by, id) = (&self.author, self.registration.peer().id);
        let (told, done): (_, Pin<Box<dyn Future<Output = _> + Send>>) = match command {
            Command::Kick { who, reason } => {
                return Ok(SideTask::write(self.kick(&who, accept_reason(reason)?)));
            }
            Command::Ban {
                who,
                duration,
                reason,
            } => (
                format!("{who} is banned."),
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
                format!("{who} is not banned."),
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
        Ok(SideTask::write(async move {
            let text = match done.await {
                Ok(()) => told,
                Err(refusal) => return SideTaskResult::Event(Event::Refused(refusal)),
            };
            SideTaskResult::Event(Event::Notice { text })
        }))
    }

    /// Ends the connections of a person or address.
    fn kick(
        &self,
        who: &CommandTarget,
        why: Option<Text>,
    ) -> impl Future<Output = SideTaskResult> + use<> {
        let named = who.to_string();
        let kicked = self
            .hub
            .kick(&self.author, self.registration.peer().id, who, why);
        async move {
            let text = match kicked.await {
                Ok(0) => format!("{named} is not here."),
                Ok(1) => format!("{named} was kicked."),
                Ok(ended) => format!("{named} was kicked, from {ended} connections."),
                Err(refusal) => return SideTaskResult::Event(Event::Refused(refusal)),
            };
            SideTaskResult::Event(Event::Notice { text })
        }
    }

    /// Reads the room's topic, or sets it.
    fn topic(&self, text: Option<Text>) -> impl Future<Output = SideTaskResult> + use<> {
        let room = self.room.clone();
        let known = self.hub.topic(&room);
        let origin = self.registration.peer().id;
        let set = text.map(|text| self.hub.set_topic(&room, text, &self.author, origin));
        async move {
            let topic = match set {
                Some(set) => match set.await {
                    Ok(topic) => topic,
                    Err(refusal) => return SideTaskResult::Event(Event::Refused(refusal)),
                },
                None => known.unwrap_or_else(Topic::none),
            };
            SideTaskResult::Event(Event::Topic { room, topic })
        }
    }

    /// Claims a name.
    fn claim(
        &self,
        name: Name,
        secret: Option<Secret>,
    ) -> impl Future<Output = SideTaskResult> + use<> {
        let claimed = self.hub.claim(Claim {
            origin: self.registration.peer().id,
            name: name.clone(),
            secret,
            current_name: self.key.clone(),
            may_be_new: self.new_names < MAX_NEW_NAMES,
        });
        let (hub, origin) = (self.hub.clone(), self.registration.peer().id);
        // An owner's list stays with that name.
        let ignored = match &self.key {
            Some(key) if hub.is_owned(key) => IgnoredNames::default(),
            _ => self.ignored.clone(),
        };
        async move {
            match claimed.await {
                Ok(taken) => {
                    let key = taken.name_use.key();
                    let adopted = hub.adopt_ignored(key, origin, ignored.clone()).await;
                    let inbox = InboxStart::of(&hub, &taken.name_use).await.ok();
                    SideTaskResult::Name(name, taken, adopted.unwrap_or(ignored), inbox)
                }
                Err(refusal) => SideTaskResult::Event(Event::Refused(refusal)),
            }
        }
    }

    /// Sends the result of a lookup, or returns the draft to store.
    pub(in crate::session) fn finish_lookup(
        &mut self,
        found: SideTaskResult,
        reference: Option<Reference>,
        subscriber: &mut Subscriber,
    ) -> Option<PendingCommand> {
        let event = match found {
            SideTaskResult::Event(Event::Page(mut page)) if self.format.hides_ignored() => {
                self.ignored.hide_in(&mut page);
                Event::Page(page)
            }
            SideTaskResult::Event(event) => event,
            SideTaskResult::Ignored(names) => {
                subscriber.ignore(&names);
                self.ignored = names;
                self.ignored_event()
            }
            SideTaskResult::Draft(draft, follows) => {
                let work = PendingWork::Publish(draft, follows);
                return Some(PendingCommand { work, reference });
            }
            SideTaskResult::Name(
                name,
                Claimed {
                    name_use: lease,
                    new,
                    new_secret: made,
                },
                ignored,
                unread,
            ) => {
                subscriber.ignore(&ignored);
                self.ignored = ignored;
                if self.key.as_ref() != Some(lease.key()) {
                    let inbox = RoomName::inbox(lease.key());
                    let delivered = lease.inbox_start(None);
                    let after = unread.map_or(delivered, |unread| unread.after);
                    subscriber.follow_inbox(inbox, after);
                    self.shown = DeliveredMark::default();
                    self.inbox_since = lease.since();
                    if let Some(notice) = unread.and_then(|unread| unread.notice()) {
                        self.say(&notice, subscriber);
                    }
                }
                self.key = Some(lease.key().clone());
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
