//! The state of the screen: rooms, people, the connection, the typed text.
//!
//! Events and actions change it; nothing here knows the terminal. The main loop
//! takes the lines to show, the commands to send and the bell from it.

mod completion;
mod room;
pub(super) mod typing;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    mem,
};

use jiff::{Timestamp, Zoned, civil::Date, tz::TimeZone};
use tokio::time::Instant;

use self::{completion::Completion, room::RoomModel};
use super::{
    super::{ClientEvent, ConnectionState, Frame, Position, ids::Ids},
    editor::Editor,
    line::{Line, Style, clock, day, heading, local, message_line, private_line},
};
use crate::protocol::{
    Author, Command, Event, Message, PrivateMessage, Seq, Slot, Welcome,
    mention::mentions,
    name::{MessageId, RoomName},
    plain,
};

/// The ref of the questions the screen asks by itself; their answers are not
/// shown.
pub(super) const SCREEN_REF: &str = "screen";

/// How many people and rooms are remembered for completion.
const KNOWN: usize = 500;

/// How many lines of a room are shown again when the user returns to it.
const AGAIN: usize = 10;

/// A moment: in wall-clock time for people, in monotonic time for timers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) wall: Timestamp,
    pub(super) tick: Instant,
}

/// The state of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LinkStatus {
    Up,
    /// Missed messages are being shown: `from` one number, now `at` another, up
    /// to `head`.
    Behind {
        from: Seq,
        at: Seq,
        head: Seq,
    },
    Offline {
        again: Instant,
    },
}

/// Messages that came while the user was away or the connection was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unseen {
    pub(super) since: Timestamp,
    pub(super) count: u64,
}

/// A message of this client that has no receipt yet.
#[derive(Debug)]
pub(super) struct Sending {
    id: MessageId,
    pub(super) text: String,
}

/// The options of the model.
#[derive(Clone, Debug)]
pub(super) struct ModelOptions {
    pub(super) zone: TimeZone,
    pub(super) ids: Ids,
    pub(super) bell: bool,
    /// Joins and leaves are not shown.
    pub(super) quiet: bool,
}

#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // the flags are independent
pub(super) struct Model {
    options: ModelOptions,
    /// How many messages were given an id.
    spoken: u64,
    welcome: Welcome,
    welcomed: bool,
    /// The first replay is over.
    live: bool,
    pub(super) link: LinkStatus,
    /// When the connection was lost, until everything missed is shown.
    lost_since: Option<Timestamp>,
    /// The client has reconnected; the welcome is still to come.
    reconnected: bool,
    /// Why the server accepts no messages for now.
    pub(super) refusing: Option<String>,
    pub(super) unseen: Option<Unseen>,
    /// When the terminal lost the focus, while it has none.
    unfocused_since: Option<Timestamp>,
    /// A sentence about the last key, until the next one.
    pub(super) hint: Option<String>,
    interrupted: bool,
    pub(super) sending: VecDeque<Sending>,
    day: Date,
    rooms: HashMap<RoomName, RoomModel>,
    room: RoomModel,
    pub(super) editor: Editor,
    pub(super) completion: Option<Completion>,
    /// The names seen in events, the latest first.
    people: Vec<String>,
    known: BTreeSet<String>,
    lines: Vec<Line>,
    commands: Vec<Command>,
    /// The questions the screen asks by itself.
    questions: Vec<Command>,
    rings: bool,
    just_sent: Option<String>,
}

impl Model {
    pub(super) fn new(welcome: &Welcome, options: ModelOptions, now: Now) -> Self {
        Model {
            day: now.wall.to_zoned(options.zone.clone()).date(),
            options,
            spoken: 0,
            welcome: welcome.clone(),
            welcomed: false,
            live: false,
            link: LinkStatus::Up,
            lost_since: None,
            reconnected: false,
            refusing: None,
            unseen: None,
            unfocused_since: None,
            hint: None,
            interrupted: false,
            sending: VecDeque::new(),
            rooms: HashMap::new(),
            room: RoomModel::default(),
            editor: Editor::default(),
            completion: None,
            people: Vec::new(),
            known: BTreeSet::new(),
            lines: Vec::new(),
            commands: Vec::new(),
            questions: Vec::new(),
            rings: false,
            just_sent: None,
        }
    }

    /// The room on the screen.
    pub(super) fn room(&self) -> &RoomName {
        &self.welcome.room
    }

    /// How many members the room has.
    pub(super) fn members(&self) -> usize {
        self.welcome.members
    }

