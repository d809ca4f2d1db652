//! Carries out the user's actions: editing, completing and sending.

use super::{
    super::{editor::To, keys::Action, line::Style},
    Completion, Link, Model, Sending,
};
use crate::protocol::{
    Command, Event, Kind, Start,
    command::table::{May, TABLE},
    name::MessageId,
    plain,
    text::Text,
    typed,
};

/// How many messages are shown of a room the user enters for the first time.
const BACKLOG: u32 = 20;

/// A request of an action to the screen's main loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Effect {
    Leave,
    Suspend,
    Redraw,
}

impl Model {
    /// Carries out an action. `has_room` says whether the outbox takes another
    /// message.
    pub(in super::super) fn act(
        &mut self,
        action: Action,
        now: super::Now,
        has_room: bool,
    ) -> Option<Effect> {
        if let Action::Focus(here) = action {
            self.away = (!here).then_some(now.wall);
            return None;
        }
        let interrupted = std::mem::take(&mut self.interrupted);
        self.hint = None;
        if self.link == Link::Up && self.away.is_none() {
            self.missed = None;
        }
        if let Action::Complete { back } = action {
            self.complete(back);
            return None;
        }
        self.completion = None;
        match action {
            Action::Type(c) => self.typing.type_char(c),
            Action::Paste(text) => self.typing.insert(&text),
            Action::NewLine => self.typing.insert("\n"),
            Action::Go(to) => self.typing.go(to),
            Action::Erase(to) => self.typing.erase(to),
            Action::Up if self.typing.go_line(false) => {}
            Action::Down if self.typing.go_line(true) => {}
            Action::Up | Action::Earlier => self.look(true),
            Action::Down | Action::Later => self.look(false),
            Action::Yank => self.typing.yank(),
            Action::Undo => self.typing.undo(),
            Action::Redo => self.typing.redo(),
            Action::Submit => return self.submit(has_room),
            Action::Redraw => return Some(Effect::Redraw),
            Action::Suspend => return Some(Effect::Suspend),
            Action::End if self.typing.is_empty() => return Some(Effect::Leave),
            Action::End => self.typing.erase(To::Right),
            Action::Interrupt if interrupted => return Some(Effect::Leave),
            Action::Interrupt => {
                self.interrupted = true;
                self.hint = Some("Ctrl-C again leaves".to_owned());
                if !self.typing.is_empty() {
                    self.typing.set("");
                }
            }
            Action::Cancel | Action::Complete { .. } | Action::Resize { .. } | Action::Focus(_) => {
            }
        }
        None
    }

    fn look(&mut self, back: bool) {
        if let Some(text) = self.room.look(back, self.typing.text()) {
            self.typing.set(&text);
        }
    }

    fn complete(&mut self, back: bool) {
        if let Some(completion) = &mut self.completion {
            completion.turn(back);
            self.typing.replace(completion.start, &completion.word());
            return;
        }
        let typed = &self.typing.text()[..self.typing.cursor()];
        let Some(completion) = Completion::of(typed, &self.people, &self.known) else {
            return;
        };
        self.typing.replace(completion.start, &completion.word());
        self.completion = (completion.words.len() > 1).then_some(completion);
    }

    fn submit(&mut self, has_room: bool) -> Option<Effect> {
        let text = self.typing.text().to_owned();
        match text.trim_end() {
            "" => return None,
            "/quit" => return Some(Effect::Leave),
            "/quiet" => {
                self.manner.quiet = !self.manner.quiet;
                let how = if self.manner.quiet { "not " } else { "" };
                self.say(
                    Style::Plain,
                    &format!("Joins and leaves are {how}shown from here on."),
                );
            }
            _ if !has_room => {
                self.hint = Some("too much is unsent: wait until some of it is stored".to_owned());
                return None;
            }
            _ => {
                if let Err(why) = self.enter(&text) {
                    self.say(Style::Bad, &why);
                    return None;
                }
            }
        }
        self.typing.take();
        self.room.typed(&text);
        self.entered = Some(text);
        None
    }

    /// Sends a typed text, or returns the reason why it cannot.
    fn enter(&mut self, text: &str) -> Result<(), String> {
        let command = typed::parse(text).map_err(|refusal| refusal.text)?;
        match command {
            None => {}
            Some(Command::Help) => self.help(),
            Some(Command::Publish { text, kind, .. }) => {
                let id = self.under_way(
                    &text,
                    match kind {
                        Kind::Said => "",
                        Kind::Me => "/me ",
                    },
                )?;
                self.commands.push(Command::Publish {
                    text,
                    id,
                    kind,
                    follows: None,
                });
            }
            Some(Command::Private { to, text, .. }) => {
                let id = self.under_way(&text, &format!("/msg {to} "))?;
                let follows = None;
                self.commands.push(Command::Private {
                    to,
                    text,
                    id,
                    follows,
                });
            }
            Some(Command::Join { room, .. }) if room == *self.room() => {
                return Err(format!("You are in {room}."));
            }
            Some(Command::Join { room, .. }) => {
                let last = self.rooms.get(&room).and_then(|room| room.last.as_ref());
                let start = Start {
                    after: last.map(|last| last.seq),
                    epoch: last.map(|last| last.epoch.clone()),
                    backlog: last.is_none().then_some(BACKLOG),
                    ..Start::default()
                };
                self.hint = Some(format!("joining {room}"));
                self.commands.push(Command::Join { room, start });
            }
            Some(command) => self.commands.push(command),
        }
        Ok(())
    }

    /// Gives a message its id, and shows it in the footer until it is stored.
    fn under_way(&mut self, text: &str, before: &str) -> Result<Option<MessageId>, String> {
        let safe = Text::accept(text, self.limit()).map_err(|refusal| refusal.text)?;
        self.spoken += 1;
        let id = self.manner.ids.of(self.spoken).ok();
        if let Some(id) = id.clone() {
            let text = format!("{before}{safe}");
            self.sending.push_back(Sending { id, text });
        }
        Ok(id)
    }

    fn help(&mut self) {
        let Event::Notice { text } = plain::help() else {
            return;
        };
        let own = TABLE.iter().filter(|spec| spec.may == May::Terminal);
        let own = own.map(|spec| format!("\n{:<14} {}", spec.form(), spec.about));
        let own: String = own.collect();
        self.say(Style::Plain, &format!("{text}{own}\n{KEYS}"));
    }
}

/// The part of `/help` about the keyboard.
const KEYS: &str = "\
Keys: Tab completes commands, names and rooms; Up and Down fetch texts typed
before; Alt-Enter begins a new line; Ctrl-_ undoes, Alt-_ redoes; Alt-B and
Alt-F go by words, Ctrl-W erases one; Ctrl-L redraws; Ctrl-Z suspends;
Ctrl-D on an empty line, or Ctrl-C twice, leaves";
