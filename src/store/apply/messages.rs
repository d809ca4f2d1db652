//! Applies messages: gives numbers, creates rooms, finds repeated and taken ids.

use std::{
    collections::{HashMap, HashSet, hash_map},
    sync::LazyLock,
};

use rusqlite::{CachedStatement, Connection, params};

use super::{
    content::{self, ContentDigest},
    place_rows::{self, ConversationSide},
};
use crate::{
    log::{Batch, Draft, Entry},
    protocol::{
        ConnectionId, OwnerNumber, Seq, Slot,
        name::{MessageId, RoomName},
    },
    store::{
        Denial, Outcome, StoreError, hook,
        index::RemovedWords,
        memberships,
        room::RoomState,
        row::{TableRow, find, owner_to_db, to_db},
        tables::{MESSAGES, MessageRow, NAMES, NameRow, ROOMS},
        unread::{self, Unread},
    },
};

/// How many messages one statement inserts. One statement for each message
/// would take half as long again.
const INSERTED_AT_ONCE: usize = 16;

static INSERT_ONE: LazyLock<String> = LazyLock::new(|| insertion(1));
static INSERT_SOME: LazyLock<String> = LazyLock::new(|| insertion(INSERTED_AT_ONCE));

/// The statement that inserts `count` messages, except those whose id their
/// author has used in their room.
fn insertion(count: usize) -> String {
    let (table, columns) = (MESSAGES.name, MESSAGES.columns.join(", "));
    let row = format!("({})", vec!["?"; MESSAGES.columns.len() + 1].join(", "));
    let rows = vec![row; count].join(", ");
    format!(
        "INSERT INTO {table} ({columns}, sum) VALUES {rows} \
         ON CONFLICT (room, owner, id) WHERE id IS NOT NULL DO NOTHING"
    )
}

/// The rooms of a batch, as they are after it.
type Rooms = Vec<(RoomName, RoomState)>;

/// Gives messages their numbers and stores them.
pub(super) struct MessageWriter<'a> {
    pub(super) db: &'a Connection,
    /// Cached rooms, as they are before the batch.
    known: &'a HashMap<RoomName, RoomState>,
    pub(super) batch: &'a Batch,
    pub(super) head: Seq,
    pub(super) rooms: Rooms,
    /// The place of each room in `rooms`.
    places: HashMap<RoomName, usize>,
    /// The place of the room that was asked for last.
    last: Option<usize>,
    pub(super) messages: Vec<Slot>,
    /// The messages of this batch that are not stored; usually none.
    unstored: HashSet<(ConnectionId, MessageId)>,
    /// The unread messages of absent readers, for consecutive messages.
    unread: HashMap<OwnerNumber, Unread>,
    /// Whether an author is a member of the private room at a place, for
    /// consecutive messages.
    members: HashMap<(usize, OwnerNumber), bool>,
    /// For so many milliseconds the author of a message may change it.
    pub(super) edit_window_ms: u64,
    /// The words that corrections and redactions remove.
    pub(super) removed_words: RemovedWords,
}

impl<'a> MessageWriter<'a> {
    /// Gives the numbers after `head`. `known` holds rooms whose rows need not
    /// be read.
    pub(super) fn after(
        head: Seq,
        db: &'a Connection,
        known: &'a HashMap<RoomName, RoomState>,
        batch: &'a Batch,
        edit_window_ms: u64,
    ) -> Self {
        MessageWriter {
            db,
            known,
            batch,
            head,
            rooms: Vec::new(),
            places: HashMap::new(),
            last: None,
            messages: Vec::new(),
            unstored: HashSet::new(),
            unread: HashMap::new(),
            members: HashMap::new(),
            edit_window_ms,
            removed_words: RemovedWords::default(),
        }
    }

    /// The last number given.
    pub(super) fn head(&self) -> Seq {
        self.head
    }

    /// A room, if it has a row.
    ///
    /// # Errors
    /// Fails if the row is damaged or the database cannot be read.
    pub(super) fn room(&mut self, name: &RoomName) -> Result<Option<RoomState>, StoreError> {
        let place = self.known_place(name)?;
        Ok(place.map(|place| self.rooms[place].1))
    }

