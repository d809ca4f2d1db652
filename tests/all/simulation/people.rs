//! The clients of a simulated world: speakers, readers, and programs that speak
//! the protocol by hand.

use std::{rc::Rc, time::Duration};

use broadcast_chat::{
    client::{
        Client, ClientEvent, ClientOptions, ConnectionState, Keyring, Outbox,
        address::{AddressOptions, Target},
        ids::Ids,
    },
    protocol::{
        Command, Epoch, Event, MessageKind, Seq, Start,
        name::{Name, RoomName},
    },
};
use fastrand::Rng;
use futures_util::{SinkExt, StreamExt};
use http::{
    HeaderValue,
    header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL},
};
use serde_json::{Value, json};
use tokio::{
    io::DuplexStream,
    select,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_websockets::{ClientBuilder, Message, WebSocketStream};

use super::{
    World,
    diary::{Seen, SentMessage, View},
    network::pick,
};

/// How long a program waits for the server before it gives up the connection.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) const ROOMS: [&str; 2] = ["tea", "ops"];

/// Whether a speaker dies, and what it comes back with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// It lives to the end.
    Long,
    /// It dies now and then, and comes back with its outbox, a file.
    KeepsOutbox,
    /// It dies now and then, and comes back with nothing but its input.
    Resends,
    /// It may die, and then does not come back.
    Short,
}

/// A user of the library's client.
pub(super) struct Speaker {
    world: Rc<World>,
    name: String,
    rng: Rng,
    life: Life,
    /// Whether it changes rooms.
    wanders: bool,
    ids: Ids,
    /// How many messages it still has to send.
    unsaid: usize,
    /// The room it will send them to.
    room: &'static str,
    view: View,
    /// The private messages to it and from it.
    inbox: View,
    epoch: Option<Epoch>,
}

impl Speaker {
    pub(super) fn new(world: &Rc<World>, name: String, life: Life, unsaid: usize) -> Self {
        let mut rng = world.fork();
        let room = pick(&mut rng, &ROOMS);
        world.add_speaker(&name);
        Speaker {
            world: Rc::clone(world),
            wanders: life == Life::Long && rng.bool(),
            ids: Ids::seeded(rng.u64(..)),
            view: View::new(&name, room, 0),
            inbox: View::new(&name, &inbox(&name), 0),
            epoch: None,
            name,
            rng,
            life,
            unsaid,
            room,
        }
    }

    /// Runs all lives of the speaker.
    ///
    /// # Errors
    /// Fails if the client reports a message of another room, a gap, a refusal
    /// or its own end.
    pub(super) async fn live(mut self) -> Result<(), String> {
        while self.live_once().await? {
            self.world.note(&self.name, "dies");
            sleep(millis(&mut self.rng, 5000)).await;
        }
        if self.life == Life::Short && self.unsaid > 0 {
            self.world.died(&self.name);
        }
        self.world.note_view(self.view);
        self.world.note_view(self.inbox);
        Ok(())
    }

    /// Runs one life; returns true if the speaker comes back after it.
    async fn live_once(&mut self) -> Result<bool, String> {
        let mut client = self.begin().await;
        let mut due = Instant::now();
        loop {
            if self.unsaid == 0 && client.unconfirmed() == 0 {
                self.world.note_finished(&self.name);
            }
            let ends = self.world.ends.get();
            if self.view.room == self.room && self.view.reaches(ends) && self.inbox.reaches(ends) {
                self.view.upto = u64::MAX;
                self.inbox.upto = u64::MAX;
                client.close().await;
                return Ok(false);
            }
            let knows = self.world.ended.is_cancelled();
            select! {
                biased;
                happened = client.next() => {
                    self.handle_event(happened)?;
                    // The speaker may die before it remembers what it was
                    // shown.
                    if self.rng.u8(..3) > 0 && let Some(position) = client.position().cloned() {
                        client.remember(&position);
                    }
                    self.linger().await;
                }
                () = sleep_until(due), if self.unsaid > 0 => {
                    if !self.act(&mut client) {
                        return Ok(self.life != Life::Short);
                    }
                    let pause = pick(&mut self.rng, &[0, 20, 4000]);
                    due = Instant::now() + millis(&mut self.rng, pause);
                }
                () = self.world.ended.cancelled(), if !knows => {}
            }
        }
    }

