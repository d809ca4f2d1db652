//! The outbox: unconfirmed messages in order. Each stays until its receipt
//! arrives, and is sent again after a break or a temporary refusal.

mod file;
mod journal;
mod persistence;
mod speaker;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fmt, mem,
};

use tokio::time::Instant;

pub use self::file::OutboxError;
pub(super) use self::speaker::Speaker;
use self::{file::Record, journal::Journal};
use super::position::Position;
use crate::protocol::{
    Author, Change, ChangeKind, Command, Message, MessageKind, PublishKind, json,
    name::{MessageId, Name, Reference, RoomName},
    text::Text,
};

/// The number of commands that an outbox takes: enough to keep a server busy
/// that commits in batches.
const WINDOW: usize = 1000;

/// The bytes of text at which an outbox is full.
const WINDOW_BYTES: usize = 4 * 1024 * 1024;

/// Commands in the order in which the client gave them, each with its state.
///
/// A message leaves on its receipt or on a final refusal. A change of name or
/// room waits until all commands before it are stored, and holds back all
/// behind it. So a repeated message goes to the room it was meant for, under
/// the right name. All other commands are questions. They leave as soon as they
/// are sent, because a question is not repeated.
pub struct Outbox {
    commands: BTreeMap<u64, OutboxCommand>,
    ids: HashMap<MessageId, u64>,
    bytes: usize,
    /// The highest number ever given to a command.
    newest: u64,
    /// The highest number sent on this connection.
    last_sent: u64,
    /// The highest number of a message sent on any connection.
    newest_sent: u64,
    /// The speaker of the messages sent; `None` before the first. It stays the
    /// same until all of them are stored.
    sent_as: Option<Speaker>,
    /// The speaker that the file names.
    speaker_in_file: Option<Speaker>,
    in_flight: usize,
    /// The number of messages that may be in flight: one after a temporary
    /// refusal, and one more with each receipt. A slow server would otherwise
    /// get the same hundreds of messages again and again.
    max_in_flight: usize,
    /// The number of the change of name or room that is in flight.
    change_in_flight: Option<u64>,
    /// The message sent last; the next one follows it.
    previous_id: Option<MessageId>,
    hold: Option<Hold>,
    journal: Option<Journal>,
    /// Whether the file is only for a crash. A client that ends in order with
    /// nothing unsent removes it.
    remove_when_empty: bool,
    position: Option<Position>,
}

/// A command and its state.
struct OutboxCommand {
    command: Command,
    /// The ref that the command is sent with.
    reference: Option<Reference>,
    in_flight: bool,
}

/// A temporary refusal: nothing is sent until it is over.
struct Hold {
    /// The lowest number that was refused.
    first: u64,
    until: Instant,
}

impl Outbox {
    /// An outbox that ends with this process.
    pub fn in_memory() -> Self {
        Outbox {
            commands: BTreeMap::new(),
            ids: HashMap::new(),
            bytes: 0,
            newest: 0,
            last_sent: 0,
            newest_sent: 0,
            sent_as: None,
            speaker_in_file: None,
            in_flight: 0,
            max_in_flight: WINDOW,
            change_in_flight: None,
            previous_id: None,
            hold: None,
            journal: None,
            remove_when_empty: false,
            position: None,
        }
    }

    /// Whether the outbox outlives this process, in a file.
    pub(super) fn is_kept(&self) -> bool {
        self.journal.is_some()
    }

    /// The position remembered last.
    pub(super) fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// The room in which the client will be after all commands here, if known.
    pub(super) fn last_room(&self) -> Option<&RoomName> {
        let joined = self.commands.values().rev().find_map(|entry| {
            if let Command::Join { room, .. } = &entry.command {
                Some(room)
            } else {
                None
            }
        });
        joined.or_else(|| self.position.as_ref().map(|position| &position.room))
    }