    /// Makes a room private or public. Creates the room if it has no row.
    ///
    /// # Errors
    /// Fails if the row is damaged or the database cannot be read or written.
    pub(super) fn set_private(&mut self, name: &RoomName, private: bool) -> Result<(), StoreError> {
        let place = self.place(name)?;
        self.rooms[place].1.private = private;
        Ok(())
    }

    /// Writes the state of the rooms; returns the rooms and the stored
    /// messages.
    ///
    /// # Errors
    /// Fails if the database cannot be written.
    pub(super) fn finish(self) -> Result<(Rooms, Vec<Slot>), StoreError> {
        let mut update = self.db.prepare_cached(
            "UPDATE rooms SET last = ?2, messages = ?3, private = ?4, said = ?5, sum = ?6 WHERE id = ?1",
        )?;
        for (name, room) in &self.rooms {
            let sum = room.row(name).sum();
            let (last, said) = (to_db(room.last), to_db(room.said));
            update.execute((room.id, last, room.messages, room.private, said, sum))?;
        }
        Ok((self.rooms, self.messages))
    }

    /// Stores entries, which are all messages, and adds the outcome of each.
    ///
    /// # Errors
    /// Fails if the database cannot be read or written, or the row of a room or
    /// the original of a repeat is damaged.
    pub(super) fn store(
        &mut self,
        entries: &[Entry],
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), StoreError> {
        self.messages.reserve(entries.len());
        let mut one = self.db.prepare_cached(&INSERT_ONE)?;
        let mut some = None;
        self.unread.clear();
        self.members.clear();
        for entries in entries.chunks(INSERTED_AT_ONCE) {
            let whole = entries.len() == INSERTED_AT_ONCE && self.unstored.is_empty();
            if whole && self.insert_together(insert_some(self.db, &mut some)?, entries)? {
                let new = &self.messages[self.messages.len() - entries.len()..];
                outcomes.extend(new.iter().map(|slot| Outcome::Stored(slot.seq())));
                continue;
            }
            for (connection, draft) in drafts(entries) {
                let outcome = self.insert(&mut one, connection, draft)?;
                let is_stored = matches!(outcome, Outcome::Stored(_) | Outcome::Repeat(_));
                if let Some(id) = draft.id.as_ref().filter(|_| !is_stored) {
                    self.unstored.insert((connection, id.clone()));
                }
                outcomes.push(outcome);
            }
        }
        Ok(())
    }

    /// The place of a room in `rooms`. Creates the room if it has no row.
    fn place(&mut self, name: &RoomName) -> Result<usize, StoreError> {
        // Most drafts follow one of the same room.
        if let Some(place) = self.last.filter(|last| self.rooms[*last].0 == *name) {
            return Ok(place);
        }
        let place = match self.known_place(name)? {
            Some(place) => place,
            None => self.create(name)?,
        };
        self.last = Some(place);
        Ok(place)
    }

    /// The place of a room in `rooms`, if the room has a row.
    fn known_place(&mut self, name: &RoomName) -> Result<Option<usize>, StoreError> {
        if let Some(place) = self.places.get(name) {
            return Ok(Some(*place));
        }
        let found = match self.known.get(name) {
            Some(room) => Some(*room),
            None => RoomState::find(self.db, name)?,
        };
        Ok(found.map(|room| self.add(name, room)))
    }

    /// Creates a room; returns its place.
    fn create(&mut self, name: &RoomName) -> Result<usize, StoreError> {
        let last = find(self.db, &ROOMS, "ORDER BY id DESC LIMIT 1", [], |row| {
            row.get::<_, i64>(0)
        })?;
        let room = RoomState {
            id: last.transpose()?.unwrap_or(0) + 1,
            last: Seq::START,
            messages: 0,
            private: false,
            said: Seq::START,
        };
        room.row(name).put(self.db)?;
        Ok(self.add(name, room))
    }

    fn add(&mut self, name: &RoomName, room: RoomState) -> usize {
        let place = self.rooms.len();
        self.rooms.push((name.clone(), room));
        self.places.insert(name.clone(), place);
        place
    }