    /// Connects, however many attempts that takes.
    async fn begin(&mut self) -> Client {
        loop {
            let wanted = AddressOptions {
                address: Some(format!("ws://127.0.0.1:2000/{}", self.room)),
                name: self.name.parse().ok(),
                start: Start {
                    inbox: Some(Seq(self.inbox.last())).filter(|_| self.epoch.is_some()),
                    after: Some(Seq(self.view.last())),
                    epoch: self.epoch.clone(),
                    backlog: None,
                },
                ..AddressOptions::default()
            };
            let target = Target::new(&wanted).expect("an address");
            let outbox = match self.life {
                Life::KeepsOutbox => {
                    let path = self.world.folder.join(&self.name);
                    let outbox = Outbox::open(&path, &target).expect("an outbox");
                    outbox.written_in_place()
                }
                _ => Outbox::in_memory(),
            };
            let options = ClientOptions {
                reconnect: true,
                seed: self.rng.u64(..),
                outbox,
                keyring: Keyring::in_folder(Some(self.world.folder.join("names"))),
            };
            let (host, mut rng) = (self.world.host.clone(), self.rng.fork());
            let open = move || {
                let (host, again) = (host.clone(), rng.bool());
                async move { host.connect(again).await }
            };
            match Client::over(open, &target, options).await {
                Ok(mut client) => {
                    self.resume(&mut client);
                    return client;
                }
                Err(why) => self.world.note(&self.name, &why.to_string()),
            }
            sleep(millis(&mut self.rng, 500)).await;
        }
    }

    /// Begins a new life: sends every unconfirmed message again, unless the
    /// outbox does.
    fn resume(&mut self, client: &mut Client) {
        let from = client.position().map_or(0, |position| position.seq.0);
        // The speaker must have been shown every message up to the position
        // where it resumes.
        self.view.upto = from;
        self.world.note(&self.name, &format!("lives, from {from}"));
        self.begin_view(from);
        let inbox = client.position().and_then(|position| position.inbox);
        let inbox = inbox.map_or(0, |seq| seq.0);
        self.inbox.upto = inbox;
        let next = View::new(&self.name, &self.inbox.room, inbox);
        self.world
            .note_view(std::mem::replace(&mut self.inbox, next));
        for line in self.world.messages_of(&self.name) {
            if !line.confirmed && self.life != Life::KeepsOutbox {
                client.send(command_of(&line));
            }
        }
    }

    /// Ends the view of the room, and begins a new one after a number.
    fn begin_view(&mut self, from: u64) {
        let next = View::new(&self.name, &self.view.room, from);
        let page = std::mem::replace(&mut self.view, next);
        self.world.note_view(page);
    }

