//! Private conversations: opened over the room, printed once, and read.

use std::mem;

use super::{
    super::line::{Style, heading},
    LinkStatus, Model,
};
use crate::protocol::{Command, ConversationPage, Place, PrivateMessage, Refusal, Seq, name::Name};

/// How many messages are shown of a conversation that the user opens.
const BACKLOG: u32 = 20;

impl Model {
    /// Notes that a private message is printed.
    pub(super) fn printed_private(&mut self, private: &PrivateMessage) {
        self.places.print(private.seq);
        let other = if private.sent {
            Some(&private.to)
        } else {
            private.from.name.as_ref()
        };
        let Some(other) = other.cloned() else { return };
        let is_live = self.live;
        let state = self.places.at(Place::With(other.clone()));
        state.printed = state.printed.max(private.seq);
        if !private.sent {
            state.fresh += 1;
            if is_live {
                (state.is_here, state.told_away) = (Some(true), false);
            }
        }
        if self.talking() == Some(&other) {
            self.read_conversation(private.seq);
        }
    }

    /// Tells the server which conversations were read on the screen: those whose
    /// unread messages were all printed while the terminal is in use.
    pub(super) fn read_printed(&mut self) {
        let is_in_use = self.unfocused_since.is_none() && self.link == LinkStatus::Up;
        if !is_in_use || !self.live {
            return;
        }
        for (place, state) in &mut self.places.all {
            let Place::With(name) = place else { continue };
            if state.is_printed() {
                (state.unread, state.fresh) = (0, 0);
                self.commands.push(Command::Read {
                    room: None,
                    with: Some(name.clone()),
                    seq: state.last,
                });
            }
        }
    }

    /// Shows the messages of the conversation on the screen: those that were not
    /// printed before, or all if the user asks for them.
    pub(super) fn show_conversation(&mut self, page: &ConversationPage, asks_all: bool) {
        if self.talking() != Some(&page.with) {
            return;
        }
        let mut shown = 0;
        for private in &page.messages {
            if self.places.print(private.seq) || asks_all {
                self.put(self.private_line(private));
                shown += 1;
            }
        }
        if shown == 0 && !page.messages.is_empty() {
            self.note(Style::Dim, "Nothing new; /history shows what was said.");
        }
        if let Some(last) = page.messages.last() {
            self.places.at(Place::With(page.with.clone())).is_here = Some(!page.away);
            self.read_conversation(last.seq);
        }
    }

    /// The recipient of a message is away. The user is told once, until the
    /// recipient is seen again.
    pub(super) fn away(&mut self, with: Name, text: &str) {
        let state = self.places.at(Place::With(with));
        state.is_here = Some(false);
        if !mem::replace(&mut state.told_away, true) {
            self.note(Style::Plain, text);
        }
    }

    /// The person of the conversation on the screen. Typed texts go there.
    pub(super) fn talking(&self) -> Option<&Name> {
        self.places.talking.as_ref()
    }

    /// Opens a private conversation.
    pub(super) fn talk_to(&mut self, name: Name) {
        let place = Place::With(name.clone());
        let last = self
            .places
            .all
            .get(&place)
            .map_or(Seq::START, |state| state.last);
        self.places.talking = Some(name.clone());
        self.places.talks += 1;
        self.places.lines.clear();
        self.put(heading(&format!("@{name}: Esc goes back to the room")));
        self.questions.push(Command::History {
            with: Some(name),
            before: None,
            limit: Some(BACKLOG),
        });
        self.read_conversation(last);
    }

    /// The ref of the question that opened the last conversation.
    pub(in super::super) fn talk_ref(&self) -> String {
        format!("talk-{}", self.places.talks)
    }

    /// The server refuses the conversation on the screen: the user goes back to
    /// the room. The typed text keeps its recipient.
    pub(super) fn talk_refused(&mut self, refusal: &Refusal) {
        if let Some(name) = self.talking().cloned()
            && !refusal.code.is_temporary()
        {
            self.end_talk();
            self.places.remove(&Place::With(name.clone()));
            let typed = self.editor.text();
            if !typed.is_empty() && !typed.starts_with('/') {
                let addressed = format!("/msg {name} {typed}");
                self.editor.set(&addressed);
            }
        }
        self.note(Style::Bad, &refusal.text);
    }

    /// Tells the server that the conversation on the screen was read.
    pub(super) fn read_conversation(&mut self, upto: Seq) {
        let Some(name) = self.places.talking.clone() else {
            return;
        };
        let place = self.places.at(Place::With(name.clone()));
        (place.unread, place.fresh) = (0, 0);
        place.last = place.last.max(upto);
        if upto > Seq::START {
            self.commands.push(Command::Read {
                room: None,
                with: Some(name),
                seq: upto,
            });
        }
    }

    /// Goes back from a conversation to the room; false if none is on the screen.
    pub(super) fn end_talk(&mut self) -> bool {
        if self.places.talking.take().is_none() {
            return false;
        }
        self.places.hidden = 0;
        self.show_room_again();
        true
    }
}