    /// Whether the author of a draft may say it in the room at a place.
    fn may_publish(&mut self, draft: &Draft, place: usize) -> Result<bool, StoreError> {
        let (name, room) = &self.rooms[place];
        if !room.private {
            return Ok(true);
        }
        let author = draft.from.owner.unwrap_or(OwnerNumber::NONE);
        match self.members.entry((place, author)) {
            hash_map::Entry::Occupied(known) => Ok(*known.get()),
            hash_map::Entry::Vacant(new) => {
                let may = memberships::owns(self.db, name, author)?.is_some()
                    || hook::publishes(self.db, name, author)?;
                Ok(*new.insert(may))
            }
        }
    }

    /// Inserts all entries with one statement. Inserts none and returns false
    /// if one is private, has mentions, is about another message, is denied or is
    /// a repeat.
    fn insert_together(
        &mut self,
        insert: &mut CachedStatement<'_>,
        entries: &[Entry],
    ) -> Result<bool, StoreError> {
        let mut places = Vec::with_capacity(entries.len());
        for (_, draft) in drafts(entries) {
            let place = self.place(&draft.room)?;
            let is_plain = draft.to.is_none() && draft.mentions.is_empty() && draft.about.is_none();
            if !is_plain || !self.may_publish(draft, place)? {
                return Ok(false);
            }
            places.push(place);
        }
        let (head, count) = (self.head, self.messages.len());
        let mut before = Vec::with_capacity(entries.len());
        for (number, (connection, draft)) in drafts(entries).enumerate() {
            let (place, content) = (places[number], self.content(draft));
            before.push((place, self.rooms[place].1));
            self.row(connection, draft, place, content.as_ref())
                .bind(insert, number)?;
            self.record_stored(connection, draft, place, draft.id.as_ref(), None);
        }
        if insert.raw_execute()? == entries.len() {
            return Ok(true);
        }
        // The caller inserts one by one: only that shows which one is a repeat,
        // and the messages after it get other numbers.
        self.db
            .prepare_cached("DELETE FROM messages WHERE seq > ?1")?
            .execute([to_db(head)])?;
        self.head = head;
        self.messages.truncate(count);
        for (place, room) in before.into_iter().rev() {
            self.rooms[place].1 = room;
        }
        Ok(false)
    }

    /// Inserts one message; a private message also into its reader's inbox.
    fn insert(
        &mut self,
        insert: &mut CachedStatement<'_>,
        connection: ConnectionId,
        draft: &Draft,
    ) -> Result<Outcome, StoreError> {
        if !self.unstored.is_empty()
            && let Some(id) = &draft.follows
            && self.unstored.contains(&(connection, id.clone()))
        {
            return Ok(Outcome::FollowsUnstored);
        }
        let place = self.place(&draft.room)?;
        if !self.may_publish(draft, place)? {
            return Ok(Outcome::Denied(Denial::NotMember));
        }
        let (is_full, content) = (self.is_inbox_full(draft)?, self.content(draft));
        let author = draft.from.owner.unwrap_or(OwnerNumber::NONE);
        let own = match &draft.to {
            Some(to) => Some(ConversationSide::of(self.db, author, to.owner)?),
            None => None,
        };
        let row = self.row(connection, draft, place, content.as_ref());
        let row = own.as_ref().map_or(row, |own| own.private(row));
        if is_full {
            return Ok(original(self.db, &row, draft)?.unwrap_or(Outcome::InboxFull));
        }
        let mut related = None;
        if let Some(about) = draft.about {
            if let Some(outcome) = original(self.db, &row, draft)? {
                return Ok(outcome);
            }
            if draft.to.is_some() {
                // Nothing is about a private message.
                return Ok(Outcome::NotHere);
            }
            match self.relate(connection, draft, about, self.rooms[place].1.id)? {
                Ok(found) => related = Some(found),
                Err(outcome) => return Ok(outcome),
            }
        }
        row.bind(insert, 0)?;
        if insert.raw_execute()? == 0 {
            return original(self.db, &row, draft)?.ok_or_else(|| damaged(&row));
        }
        if let (Some(about), Some(related)) = (draft.about, &mut related) {
            self.carry_out(draft, about, related)?;
        }
        let seq = self.record_stored(connection, draft, place, draft.id.as_ref(), related);
        let stored = Outcome::Stored(seq);
        if let Some(own) = own {
            own.note(self.db, seq, false)?;
        }
        let is_new = !draft.is_change();
        let mentioned = draft.mentions.iter().filter(|owner| **owner != author);
        for mentioned in mentioned.filter(|_| is_new) {
            place_rows::mention(self.db, *mentioned, &draft.room, seq)?;
        }
        if let Some(to) = &draft.to
            && to.inbox() != draft.room
            && !to.ignores
        {
            // Only the author's row has the id, which shows a repeat.
            let place = self.place(&to.inbox())?;
            let theirs = ConversationSide::of(self.db, to.owner, author)?;
            let row = self.row(connection, draft, place, None);
            theirs.private(row).bind(insert, 0)?;
            insert.raw_execute()?;
            let seq = self.record_stored(connection, draft, place, None, None);
            theirs.note(self.db, seq, true)?;
            if let Some(unread) = self.unread.get_mut(&to.owner) {
                unread.note(author);
            }
        }
        Ok(stored)
    }

