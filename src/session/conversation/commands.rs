//! Carries out each command.

use super::{
    super::{
        delivered::DeliveredMark,
        entered_place,
        inbox_start::InboxStart,
        pending::{PendingCommand, PendingWork, SideTask, SideTaskResult, TakenName},
    },
    Conversation,
    command_result::CommandResult,
    pages::last_author,
};
use crate::{
    fanout::Subscriber,
    hub::{Claim, Claimed, NameUse, Receipts, Reply},
    log::Draft,
    protocol::{
        Command, Event, MessageKind, Refusal, RefusalCode, Topic,
        command::table::Permission,
        ignored::IgnoredNames,
        name::{MessageId, Name, Reference, RoomName},
        plain,
        secret::Secret,
        text::Text,
    },
    store::{Ownership, Words},
};

/// How many unowned names one connection may claim. This slows down a client
/// that tries to claim all of them.
const MAX_NEW_NAMES: u8 = 5;

/// A private message is stored in two inboxes.
const PRIVATE_ROWS: u32 = 2;

impl Conversation<'_> {
    /// Carries out a command.
    pub(super) fn act(&mut self, command: Command) -> Result<CommandResult, Refusal> {
        self.check_permission(&command)?;
        Ok(match command {
            Command::Publish {
                text,
                id,
                kind,
                about,
                follows,
            } => {
                let draft = self
                    .publish(&text, id.clone(), kind, about, follows)
                    .map_err(|refusal| refusal.with_id(id))?;
                CommandResult::Work(self.submit(draft))
            }
            Command::About { about, kind, text } => self.publish_about(about, kind, &text)?.into(),
            Command::Delete { seq } => self.delete(seq)?.into(),
            Command::Erase { seq } if self.operator.check().is_err() => {
                self.delete(Some(seq))?.into()
            }
            Command::Private {
                to,
                text,
                id,
                follows,
            } => self
                .private(Some(to), &text, id.clone(), follows)
                .map_err(|refusal| refusal.with_id(id))?
                .into(),
            Command::Reply { text } => self.private(None, &text, None, None)?.into(),
            Command::Name { name, secret } => {
                self.check_mute()?;
                let key = self.key.as_ref().filter(|_| self.author.owner.is_some());
                let is_own = key.is_some_and(|key| key.covers(&name.key()));
                if secret.is_some() || !is_own {
                    SideTask::write(self.claim(name, secret)).into()
                } else {
                    self.rename(name, None, None).into()
                }
            }
            Command::Inbox { before, limit } => self.inbox(before, limit)?.into(),
            Command::Ignore { name: None } => self.ignored_event().into(),
            Command::Ignore { name: Some(name) } => self.ignore(name, true)?,
            Command::Unignore { name } => self.ignore(name, false)?,
            Command::Join { room, start } => {
                self.check_access(&room)?;
                CommandResult::Work(PendingWork::Join(room, start))
            }
            Command::Members => {
                let with_addresses = self.operator.check().is_ok();
                self.hub.members_event(&self.room, with_addresses).into()
            }
            Command::History {
                with: Some(with),
                before,
                limit,
            } => self.conversation(with, before, limit)?.into(),
            Command::History { before, limit, .. } => self.page(before, limit).into(),
            Command::Follow { .. }
            | Command::Unfollow { .. }
            | Command::Read { .. }
            | Command::Watch { .. } => self.place_command(command)?,
            Command::Search {
                query,
                before,
                limit,
            } => self.search(Words::parse(&query)?, before, limit)?.into(),
            Command::Rooms { after } => self.rooms(after)?.into(),
            Command::Topic { text } => {
                if text.is_some() {
                    self.check_mute()?;
                }
                let text = text.as_deref().map(Topic::parse_text).transpose()?;
                if let (Some(text), Some(budget)) = (&text, self.registration.budget()) {
                    budget.topic(text.len())?;
                }
                SideTask::write(self.topic(text)).into()
            }
            Command::Operator { secret } => {
                let (hub, registration) = (self.hub, self.registration);
                let wrong = || hub.count_wrong_secret(registration.peer());
                self.operator.prove(&secret, registration, wrong)?;
                let text = "You are an operator now: /help says what you can do.".into();
                Event::Notice { text }.into()
            }
            Command::Kick { .. }
            | Command::Ban { .. }
            | Command::Unban { .. }
            | Command::Mute { .. }
            | Command::Unmute { .. }
            | Command::Erase { .. } => self.operator_command(command)?.into(),
            Command::Bans => self.hub.sanctions_event().into(),
            Command::Help => plain::help().into(),
            command => self.access_command(command)?.into(),
        })
    }

    /// Checks that the author may give this command in this room.
    fn check_permission(&self, command: &Command) -> Result<(), Refusal> {
        // Somebody removed a moment ago. The log decides of messages.
        if !matches!(command, Command::Publish { .. } | Command::About { .. }) {
            self.check_access(&self.room)?;
        }
        let spec = command.spec();
        if spec.is_some_and(|spec| spec.permission == Permission::Operators) {
            self.operator.check()?;
        }
        Ok(())
    }

    pub(super) fn check_mute(&self) -> Result<(), Refusal> {
        self.registration.check_mute(self.author.name.as_ref())
    }

    /// Checks that the author may speak, makes the text safe, and charges the
    /// rows of the message to the quota.
    pub(super) fn accept(
        &mut self,
        text: &str,
        id: Option<&MessageId>,
        rows: u32,
    ) -> Result<Text, Refusal> {
        self.check_mute()?;
        let text = Text::parse(text, self.limits.text_bytes)?;
        if let Some(pace) = &mut self.pace {
            pace.store(id, rows, text.len())?;
        }
        Ok(text)
    }

    /// Prepares a private message, if its author and its recipient own their
    /// names. Without a recipient it goes to the author of the last private
    /// message to this member.
    fn private(
        &mut self,
        to: Option<Name>,
        text: &str,
        id: Option<MessageId>,
        follows: Option<MessageId>,
    ) -> Result<SideTask, Refusal> {
        // A muted person is told so first.
        self.check_mute()?;
        let (Some(owner), Some(key)) = (self.author.owner, self.key.clone()) else {
            let text = "A private message needs a name of your own, so that only you get the answer: \
                        /name NAME makes a name your own.";
            return Err(Refusal::new(RefusalCode::NotAllowed, text));
        };
        let text = self.accept(text, id.as_ref(), PRIVATE_ROWS)?;
        let (hub, history) = (self.hub.clone(), self.hub.history().clone());
        let recipient = async move {
            let to = match to {
                Some(to) => to,
                None => last_author(&history, owner).await?,
            };
            hub.find_recipient(to, key).await
        };
        let from = self.author.clone();
        Ok(SideTask::read(async move {
            SideTaskResult::Draft(match recipient.await {
                Ok(recipient) => Ok(Box::new(Draft {
                    room: RoomName::inbox(owner),
                    from,
                    text,
                    id,
                    follows,
                    kind: MessageKind::Said,
                    to: Some(recipient),
                    mentions: Vec::new(),
                    about: None,
                })),
                Err(refusal) => Err(refusal.with_id(id)),
            })
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
        if let Some(owner) = self.author.owner {
            let stored = self.hub.ignore(owner, origin, name, is_ignored);
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

    /// Checks that this connection may make another name its own.
    fn check_new_name(&self) -> Result<(), Refusal> {
        let text = if self.hub.is_by_invitation() {
            "Here every name needs an invitation of its own."
        } else if self.new_names >= MAX_NEW_NAMES {
            "You have made so many names your own on this connection that it may be no more."
        } else {
            return Ok(());
        };
        Err(Refusal::new(RefusalCode::NotAllowed, text))
    }

    /// Claims a name, or where only admitted names take part, proves one.
    fn claim(
        &self,
        name: Name,
        secret: Option<Secret>,
    ) -> impl Future<Output = SideTaskResult> + use<> {
        let claimed = self.hub.claim(Claim {
            peer: self.registration.peer(),
            budget: self.registration.budget().cloned(),
            name: name.clone(),
            secret,
            current_name: self.key.clone(),
            new: self.check_new_name(),
        });
        let (hub, origin) = (self.hub.clone(), self.registration.peer().id);
        // An owner's list stays with that name.
        let ignored = match self.author.owner {
            Some(_) => IgnoredNames::default(),
            None => self.ignored.clone(),
        };
        async move {
            match claimed.await {
                Ok(claimed) => {
                    let mut taken = Box::new(TakenName {
                        name,
                        claimed,
                        ignored,
                        inbox: None,
                    });
                    if let Some(ownership) = taken.claimed.name_use.ownership() {
                        let own = taken.ignored.clone();
                        let all = hub.adopt_ignored(ownership.owner, origin, own).await;
                        taken.ignored = all.unwrap_or(taken.ignored);
                        taken.inbox = InboxStart::of(&hub, ownership).await.ok();
                    }
                    SideTaskResult::Name(taken)
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
        receipts: &Receipts,
        subscriber: &mut Subscriber,
    ) -> Option<PendingCommand> {
        let event = match found {
            SideTaskResult::Event(Event::Page(mut page)) if self.format.hides_ignored() => {
                self.ignored.hide_in(&mut page);
                Event::Page(page)
            }
            SideTaskResult::Event(event) => event,
            SideTaskResult::Nothing => return None,
            SideTaskResult::Places(following) => {
                self.registration.set_places(&following);
                // A new owner has only the room that it is in.
                if following.len() > 1 {
                    self.say(&Event::Following { following }, subscriber);
                }
                return None;
            }
            SideTaskResult::Ignored(names) => {
                subscriber.ignore(&names);
                self.ignored = names;
                self.ignored_event()
            }
            SideTaskResult::Draft(Ok(draft)) => {
                let to = draft.to.as_ref().map(|to| to.name.clone());
                let away = to.filter(|name| self.tells_away(name, reference.as_ref()));
                let work = PendingWork::Publish(*draft, away);
                return Some(PendingCommand { work, reference });
            }
            SideTaskResult::Draft(Err(refusal)) => {
                // The receipt notes the refusal. A message that follows may also
                // follow an earlier one that is refused for now, so it is sent
                // again.
                let receipt = receipts.issue_for(reference, None);
                receipt.tell(Reply::Refused(refusal));
                return None;
            }
            SideTaskResult::Name(taken) => {
                let TakenName {
                    name,
                    claimed,
                    ignored,
                    inbox: unread,
                } = *taken;
                let Claimed {
                    name_use: lease,
                    new,
                    new_secret: made,
                } = claimed;
                subscriber.ignore(&ignored);
                self.ignored = ignored;
                self.operator.note_name(lease.ownership());
                if let Some(Ownership {
                    owner, delivered, ..
                }) = lease.ownership()
                    && self.author.owner != Some(owner)
                {
                    let after = unread.map_or(delivered, |unread| unread.after);
                    subscriber.follow_inbox(RoomName::inbox(owner), after);
                    self.shown = DeliveredMark::default();
                    self.author.owner = Some(owner);
                    if let Some(notice) = unread.and_then(|unread| unread.notice()) {
                        self.say(&notice, subscriber);
                    }
                }
                self.key = Some(lease.key().clone());
                self.new_names += u8::from(new);
                let named = self.rename(name, Some(lease), made);
                self.answer(&named, reference.as_ref(), subscriber);
                // From here on the registry knows the owner: it misses no change
                // of a place while these are read.
                return self.enter_place();
            }
        };
        self.answer(&event, reference.as_ref(), subscriber);
        None
    }

    /// Reads the places of the owner, which follows the room that it is in;
    /// `None` without an owner.
    fn enter_place(&self) -> Option<PendingCommand> {
        let (hub, owner, room) = (self.hub.clone(), self.author.owner?, self.room.clone());
        let origin = self.registration.peer().id;
        let places = SideTask::write(async move {
            SideTaskResult::Places(entered_place::enter(&hub, owner, origin, &room).await)
        });
        Some(PendingCommand {
            work: PendingWork::LookUp(places),
            reference: None,
        })
    }

    fn rename(&mut self, name: Name, lease: Option<NameUse>, secret: Option<Secret>) -> Event {
        self.registration.rename(&name, lease);
        self.author.name = Some(name.clone());
        Event::Name { name, secret }
    }
}