    /// Whether another command may be pushed.
    pub(super) fn has_room(&self) -> bool {
        self.commands.len() < WINDOW && self.bytes < WINDOW_BYTES
    }

    /// The number of messages that the server has neither stored nor refused.
    pub(super) fn unconfirmed(&self) -> usize {
        self.ids.len()
    }

    /// The number of commands that were not sent on this connection.
    pub(super) fn waiting(&self) -> usize {
        self.commands.len() - self.in_flight
    }

    /// The speaker of the messages that were sent and have no receipt; `None` if
    /// there are none.
    ///
    /// The same speaker must send them again: for the server the same id of
    /// another author is another message.
    pub(super) fn unconfirmed_speaker(&self) -> Option<&Speaker> {
        let mut sent = self.commands.range(..=self.newest_sent);
        let is_unconfirmed = sent.any(|(_, entry)| id_and_text(&entry.command).is_some());
        self.sent_as.as_ref().filter(|_| is_unconfirmed)
    }

    /// Sends messages under this name from here on.
    pub(super) fn send_as(&mut self, name: Option<&Name>) {
        self.sent_as = Some(Speaker(name.cloned()));
        if !self.ids.is_empty() {
            self.record_speaker();
        }
    }

    /// Writes the speaker into the file, before any message that it sends.
    fn record_speaker(&mut self) {
        if let (Some(journal), Some(speaker)) = (&mut self.journal, &self.sent_as)
            && self.speaker_in_file.as_ref() != Some(speaker)
        {
            journal.add(&Record::SentAs(Cow::Borrowed(speaker)));
            self.speaker_in_file = Some(speaker.clone());
        }
    }

    /// Adds a question whose answer will carry this ref.
    pub(super) fn ask(&mut self, command: Command, reference: Option<Reference>) {
        self.newest += 1;
        let entry = OutboxCommand {
            command,
            reference,
            in_flight: false,
        };
        self.commands.insert(self.newest, entry);
    }

    /// Adds a message, or a change of name or room.
    pub(super) fn push(&mut self, command: Command) {
        self.push_asking(command, None);
    }

    /// Adds a message, as [`push`](Self::push) does. Further answers to it will
    /// carry this ref.
    pub(super) fn push_asking(&mut self, command: Command, reference: Option<Reference>) {
        if let Some((id, _)) = id_and_text(&command)
            && self.ids.contains_key(id)
        {
            // The same message waits already; the server stores it once.
            return;
        }
        let number = self.newest + 1;
        if id_and_text(&command).is_some() {
            self.record_speaker();
        }
        if let Some(journal) = &mut self.journal
            && is_kept_in_file(&command)
        {
            let command = Cow::Borrowed(&command);
            journal.add(&Record::Take { number, command });
        }
        self.keep(number, command, reference);
    }

    fn keep(&mut self, number: u64, command: Command, reference: Option<Reference>) {
        if let Some((id, text)) = id_and_text(&command) {
            self.bytes += text.len();
            self.ids.insert(id.clone(), number);
        }
        self.newest = self.newest.max(number);
        let entry = OutboxCommand {
            command,
            reference,
            in_flight: false,
        };
        self.commands.insert(number, entry);
    }

    fn remove(&mut self, number: u64) {
        let Some(entry) = self.commands.remove(&number) else {
            return;
        };
        self.in_flight -= usize::from(entry.in_flight);
        if let Some((id, text)) = id_and_text(&entry.command) {
            self.bytes -= text.len();
            self.ids.remove(id);
        }
        if let Some(journal) = &mut self.journal
            && is_kept_in_file(&entry.command)
        {
            journal.add(&Record::Done(number));
        }
    }