    /// The user's name and address, as the server sees them.
    pub(super) fn you(&self) -> &Author {
        &self.welcome.you
    }

    /// How many more bytes may be typed; negative when the text is too long.
    pub(super) fn bytes_left(&self) -> i64 {
        let length = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
        length(self.limit()) - length(self.editor.text().len())
    }

    /// The longest text of a message, in bytes.
    pub(super) fn limit(&self) -> usize {
        self.welcome.limits.text_bytes
    }

    /// The time of day of a moment, in the user's time zone.
    pub(super) fn clock(&self, at: Timestamp) -> String {
        clock(&at.to_zoned(self.options.zone.clone()))
    }

    /// Takes the lines that were not shown yet.
    pub(super) fn take_lines(&mut self) -> Vec<Line> {
        mem::take(&mut self.lines)
    }

    /// Whether 2000 lines wait to be shown: then the loop reads no more events.
    pub(super) fn is_full(&self) -> bool {
        self.lines.len() >= 2000
    }

    /// Takes the commands to send.
    pub(super) fn take_commands(&mut self) -> Vec<Command> {
        mem::take(&mut self.commands)
    }

    /// Takes the questions to ask under [`SCREEN_REF`].
    pub(super) fn take_questions(&mut self) -> Vec<Command> {
        mem::take(&mut self.questions)
    }

    /// Takes the text just entered, to keep it for later clients.
    pub(super) fn take_just_sent(&mut self) -> Option<String> {
        self.just_sent.take()
    }

    /// Whether the texts sent in this room by earlier clients are loaded.
    pub(super) fn has_earlier(&self) -> bool {
        self.room.has_earlier
    }

    /// Adds the texts sent in this room by earlier clients.
    pub(super) fn add_earlier(&mut self, typed: Vec<String>) {
        self.room.add_earlier(typed);
    }

    /// Takes the request to ring the bell; false if the bell is turned off.
    pub(super) fn take_bell(&mut self) -> bool {
        mem::take(&mut self.rings) && self.options.bell
    }

    /// The last `count` lines of this room.
    pub(super) fn last_lines(&self, count: usize) -> Vec<Line> {
        self.room.last_lines(count).cloned().collect()
    }

    /// Shows a line and keeps it with the room.
    fn put(&mut self, line: Line) {
        self.put_numbered(None, line);
    }

    fn put_numbered(&mut self, seq: Option<Seq>, line: Line) {
        self.room.keep(seq, line.clone());
        self.lines.push(line);
    }

    /// Shows a sentence of the client itself.
    pub(super) fn note(&mut self, style: Style, text: &str) {
        self.put(Line::new(style, format!("* {text}")));
    }

    /// Updates the model for a client event; the main loop handles the end.
    pub(super) fn follow(&mut self, happened: ClientEvent, now: Now) {
        match happened {
            ClientEvent::Event(frame, event) => self.handle_event(&frame, event, now),
            ClientEvent::Refused { id, text, .. } => self.refused(&id, &text),
            ClientEvent::Missing { after, next } => self.note(
                Style::Bad,
                &format!(
                    "messages between {after} and {next} are missing, and the server does not say why"
                ),
            ),
            ClientEvent::State(state) => self.handle_state(state, now),
            ClientEvent::ForPrograms(_) | ClientEvent::Ended(_) => {}
        }
    }

