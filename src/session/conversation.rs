//! What is said: each command, and its answer.

use std::pin::Pin;

use tokio::{sync::oneshot, time::Instant};
use tracing::{error, info};

use super::{End, Options, Searches, Visit, operator::Operator, rate::Pace, shown::Shown};
use crate::{
    fanout::Subscriber,
    history::{Draft, Excerpt, Span, StoreError, What, Words},
    hub::{Carried, Claim, Hub, Membership, Reply, Seat, Taken, Wanted},
    protocol::{
        Author, Command, EXCERPT, Entry, Event, Kind, Limits, MAX_BACKLOG, MAX_EXCERPT, Page,
        Refusal, RefusalCode, Search, Seq, Start, Topic, Welcome,
        close::{CloseReason, MAX_WHY},
        format::Format,
        name::{MessageId, Name, RoomName},
        plain,
        secret::Secret,
        text::Text,
        who::Who,
    },
};

/// What `welcome` says the server is.
const SERVER: &str = concat!("broadcast-chat/", env!("CARGO_PKG_VERSION"));

/// What a text frame asks for that takes longer than an answer.
pub(super) enum Intent {
    /// To store this, said after that.
    Publish(Draft, Option<MessageId>),
    /// To read another room, or this one from elsewhere.
    Join(RoomName, Start),
    /// To be told this, once it is looked up.
    Answer(Answer),
    /// To hear no more of it.
    Close(CloseReason),
}

/// An answer that is being looked up.
pub(super) struct Answer {
    /// What it will be.
    pub(super) found: Pin<Box<dyn Future<Output = Found> + Send>>,
    /// Something is changed by it, which is not left off when the server goes
    /// away; what is only looked up is.
    pub(super) changes: bool,
}

impl Answer {
    fn change(found: impl Future<Output = Found> + Send + 'static) -> Self {
        Answer {
            found: Box::pin(found),
            changes: true,
        }
    }

    fn lookup(found: impl Future<Output = Found> + Send + 'static) -> Self {
        Answer {
            found: Box::pin(found),
            changes: false,
        }
    }
}

/// What was found, or done.
pub(super) enum Found {
    /// This is the answer.
    Event(Event),
    /// A name is one's own, written so.
    Name(Name, Taken),
    /// This may be stored, said after that.
    Draft(Draft, Option<MessageId>),
}

/// How many names that were nobody's one connection may make its own: nobody
/// needs many, and who wants all of them takes time.
const MAX_NEW_NAMES: u8 = 5;

/// Who speaks, in which room and how.
pub(super) struct Conversation<'a> {
    hub: &'a Hub,
    limits: Limits,
    format: Format,
    echo: bool,
    author: Author,
    /// The author's name is kept as long as this is.
    carried: Option<Carried>,
    /// What of its private messages is with the peer.
    shown: Shown,
    /// How many names have become its own.
    new_names: u8,
    membership: Membership,
    /// How fast it may go, if that is limited.
    pace: Option<Box<Pace>>,
    searches: &'a Searches,
    operator: Operator<'a>,
    seat: Seat,
    /// Why it is to end, once somebody says that it is.
    sent_away: oneshot::Receiver<CloseReason>,
}

impl<'a> Conversation<'a> {
    /// Welcomes the visitor, and follows the room from where it wants to start.
    pub(super) async fn start(
        visit: Visit,
        hub: &'a Hub,
        options: &'a Options,
        subscriber: &mut Subscriber,
    ) -> Result<Self, CloseReason> {
        let Visit {
            addr,
            room,
            name,
            secret,
            format,
            start,
            echo,
        } = visit;
        let (carried, refused) = match &name {
            None => (None, None),
            Some(name) => match hub.carry(name, secret, addr.ip()).await {
                Ok(carried) => (Some(carried), None),
                Err(refusal) => (None, Some(Event::Refused(refusal))),
            },
        };
        let name = name.filter(|_| carried.is_some());
        let pace = options.rates.as_ref().map(|r| Box::new(Pace::new(r, addr)));
        let author = Author { name, addr };
        let (seat, sent_away) = hub.attend(&author);
        let membership = hub.enter(room, author.clone(), subscriber);
        let history = hub.history();
        let here = start.gap(history.epoch(), history.head()).is_none();
        let inbox = carried.as_ref().map(|carried| {
            let given = start.inbox.filter(|seq| *seq <= history.head());
            let after = carried.inbox(given.or(start.after.filter(|_| here)));
            subscriber.receive(RoomName::inbox(carried.key()), after);
            after
        });
        let conversation = Conversation {
            hub,
            limits: options.limits,
            format,
            echo,
            author,
            carried,
            shown: Shown::default(),
            new_names: 0,
            membership,
            pace,
            searches: &options.searches,
            operator: Operator::new(options.operator.as_ref()),
            seat,
            sent_away,
        };
        conversation
            .begin(&start, subscriber, |it, head| it.welcome(head, inbox))
            .await?;
        if let Some(refused) = refused {
            conversation.say(&refused, subscriber);
        }
        if let Some(motd) = &options.motd
            && format != Format::EventStream
        {
            let text = motd.to_string();
            conversation.say(&Event::Notice { text }, subscriber);
        }
        Ok(conversation)
    }

