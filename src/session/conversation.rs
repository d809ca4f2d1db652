//! The state of one conversation: its author, its room and its welcome.
//! `frame` charges and parses frames; `commands` carries out commands; `pages`
//! reads pages and searches.

mod about;
mod access;
mod command_result;
mod commands;
mod frame;
mod operating;
mod pages;
mod place_commands;
mod replies;

use std::collections::BTreeSet;

use futures_util::FutureExt;
use tokio::{sync::oneshot, time::Instant};
use tracing::{debug, error, field::display};

use super::{
    delivered::DeliveredMark, end::SessionEnd, entered_place, inbox_start::InboxStart,
    operator::Operator, options::CurrentOptions, pace::Pace, request::SessionRequest,
};
use crate::{
    fanout::Subscriber,
    hub::{Hub, NameUse, Receipts, Registration, WantedReplies},
    protocol::{
        Author, Event, Followed, Limits, MAX_BACKLOG, Seq, Start, Welcome,
        close::CloseReason,
        format::Format,
        ignored::IgnoredNames,
        name::{NameKey, Reference, RoomName},
        plain,
        text::Text,
    },
    store::StoreError,
};

/// The server's name and version in `welcome`.
const SERVER: &str = concat!("broadcast-chat/", env!("CARGO_PKG_VERSION"));

/// One member's conversation: its author, room, format and limits.
pub(super) struct Conversation<'a> {
    hub: &'a Hub,
    limits: Limits,
    format: Format,
    echo: bool,
    registration: &'a Registration,
    author: Author,
    /// The comparison key of the author's name.
    key: Option<NameKey>,
    room: RoomName,
    /// The names that the member ignores.
    ignored: IgnoredNames,
    /// The away recipients that a plain connection was told of.
    told_away: BTreeSet<NameKey>,
    /// Which private messages the peer has received.
    shown: DeliveredMark,
    /// How many unowned names this connection has claimed.
    new_names: u8,
    /// The rate limit of this connection, if rates are on.
    pace: Option<Box<Pace>>,
    operator: Operator<'a>,
    /// The URL of the server, by which the client came.
    base: Box<str>,
    /// Receives the close reason when an operator ends this conversation.
    operator_close: oneshot::Receiver<CloseReason>,
}

impl<'a> Conversation<'a> {
    /// Sends the welcome and follows the room from the requested start.
    ///
    /// # Errors
    ///
    /// Fails with the close reason if the message store cannot be read.
    pub(super) async fn start(
        request: SessionRequest,
        registration: &'a Registration,
        hub: &'a Hub,
        current: &'a CurrentOptions,
        subscriber: &mut Subscriber,
    ) -> Result<Self, CloseReason> {
        let SessionRequest {
            room,
            name,
            secret,
            proved,
            is_linked,
            base,
            format,
            start,
            echo,
        } = request;
        let options = current.get();
        let peer = registration.peer();
        let linked = name.clone().zip(secret.clone()).filter(|_| is_linked);
        let (lease, refused) = match &name {
            _ if proved.is_some() => (proved, None),
            None => (None, None),
            Some(name) => match hub.use_name(name, secret, registration).await {
                Ok(lease) => (Some(lease), None),
                Err(refusal) => (None, Some(Event::Refused(refusal))),
            },
        };
        let ownership = lease.as_ref().and_then(NameUse::ownership);
        let author = Author {
            name: name.filter(|_| lease.is_some()),
            addr: peer.tag(),
            owner: ownership.map(|ownership| ownership.owner),
        };
        let history = hub.history();
        let replay = history.replay(&start);
        let mut unread = None;
        let mut inbox = None;
        if let Some(ownership) = ownership {
            let after = replay.after.filter(|_| replay.gap.is_none());
            let after = match replay.inbox.or(after) {
                Some(given) => given,
                None => unread.insert(InboxStart::of(hub, ownership).await?).after,
            };
            subscriber.follow_inbox(RoomName::inbox(ownership.owner), after);
            inbox = Some(after);
        }
        let key = lease.as_ref().map(|lease| lease.key().clone());
        let ignored = match author.owner {
            Some(owner) => hub.ignored(owner).await.unwrap_or_default(),
            None => IgnoredNames::default(),
        };
        subscriber.ignore(&ignored);
        let handle = subscriber.handle();
        let operator_close = registration.begin(author.clone(), lease, &room, handle);
        let conversation = Conversation {
            hub,
            limits: options.limits,
            format,
            echo,
            registration,
            author,
            key,
            room,
            ignored,
            told_away: BTreeSet::new(),
            shown: DeliveredMark::default(),
            new_names: 0,
            pace: registration.budget().map(|it| Box::new(Pace::new(it))),
            operator: Operator::new(current, ownership),
            base,
            operator_close,
        };
        let following = match conversation.author.owner {
            Some(owner) => entered_place::enter(hub, owner, peer.id, &conversation.room).await,
            None => Vec::new(),
        };
        registration.set_places(&following);
        conversation
            .follow_room(&start, None, subscriber, |it, head, after| {
                let unread = unread.as_ref().map(|unread| unread.count);
                it.welcome(head, after, inbox, unread, following)
            })
            .await?;
        conversation.log_joined();
        if let Some(notice) = unread.as_ref().and_then(InboxStart::notice) {
            conversation.say(&notice, subscriber);
        }
        if let Some(refused) = refused {
            conversation.say(&refused, subscriber);
        }
        if let Some((name, secret)) = linked.filter(|_| conversation.author.owner.is_some()) {
            let secret = Some(secret);
            conversation.say(&Event::Name { name, secret }, subscriber);
        }
        if let Some(motd) = &options.motd
            && format != Format::EventStream
        {
            let text = motd.to_string();
            conversation.say(&Event::Notice { text }, subscriber);
        }
        Ok(conversation)
    }