    fn handle_event(&mut self, frame: &Frame, event: Event, now: Now) {
        match event {
            Event::Message(message) => self.message(&message, now),
            Event::Private(private) => self.private(&private, now),
            Event::Erased { seq, prev, id } => {
                if let Some(id) = id {
                    self.remove_sending(&id);
                }
                // With `prev` it is part of a replay and was never shown.
                if prev.is_none() && self.room.redact(seq) {
                    let text = "* A message above was erased from the history.";
                    self.put(Line::new(Style::Dim, text));
                }
            }
            Event::Welcome(welcome) => self.welcomed(welcome),
            Event::Live { .. } => self.live = true,
            Event::Accepted { id, .. } => {
                if let Some(id) = id {
                    self.remove_sending(&id);
                }
            }
            Event::Joined { who, members } => {
                let name = who.to_string();
                self.welcome.members = members;
                self.coming_or_going(format!("→ {name} is here"));
                self.heard_of(name);
            }
            Event::Left { who, members } => {
                let name = who.to_string();
                self.welcome.members = members;
                self.people.retain(|person| *person != name);
                self.coming_or_going(format!("← {name} left"));
            }
            Event::Renamed { from, to } => {
                self.people.retain(|person| *person != from);
                self.coming_or_going(format!("→ {from} is now {to}"));
                self.heard_of(to.to_string());
            }
            Event::Members { names, total } if names.is_empty() => self.welcome.members = total,
            Event::Members { names, total } => {
                self.welcome.members = total;
                if !answers_own(frame) {
                    let said = Event::Members {
                        names: names.clone(),
                        total,
                    };
                    self.show_plain(&said, Style::Plain);
                }
                names.into_iter().rev().for_each(|name| self.heard_of(name));
            }
            Event::Rooms { ref rooms, .. } => {
                let rooms = rooms.iter().map(|info| info.room.to_string());
                self.known.extend(rooms.take(KNOWN));
                if !answers_own(frame) {
                    self.show_plain(&event, Style::Plain);
                }
            }
            Event::Name { ref name, .. } => {
                self.welcome.you.name = Some(name.clone());
                self.show_plain(&event, Style::Plain);
            }
            Event::Page(page) => {
                let messages = page.messages.iter().filter_map(Slot::message);
                let lines = messages.map(|message| {
                    let at = local(message.at, &self.options.zone);
                    let line = Line::new(Style::Dim, at.strftime("* %-d %b ").to_string());
                    Line(
                        [
                            line.0,
                            message_line(message, &at, self.is_own(message), false).0,
                        ]
                        .concat(),
                    )
                });
                for line in lines.collect::<Vec<_>>() {
                    self.put(line);
                }
                let end = plain::page(&page, |_, _| ());
                if let Some(end) = end.lines().next_back().filter(|end| end.len() > 2) {
                    self.put(Line::new(Style::Dim, end));
                }
            }
            Event::Refused(_) if answers_own(frame) => {}
            Event::Gap { .. } | Event::Refused(_) => self.show_plain(&event, Style::Bad),
            Event::Topic { .. } | Event::Notice { .. } => self.show_plain(&event, Style::Plain),
        }
    }

    /// Shows an event as the plain format says it.
    fn show_plain(&mut self, event: &Event, style: Style) {
        if let Some(line) = plain::event(event) {
            // The plain format already indents further lines, as `Line` does.
            self.put(Line::new(style, line.replace("\n  ", "\n")));
        }
    }

    fn coming_or_going(&mut self, what: String) {
        if !self.options.quiet {
            let here = format!(" ({} here)", self.welcome.members);
            self.put(Line::new(Style::Dim, what + &here));
        }
    }

    fn is_own(&self, message: &Message) -> bool {
        match (&message.from.name, &self.welcome.you.name) {
            (Some(name), Some(own)) => name.key() == own.key(),
            _ => message.from.addr == self.welcome.you.addr,
        }
    }

    fn message(&mut self, message: &Message, now: Now) {
        if let Some(id) = &message.id {
            self.remove_sending(id);
        }
        let own = self.is_own(message);
        let at = local(message.at, &self.options.zone);
        if let LinkStatus::Behind { at, .. } = &mut self.link {
            *at = message.seq;
        }
        if !own {
            self.heard_of(message.from.to_string());
            self.count_unseen(&at, now);
        }
        if at.date() != self.day {
            self.day = at.date();
            self.put(day(&at));
        }
        let name = self.welcome.you.name.as_ref();
        let calling = !own && name.is_some_and(|name| mentions(&message.text, name.as_str()));
        self.rings |= calling && self.live;
        self.put_numbered(Some(message.seq), message_line(message, &at, own, calling));
    }

    fn private(&mut self, private: &PrivateMessage, now: Now) {
        if let Some(id) = &private.id {
            self.remove_sending(id);
        }
        let at = local(private.at, &self.options.zone);
        let (from, to) = (private.from.to_string(), private.to.to_string());
        if !private.sent {
            self.heard_of(from.clone());
            self.count_unseen(&at, now);
            self.rings |= self.live;
        }
        self.put(private_line(&at, &from, &to, &private.text, private.sent));
    }

    /// Counts a message that came while the user was away or the connection was
    /// lost.
    fn count_unseen(&mut self, at: &Zoned, now: Now) {
        let behind = matches!(self.link, LinkStatus::Behind { .. });
        if !behind && self.unfocused_since.is_none() {
            return;
        }
        let off = if behind {
            self.lost_since
        } else {
            self.unfocused_since
        };
        let first = if behind { at.timestamp() } else { now.wall };
        if self.unseen.is_none() {
            let since = off.unwrap_or(first);
            self.unseen = Some(Unseen { since, count: 0 });
            let since = self.clock(since);
            self.put(heading(&format!("new since {since}")));
        }
        if let Some(missed) = &mut self.unseen {
            missed.count += 1;
        }
    }