    /// The next command to send, encoded; `None` if none may be sent now. With a
    /// file, only commands that are on disk are sent.
    pub(super) fn next_to_send(&mut self) -> Option<String> {
        if self.hold.is_some()
            || self.change_in_flight.is_some()
            || self.in_flight >= self.max_in_flight
        {
            return None;
        }
        let first = *self.commands.first_key_value()?.0;
        let (&number, entry) = self.commands.range_mut(self.last_sent + 1..).next()?;
        let journal = self.journal.as_ref();
        if journal.is_some_and(|journal| !journal.has_settled(number)) {
            return None;
        }
        match &mut entry.command {
            Command::Publish {
                id: Some(id),
                follows,
                ..
            }
            | Command::Private {
                id: Some(id),
                follows,
                ..
            } => {
                *follows = self.previous_id.replace(id.clone());
                self.newest_sent = self.newest_sent.max(number);
                entry.in_flight = true;
                self.in_flight += 1;
            }
            Command::Join { .. } | Command::Name { .. } => {
                if number != first {
                    return None;
                }
                self.change_in_flight = Some(number);
            }
            _ => {
                let question = json::request(&entry.command, entry.reference.as_ref());
                self.last_sent = number;
                self.remove(number);
                return Some(question);
            }
        }
        self.last_sent = number;
        Some(json::request(&entry.command, entry.reference.as_ref()))
    }

    /// Removes a message because the server has stored it; returns whether it
    /// was here. After a break, that may happen before it is sent again.
    pub(super) fn confirm(&mut self, id: &MessageId) -> bool {
        let Some(number) = self.ids.get(id).copied() else {
            return false;
        };
        self.remove(number);
        self.max_in_flight = WINDOW.min(self.max_in_flight + 1);
        true
    }

    /// Whether a message with the id of one here is another message: another
    /// author can use the same id.
    pub(super) fn is_of_another(&self, id: &MessageId, message: &Message) -> bool {
        let Some(command) = self.command(id) else {
            return false;
        };
        let Command::Publish {
            text, kind, about, ..
        } = command
        else {
            // A message of the room is no receipt of a private one.
            return true;
        };
        let is_me = message.kind == MessageKind::Me;
        kind.is_change()
            || (*kind == PublishKind::Me) != is_me
            || *about != message.about
            // A corrected message has another text than it was sent with.
            || !message.edited && Text::from(text.as_str()) != message.text
            || !self.may_be_by(&message.from)
    }

    /// Whether a change with the id of one here is another change.
    pub(super) fn is_another_change(&self, id: &MessageId, change: &Change) -> bool {
        let Some(command) = self.command(id) else {
            return false;
        };
        let Command::Publish {
            text, kind, about, ..
        } = command
        else {
            return true;
        };
        let is_kind = match change.kind {
            ChangeKind::Edit => *kind == PublishKind::Edit,
            ChangeKind::React => *kind == PublishKind::React,
            ChangeKind::Unreact => *kind == PublishKind::Unreact,
            ChangeKind::Other => false,
        };
        // A later correction has another text.
        let is_text = |told: &Text| *told == Text::from(text.as_str());
        let is_text = *kind == PublishKind::Edit || change.text.as_ref().is_some_and(is_text);
        !is_kind || *about != Some(change.about) || !is_text || !self.may_be_by(&change.from)
    }

    /// The command with an id.
    fn command(&self, id: &MessageId) -> Option<&Command> {
        let number = self.ids.get(id)?;
        self.commands.get(number).map(|entry| &entry.command)
    }

    /// Whether the messages sent may be by an author. A message without a name
    /// has no proof of its author.
    fn may_be_by(&self, author: &Author) -> bool {
        let is_author = |speaker: &Speaker| !speaker.is_named() || speaker.is(author.name.as_ref());
        self.sent_as.as_ref().is_none_or(is_author)
    }