    /// Acts on a text frame; what takes longer is handed back.
    pub(super) fn handle(&mut self, frame: &str, subscriber: &mut Subscriber) -> Option<Intent> {
        let command = self.format.parse(frame).transpose()?;
        let paced = match (&mut self.pace, &command) {
            (None, _) => Ok(()),
            (
                Some(pace),
                Ok(Command::Publish { id, follows, .. } | Command::Private { id, follows, .. }),
            ) => pace.message(id.as_ref(), follows.as_ref()),
            (Some(pace), _) => pace.command(),
        };
        let answer = match paced.and(command) {
            Ok(Command::Publish {
                text,
                id,
                kind,
                follows,
            }) => match self.accept(&text) {
                Ok(text) => {
                    info!(target: "chat::message", "From client {} {:?}", self.author.addr, &*text);
                    let (room, from) = (self.membership.room().clone(), self.author.clone());
                    let draft = Draft {
                        room,
                        from,
                        text,
                        id,
                        kind,
                        to: None,
                    };
                    return Some(Intent::Publish(draft, follows));
                }
                Err(refusal) => Event::Refused(refusal.of(id)),
            },
            Ok(Command::Private {
                to,
                text,
                id,
                follows,
            }) => match self.private(to, &text, id.clone(), follows) {
                Ok(answer) => return Some(Intent::Answer(answer)),
                Err(refusal) => Event::Refused(refusal.of(id)),
            },
            Ok(Command::Name { name, secret }) => {
                let key = self.carried.as_ref().map(Carried::key);
                if secret.is_some() || key.is_none_or(|key| *key != name.key()) {
                    return Some(Intent::Answer(Answer::change(self.claim(name, secret))));
                }
                self.rename(name, None)
            }
            Ok(Command::Join { room, start }) => return Some(Intent::Join(room, start)),
            Ok(Command::Members) => self.membership.members(),
            Ok(Command::History { before, limit }) => {
                return Some(Intent::Answer(self.page(before, limit)));
            }
            Ok(Command::Search {
                query,
                before,
                limit,
            }) => match Words::of(&query) {
                Ok(words) => match self.search(words, before, limit) {
                    Ok(answer) => return Some(Intent::Answer(answer)),
                    Err(refusal) => Event::Refused(refusal),
                },
                Err(refusal) => Event::Refused(refusal),
            },
            Ok(Command::Rooms) => self.hub.rooms(),
            Ok(Command::Topic { text }) => match text.as_deref().map(Topic::accept).transpose() {
                Ok(text) => return Some(Intent::Answer(Answer::change(self.topic(text)))),
                Err(refusal) => Event::Refused(refusal),
            },
            Ok(Command::Operator { secret }) => match self.operator.prove(&secret) {
                Ok(()) => Event::Notice {
                    text: "You are an operator now: /help says what you can do.".into(),
                },
                Err(refusal) => Event::Refused(refusal),
            },
            Ok(
                command @ (Command::Kick { .. }
                | Command::Ban { .. }
                | Command::Unban { .. }
                | Command::Mute { .. }
                | Command::Unmute { .. }
                | Command::Erase { .. }),
            ) => match self.keep_order(command) {
                Ok(answer) => return Some(Intent::Answer(answer)),
                Err(refusal) => Event::Refused(refusal),
            },
            Ok(Command::Help) => plain::help(),
            Err(refusal) => Event::Refused(refusal),
        };
        self.say(&answer, subscriber);
        if self.operator.is_guessing() {
            return Some(Intent::Close(CloseReason::Guessing));
        }
        let flood = self.pace.as_ref().is_some_and(|pace| pace.is_flood());
        flood.then_some(Intent::Close(CloseReason::Flooding))
    }