    /// Takes one random action; returns false if the speaker dies.
    fn act(&mut self, client: &mut Client) -> bool {
        match self.rng.u8(..12) {
            0 if self.life != Life::Long && !self.world.is_calm() => return false,
            1 if self.wanders => {
                self.room = if self.room == ROOMS[0] {
                    ROOMS[1]
                } else {
                    ROOMS[0]
                };
                self.world
                    .note(&self.name, &format!("goes to {}", self.room));
                client.send(Command::Join {
                    room: self.room.parse().expect("a room"),
                    start: Start::default(),
                });
            }
            // It may repeat any message that it sent in this room.
            2..=3 => {
                let mut lines = self.world.messages_of(&self.name);
                lines.retain(|line| line.room == self.room);
                if !lines.is_empty() {
                    let line = &lines[self.rng.usize(..lines.len())];
                    self.world.note(&self.name, &format!("repeats {}", line.id));
                    client.send(command_of(line));
                }
            }
            4..=5 => {
                let Some(to) = self.world.random_named(&mut self.rng) else {
                    return true;
                };
                let (own, his) = (inbox(&self.name), inbox(&to));
                let to_him = Some(&*his);
                let line = next_line(
                    &self.world,
                    &mut self.rng,
                    &self.name,
                    (&own, to_him),
                    &self.ids,
                );
                self.world
                    .note(&self.name, &format!("says {} to {to} alone", line.id));
                client.send(command_of(&line));
                self.unsaid -= 1;
            }
            _ => {
                let line = next_line(
                    &self.world,
                    &mut self.rng,
                    &self.name,
                    (self.room, None),
                    &self.ids,
                );
                self.world.note(&self.name, &format!("says {}", line.id));
                client.send(command_of(&line));
                self.unsaid -= 1;
            }
        }
        true
    }

    fn handle_event(&mut self, happened: ClientEvent) -> Result<(), String> {
        let name = &self.name;
        match happened {
            ClientEvent::Event(_, Event::Message(message)) => {
                if message.room.as_str() != self.view.room {
                    return Err(format!("{name} in {} hears {message:?}", self.view.room));
                }
                self.world.note(name, &format!("sees {}", message.seq));
                if let Some(id) = &message.id {
                    self.world.confirm(name, id.as_str());
                }
                self.view.seen.push(Seen {
                    seq: message.seq.0,
                    prev: Some(message.prev.0),
                    text: message.text.to_string(),
                });
            }
            ClientEvent::Event(_, Event::Private(private)) => {
                self.world.note(name, &format!("is told {}", private.seq));
                if let Some(id) = &private.id {
                    self.world.confirm(name, id.as_str());
                }
                self.inbox.seen.push(Seen {
                    seq: private.seq.0,
                    prev: Some(private.prev.0),
                    text: private.text.to_string(),
                });
            }
            ClientEvent::Event(
                _,
                Event::Accepted {
                    id: Some(id), seq, ..
                },
            ) => {
                self.world.note(name, &format!("knows {id} is {seq}"));
                self.world.confirm(name, id.as_str());
            }
            ClientEvent::Event(_, Event::Welcome(welcome)) => {
                self.epoch = Some(welcome.epoch);
                if welcome.you.name.is_some() {
                    self.world.note_named(name);
                }
                if welcome.room.as_str() != self.view.room {
                    self.begin_view(welcome.head.0);
                    self.view.room = welcome.room.to_string();
                }
            }
            ClientEvent::Event(_, Event::Gap { .. } | Event::Refused(_))
            | ClientEvent::Refused { .. }
            | ClientEvent::Missing { .. }
            | ClientEvent::Ended(_) => return Err(format!("{name}: {happened:?}")),
            ClientEvent::State(ConnectionState::Offline { why, .. }) => {
                self.world.note(name, &format!("is offline: {why}"));
            }
            _ => {}
        }
        Ok(())
    }

    /// Stops reading for a while, now and then.
    async fn linger(&mut self) {
        if !self.world.is_calm() && self.rng.u8(..16) == 0 {
            let most = pick(&mut self.rng, &[100, 1000, 50_000]);
            sleep(millis(&mut self.rng, most)).await;
        }
    }
}

fn command_of(line: &SentMessage) -> Command {
    let (text, id) = (line.text.clone(), line.id.parse().ok());
    // Here the name of an inbox is the person's name behind one prefix
    // character.
    let to = line.to.as_ref().and_then(|inbox| inbox[1..].parse().ok());
    match to {
        Some(to) => Command::Private {
            to,
            text,
            id,
            follows: None,
        },
        None => Command::Publish {
            text,
            id,
            kind: MessageKind::Said,
            follows: None,
        },
    }
}

fn inbox(name: &str) -> String {
    let name: Name = name.parse().expect("a name");
    RoomName::inbox(&name.key()).to_string()
}

