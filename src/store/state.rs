//! Where the replica stands: the one row that every batch changes.

use ring::digest;
use rusqlite::Connection;

use super::{
    StoreError,
    row::{Stored, find},
    tables::{STATE, StateRow},
};
use crate::{
    log::{ClockTime, Ordered, Origin, Position},
    protocol::{Epoch, Seq},
};

/// What the row of the state says, and where the messages end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// The log's name; empty before its first entry.
    pub(super) epoch: Epoch,
    /// The place of the last batch applied.
    pub(super) applied: Position,
    /// The hash of everything applied: of the chain before, the place, the
    /// batch's bytes and the last number after it.
    pub(super) chain: [u8; 32],
    /// The log's clock: the highest of all batches.
    pub(super) clock: ClockTime,
    /// The last batch applied: one that is not later is a repeat.
    pub(super) origin: Origin,
    /// Every message up to this number has expired.
    pub(super) expired: Seq,
    /// After so many milliseconds without use an owned name is free.
    pub(super) name_expiry_ms: u64,
    /// The last number given. It stands in the messages, not in the row.
    pub(super) head: Seq,
}

impl State {
    /// Before the first batch.
    fn empty() -> Self {
        State {
            epoch: Epoch("".into()),
            applied: Position::START,
            chain: [0; 32],
            clock: ClockTime(0),
            origin: Origin::default(),
            expired: Seq::START,
            name_expiry_ms: u64::MAX,
            head: Seq::START,
        }
    }

    /// Writes the row of a new store.
    pub(super) fn create(db: &Connection) -> Result<(), StoreError> {
        State::empty().write(db)
    }

    /// # Errors
    /// Damage if the row does not fit its checksum.
    pub(super) fn load(db: &Connection) -> Result<Self, StoreError> {
        let read = |row: &rusqlite::Row<'_>| {
            let row = StateRow::read(row)?;
            Some(State {
                epoch: Epoch(row.epoch.into()),
                applied: Position(row.applied.0),
                chain: row.chain.try_into().ok()?,
                clock: ClockTime(row.clock),
                origin: Origin {
                    incarnation: row.incarnation.0,
                    number: row.number.0,
                },
                expired: row.expired,
                name_expiry_ms: row.name_expiry.cast_unsigned(),
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

    pub(super) fn write(&self, db: &Connection) -> Result<(), StoreError> {
        StateRow {
            one: 0,
            epoch: &self.epoch.0,
            applied: Seq(self.applied.0),
            chain: &self.chain,
            clock: self.clock.0,
            incarnation: Seq(self.origin.incarnation),
            number: Seq(self.origin.number),
            expired: self.expired,
            name_expiry: self.name_expiry_ms.cast_signed(),
        }
        .put(db)
    }

    /// Takes note that a batch was applied.
    pub(super) fn advance(&mut self, ordered: &Ordered) {
        self.applied = ordered.position;
        self.origin = self.origin.max(ordered.sealed.origin());
        let mut chain = digest::Context::new(&digest::SHA256);
        chain.update(&self.chain);
        chain.update(&self.applied.0.to_le_bytes());
        chain.update(&(ordered.sealed.bytes.len() as u64).to_le_bytes());
        chain.update(&ordered.sealed.bytes);
        chain.update(&self.head.0.to_le_bytes());
        self.chain.copy_from_slice(chain.finish().as_ref());
    }
}