    /// Waits until it is to end, as an operator said; why.
    pub(super) async fn sent_away(&mut self) -> CloseReason {
        let reason = (&mut self.sent_away).await;
        reason.unwrap_or(CloseReason::Internal)
    }

    /// A text that may be said, made safe.
    fn accept(&self, text: &str) -> Result<Text, Refusal> {
        self.hub.hears(&self.author)?;
        Text::accept(text, self.limits.text_bytes)
    }

    /// Says something to one person alone, if somebody is to get it.
    fn private(
        &self,
        to: Name,
        text: &str,
        id: Option<MessageId>,
        follows: Option<MessageId>,
    ) -> Result<Answer, Refusal> {
        let text = self.accept(text)?;
        let Some(carried) = &self.carried else {
            let text = "Take a name first, so that you can be answered: /name NAME.";
            return Err(Refusal::new(RefusalCode::NotAllowed, text));
        };
        let reaches = self.hub.reaches(&to);
        let draft = Draft {
            room: RoomName::inbox(carried.key()),
            from: self.author.clone(),
            text,
            id,
            kind: Kind::Said,
            to: Some(to),
        };
        Ok(Answer::lookup(async move {
            match reaches.await {
                Ok(()) => Found::Draft(draft, follows),
                Err(refusal) => Found::Event(Event::Refused(refusal.of(draft.id))),
            }
        }))
    }

    /// What an operator wants.
    fn keep_order(&self, command: Command) -> Result<Answer, Refusal> {
        self.operator.check()?;
        let by = &self.author;
        let (told, done): (_, Pin<Box<dyn Future<Output = _> + Send>>) = match command {
            Command::Kick { who, reason } => {
                return Ok(Answer::change(self.kick(who, why(reason)?)));
            }
            Command::Ban { who, lasts, reason } => (
                format!("{who} is kept out."),
                Box::pin(self.hub.impose(by, What::Ban, who, lasts, why(reason)?)),
            ),
            Command::Mute { who, lasts } => (
                format!("{who} is muted."),
                Box::pin(self.hub.impose(by, What::Mute, who, lasts, None)),
            ),
            Command::Unban { who } => (
                format!("{who} is not kept out."),
                Box::pin(self.hub.lift(by, What::Ban, who)),
            ),
            Command::Unmute { who } => (
                format!("{who} is not muted."),
                Box::pin(self.hub.lift(by, What::Mute, who)),
            ),
            Command::Erase { seq } => (
                format!("Number {seq} is erased."),
                Box::pin(self.hub.erase(by, self.membership.room(), seq)),
            ),
            _ => return Err(Refusal::new(RefusalCode::UnknownType, "No such command.")),
        };
        Ok(Answer::change(async move {
            let text = match done.await {
                Ok(()) => told,
                Err(refusal) => return Found::Event(Event::Refused(refusal)),
            };
            Found::Event(Event::Notice { text })
        }))
    }

    /// Sends somebody away.
    fn kick(&self, who: Who, why: Option<Text>) -> impl Future<Output = Found> + use<> {
        let named = who.to_string();
        let kicked = self.hub.kick(&self.author, who, why);
        async move {
            let text = match kicked.await {
                Ok(0) => format!("{named} is not here."),
                Ok(1) => format!("{named} was sent away."),
                Ok(ended) => format!("{named} was sent away, from {ended} connections."),
                Err(refusal) => return Found::Event(Event::Refused(refusal)),
            };
            Found::Event(Event::Notice { text })
        }
    }

