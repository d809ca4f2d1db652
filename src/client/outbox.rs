//! What was said and is not known to be stored: kept in order until its receipt
//! comes, and said again after a break or a refusal for now.

mod file;
mod journal;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fmt,
    future::poll_fn,
    io, mem,
    path::Path,
    task::{Context, Poll},
};

use tokio::time::Instant;

pub use self::file::OutboxError;
use self::{
    file::{OutboxFile, Record, put},
    journal::Journal,
};
use super::{address::Target, folder, position::Position};
use crate::protocol::{
    Command, json,
    name::{MessageId, Reference, RoomName},
};

/// How many commands are kept: enough to keep a server busy that commits in
/// batches.
const WINDOW: usize = 1000;

/// How many bytes of text are kept.
const WINDOW_BYTES: usize = 4 * 1024 * 1024;

/// How many clients of one user in one room have an outbox of their own.
const MOST: u32 = 64;

/// Commands in the order they were given, with what has become of each.
///
/// A message leaves on its receipt or when it is refused for good. What changes
/// who or where one is (a name, another room) waits until all before it are
/// stored, and holds up all behind it: whatever is said again, is said in the
/// room and under the name it was said for. Other commands are questions, which
/// nobody asks twice: they leave when they are handed over.
pub struct Outbox {
    entries: BTreeMap<u64, Entry>,
    ids: HashMap<MessageId, u64>,
    bytes: usize,
    /// The number of the newest entry, ever.
    newest: u64,
    /// Up to this number, entries were handed over on this connection.
    handed: u64,
    in_flight: usize,
    /// How many may be in flight: after a refusal one, and one more with each
    /// receipt. A server that takes few is not told the same hundreds again
    /// and again.
    allowed: usize,
    /// The name or room that is being changed.
    changing: Option<u64>,
    /// What was handed over before: the next one follows it.
    before: Option<MessageId>,
    hold: Option<Hold>,
    journal: Option<Journal>,
    /// Its file is only for whom a crash leaves one.
    passing: bool,
    position: Option<Position>,
}

struct Entry {
    command: Command,
    /// The ref that a question is handed over with.
    reference: Option<Reference>,
    in_flight: bool,
}

/// A refusal for now.
struct Hold {
    /// The first entry refused.
    first: u64,
    until: Instant,
}

impl Outbox {
    /// One that dies with this process.
    pub fn in_memory() -> Self {
        Outbox {
            entries: BTreeMap::new(),
            ids: HashMap::new(),
            bytes: 0,
            newest: 0,
            handed: 0,
            in_flight: 0,
            allowed: WINDOW,
            changing: None,
            before: None,
            hold: None,
            journal: None,
            passing: false,
            position: None,
        }
    }

    /// One kept in a file, with what an earlier client has left there; made
    /// where there is none.
    ///
    /// # Errors
    ///
    /// The file is in use, is no outbox of this room, or cannot be read.
    pub fn open(path: &Path, target: &Target) -> Result<Self, OutboxError> {
        let (file, records) = OutboxFile::open(path, &target.room_url())?;
        let mut outbox = Self::in_memory();
        for record in records {
            match record {
                Record::Take { number, command } => outbox.keep(number, command.into_owned()),
                Record::Done(number) => outbox.remove(number),
                Record::At(position) => outbox.position = Some(position.into_owned()),
            }
        }
        outbox.journal = Some(Journal::new(file));
        Ok(outbox)
    }

    /// The same, written by the thread that asks for it: a simulation takes the
    /// same steps each time. The thread waits for the disk.
    #[must_use]
    pub fn written_in_place(mut self) -> Self {
        if let Some(journal) = &mut self.journal {
            journal.write_in_place();
        }
        self
    }

