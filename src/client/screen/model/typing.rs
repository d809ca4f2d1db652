//! Carries out the user's actions: editing, completing and sending.

use super::{
    super::{editor::To, keys::KeyAction, line::Style},
    Completion, LinkStatus, Model, Sending,
};
use crate::protocol::{
    Command, Event, LastOf, PublishKind, Start,
    command::table::{self, Permission, TABLE},
    name::{MessageId, Name, RoomName},
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
    /// Opens the typed text in an editor.
    Edit,
}

impl Model {
    /// Carries out an action. `has_room` says whether the outbox takes another
    /// message.
    pub(in super::super) fn act(
        &mut self,
        action: KeyAction,
        now: super::Now,
        has_room: bool,
    ) -> Option<Effect> {
        if let KeyAction::Focus(here) = action {
            self.unfocused_since = (!here).then_some(now.wall);
            self.read_printed();
            return None;
        }
        let interrupted = std::mem::take(&mut self.interrupted);
        self.hint = None;
        if self.link == LinkStatus::Up && self.unfocused_since.is_none() {
            self.unseen = None;
        }
        if self.is_switching() && self.act_on_switcher(&action) {
            return None;
        }
        if let KeyAction::Complete { back } = action {
            self.complete(back);
            return None;
        }
        self.completion = None;
        match action {
            KeyAction::Type(c) => self.editor.type_char(c),
            KeyAction::Paste(text) => self.editor.insert(&text),
            KeyAction::NewLine => self.editor.insert("\n"),
            KeyAction::Go(to) => self.editor.go(to),
            KeyAction::Erase(to) => self.editor.erase(to),
            KeyAction::Up if self.editor.go_line(false) => {}
            KeyAction::Down if self.editor.go_line(true) => {}
            KeyAction::Up | KeyAction::Earlier => self.browse(true),
            KeyAction::Down | KeyAction::Later => self.browse(false),
            // It would pick a message of the room behind the conversation.
            KeyAction::Pick { .. } if self.talking().is_some() => {}
            KeyAction::Pick { back } => self.room.pick(back),
            KeyAction::Cancel if self.room.unpick() => {}
            KeyAction::Yank => self.editor.yank(),
            KeyAction::Undo => self.editor.undo(),
            KeyAction::Redo => self.editor.redo(),
            KeyAction::Submit => return self.submit(has_room),
            KeyAction::Switch => self.switch(),
            KeyAction::Place(number) => self.go_to_number(number),
            KeyAction::Edit => return Some(Effect::Edit),
            KeyAction::Redraw => return Some(Effect::Redraw),
            KeyAction::Suspend => return Some(Effect::Suspend),
            KeyAction::EndOfInput if self.editor.is_empty() => return Some(Effect::Leave),
            KeyAction::EndOfInput => self.editor.erase(To::Right),
            KeyAction::Interrupt if interrupted => return Some(Effect::Leave),
            KeyAction::Interrupt => {
                self.interrupted = true;
                self.hint = Some("Ctrl-C again leaves".to_owned());
                if !self.editor.is_empty() {
                    self.editor.set("");
                }
            }
            KeyAction::Cancel => {
                self.end_talk();
            }
            KeyAction::Complete { .. } | KeyAction::Resize { .. } | KeyAction::Focus(_) => {}
        }
        None
    }

    /// Carries out an action on the open switcher; false if the action closes
    /// it and means something else.
    fn act_on_switcher(&mut self, action: &KeyAction) -> bool {
        match action {
            KeyAction::Type(letter) => self.change_query(Some(*letter)),
            KeyAction::Erase(To::Left) => self.change_query(None),
            KeyAction::Switch | KeyAction::Complete { .. } | KeyAction::Down => self.switch(),
            KeyAction::Submit => self.close_switcher(true),
            KeyAction::Cancel | KeyAction::Interrupt => self.close_switcher(false),
            KeyAction::Resize { .. } => {}
            _ => {
                self.close_switcher(false);
                return false;
            }
        }
        true
    }

    fn browse(&mut self, back: bool) {
        if let Some(text) = self.room.browse(back, self.editor.text()) {
            self.editor.set(&text);
        }
    }

    fn complete(&mut self, back: bool) {
        if let Some(completion) = &mut self.completion {
            completion.turn(back);
            self.editor.replace(completion.start, &completion.word());
            return;
        }
        let typed = &self.editor.text()[..self.editor.cursor()];
        let Some(completion) = Completion::of(typed, &self.people, &self.known) else {
            return;
        };
        self.editor.replace(completion.start, &completion.word());
        self.completion = (completion.words.len() > 1).then_some(completion);
    }

    fn submit(&mut self, has_room: bool) -> Option<Effect> {
        let text = self.editor.text().to_owned();
        match text.trim_end() {
            "" => return None,
            "/part" if self.end_talk() => {}
            typed if open_conversation(typed).is_some() => {
                if let Some(name) = open_conversation(typed) {
                    self.talk_to(name);
                }
            }
            "/quit" => return Some(Effect::Leave),
            "/joins" => {
                self.options.joins = !self.options.joins;
                let how = if self.options.joins { "" } else { "not " };
                self.note(
                    Style::Plain,
                    &format!("Joins and leaves are {how}shown from here on."),
                );
            }
            "/edit" => {
                let last = self.room.meant(LastOf::Own).filter(|message| message.own);
                match last {
                    Some(message) => {
                        let text = format!("/edit {} {}", message.seq, message.text);
                        self.editor.set(&text);
                    }
                    None => self.hint = Some("there is no message of yours to correct".to_owned()),
                }
                return None;
            }
            _ if !has_room => {
                self.hint = Some("too much is unsent: wait until some of it is stored".to_owned());
                return None;
            }
            _ => {
                if let Err(why) = self.enter(&text) {
                    self.note(Style::Bad, &why);
                    // As in a shell, the key Up brings it back. It may have a
                    // secret, so no file keeps it.
                    self.editor.take();
                    self.room.add_sent(&text);
                    return None;
                }
            }
        }
        self.editor.take();
        self.room.unpick();
        self.room.add_sent(&text);
        self.just_sent = Some(text);
        None
    }