    /// What the room is about, or is to be about from now on.
    fn topic(&self, text: Option<Text>) -> impl Future<Output = Found> + use<> {
        let room = self.membership.room().clone();
        let known = self.membership.topic();
        let set = text.map(|text| self.hub.set_topic(&self.membership, text, &self.author));
        async move {
            let topic = match set {
                Some(set) => match set.await {
                    Ok(topic) => topic,
                    Err(refusal) => return Found::Event(Event::Refused(refusal)),
                },
                None => known.unwrap_or_else(Topic::none),
            };
            Found::Event(Event::Topic { room, topic })
        }
    }

    /// Wants a name as its own.
    fn claim(&self, name: Name, secret: Option<Secret>) -> impl Future<Output = Found> + use<> {
        let hub = self.hub.clone();
        let claim = Claim {
            name: name.clone(),
            secret,
            instead_of: self.carried.as_ref().map(|carried| carried.key().clone()),
            may_be_new: self.new_names < MAX_NEW_NAMES,
        };
        async move {
            match hub.claim(claim).await {
                Ok(taken) => Found::Name(name, taken),
                Err(refusal) => Found::Event(Event::Refused(refusal)),
            }
        }
    }

    /// Says what was found, or hands back what is to be stored now.
    pub(super) fn answer(&mut self, found: Found, subscriber: &mut Subscriber) -> Option<Intent> {
        let event = match found {
            Found::Event(event) => event,
            Found::Draft(draft, follows) => return Some(Intent::Publish(draft, follows)),
            Found::Name(name, Taken { carried, new, made }) => {
                let before = self.carried.as_ref().map(Carried::key);
                if before != Some(carried.key()) {
                    let inbox = RoomName::inbox(carried.key());
                    subscriber.receive(inbox, carried.inbox(None));
                    self.shown = Shown::default();
                }
                self.carried = Some(carried);
                self.new_names += u8::from(new);
                self.rename(name, made)
            }
        };
        self.say(&event, subscriber);
        None
    }

    /// Notes now and then which private messages the peer has, which was heard
    /// at this moment for the last time.
    pub(super) fn note_shown(&mut self, heard: Instant, subscriber: &Subscriber) {
        let shown = self.shown.look(subscriber.received(), heard);
        self.note(shown);
    }

    /// The same at its end: who takes leave in order has all that went out.
    pub(super) fn end(&mut self, end: &End, subscriber: &Subscriber) {
        if let End::Close(CloseReason::Done | CloseReason::Answer(_)) = end {
            let shown = subscriber.received().and_then(|seq| self.shown.note(seq));
            self.note(shown);
        }
    }

    fn note(&self, shown: Option<Seq>) {
        if let (Some(seq), Some(carried)) = (shown, &self.carried) {
            self.hub.note_shown(carried.key(), seq);
        }
    }

    fn rename(&mut self, name: Name, secret: Option<Secret>) -> Event {
        self.membership.rename(&name);
        self.author.name = Some(name.clone());
        self.seat.rename(&self.author);
        Event::Name { name, secret }
    }