    /// The digest of a draft's content, if it has an id.
    fn content(&self, draft: &Draft) -> Option<ContentDigest> {
        let has_id = draft.id.is_some();
        has_id.then(|| content::digest(&self.batch.random, draft))
    }

    /// Whether too many messages are unread in the inbox of an absent reader.
    fn is_inbox_full(&mut self, draft: &Draft) -> Result<bool, StoreError> {
        let Some((to, limit)) = draft.to.as_ref().and_then(|to| Some((to, to.unread?))) else {
            return Ok(false);
        };
        if to.ignores || to.inbox() == draft.room {
            return Ok(false);
        }
        let unread = match self.unread.entry(to.owner) {
            hash_map::Entry::Occupied(known) => known.into_mut(),
            hash_map::Entry::Vacant(new) => {
                // By the number: keys of names depend on the version of Unicode.
                let condition = "WHERE owner = ?1";
                let number = [owner_to_db(to.owner)];
                let delivered = find(self.db, &NAMES, condition, number, |row| {
                    Some(NameRow::read(row)?.delivered)
                })?;
                let delivered = delivered.flatten().unwrap_or(Seq::START);
                new.insert(unread::read(self.db, to.owner, delivered, limit.of_all)?)
            }
        };
        Ok(unread.is_full_for(draft.from.owner.unwrap_or(OwnerNumber::NONE), limit))
    }
}

/// The drafts of entries that are all messages.
fn drafts(entries: &[Entry]) -> impl Iterator<Item = (ConnectionId, &Draft)> {
    entries
        .iter()
        .filter_map(|entry| Some((entry.connection, entry.action.message()?)))
}

/// The statement that inserts several messages. Most batches do not need it.
///
/// # Errors
/// Fails if it cannot be prepared.
fn insert_some<'s, 'd>(
    db: &'d Connection,
    prepared: &'s mut Option<CachedStatement<'d>>,
) -> Result<&'s mut CachedStatement<'d>, StoreError> {
    match prepared {
        Some(prepared) => Ok(prepared),
        none => Ok(none.insert(db.prepare_cached(&INSERT_SOME)?)),
    }
}

/// The outcome of a draft whose id was stored before: a repeat if it has the
/// same content. A redacted message has no content: the id alone counts. `None`
/// if the id was not stored.
///
/// # Errors
/// Fails if the row is damaged: a receipt for a message that is not stored would
/// lose it.
fn original(
    db: &Connection,
    repeated: &MessageRow<'_>,
    draft: &Draft,
) -> Result<Option<Outcome>, StoreError> {
    let MessageRow {
        room, owner, id, ..
    } = repeated;
    let condition = "WHERE room = ?1 AND owner = ?2 AND id = ?3";
    let scope = params![room, owner_to_db(*owner), id];
    let found = find(db, &MESSAGES, condition, scope, |row| {
        let row = MessageRow::read(row)?;
        let is_of_scope = (row.room, row.owner, row.id) == (*room, *owner, *id);
        is_of_scope.then(|| match row.content {
            Some(stored) if !content::is_content(stored, draft) => Outcome::IdTaken,
            _ => Outcome::Repeat(row.seq),
        })
    })?;
    found
        .map(|outcome| outcome.ok_or_else(|| damaged(repeated)))
        .transpose()
}

fn damaged(repeated: &MessageRow<'_>) -> StoreError {
    let id = repeated.id.unwrap_or_default();
    StoreError::damaged(format!(
        "the message with the id {id:?}, or the index of ids,"
    ))
}

#[cfg(test)]
mod tests;