/// Makes up the next message; from here on it counts as sent.
fn next_line(
    world: &World,
    rng: &mut Rng,
    name: &str,
    (room, to): (&str, Option<&str>),
    ids: &Ids,
) -> SentMessage {
    let number = world.messages_of(name).len() + 1;
    // Most messages are short. A long one makes a connection break within a
    // frame.
    let length = pick(rng, &[0, 0, 0, 0, 0, 0, 50, 50, 50, 3000]);
    let text = format!("{name} {number} {}", "x".repeat(length));
    let line = SentMessage {
        room: room.to_owned(),
        to: to.map(str::to_owned),
        id: ids.of(number as u64).expect("an id").to_string(),
        text,
        confirmed: false,
    };
    world.note_sent(name, line.clone());
    line
}

fn millis(rng: &mut Rng, most: u64) -> Duration {
    Duration::from_millis(rng.u64(..=most))
}

/// A program that speaks the protocol by hand, so it hides nothing that the
/// server does. Each of its connections resumes where the last one ended.
pub(super) struct Program {
    world: Rc<World>,
    name: String,
    rng: Rng,
    room: &'static str,
}

type Socket = WebSocketStream<DuplexStream>;

impl Program {
    pub(super) fn new(world: &Rc<World>, name: &str) -> Self {
        let mut rng = world.fork();
        Program {
            world: Rc::clone(world),
            name: name.to_owned(),
            room: pick(&mut rng, &ROOMS),
            rng,
        }
    }

    /// Connects once; `None` if that fails.
    async fn connect(&mut self, query: &str, json: bool) -> Option<Socket> {
        sleep(millis(&mut self.rng, 1000)).await;
        let stream = self.world.host.connect(false).await.ok()?;
        let uri = format!("ws://127.0.0.1:2000/{}?{query}", self.room);
        // Its last connection may still seem to hold the name, so it proves
        // that it owns it.
        let proof = format!("Bearer the-secret-of-{}", self.name);
        let proof = HeaderValue::try_from(proof).expect("a value");
        let mut builder = ClientBuilder::new()
            .uri(&uri)
            .expect("an address")
            .add_header(AUTHORIZATION, proof)
            .expect("a header");
        if json {
            let protocol = HeaderValue::from_static("chat.v1");
            builder = builder
                .add_header(SEC_WEBSOCKET_PROTOCOL, protocol)
                .expect("a header");
        }
        let connected = timeout(ANSWER_TIMEOUT, builder.connect_on(stream)).await;
        Some(connected.ok()?.ok()?.0)
    }

    /// Reads the room to its end, in JSON or in numbered lines.
    ///
    /// # Errors
    /// Fails if the server sends something that a reader does not expect.
    pub(super) async fn read(mut self, json: bool) -> Result<(), String> {
        let mut view = View::new(&self.name, self.room, 0);
        while !view.reaches(self.world.ends.get()) {
            let query = format!("seq=1&after={}", view.last());
            let Some(mut socket) = self.connect(&query, json).await else {
                continue;
            };
            self.world
                .note(&self.name, &format!("resumes after {}", view.last()));
            while !view.reaches(self.world.ends.get()) {
                let knows = self.world.ended.is_cancelled();
                let text = select! {
                    biased;
                    text = next_text(&mut socket) => text,
                    () = self.world.ended.cancelled(), if !knows => continue,
                };
                let Some(text) = text else { break };
                let seen = if json {
                    seen_in_json(&text)?
                } else {
                    seen_in_line(&text)?
                };
                if let Some(seen) = seen {
                    self.world.note(&self.name, &format!("sees {}", seen.seq));
                    view.seen.push(seen);
                }
                if !self.world.is_calm() && self.rng.u8(..16) == 0 {
                    sleep(millis(&mut self.rng, 40_000)).await;
                }
            }
        }
        view.upto = u64::MAX;
        self.world.note_view(view);
        Ok(())
    }