    /// Sends a typed text, or returns the reason why it cannot.
    fn enter(&mut self, text: &str) -> Result<(), String> {
        let last = self.last_private.as_ref();
        let command = typed::parse(text).and_then(|command| {
            let addressed = command.map(|command| {
                let meant = |among| self.room.meant(among).map(|message| message.seq);
                command.addressed(last)?.referring(meant)
            });
            addressed.transpose()
        });
        let command = command.map_err(|refusal| refusal.text)?;
        if self.talking().is_some() && command.as_ref().is_some_and(is_for_room) {
            return Err("That is for the room behind this conversation: press Esc first.".into());
        }
        match command {
            None => {}
            Some(Command::Help) => self.help(),
            Some(Command::Publish {
                text,
                kind: PublishKind::Said,
                ..
            }) if self.talking().is_some() => {
                if let Some(to) = self.talking().cloned() {
                    self.say_privately(to, text)?;
                }
            }
            Some(Command::Publish {
                text, kind, about, ..
            }) => {
                let mut kinds = PublishKind::ALL.into_iter();
                let word = kinds.find(|(_, known)| *known == kind && kind != PublishKind::Said);
                // A refused one is typed again by its number.
                let number = about.map_or_else(String::new, |about| format!("{about} "));
                let before = word.map_or_else(String::new, |(word, _)| format!("/{word} {number}"));
                let id = self.add_sending(&text, &before)?;
                self.commands.push(Command::Publish {
                    text,
                    id,
                    kind,
                    about,
                    follows: None,
                });
            }
            Some(Command::Private { to, text, .. }) => self.say_privately(to, text)?,
            Some(Command::History { before, limit, .. }) => {
                let with = self.talking().cloned();
                self.commands.push(Command::History {
                    with,
                    before,
                    limit,
                });
            }
            Some(Command::Join { room, .. }) if room != *self.room() => self.join(room),
            // It leads back from a conversation.
            Some(Command::Join { .. }) if self.end_talk() => {}
            Some(Command::Join { room, .. }) => return Err(format!("You are in {room}.")),
            Some(command) => self.commands.push(command),
        }
        Ok(())
    }

    fn say_privately(&mut self, to: Name, text: String) -> Result<(), String> {
        let id = self.add_sending(&text, &format!("/msg {to} "))?;
        let follows = None;
        self.commands.push(Command::Private {
            to,
            text,
            id,
            follows,
        });
        Ok(())
    }

    /// Goes to another room. A room that was shown before resumes where it was
    /// left.
    pub(super) fn join(&mut self, room: RoomName) {
        let shown = self.rooms.get(&room);
        let last = shown.and_then(|room| room.last_position.as_ref());
        let start = Start {
            after: last.map(|last| last.seq),
            epoch: last.map(|last| last.epoch.clone()),
            backlog: last.is_none().then_some(BACKLOG),
            ..Start::default()
        };
        self.hint = Some(format!("joining {room}"));
        self.note_read_on_leaving();
        self.commands.push(Command::Join { room, start });
    }

    /// Gives a message its id, and shows it in the footer until it is stored.
    fn add_sending(&mut self, text: &str, before: &str) -> Result<Option<MessageId>, String> {
        let safe = Text::parse(text, self.limit()).map_err(|refusal| refusal.text)?;
        self.spoken += 1;
        let id = self.options.ids.of(self.spoken).ok();
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
        let mut text = text;
        for spec in TABLE {
            if spec.permission == Permission::Terminal {
                text.push('\n');
                plain::put_help(&mut text, &spec.form(), spec.about);
            }
        }
        self.note(Style::Plain, &format!("{text}\n{KEYS}"));
    }
}

/// Whether a command speaks to a room, or of a message in it.
fn is_for_room(command: &Command) -> bool {
    matches!(command, Command::Publish { kind, .. } if *kind != PublishKind::Said)
        || matches!(
            command,
            Command::About { .. } | Command::Delete { .. } | Command::Erase { .. }
        )
}

/// The person of `/msg NAME` without a text.
fn open_conversation(typed: &str) -> Option<Name> {
    let (word, name) = typed.strip_prefix('/')?.split_once(' ')?;
    let is_private = table::by_word(word).is_some_and(|spec| spec.word == "msg");
    name.trim().parse().ok().filter(|_| is_private)
}

/// The part of `/help` about the keyboard.
const KEYS: &str = "\
Keys: Tab completes commands, names and rooms; Up and Down fetch texts typed
before; Alt-Up picks the message that /reply, /react, /edit and /delete mean,
Esc none; /edit alone fetches your text; Alt-Enter begins a new line; Ctrl-_
undoes, Alt-_ redoes; Alt-B and Alt-F go by words, Ctrl-W erases one, Alt-K
erases to the end of the line; Alt-E opens the text in $EDITOR; Alt-1 to Alt-9
and Ctrl-K change the room, and /msg NAME opens a conversation that Esc leaves;
Ctrl-L redraws; Ctrl-Z suspends; Ctrl-D on an empty line, or Ctrl-C twice,
leaves";