    fn heard_of(&mut self, name: String) {
        self.people.retain(|person| *person != name);
        if self.welcome.you.to_string() != name {
            self.people.insert(0, name);
            self.people.truncate(KNOWN);
        }
    }

    /// Removes a message from `sending`, as it is stored or never will be, and
    /// returns its text.
    fn remove_sending(&mut self, id: &MessageId) -> Option<String> {
        let place = self.sending.iter().position(|sent| sent.id == *id)?;
        self.sending.remove(place).map(|sent| sent.text)
    }

    fn refused(&mut self, id: &MessageId, why: &str) {
        let text = self.remove_sending(id).unwrap_or_default();
        self.note(Style::Bad, &format!("not stored: {why}\n{text}"));
    }

    fn welcomed(&mut self, welcome: Welcome) {
        self.questions = vec![Command::Members, Command::Rooms];
        self.known.insert(welcome.room.to_string());
        let same = welcome.room == self.welcome.room;
        if mem::take(&mut self.reconnected) && same {
            // The user never left this room, so it is not announced again.
            self.welcome = welcome;
            return;
        }
        let first = !mem::replace(&mut self.welcomed, true);
        if !same {
            self.change_room(&welcome.room);
        }
        self.welcome = welcome;
        let again = self.last_lines(AGAIN);
        self.lines.push(heading(&self.room().to_string()));
        self.lines.extend(again);
        if let Some(topic) = &self.welcome.topic {
            let topic = format!("The topic: {}", &**topic);
            self.note(Style::Plain, &topic);
        }
        if first {
            let you = self.you().to_string();
            let name = match self.welcome.you.name {
                None => " (/name takes a name)",
                Some(_) => "",
            };
            let text = format!("You are {you}{name}. /help lists commands and keys.");
            self.put(Line::new(Style::Dim, format!("* {text}")));
        }
    }

    /// Switches to another room; the old one keeps its lines and unsent text.
    fn change_room(&mut self, next: &RoomName) {
        let old = self.room().clone();
        let next = self.rooms.remove(next).unwrap_or_default();
        let mut left = mem::replace(&mut self.room, next);
        left.draft = mem::replace(&mut self.editor, mem::take(&mut self.room.draft));
        self.rooms.insert(old, left);
        self.people.clear();
        self.completion = None;
        self.unseen = None;
    }

    fn handle_state(&mut self, state: ConnectionState, now: Now) {
        match state {
            ConnectionState::Offline { why, again, .. } => {
                if self.lost_since.is_none() {
                    self.lost_since = Some(now.wall);
                    let text = format!("the connection is lost ({why})");
                    self.put(Line::new(Style::Dim, format!("* {text}")));
                }
                self.refusing = None;
                self.link = LinkStatus::Offline { again };
            }
            ConnectionState::Connected => {
                self.reconnected = true;
                self.refusing = None;
                let seq = Seq::START;
                self.link = LinkStatus::Behind {
                    from: seq,
                    at: seq,
                    head: seq,
                };
            }
            ConnectionState::CatchingUp { at, head } => {
                self.link = LinkStatus::Behind { from: at, at, head }
            }
            ConnectionState::CaughtUp => {
                self.link = LinkStatus::Up;
                self.lost_since = None;
                self.refusing = None;
            }
            ConnectionState::Refusing { why, .. } => self.refusing = Some(why),
        }
    }

    /// Keeps the position from which the room resumes when the user returns.
    pub(super) fn bookmark(&mut self, position: &Position) {
        if position.room == *self.room() {
            self.room.last_position = Some(position.clone());
        }
    }

    /// When the countdown to the next connection attempt changes the screen.
    pub(super) fn next_tick(&self, now: Now) -> Option<Instant> {
        let LinkStatus::Offline { again, .. } = self.link else {
            return None;
        };
        let left = again.checked_duration_since(now.tick)?;
        let part = std::time::Duration::from_nanos(u64::from(left.subsec_nanos()));
        (!left.is_zero()).then(|| now.tick + part.max(std::time::Duration::from_millis(1)))
    }

    /// Clears `sending`: no message of this client waits for a receipt.
    pub(super) fn all_stored(&mut self) {
        self.sending.clear();
        self.refusing = None;
    }
}

/// Whether a frame answers one of the screen's own questions.
fn answers_own(frame: &Frame) -> bool {
    let asked = frame.reference();
    asked.is_some_and(|reference| reference.as_str() == SCREEN_REF)
}