    /// Waits until an operator ends this conversation; returns the close
    /// reason.
    pub(super) fn closed_by_operator(&mut self) -> impl Future<Output = CloseReason> {
        let reason = &mut self.operator_close;
        reason.map(|reason| reason.unwrap_or(CloseReason::Internal))
    }

    /// Records, at intervals, the private messages delivered to the peer.
    /// `heard` is when the peer was last heard.
    pub(super) fn note_delivered(&mut self, heard: Instant, subscriber: &Subscriber) {
        let delivered = self.shown.observe(subscriber.inbox_delivered(), heard);
        self.record(delivered);
    }

    /// Records the delivered messages at the end: a peer that closes in order
    /// has received everything sent.
    pub(super) fn end(&mut self, end: &SessionEnd, subscriber: &Subscriber) {
        if let SessionEnd::Close(CloseReason::Done | CloseReason::Echo(_)) = end {
            let delivered = subscriber
                .inbox_delivered()
                .and_then(|seq| self.shown.advance(seq));
            self.record(delivered);
        }
    }

    /// Submits what the reader has read, before the server stops.
    pub(super) fn store_reads(&self) {
        if let Some(owner) = self.author.owner {
            self.hub.store_reads(owner);
        }
    }

    fn record(&self, delivered: Option<Seq>) {
        if let (Some(seq), Some(key), Some(owner)) = (delivered, &self.key, self.author.owner) {
            self.hub.note_delivered(key, owner, seq);
        }
    }

    /// The close reason when the server drains. JSON clients and browsers
    /// reading events get a reconnect delay; plain clients get 1001.
    pub(super) fn drain_reason(&self) -> CloseReason {
        match self.format {
            Format::Json | Format::EventStream => CloseReason::Draining {
                wait_ms: self.hub.reconnect_delay_ms(),
            },
            Format::Plain | Format::NumberedPlain => CloseReason::GoingAway,
        }
    }

    /// Returns this publisher's receipts. With `echo`, they report only
    /// duplicates and refusals.
    pub(super) fn receipts(&self) -> Receipts {
        let wanted = if self.echo {
            WantedReplies::WithoutEcho
        } else {
            WantedReplies::All
        };
        Receipts::new(self.registration.peer().id, wanted)
    }

    /// Sends an event that answers no command.
    fn say(&self, event: &Event, subscriber: &mut Subscriber) {
        self.answer(event, None, subscriber);
    }

    /// Sends the answer to the command with this `ref`.
    fn answer(&self, event: &Event, reference: Option<&Reference>, subscriber: &mut Subscriber) {
        if let Event::Refused(refusal) = event {
            self.hub.metrics().refused(&refusal.code);
        }
        if let Some(frame) = self.format.answer(event, reference) {
            subscriber.send(&frame);
        }
    }

