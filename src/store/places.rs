//! Reads places: their unread messages, and the pages of conversations.
//!
//! Each count is the difference of two dense numbers, so it costs a fixed number
//! of look-ups.

#[cfg(test)]
use std::sync::atomic::Ordering;

use rusqlite::{Connection, OptionalExtension, Params, params};

use super::{
    StoreError, names,
    reader::Store,
    room::RoomState,
    row::{TableRow, find, owner_to_db, query, to_db},
    tables::{MESSAGES, MessageRow, PLACES, PlaceRow},
};
use crate::protocol::{
    Activity, FollowLevel, Followed, MAX_HISTORY_PAGE_BYTES, Message, OwnerNumber, Place, Seq,
    Slot, name::RoomName,
};

/// The most private conversations that one answer lists: the last ones.
const MAX_CONVERSATIONS: u32 = 200;

/// How many messages a room had before its first one after a number.
const FIRST_AFTER: &str =
    "SELECT earlier FROM messages WHERE room = ?1 AND kind < 2 AND seq > ?2 ORDER BY seq LIMIT 1";

/// The same for the messages that an owner received in a conversation.
const FIRST_WITH_AFTER: &str = "SELECT earlier FROM messages \
     WHERE room = ?1 AND partner = ?2 AND seq > ?3 ORDER BY seq LIMIT 1";

/// How many mentions an owner had in a room before the first one after a number.
const FIRST_MENTION_AFTER: &str = "SELECT earlier FROM mentions \
     WHERE owner = ?1 AND room = ?2 AND seq > ?3 ORDER BY seq LIMIT 1";

/// A reader whose unread messages are counted.
#[derive(Clone, Copy, Debug)]
pub enum PlaceReader {
    /// The owner of a name, from its read position on, or from this number if
    /// it is higher.
    Owner(OwnerNumber, Seq),
    /// A connection without an owned name, from this number on.
    After(Seq),
}

impl Store {
    /// The places of an owner: the rooms by their names, then the last
    /// conversations. `unstored` holds read positions that are not stored yet.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub async fn places(
        &self,
        owner: OwnerNumber,
        unstored: Vec<(RoomName, Seq)>,
    ) -> Result<Vec<Followed>, StoreError> {
        #[cfg(test)]
        self.shared.reads_of_places.fetch_add(1, Ordering::Relaxed);
        self.on_reader(move |database| places(database.db(), owner, &unstored))
            .await
    }

    /// A room that an owner follows; `None` if it does not. The owner has read
    /// it at least up to `unstored`.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub async fn place(
        &self,
        owner: OwnerNumber,
        room: RoomName,
        unstored: Seq,
    ) -> Result<Option<Followed>, StoreError> {
        self.on_reader(move |database| {
            let db = database.db();
            let state = RoomState::find(db, &room)?;
            find_place(db, owner, &room, |row| followed(db, row, state, unstored))
        })
        .await
    }

    /// The unread messages in a place, for each of these readers: `None` for a
    /// reader that does not have the place.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub async fn activity(
        &self,
        room: RoomName,
        readers: Vec<PlaceReader>,
    ) -> Result<Vec<Option<(Activity, FollowLevel)>>, StoreError> {
        self.on_reader(move |database| {
            let db = database.db();
            let state = RoomState::find(db, &room)?;
            let of = |reader: PlaceReader| match reader {
                PlaceReader::Owner(owner, unstored) => {
                    let found = find_place(db, owner, &room, |row| {
                        let state = state.filter(|_| !room.is_inbox());
                        followed(db, row, state, unstored)
                    })?;
                    Ok(found.map(|followed| (followed.activity(), followed.level)))
                }
                PlaceReader::After(read) => {
                    let (last, unread) = unread_in_room(db, state, read)?;
                    let activity = Activity {
                        place: Place::Room(room.clone()),
                        last,
                        unread,
                        mentions: 0,
                    };
                    Ok(Some((activity, FollowLevel::All)))
                }
            };
            readers.into_iter().map(of).collect()
        })
        .await
    }

    /// A page of the conversation of an owner with another one: the last
    /// messages before a number, oldest first, and whether there are more.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub async fn conversation(
        &self,
        owner: OwnerNumber,
        partner: OwnerNumber,
        before: Option<Seq>,
        limit: u32,
    ) -> Result<(Vec<Message>, bool), StoreError> {
        let before = before.unwrap_or(Seq(i64::MAX.cast_unsigned()));
        let read = self
            .on_reader(move |database| conversation(database.db(), owner, partner, before, limit));
        let (mut messages, more) = read.await?;
        self.conceal(messages.iter_mut().flat_map(Message::authors_mut));
        Ok((messages, more))
    }
}

