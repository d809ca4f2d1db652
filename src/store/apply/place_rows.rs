//! The rows of places: the state of one place, and the sides of private
//! conversations.

use rusqlite::Connection;

use crate::{
    protocol::{FollowLevel, OwnerNumber, Seq, name::RoomName},
    store::{
        StoreError,
        row::{TableRow, find, owner_to_db, query, to_db},
        tables::{MENTIONS, MentionRow, MessageRow, PLACES, PlaceRow},
    },
};

/// A row of the table of places, without its key.
#[derive(Clone, Copy)]
pub(super) struct PlaceState {
    pub(super) level: i64,
    pub(super) read: Seq,
    pub(super) last: Seq,
    pub(super) messages: i64,
    pub(super) mentions: i64,
}

impl PlaceState {
    /// A place where everything up to a number was read.
    pub(super) fn new(read: Seq) -> Self {
        PlaceState {
            level: FollowLevel::All.stored(),
            read,
            last: Seq::START,
            messages: 0,
            mentions: 0,
        }
    }

    /// The place of an owner; `None` if there is none, or its row is damaged.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub(super) fn find(
        db: &Connection,
        owner: OwnerNumber,
        room: &RoomName,
    ) -> Result<Option<Self>, StoreError> {
        let key = (owner_to_db(owner), room.as_str());
        let found = find(db, &PLACES, "WHERE owner = ?1 AND room = ?2", key, |row| {
            let row = PlaceRow::read(row)?;
            Some(PlaceState {
                level: row.level,
                read: row.read,
                last: row.last,
                messages: row.messages,
                mentions: row.mentions,
            })
        })?;
        Ok(found.flatten())
    }

    /// Writes the row of the place.
    ///
    /// # Errors
    /// Fails if the database cannot be written.
    pub(super) fn put(
        &self,
        db: &Connection,
        owner: OwnerNumber,
        room: &RoomName,
    ) -> Result<(), StoreError> {
        PlaceRow {
            owner,
            room: room.as_str(),
            level: self.level,
            read: self.read,
            last: self.last,
            messages: self.messages,
            mentions: self.mentions,
        }
        .put(db)
    }
}

/// The side of a private conversation that its owner sees.
pub(super) struct ConversationSide {
    owner: OwnerNumber,
    partner: OwnerNumber,
    state: PlaceState,
}

impl ConversationSide {
    /// The conversation of an owner with another one.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub(super) fn of(
        db: &Connection,
        owner: OwnerNumber,
        partner: OwnerNumber,
    ) -> Result<Self, StoreError> {
        let found = PlaceState::find(db, owner, &RoomName::inbox(partner))?;
        Ok(ConversationSide {
            owner,
            partner,
            state: found.unwrap_or_else(|| PlaceState::new(Seq::START)),
        })
    }

    /// The row of the next message of the conversation.
    pub(super) fn private<'a>(&self, row: MessageRow<'a>) -> MessageRow<'a> {
        MessageRow {
            earlier: self.state.messages,
            partner: Some(self.partner),
            ..row
        }
    }

    /// Notes that its next message is stored.
    ///
    /// # Errors
    /// Fails if the database cannot be written.
    pub(super) fn note(
        mut self,
        db: &Connection,
        seq: Seq,
        is_received: bool,
    ) -> Result<(), StoreError> {
        self.state.last = seq;
        self.state.messages += i64::from(is_received);
        self.state
            .put(db, self.owner, &RoomName::inbox(self.partner))
    }
}

/// Notes that a message mentions an owner, if the owner is told of mentions in
/// its room.
///
/// # Errors
/// Fails if the database cannot be read or written.
pub(super) fn mention(
    db: &Connection,
    owner: OwnerNumber,
    room: &RoomName,
    seq: Seq,
) -> Result<(), StoreError> {
    let Some(mut state) = PlaceState::find(db, owner, room)? else {
        return Ok(());
    };
    if FollowLevel::from_stored(state.level) == FollowLevel::None {
        return Ok(());
    }
    MentionRow {
        owner,
        room: room.as_str(),
        seq,
        earlier: state.mentions,
    }
    .put(db)?;
    state.mentions += 1;
    state.put(db, owner, room)
}

/// The most later mentions of an owner that are counted anew.
const COUNTED_ANEW: i64 = 100;

/// Forgets the mentions by a message that is redacted: they count no more. A
/// mention before very many others that its owner has not read still counts.
///
/// # Errors
/// Fails if the database cannot be read or written.
pub(super) fn forget_mentions(db: &Connection, seq: Seq) -> Result<(), StoreError> {
    for (owner, room) in mentioned(db, seq)? {
        let Ok(room) = RoomName::stored(&room) else {
            continue;
        };
        let later = later_mentions(db, owner, &room, seq)?;
        let Some(mut state) = PlaceState::find(db, owner, &room)? else {
            continue;
        };
        let Some(later) = later else { continue };
        let key = (owner_to_db(owner), room.as_str(), to_db(seq));
        db.prepare_cached("DELETE FROM mentions WHERE owner = ?1 AND room = ?2 AND seq = ?3")?
            .execute(key)?;
        for (seq, earlier) in later {
            MentionRow {
                owner,
                room: room.as_str(),
                seq,
                earlier: earlier - 1,
            }
            .put(db)?;
        }
        state.mentions -= 1;
        state.put(db, owner, &room)?;
    }
    Ok(())
}

/// The owners and rooms of the mentions by a message.
fn mentioned(db: &Connection, seq: Seq) -> Result<Vec<(OwnerNumber, String)>, StoreError> {
    let mut mentions = query(db, &MENTIONS, "WHERE seq = ?1")?;
    let mut rows = mentions.query([to_db(seq)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.extend(MentionRow::read(row).map(|row| (row.owner, row.room.to_owned())));
    }
    Ok(found)
}

/// The numbers of the mentions of an owner after one, each with the count
/// before it; `None` if there are very many, or one is damaged.
fn later_mentions(
    db: &Connection,
    owner: OwnerNumber,
    room: &RoomName,
    seq: Seq,
) -> Result<Option<Vec<(Seq, i64)>>, StoreError> {
    let condition = "WHERE owner = ?1 AND room = ?2 AND seq > ?3 ORDER BY seq LIMIT ?4";
    let mut mentions = query(db, &MENTIONS, condition)?;
    let key = (
        owner_to_db(owner),
        room.as_str(),
        to_db(seq),
        COUNTED_ANEW + 1,
    );
    let mut rows = mentions.query(key)?;
    let mut later = Vec::new();
    while let Some(row) = rows.next()? {
        let Some(row) = MentionRow::read(row) else {
            return Ok(None);
        };
        later.push((row.seq, row.earlier));
    }
    let is_few = i64::try_from(later.len()).is_ok_and(|count| count <= COUNTED_ANEW);
    Ok(is_few.then_some(later))
}