    /// One kept in a folder until this client ends in order with nothing unsent.
    /// Clients of the same room have one each; what one left that died is taken
    /// up by the next.
    ///
    /// # Errors
    ///
    /// A file in it is no outbox of this room, or cannot be read.
    pub fn in_folder(folder: &Path, target: &Target) -> Result<Self, OutboxError> {
        // Where it cannot be made, no file in it can be opened either.
        let _ = folder::make(folder);
        let path = |number| {
            let kind = format!("outbox-{number}");
            folder::file(folder, &kind, &target.room_url())
        };
        let (left, new): (Vec<_>, Vec<_>) = (1..=MOST).map(path).partition(|path| path.exists());
        for path in left.iter().chain(&new) {
            match Self::open(path, target) {
                Err(error) if error.is_taken() => {}
                Err(error) => return Err(error),
                Ok(outbox) => {
                    return Ok(Outbox {
                        passing: true,
                        ..outbox
                    });
                }
            }
        }
        Ok(Self::in_memory())
    }

    /// Whether it outlives this process.
    pub(super) fn is_kept(&self) -> bool {
        self.journal.is_some()
    }

    /// Where reading has come to, as last remembered.
    pub(super) fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// The room in which what is said next will be said, if that is known.
    pub(super) fn last_room(&self) -> Option<&RoomName> {
        let joined = self.entries.values().rev().find_map(|entry| {
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
        self.entries.len() < WINDOW && self.bytes < WINDOW_BYTES
    }

    /// How many messages have neither been stored nor refused.
    pub(super) fn unconfirmed(&self) -> usize {
        self.ids.len()
    }

    /// How many commands were not handed over, or not to this connection.
    pub(super) fn waiting(&self) -> usize {
        self.entries.len() - self.in_flight
    }

    /// Takes a question whose answer is to carry this ref.
    pub(super) fn ask(&mut self, command: Command, reference: Option<Reference>) {
        self.newest += 1;
        let entry = Entry {
            command,
            reference,
            in_flight: false,
        };
        self.entries.insert(self.newest, entry);
    }

    /// Takes a message, or a change of name or room.
    pub(super) fn push(&mut self, command: Command) {
        if let Some((id, _)) = said(&command)
            && self.ids.contains_key(id)
        {
            // It is under way already, and will be stored once.
            return;
        }
        let number = self.newest + 1;
        if let Some(journal) = &mut self.journal
            && outlives(&command)
        {
            let command = Cow::Borrowed(&command);
            journal.add(&Record::Take { number, command });
        }
        self.keep(number, command);
    }

    fn keep(&mut self, number: u64, command: Command) {
        if let Some((id, text)) = said(&command) {
            self.bytes += text.len();
            self.ids.insert(id.clone(), number);
        }
        self.newest = self.newest.max(number);
        let entry = Entry {
            command,
            reference: None,
            in_flight: false,
        };
        self.entries.insert(number, entry);
    }

    fn remove(&mut self, number: u64) {
        let Some(entry) = self.entries.remove(&number) else {
            return;
        };
        self.in_flight -= usize::from(entry.in_flight);
        if let Some((id, text)) = said(&entry.command) {
            self.bytes -= text.len();
            self.ids.remove(id);
        }
        if let Some(journal) = &mut self.journal
            && outlives(&entry.command)
        {
            journal.add(&Record::Done(number));
        }
    }

    /// The next command to be handed over, encoded. One that is kept in a file
    /// is on disk by then.
    pub(super) fn next(&mut self) -> Option<String> {
        if self.hold.is_some() || self.changing.is_some() || self.in_flight >= self.allowed {
            return None;
        }
        let first = *self.entries.first_key_value()?.0;
        let (&number, entry) = self.entries.range_mut(self.handed + 1..).next()?;
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
                *follows = self.before.replace(id.clone());
                entry.in_flight = true;
                self.in_flight += 1;
            }
            Command::Join { .. } | Command::Name { .. } => {
                if number != first {
                    return None;
                }
                self.changing = Some(number);
            }
            _ => {
                let question = json::request(&entry.command, entry.reference.as_ref());
                self.handed = number;
                self.remove(number);
                return Some(question);
            }
        }
        self.handed = number;
        Some(json::command(&entry.command))
    }

    /// Whether it was a message that waited for this: it is stored. That may be
    /// heard before it is handed over again.
    pub(super) fn confirm(&mut self, id: &MessageId) -> bool {
        let Some(number) = self.ids.get(id).copied() else {
            return false;
        };
        self.remove(number);
        self.allowed = WINDOW.min(self.allowed + 1);
        true
    }