    fn log_joined(&self) {
        let name = self.author.name.as_ref().map(display);
        let address = self.registration.peer();
        debug!(%address, name, room = %self.room, "joined");
    }

    /// Logs the end of the conversation.
    pub(super) fn log_left(&self, end: &SessionEnd) {
        let name = self.author.name.as_ref().map(display);
        let address = self.registration.peer();
        let reason = end.to_string();
        debug!(%address, name, room = %self.room, reason, "left");
    }

    /// Joins a room, or starts over in the current one.
    ///
    /// # Errors
    ///
    /// Fails with the close reason if the message store cannot be read.
    pub(super) async fn join(
        &mut self,
        room: RoomName,
        start: &Start,
        reference: Option<&Reference>,
        subscriber: &mut Subscriber,
    ) -> Result<(), CloseReason> {
        if room != self.room {
            self.registration.join(&room, self.author.clone());
            self.room = room;
            self.log_joined();
            if let Some(owner) = self.author.owner
                && !self.registration.follows(&self.room)
            {
                let (origin, room) = (self.registration.peer().id, self.room.clone());
                // If the list is full, the room is read without a place.
                let _ = self.hub.follow(owner, origin, room, None).await;
            }
        }
        self.follow_room(start, reference, subscriber, |conversation, head, after| {
            match conversation.format {
                Format::Json | Format::EventStream => {
                    conversation.welcome(head, after, None, None, Vec::new())
                }
                Format::Plain | Format::NumberedPlain => {
                    let topic = conversation.topic_text();
                    plain::joined(&conversation.room, topic.as_ref())
                }
            }
        })
        .await
    }

    fn welcome(
        &self,
        head: Seq,
        after: Option<Seq>,
        inbox: Option<Seq>,
        unread: Option<u32>,
        following: Vec<Followed>,
    ) -> Event {
        Event::Welcome(Welcome {
            room: self.room.clone(),
            you: self.author.clone(),
            epoch: self.hub.history().epoch().clone(),
            head,
            after,
            inbox,
            unread: unread.filter(|count| *count > 0),
            ignored: self.ignored.names(),
            following,
            members: self.hub.people_count(&self.room),
            topic: self.topic_text(),
            server: SERVER.into(),
            limits: self.limits,
        })
    }

    /// The room's topic, if one is set.
    fn topic_text(&self) -> Option<Text> {
        let topic = self.hub.topic(&self.room)?.text;
        (!topic.is_empty()).then_some(topic)
    }

    /// Sends the greeting and follows the room from the requested start.
    ///
    /// # Errors
    ///
    /// Fails with the close reason if the reader may not be in the room, or the
    /// message store cannot be read.
    async fn follow_room(
        &self,
        start: &Start,
        reference: Option<&Reference>,
        subscriber: &mut Subscriber,
        greeting: impl FnOnce(&Self, Seq, Option<Seq>) -> Event,
    ) -> Result<(), CloseReason> {
        let history = self.hub.history();
        let room = &self.room;
        let head = history.head();
        let replay = history.replay(start);
        if let Err(why) = self.hub.load_topic(room).await {
            // Not a reason to end the conversation.
            tracing::error!("the topic of {room} cannot be read: {why}");
        }
        let after = match (replay.after, start.backlog) {
            (Some(after), _) => after,
            (None, Some(count)) => history
                .backlog_start(room, count.min(MAX_BACKLOG))
                .await
                .map_err(|why| unreadable(&why))?,
            (None, None) => head,
        };
        // Somebody removed meanwhile may not know even the room's topic.
        self.check_access(room)
            .map_err(|_| CloseReason::NotAllowed)?;
        // From here on, any room followed before is left.
        subscriber.follow(room.clone(), after);
        self.answer(
            &greeting(self, head, replay.continued),
            reference,
            subscriber,
        );
        if let Some(gap) = replay.gap {
            self.say(&gap, subscriber);
        }
        Ok(())
    }
}

fn unreadable(why: &StoreError) -> CloseReason {
    error!("the message store cannot be read: {why}");
    CloseReason::Internal
}
