//! Where the replica stands: the one row that every batch changes.

use ring::digest;
use rusqlite::Connection;

use super::{
    StoreError,
    row::{TableRow, find},
    tables::{NameRow, STATE, StateRow, TopicRow},
};
use crate::{
    log::{BatchId, BatchPosition, GuardedTime, OrderedBatch},
    protocol::{Epoch, OwnerNumber, Seq},
};

/// The longest time without a note for a name in use, in milliseconds. The
/// server notes uses twice a day, and each name once a day.
const UNNOTED_MS: u64 = 2 * 24 * 60 * 60 * 1000;

/// The row of the state, and the last message number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReplicaState {
    /// The log's name; empty before its first entry.
    pub(super) epoch: Epoch,
    /// The position of the last batch applied.
    pub(super) applied: BatchPosition,
    /// The hash of everything applied: SHA-256 of the chain before, the
    /// position, the length of the batch, its bytes, and the last number after
    /// it.
    pub(super) chain: [u8; 32],
    /// The log's clock: the highest guarded time of any batch.
    pub(super) clock: GuardedTime,
    /// The origin of the last batch applied: a batch that is not later is a
    /// repeat.
    pub(super) last_batch: BatchId,
    /// Every message up to this number has expired.
    pub(super) expired: Seq,
    /// After this many milliseconds without use an owned name is free.
    pub(super) name_expiry_ms: u64,
    /// For so many milliseconds the author of a message may change it.
    pub(super) edit_window_ms: u64,
    /// The last owner number given.
    pub(super) owners: OwnerNumber,
    /// The highest last number of a room, not an inbox, whose row was removed.
    /// A room without a row, or with one made since, may lack messages up to it.
    pub(super) swept: Seq,
    /// The key by which addresses that were shown become tags of guests: the
    /// random bytes of the log's first batch.
    pub(super) guests: [u8; 16],
    /// The last number given. It comes from the messages, not from the row.
    pub(super) head: Seq,
}

impl ReplicaState {
    /// The state before the first batch.
    fn empty() -> Self {
        ReplicaState {
            epoch: Epoch("".into()),
            applied: BatchPosition::START,
            chain: [0; 32],
            clock: GuardedTime(0),
            last_batch: BatchId::default(),
            expired: Seq::START,
            name_expiry_ms: u64::MAX,
            edit_window_ms: 0,
            owners: OwnerNumber::NONE,
            swept: Seq::START,
            guests: [0; 16],
            head: Seq::START,
        }
    }

    /// Writes the row of a new store.
    ///
    /// # Errors
    /// Fails if the database cannot be written.
    pub(super) fn create(db: &Connection) -> Result<(), StoreError> {
        ReplicaState::empty().write(db)
    }

    /// Reads the row and the last message number.
    ///
    /// # Errors
    /// Fails if the row is damaged or the database cannot be read.
    pub(super) fn load(db: &Connection) -> Result<Self, StoreError> {
        let read = |row: &rusqlite::Row<'_>| {
            let row = StateRow::read(row)?;
            Some(ReplicaState {
                epoch: Epoch(row.epoch.into()),
                applied: BatchPosition(row.applied.0),
                chain: row.chain.try_into().ok()?,
                clock: GuardedTime(row.clock),
                last_batch: BatchId {
                    incarnation: row.incarnation.0,
                    number: row.number.0,
                },
                expired: row.expired,
                name_expiry_ms: row.name_expiry.cast_unsigned(),
                edit_window_ms: row.edit_window.cast_unsigned(),
                owners: row.owners,
                swept: row.swept,
                guests: row.guests.try_into().ok()?,
                head: Seq::START,
            })
        };
        let state = find(db, &STATE, "", [], read)?.flatten();
        let mut state = state.ok_or_else(|| StoreError::damaged("the state of the store"))?;
        let stored: i64 = db
            .prepare_cached("SELECT ifnull(max(seq), 0) FROM messages")?
            .query_row([], |row| row.get(0))?;
        state.head = super::row::from_db(stored).max(state.expired);
        Ok(state)
    }

    /// Writes the row.
    ///
    /// # Errors
    /// Fails if the database cannot be written.
    pub(super) fn write(&self, db: &Connection) -> Result<(), StoreError> {
        StateRow {
            one: 0,
            epoch: &self.epoch.0,
            applied: Seq(self.applied.0),
            chain: &self.chain,
            clock: self.clock.0,
            incarnation: Seq(self.last_batch.incarnation),
            number: Seq(self.last_batch.number),
            expired: self.expired,
            name_expiry: self.name_expiry_ms.cast_signed(),
            edit_window: self.edit_window_ms.cast_signed(),
            owners: self.owners,
            swept: self.swept,
            guests: &self.guests,
        }
        .put(db)
    }

    /// Whether the row of a name is no longer needed: its ownership ended, and a
    /// use that is not noted yet would be noted by now.
    pub(super) fn is_name_over(&self, row: &NameRow<'_>) -> bool {
        let unused = self.clock.since(GuardedTime(row.used));
        unused >= self.name_expiry_ms.saturating_add(UNNOTED_MS)
    }

    /// Whether the topic of a room without messages is no longer needed: it was
    /// set longer ago than the name expiry.
    pub(super) fn is_topic_over(&self, row: &TopicRow<'_>) -> bool {
        self.clock.since(GuardedTime(row.at)) >= self.name_expiry_ms
    }

    /// Records that a batch was applied.
    pub(super) fn advance(&mut self, ordered: &OrderedBatch) {
        self.applied = ordered.position;
        self.last_batch = self.last_batch.max(ordered.sealed.id());
        let mut chain = digest::Context::new(&digest::SHA256);
        chain.update(&self.chain);
        chain.update(&self.applied.0.to_le_bytes());
        chain.update(&(ordered.sealed.bytes.len() as u64).to_le_bytes());
        chain.update(&ordered.sealed.bytes);
        chain.update(&self.head.0.to_le_bytes());
        self.chain.copy_from_slice(chain.finish().as_ref());
    }
}
