//! Updates the model for the events of the client.

use std::mem;

use super::{
    super::{
        super::{ClientEvent, Frame},
        line::{
            Line, Style, clock, correction_line, day, found_line, heading, message_line,
            private_line, reaction_line,
        },
    },
    LinkStatus, Model, Now, SCREEN_REF,
    room::{Shown, ShownMessage},
};
use crate::protocol::{
    Author, Change, ChangeKind, Command, Event, Message, PageEvent, PrivateMessage, Seq, Slot,
    Welcome,
    mention::mentions,
    name::{MessageId, Name, RoomName},
    plain,
};

/// How many people and rooms are remembered for completion.
const KNOWN: usize = 500;

/// How many lines of a room are shown again when the user returns to it.
const AGAIN: usize = 10;

impl Model {
    /// Updates the model for a client event; the main loop handles the end.
    pub(in super::super) fn follow(&mut self, happened: ClientEvent, now: Now) {
        match happened {
            ClientEvent::Event(frame, event) => self.handle_event(&frame, event, now),
            ClientEvent::Refused { id, text, .. } => self.refused(&id, &text),
            ClientEvent::Renewed { id, new_id, .. } => {
                let sent = self.sending.iter_mut().find(|sent| sent.id == id);
                if let Some(sent) = sent {
                    sent.id = new_id;
                }
            }
            ClientEvent::Missing { after, next } => self.note(
                Style::Bad,
                &format!(
                    "messages between {after} and {next} are missing, and the server does not say why"
                ),
            ),
            ClientEvent::State(state) => self.handle_state(state, now),
            ClientEvent::Hidden(_, Event::Changed(change)) => self.changed(&change, true),
            ClientEvent::Hidden(..) | ClientEvent::ForPrograms(_) | ClientEvent::Ended(_) => {}
        }
    }

