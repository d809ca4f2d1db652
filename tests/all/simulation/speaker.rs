//! A person of a simulated world, who uses the library's client.

mod events;

use std::{collections::BTreeSet, rc::Rc};

use broadcast_chat::{
    client::{
        Client, ClientOptions, Keyring, Outbox,
        address::{AddressOptions, Target},
        ids::Ids,
    },
    protocol::{Command, Epoch, FollowLevel, PublishKind, Seq, Start},
};
use fastrand::Rng;
use tokio::{
    select,
    time::{Instant, sleep, sleep_until},
};

use super::{
    diary::{Seen, SentMessage, View, base},
    network::pick,
    world::{ROOMS, World, millis, next_about, next_line},
};

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
    /// The words that were erased before this life began.
    erased: BTreeSet<String>,
}

impl Speaker {
    pub(super) fn new(world: &Rc<World>, name: String, life: Life, unsaid: usize) -> Self {
        let mut rng = world.fork();
        let room = pick(&mut rng, &ROOMS);
        world.add_speaker(&name);
        Speaker {
            world: Rc::clone(world),
            wanders: life == Life::Long && rng.bool(),
            ids: world.ids_of(&name),
            view: View::new(&name, room, 0),
            inbox: View::new(&name, &inbox(&name), 0),
            epoch: None,
            erased: BTreeSet::new(),
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
        self.erased = self.world.erased();
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
            if !line.confirmed && !line.is_refused && self.life != Life::KeepsOutbox {
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
        match self.rng.u8(..18) {
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
            6..=9 => {
                let Some(about) = self.something_about() else {
                    return true;
                };
                let line = next_about(&self.world, &self.name, self.room, &self.ids, about);
                self.world.note(
                    &self.name,
                    &format!("says {} about {:?}", line.id, line.about),
                );
                client.send(command_of(&line));
                self.unsaid -= 1;
            }
            14..=15 if self.world.has_erasures => {
                let own = format!("{} ", self.name);
                let is_own = |seen: &&Seen| !seen.is_change && seen.text.starts_with(&own);
                let seen: Vec<_> = self.view.seen.iter().filter(is_own).collect();
                if let Some(seen) = seen.get(self.rng.usize(..seen.len().max(1)))
                    && self.view.room == self.room
                {
                    let seq = seen.seq;
                    self.world.note_erasing(seq, &seen.text);
                    self.world.note(&self.name, &format!("erases {seq}"));
                    client.send(Command::Erase { seq: Seq(seq) });
                }
            }
            16 => {
                let room = self.view.room.parse().ok();
                let level = Some(pick(&mut self.rng, &[FollowLevel::All, FollowLevel::None]));
                client.send(Command::Follow { room, level });
            }
            17 => {
                let (room, with) = (self.view.room.parse().ok(), None);
                let seq = Seq(self.view.last());
                client.send(Command::Read { room, with, seq });
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

    /// Something to say about a message that it was shown; `None` if there is
    /// nothing. It reacts to a message once, and takes that back once: so each
    /// changes something.
    fn something_about(&mut self) -> Option<(PublishKind, u64, String)> {
        if self.view.room != self.room {
            return None;
        }
        let messages = self.view.seen.iter().filter(|seen| !seen.is_change);
        let messages: Vec<_> = messages.cloned().collect();
        let seen = messages.get(self.rng.usize(..messages.len().max(1)))?;
        let lines = self.world.messages_of(&self.name);
        let number = lines.len() + 1;
        let has = |kind, seq| lines.iter().any(|line| line.about == Some((kind, seq)));
        let is_own = seen.text.starts_with(&format!("{} ", self.name));
        Some(match self.rng.u8(..3) {
            0 if is_own => {
                let text = format!("{}~{number}", base(&seen.text));
                (PublishKind::Edit, seen.seq, text)
            }
            1 if !has(PublishKind::React, seen.seq) => {
                (PublishKind::React, seen.seq, "+1".to_owned())
            }
            1 if !has(PublishKind::Unreact, seen.seq) => {
                (PublishKind::Unreact, seen.seq, "+1".to_owned())
            }
            _ => {
                let name = &self.name;
                let text = format!("{name} {number} w{name}x{number}w replies");
                (PublishKind::Reply, seen.seq, text)
            }
        })
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
            kind: line.about.map_or(PublishKind::Said, |(kind, _)| kind),
            about: line.about.map(|(_, seq)| Seq(seq)),
            follows: None,
        },
    }
}

/// The inbox of a name, as the diary calls it.
fn inbox(name: &str) -> String {
    format!("@{name}")
}