    /// Whether it was a message in flight: it will never be stored.
    pub(super) fn refuse(&mut self, id: &MessageId) -> bool {
        let number = self.ids.get(id).copied();
        let Some(number) = number.filter(|n| self.entries[n].in_flight) else {
            return false;
        };
        self.remove(number);
        true
    }

    /// Whether it was a message in flight: it is to be handed over again, and
    /// those behind it after it.
    ///
    /// Those in flight may still be stored, by a server that does not heed what
    /// they follow; nothing new goes out before that is known.
    pub(super) fn hold(&mut self, id: &MessageId, until: Instant) -> bool {
        let Some(first) = self.ids.get(id).copied() else {
            return false;
        };
        let entry = self.entries.get_mut(&first);
        if !entry.is_some_and(|entry| mem::take(&mut entry.in_flight)) {
            return false;
        }
        self.in_flight -= 1;
        self.allowed = 1;
        let hold = self.hold.get_or_insert(Hold { first, until });
        hold.first = hold.first.min(first);
        hold.until = hold.until.max(until);
        true
    }

    /// When what was refused may be handed over again, unless answers are still
    /// to come.
    pub(super) fn held_until(&self) -> Option<Instant> {
        let hold = self.hold.as_ref()?;
        (self.in_flight == 0).then_some(hold.until)
    }

    /// That time has come.
    pub(super) fn release(&mut self) {
        if let Some(hold) = self.hold.take() {
            self.handed = hold.first - 1;
            self.before = None;
        }
    }

    /// The change of name or room that was handed over is made, or refused.
    pub(super) fn changed(&mut self) -> Option<Command> {
        let number = self.changing.take()?;
        let command = self.entries.get(&number)?.command.clone();
        self.remove(number);
        Some(command)
    }

    /// On a new connection everything is handed over again.
    pub(super) fn start_over(&mut self) {
        for entry in self.entries.values_mut() {
            entry.in_flight = false;
        }
        self.in_flight = 0;
        self.handed = 0;
        self.changing = None;
        self.before = None;
        self.hold = None;
    }

    /// Reading has come so far.
    pub(super) fn remember(&mut self, position: &Position) {
        if let Some(journal) = &mut self.journal
            && self.position.as_ref() != Some(position)
        {
            journal.add(&Record::At(Cow::Borrowed(position)));
            self.position = Some(position.clone());
        }
    }

    /// Its client ends in order. What is left in it is for the next one.
    pub(super) fn end(self) {
        if self.passing
            && self.entries.is_empty()
            && let Some(journal) = self.journal
        {
            journal.remove();
        }
    }

    /// Writes what was pushed, where it is kept at all: ready once it is on disk.
    ///
    /// # Errors
    ///
    /// The disk's; nothing is written after one.
    pub(super) fn poll_settle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(journal) = &mut self.journal else {
            return Poll::Ready(Ok(()));
        };
        let (entries, position) = (&self.entries, self.position.as_ref());
        journal.poll_settle(cx, || records(entries, position))
    }

    /// Waits until what was pushed is on disk, where it is kept at all.
    ///
    /// # Errors
    ///
    /// The disk's; nothing is written after one.
    pub(super) async fn settle(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_settle(cx)).await
    }
}

/// The records of a file in which there is only what is still to be kept.
fn records(entries: &BTreeMap<u64, Entry>, position: Option<&Position>) -> Vec<u8> {
    let mut records = Vec::new();
    for (&number, entry) in entries {
        if outlives(&entry.command) {
            let command = Cow::Borrowed(&entry.command);
            put(&mut records, &Record::Take { number, command });
        }
    }
    if let Some(position) = position {
        put(&mut records, &Record::At(Cow::Borrowed(position)));
    }
    records
}

/// Whether a command is kept in the file: what is said, and where.
fn outlives(command: &Command) -> bool {
    said(command).is_some() || matches!(command, Command::Join { .. })
}

/// The id and the text of what is said, where that can be said again.
fn said(command: &Command) -> Option<(&MessageId, &str)> {
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