    /// Sends each message up to three times, and goes on when the message is
    /// accepted.
    ///
    /// # Errors
    /// Fails if the server refuses a message for another reason than `busy`.
    pub(super) async fn repeat(mut self, mut unsaid: usize) -> Result<(), String> {
        let ids = Ids::seeded(self.rng.u64(..));
        let query = format!("echo=0&name={}", self.name);
        let mut line = next_line(
            &self.world,
            &mut self.rng,
            &self.name,
            (self.room, None),
            &ids,
        );
        while unsaid > 0 {
            let Some(mut socket) = self.connect(&query, true).await else {
                continue;
            };
            while unsaid > 0 && self.say(&mut socket, &line).await?.is_some() {
                self.world.confirm(&self.name, &line.id);
                unsaid -= 1;
                if unsaid > 0 {
                    sleep(millis(&mut self.rng, 3000)).await;
                    line = next_line(
                        &self.world,
                        &mut self.rng,
                        &self.name,
                        (self.room, None),
                        &ids,
                    );
                }
            }
        }
        self.world.note_finished(&self.name);
        Ok(())
    }

    /// Sends a message, again after each refusal with `busy`, and waits for its
    /// receipt. `None` if the connection ends.
    async fn say(&mut self, socket: &mut Socket, line: &SentMessage) -> Result<Option<()>, String> {
        let said = json!({"type": "publish", "text": line.text, "id": line.id}).to_string();
        for _ in 0..self.rng.u8(1..=3) {
            let sent = timeout(ANSWER_TIMEOUT, socket.send(Message::text(said.clone()))).await;
            if !matches!(sent, Ok(Ok(()))) {
                return Ok(None);
            }
        }
        while let Some(text) = next_text(socket).await {
            let event: Value = serde_json::from_str(&text).expect("JSON");
            if event["type"] == "refused" && event["code"] == "busy" {
                self.world.note(&self.name, &text);
                let wait = event["retry_ms"].as_u64().expect("a time to wait");
                sleep(Duration::from_millis(wait)).await;
                let sent = timeout(ANSWER_TIMEOUT, socket.send(Message::text(said.clone()))).await;
                if !matches!(sent, Ok(Ok(()))) {
                    return Ok(None);
                }
                continue;
            }
            if event["type"] == "refused" {
                return Err(format!("{}: {event}", self.name));
            }
            if event["type"] == "accepted" && event["id"] == line.id.as_str() {
                self.world.note(&self.name, &text);
                return Ok(Some(()));
            }
        }
        Ok(None)
    }
}

/// The next text on a connection; `None` if it has ended or seems to have.
async fn next_text(socket: &mut Socket) -> Option<String> {
    loop {
        let message = timeout(ANSWER_TIMEOUT, socket.next()).await.ok()??.ok()?;
        if let Some(text) = message.as_text() {
            return Some(text.to_owned());
        }
    }
}

fn seen_in_json(text: &str) -> Result<Option<Seen>, String> {
    let event: Value = serde_json::from_str(text).expect("JSON");
    match event["type"].as_str() {
        Some("message") => Ok(Some(Seen {
            seq: event["seq"].as_u64().expect("a number"),
            prev: event["prev"].as_u64(),
            text: event["text"].as_str().expect("a text").to_owned(),
        })),
        Some("welcome" | "live" | "joined" | "left" | "renamed" | "members") => Ok(None),
        _ => Err(format!("a reader is told {event}")),
    }
}

fn seen_in_line(line: &str) -> Result<Option<Seen>, String> {
    if line.starts_with("Welcome to chat!") {
        return Ok(None);
    }
    let parts = line.split_once(' ').and_then(|(seq, rest)| {
        let (_, text) = rest.split_once(": ")?;
        Some((seq.parse().ok()?, text.to_owned()))
    });
    let (seq, text) = parts.ok_or_else(|| format!("a reader is told {line}"))?;
    let prev = None;
    Ok(Some(Seen { seq, prev, text }))
}