    fn handle_event(&mut self, frame: &Frame, event: Event, now: Now) {
        match event {
            Event::Message(message) => {
                if !self.hold(&message, now) {
                    self.message(&message, now);
                }
            }
            Event::Changed(change) => self.changed(&change, false),
            Event::Private(private) => self.private(&private, now),
            Event::Erased { seq, prev, id } => self.erased(seq, prev, id.as_ref()),
            Event::Welcome(welcome) => self.welcomed(welcome),
            Event::Live { .. } => {
                self.show_held(now);
                self.live = true;
                self.read_printed();
            }
            Event::Accepted { id, .. } => {
                if let Some(id) = id {
                    self.remove_sending(&id);
                }
            }
            Event::Joined { who, members } => {
                self.welcome.members = members;
                if who.name.is_some() {
                    self.coming_or_going(format!("→ {who} is here"));
                }
                self.heard_of(who.to_string());
            }
            Event::Left { who, members } => {
                let name = who.to_string();
                self.welcome.members = members;
                self.people.retain(|person| *person != name);
                if who.name.is_some() {
                    self.coming_or_going(format!("← {name} left"));
                }
            }
            Event::Renamed { from, to } => {
                self.people.retain(|person| *person != from);
                // The arrival of somebody without a name was not shown.
                let comes = from.parse::<Name>().is_err();
                self.coming_or_going(if comes {
                    format!("→ {to} is here")
                } else {
                    format!("→ {from} is now {to}")
                });
                self.heard_of(to.to_string());
            }
            Event::Members {
                ref names, total, ..
            } => {
                self.welcome.members = total;
                let names = names.clone();
                if !names.is_empty() && !answers_own(frame) {
                    self.show_plain(&event, Style::Plain);
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
            Event::Page(page) => self.show_page(&page),
            Event::Inbox { messages, .. } if !messages.is_empty() => {
                for private in messages {
                    self.put(self.private_line(&private));
                }
            }
            Event::Refused(refusal) if is_ref(frame, &self.talk_ref()) => {
                self.talk_refused(&refusal);
            }
            Event::Refused(_) if answers_own(frame) => {}
            Event::Gap { .. } | Event::Refused(_) => self.show_plain(&event, Style::Bad),
            Event::Conversation(page) => {
                let is_opening = is_ref(frame, &self.talk_ref());
                self.show_conversation(&page, !is_opening);
            }
            Event::Away { with, text } => self.away(with, &text),
            Event::Activity(activity) => self.activity(activity),
            Event::Following { following } => self.set_places(following),
            Event::Follow { ref room, level } => {
                self.follow_changed(room, level);
                self.show_plain(&event, Style::Plain);
            }
            Event::Inbox { .. }
            | Event::Ignored { .. }
            | Event::Topic { .. }
            | Event::Invite(_)
            | Event::Invites { .. }
            | Event::Hook(_)
            | Event::Hooks { .. }
            | Event::Link(_)
            | Event::Notice { .. } => {
                self.show_plain(&event, Style::Plain);
            }
        }
    }

    /// Shows a page of messages, and for a search how many it found.
    fn show_page(&mut self, page: &PageEvent) {
        let messages = page.messages.iter().filter_map(Slot::message);
        let lines = messages.map(|message| {
            let at = message.at.local(&self.options.zone);
            let number = format!("* {} {} ", message.seq, at.strftime("%-d %b"));
            let line = Line::new(Style::Dim, number);
            let own = self.is_own(&message.from);
            let said = match &page.search {
                Some(search) => found_line(message, &at, own, &search.query),
                None => message_line(message, &at, own, false),
            };
            Line([line.0, said.0].concat())
        });
        for line in lines.collect::<Vec<_>>() {
            self.put(line);
        }
        let end = plain::page(page, |_, _| ());
        if let Some(end) = end.lines().next_back().filter(|end| end.len() > 2) {
            let end = end.replacen("found", "found in this room", 1);
            self.put(Line::new(Style::Dim, end));
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
        if self.options.joins {
            let here = format!(" ({} here)", self.welcome.members);
            self.put(Line::new(Style::Dim, what + &here));
        }
    }

    fn is_own(&self, author: &Author) -> bool {
        match (&author.name, &self.welcome.you.name) {
            (Some(name), Some(own)) => name.key() == own.key(),
            _ => author.addr == self.welcome.you.addr,
        }
    }

    pub(super) fn message(&mut self, message: &Message, now: Now) {
        if let Some(id) = &message.id {
            self.remove_sending(id);
        }
        let own = self.is_own(&message.from);
        let at = message.at.local(&self.options.zone);
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
        if calling && self.live {
            self.call(format!("{}: {}", message.from, &*message.text));
        }
        let shown = ShownMessage {
            seq: message.seq,
            from: message.from.to_string(),
            text: String::from(message.text.clone()),
            at: clock(&at),
            own,
            about: message.about,
        };
        self.put_shown(
            Shown::Message(shown),
            message_line(message, &at, own, calling),
        );
    }

    /// Applies a correction, and shows corrections and reactions. A hidden one is
    /// of an ignored author.
    fn changed(&mut self, change: &Change, is_hidden: bool) {
        if let Some(id) = &change.id {
            self.remove_sending(id);
        }
        if let LinkStatus::Behind { at, .. } = &mut self.link {
            *at = change.seq;
        }
        let Some(text) = &change.text else { return };
        if change.kind == ChangeKind::Edit {
            self.room.correct(change.about, text);
        }
        let is_replayed = change.seq <= self.welcome.head && change.about > self.replayed_after;
        if is_hidden || is_replayed {
            return;
        }
        let at = change.at.local(&self.options.zone);
        let line = match change.kind {
            ChangeKind::Edit => correction_line(change, &at, self.is_own(&change.from), text),
            ChangeKind::React | ChangeKind::Unreact => {
                let message = self.room.message(change.about);
                reaction_line(change, &at, text, message.map(|message| &*message.text))
            }
            ChangeKind::Other => return,
        };
        self.put_shown(Shown::Change(change.about), line);
    }

    fn erased(&mut self, seq: Seq, prev: Option<Seq>, id: Option<&MessageId>) {
        if let Some(id) = id {
            self.remove_sending(id);
        }
        // With `prev` it is part of a replay and was never shown.
        if prev.is_none()
            && let Some(message) = self.room.redact(seq)
        {
            let ShownMessage { from, at, .. } = message;
            let text = format!("The message of {from} at {at} was erased.");
            self.note(Style::Dim, &text);
        }
    }

    fn private(&mut self, private: &PrivateMessage, now: Now) {
        if let Some(id) = &private.id {
            self.remove_sending(id);
        }
        if !private.sent {
            self.last_private.clone_from(&private.from.name);
            self.heard_of(private.from.to_string());
            self.count_unseen(&private.at.local(&self.options.zone), now);
            if self.live {
                self.call(format!("{} to you: {}", private.from, &*private.text));
            }
        }
        self.put_shown(Shown::Private, self.private_line(private));
        self.printed_private(private);
    }

    pub(super) fn private_line(&self, private: &PrivateMessage) -> Line {
        let at = private.at.local(&self.options.zone);
        let (from, to) = (private.from.to_string(), private.to.to_string());
        private_line(&at, &from, &to, &private.text, private.sent)
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
        self.note(Style::Bad, &format!("Not sent: {why}\n{text}"));
    }

    fn welcomed(&mut self, mut welcome: Welcome) {
        if !welcome.following.is_empty() {
            self.set_places(mem::take(&mut welcome.following));
        }
        self.questions = vec![Command::Members, Command::Rooms { after: None }];
        self.known.insert(welcome.room.to_string());
        let same = welcome.room == self.welcome.room;
        let same_log = welcome.epoch == self.welcome.epoch;
        if !same_log {
            self.places.forget_printed();
        }
        if mem::take(&mut self.reconnected) && same {
            // The user never left this room, so it is not announced again.
            self.welcome = welcome;
            self.note_replay(same_log);
            return;
        }
        let first = !mem::replace(&mut self.welcomed, true);
        if !same {
            self.hint = None;
            self.change_room(&welcome.room);
        }
        self.welcome = welcome;
        self.note_replay(same_log);
        self.entered();
        self.show_room_again();
        if let Some(topic) = &self.welcome.topic {
            let topic = format!("The topic: {}", &**topic);
            self.note(Style::Plain, &topic);
        }
        if first {
            let you = self.you().to_string();
            let help = "/help lists commands and keys.";
            if self.welcome.you.name.is_some() {
                self.note(Style::Dim, &format!("You are {you}. {help}"));
            } else {
                // Two lines: one would not fit into a narrow terminal.
                self.note(Style::Dim, &format!("You are {you} (/name takes a name)."));
                self.note(Style::Dim, help);
            }
        }
    }

    /// Notes where the replay of the room begins.
    fn note_replay(&mut self, same_log: bool) {
        let last = self.room.last_position.as_ref().filter(|_| same_log);
        self.replayed_after = last.map_or(Seq::START, |last| last.seq);
    }

    /// Shows the last lines of the room under its name.
    pub(super) fn show_room_again(&mut self) {
        let again = self.room.last_public_lines(AGAIN);
        self.lines.push(heading(&self.room().to_string()));
        self.lines.extend(again);
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
}

/// Whether a frame answers one of the screen's own questions.
fn answers_own(frame: &Frame) -> bool {
    is_ref(frame, SCREEN_REF)
}

/// Whether a frame answers the question with this ref.
fn is_ref(frame: &Frame, asked: &str) -> bool {
    let reference = frame.reference();
    reference.is_some_and(|reference| reference.as_str() == asked)
}