    /// Gives a message in flight a new id, because another message has its id;
    /// returns whether it was in flight. It is sent again, and the messages
    /// behind it after it.
    pub(super) fn renew(&mut self, id: &MessageId, new_id: MessageId) -> bool {
        if !self.hold(id, Instant::now()) {
            return false;
        }
        let Some(number) = self.ids.remove(id) else {
            return false;
        };
        let entry = self.commands.get_mut(&number);
        if let Some(Command::Publish { id, .. } | Command::Private { id, .. }) =
            entry.map(|entry| &mut entry.command)
        {
            *id = Some(new_id.clone());
        }
        self.ids.insert(new_id, number);
        if let (Some(journal), Some(entry)) = (&mut self.journal, self.commands.get(&number)) {
            let command = Cow::Borrowed(&entry.command);
            journal.add(&Record::Take { number, command });
        }
        true
    }

    /// Removes a message in flight because the server will never store it;
    /// returns whether it was in flight.
    pub(super) fn refuse(&mut self, id: &MessageId) -> bool {
        let number = self.ids.get(id).copied();
        let Some(number) = number.filter(|n| self.commands[n].in_flight) else {
            return false;
        };
        self.remove(number);
        true
    }

    /// Stops sending after a temporary refusal of a message; returns whether it
    /// was in flight. [`release`](Self::release) lets it and all behind it be
    /// sent again.
    ///
    /// A server that ignores `follows` may still store the messages in flight.
    /// So nothing is sent before each of them is answered.
    pub(super) fn hold(&mut self, id: &MessageId, until: Instant) -> bool {
        let Some(first) = self.ids.get(id).copied() else {
            return false;
        };
        let entry = self.commands.get_mut(&first);
        if !entry.is_some_and(|entry| mem::take(&mut entry.in_flight)) {
            return false;
        }
        self.in_flight -= 1;
        self.max_in_flight = 1;
        let hold = self.hold.get_or_insert(Hold { first, until });
        hold.first = hold.first.min(first);
        hold.until = hold.until.max(until);
        true
    }

    /// The end of the hold; `None` without one, or while messages in flight are
    /// unanswered.
    pub(super) fn held_until(&self) -> Option<Instant> {
        let hold = self.hold.as_ref()?;
        (self.in_flight == 0).then_some(hold.until)
    }

    /// Ends the hold: sending goes on with the first refused message.
    pub(super) fn release(&mut self) {
        if let Some(hold) = self.hold.take() {
            self.last_sent = hold.first - 1;
            self.previous_id = None;
        }
    }

    /// Removes the change of name or room that the server has made or refused,
    /// and returns it.
    pub(super) fn take_change(&mut self) -> Option<Command> {
        let number = self.change_in_flight.take()?;
        let command = self.commands.get(&number)?.command.clone();
        self.remove(number);
        Some(command)
    }

    /// Prepares for a new connection, on which everything is sent again.
    pub(super) fn start_over(&mut self) {
        for entry in self.commands.values_mut() {
            entry.in_flight = false;
        }
        self.in_flight = 0;
        self.last_sent = 0;
        self.change_in_flight = None;
        self.previous_id = None;
        self.hold = None;
    }

    /// Notes that everything up to a position was shown.
    pub(super) fn remember(&mut self, position: &Position) {
        if let Some(journal) = &mut self.journal
            && self.position.as_ref() != Some(position)
        {
            journal.add(&Record::At(Cow::Borrowed(position)));
            self.position = Some(position.clone());
        }
    }

    /// Ends the outbox with its client. Commands left in a file are for the next
    /// client.
    pub(super) fn end(self) {
        if self.remove_when_empty
            && self.commands.is_empty()
            && let Some(journal) = self.journal
        {
            journal.remove();
        }
    }
}

/// Whether a command is kept in the file: messages, and changes of room.
fn is_kept_in_file(command: &Command) -> bool {
    id_and_text(command).is_some() || matches!(command, Command::Join { .. })
}

/// The id and the text of a message that may be sent again; `None` for any
/// other command.
fn id_and_text(command: &Command) -> Option<(&MessageId, &str)> {
    match command {
        Command::Publish { id, text, .. } | Command::Private { id, text, .. } => {
            Some((id.as_ref()?, text))
        }
        _ => None,
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("unconfirmed", &self.unconfirmed())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