fn places(
    db: &Connection,
    owner: OwnerNumber,
    unstored: &[(RoomName, Seq)],
) -> Result<Vec<Followed>, StoreError> {
    let mut all = Vec::new();
    for condition in [
        "WHERE owner = ?1 AND room NOT GLOB '@*' AND ?2 ORDER BY room",
        "WHERE owner = ?1 AND room GLOB '@*' ORDER BY last DESC LIMIT ?2",
    ] {
        let mut found = query(db, &PLACES, condition)?;
        let mut rows = found.query(params![owner_to_db(owner), MAX_CONVERSATIONS])?;
        while let Some(row) = rows.next()? {
            let Some(row) = PlaceRow::read(row) else {
                continue;
            };
            let Ok(room) = RoomName::stored(row.room) else {
                continue;
            };
            let read = unstored.iter().find(|(place, _)| *place == room);
            let read = read.map_or(Seq::START, |(_, read)| *read);
            let state = if room.is_inbox() {
                None
            } else {
                RoomState::find(db, &room)?
            };
            all.extend(followed(db, &row, state, read)?);
        }
    }
    Ok(all)
}

fn find_place<T>(
    db: &Connection,
    owner: OwnerNumber,
    room: &RoomName,
    read: impl FnOnce(&PlaceRow<'_>) -> Result<Option<T>, StoreError>,
) -> Result<Option<T>, StoreError> {
    let key = (owner_to_db(owner), room.as_str());
    let found = find(db, &PLACES, "WHERE owner = ?1 AND room = ?2", key, |row| {
        PlaceRow::read(row).map(|row| read(&row))
    })?;
    Ok(found.flatten().transpose()?.flatten())
}

/// The place of a row, with the unread messages after its read position or a
/// higher number. `None` for a conversation whose other person has no name any more.
fn followed(
    db: &Connection,
    row: &PlaceRow<'_>,
    room: Option<RoomState>,
    unstored: Seq,
) -> Result<Option<Followed>, StoreError> {
    let read = row.read.max(unstored);
    let Ok(name) = RoomName::stored(row.room) else {
        return Ok(None);
    };
    let (place, last, unread) = if let Some(partner) = name.inbox_owner() {
        let Some(with) = names::of_owner(db, partner)? else {
            return Ok(None);
        };
        let unread = match RoomState::find(db, &RoomName::inbox(row.owner))? {
            Some(inbox) => {
                let key = params![inbox.id, owner_to_db(partner), to_db(read)];
                after(db, FIRST_WITH_AFTER, key, row.messages)?
            }
            None => 0,
        };
        (Place::With(with), row.last, unread)
    } else {
        let (last, unread) = unread_in_room(db, room, read)?;
        (Place::Room(name), last, unread)
    };
    let key = params![owner_to_db(row.owner), row.room, to_db(read)];
    Ok(Some(Followed {
        place,
        read,
        last,
        unread,
        mentions: after(db, FIRST_MENTION_AFTER, key, row.mentions)?,
        level: FollowLevel::from_stored(row.level),
    }))
}

/// The last number of a room, and how many messages it has after a number.
fn unread_in_room(
    db: &Connection,
    room: Option<RoomState>,
    read: Seq,
) -> Result<(Seq, u64), StoreError> {
    let Some(room) = room else {
        return Ok((Seq::START, 0));
    };
    let key = params![room.id, to_db(read)];
    let unread = after(db, FIRST_AFTER, key, room.messages)?;
    Ok((room.said, unread))
}

/// How many of `all` come after the first one that a query finds; 0 if it finds
/// none.
fn after(db: &Connection, first: &str, key: impl Params, all: i64) -> Result<u64, StoreError> {
    let mut first = db.prepare_cached(first)?;
    let earlier: Option<i64> = first.query_row(key, |row| row.get(0)).optional()?;
    let unread = earlier.map_or(0, |earlier| all.saturating_sub(earlier));
    Ok(u64::try_from(unread).unwrap_or(0))
}

fn conversation(
    db: &Connection,
    owner: OwnerNumber,
    partner: OwnerNumber,
    before: Seq,
    limit: u32,
) -> Result<(Vec<Message>, bool), StoreError> {
    let inbox = RoomName::inbox(owner);
    let Some(room) = RoomState::find(db, &inbox)? else {
        return Ok((Vec::new(), false));
    };
    let mut found = query(
        db,
        &MESSAGES,
        "WHERE room = ?1 AND partner = ?2 AND seq < ?3 ORDER BY seq DESC LIMIT ?4",
    )?;
    let key = params![
        room.id,
        owner_to_db(partner),
        to_db(before),
        limit.saturating_add(1)
    ];
    let mut rows = found.query(key)?;
    let (mut messages, mut bytes, mut more) = (Vec::new(), 0, false);
    while let Some(row) = rows.next()? {
        let slot = MessageRow::read(row).and_then(|row| row.slot(&inbox, None));
        // A damaged message is not shown.
        let Some(Slot::Message(message)) = slot else {
            continue;
        };
        bytes += message.text.len();
        if messages.len() == limit as usize
            || bytes > MAX_HISTORY_PAGE_BYTES && !messages.is_empty()
        {
            more = true;
            break;
        }
        messages.push(message);
    }
    messages.reverse();
    Ok((messages, more))
}

#[cfg(test)]
impl Store {
    /// How often all places of an owner were read.
    pub(crate) fn reads_of_places(&self) -> usize {
        self.shared.reads_of_places.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