    /// A page of the room's history.
    fn page(&self, before: Option<Seq>, limit: Option<u32>) -> Answer {
        let (history, room) = (self.hub.history().clone(), self.membership.room().clone());
        let span = Span {
            after: None,
            before,
            limit: limit.unwrap_or(EXCERPT).min(MAX_EXCERPT),
        };
        Answer::lookup(async move {
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
    ) -> Result<Answer, Refusal> {
        let place = self.searches.queue(self.author.addr)?;
        let (history, room) = (self.hub.history().clone(), self.membership.room().clone());
        let limit = limit.unwrap_or(EXCERPT).min(MAX_EXCERPT);
        Ok(Answer::lookup(async move {
            let _turn = place.turn().await;
            let found = history.search(&room, &words, before, limit).await;
            let Some(found) = found.transpose() else {
                let text = "It takes too long to find that; search for fewer or rarer words.";
                let refusal = Refusal::new(RefusalCode::TooLong, text);
                return Found::Event(Event::Refused(refusal));
            };
            looked_up(found.map(|found| Page {
                messages: found.messages.into_iter().map(Entry::Message).collect(),
                more: found.more,
                search: Some(Search {
                    query: words.typed().to_owned(),
                    indexed: found.indexed,
                }),
            }))
        }))
    }

    /// How the server takes its leave when it goes away. Who speaks JSON may
    /// read when to come back, and so does a browser in events; other programs
    /// know 1001.
    pub(super) fn goodbye(&self) -> CloseReason {
        match self.format {
            Format::Json | Format::EventStream => {
                let wait = self.hub.comeback().as_millis();
                let wait_ms = u32::try_from(wait).unwrap_or(u32::MAX);
                CloseReason::Draining { wait_ms }
            }
            Format::Plain | Format::NumberedPlain => CloseReason::GoingAway,
        }
    }

    /// Which replies are passed on.
    pub(super) fn wanted(&self) -> Wanted {
        if self.echo {
            Wanted::Unseen
        } else {
            Wanted::All
        }
    }

    /// Passes on what became of a draft that the publisher does not see.
    pub(super) fn reply(&self, reply: Reply, subscriber: &mut Subscriber) {
        match reply {
            Reply::Stored { id, seq, duplicate } => {
                self.say(&Event::Accepted { id, seq, duplicate }, subscriber);
            }
            Reply::Refused(refusal) => self.say(&Event::Refused(refusal), subscriber),
        }
    }

    fn say(&self, event: &Event, subscriber: &mut Subscriber) {
        if let Event::Refused(refusal) = event {
            self.hub.metrics().refused(&refusal.code);
        }
        if let Some(frame) = self.format.frame(event) {
            subscriber.send(&frame);
        }
    }

    /// Goes to a room, or starts over in this one.
    pub(super) async fn join(
        &mut self,
        room: RoomName,
        start: &Start,
        subscriber: &mut Subscriber,
    ) -> Result<(), CloseReason> {
        if room != *self.membership.room() {
            self.membership = self.hub.enter(room, self.author.clone(), subscriber);
        }
        self.begin(start, subscriber, |conversation, head| {
            match conversation.format {
                Format::Json | Format::EventStream => conversation.welcome(head, None),
                Format::Plain | Format::NumberedPlain => {
                    let topic = conversation.topic_text();
                    plain::joined(conversation.membership.room(), topic.as_ref())
                }
            }
        })
        .await
    }

    fn welcome(&self, head: Seq, inbox: Option<Seq>) -> Event {
        Event::Welcome(Welcome {
            room: self.membership.room().clone(),
            you: self.author.clone(),
            epoch: self.hub.history().epoch().clone(),
            head,
            inbox,
            members: self.membership.total(),
            topic: self.topic_text(),
            server: SERVER.into(),
            limits: self.limits,
        })
    }

    /// What the room is about, if anything.
    fn topic_text(&self) -> Option<Text> {
        let topic = self.membership.topic()?.text;
        (!topic.is_empty()).then_some(topic)
    }

    /// Greets, and follows the room from where the reader wants to start.
    async fn begin(
        &self,
        start: &Start,
        subscriber: &mut Subscriber,
        greeting: impl FnOnce(&Self, Seq) -> Event,
    ) -> Result<(), CloseReason> {
        let history = self.hub.history();
        let room = self.membership.room();
        let head = history.head();
        let gap = start.gap(history.epoch(), head);
        if let Err(why) = self.hub.find_topic(&self.membership).await {
            // No reason to send anybody away.
            tracing::error!("the topic of {room} cannot be read: {why}");
        }
        let after = match (start.after, start.backlog) {
            (Some(_), _) if gap.is_some() => Seq::START,
            (Some(after), _) => after,
            (None, Some(count)) => history
                .before_last(room, count.min(MAX_BACKLOG))
                .await
                .map_err(|why| unreadable(&why))?,
            (None, None) => head,
        };
        // Whatever room was followed before is not from here on.
        subscriber.follow(room.clone(), after);
        self.say(&greeting(self, head), subscriber);
        if let Some(gap) = gap {
            self.say(&gap, subscriber);
        }
        Ok(())
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

fn unreadable(why: &StoreError) -> CloseReason {
    error!("the log cannot be read: {why}");
    CloseReason::Internal
}

fn looked_up(page: Result<Page, StoreError>) -> Found {
    let event = page.map_or_else(
        |why| {
            error!("what was said cannot be looked up: {why}");
            let text = "The history cannot be read just now; ask again in a while.";
            Event::Refused(Refusal::new(RefusalCode::Busy, text))
        },
        Event::Page,
    );
    Found::Event(event)
}
