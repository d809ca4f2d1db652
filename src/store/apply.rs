//! Applies a batch: the only way in which durable state changes.
//!
//! Applying is total and deterministic: the same state and the same entries
//! give the same state and outcomes, on any machine, in any year. It reads no
//! clock, no random source and no environment.

mod about;
mod access;
mod content;
mod hooks;
mod ignored;
mod invitations;
mod messages;
mod names;
mod place_rows;
mod places;
mod relation;
mod removal;
mod rooms;
mod sanctions;
mod stored;
mod topics;

use std::{collections::HashMap, mem};

use rusqlite::Connection;

use self::messages::MessageWriter;
use super::{
    AccessChange, Outcome, StoreError,
    index::RemovedWords,
    parents,
    room::RoomState,
    row::{TableRow, find},
    state::ReplicaState,
    tables::{AUDIT, AuditRow},
};
use crate::{
    log::{Action, AuditRecord, Entry, OrderedBatch, Stamp},
    protocol::{ConnectionId, Epoch, Slot, name::RoomName},
};

/// The changes that applying a batch made.
#[derive(Debug, Default)]
pub struct Applied {
    /// The outcome of each entry, in order; empty if the batch was a repeat.
    pub outcomes: Vec<Outcome>,
    /// The messages and changes stored, in the order of their numbers.
    pub messages: Vec<Slot>,
    /// The changes of access, in order.
    pub access_changes: Vec<AccessChange>,
    /// The rooms of the batch, as they are after it.
    pub(super) rooms: Vec<(RoomName, RoomState)>,
    /// The rooms whose rows were removed.
    pub(super) swept: Vec<RoomName>,
    /// The words that must leave the index before the commit.
    pub(super) removed_words: RemovedWords,
    /// Whether the write-ahead log may still hold redacted or expired words.
    pub(super) removed: bool,
}

/// A batch that is being applied, within one transaction.
pub(super) struct Applying<'a> {
    db: &'a Connection,
    stamp: Stamp,
    state: &'a mut ReplicaState,
    /// The random bytes of the batch.
    random: [u8; 16],
    numbering: MessageWriter<'a>,
    access_changes: Vec<AccessChange>,
    /// Whether messages expired.
    expired: bool,
}

/// Applies a batch to a database whose transaction is open.
///
/// `known` holds rooms whose rows need not be read.
///
/// # Errors
/// Fails if the database cannot be read or written, or contradicts itself.
pub(super) fn apply(
    db: &Connection,
    state: &mut ReplicaState,
    known: &HashMap<RoomName, RoomState>,
    ordered: &OrderedBatch,
) -> Result<Applied, StoreError> {
    let before = state.head;
    let batch = &ordered.sealed.batch;
    let mut applied = Applied::default();
    if batch.id > state.last_batch {
        state.clock = state.clock.max(batch.stamp.guarded);
        let mut applying = Applying {
            db,
            stamp: batch.stamp,
            numbering: MessageWriter::after(before, db, known, batch, state.edit_window_ms),
            state,
            random: batch.random,
            access_changes: Vec::new(),
            expired: false,
        };
        applied.outcomes = applying.entries(&batch.entries)?;
        applied.removed_words = mem::take(&mut applying.numbering.removed_words);
        applied.removed = applying.expired || !applied.removed_words.is_empty();
        let Applying {
            numbering,
            access_changes,
            ..
        } = applying;
        applied.access_changes = access_changes;
        (applied.rooms, applied.messages) = numbering.finish()?;
        // Until here, the rows of the batch's rooms are in use.
        for entry in &batch.entries {
            if let Action::ExpireRoom { room } = &entry.action
                && rooms::expire(db, state, room)?
            {
                applied.swept.push(room.clone());
                let room = room.clone();
                applied.access_changes.push(AccessChange::Opened { room });
            }
        }
    }
    state.advance(ordered);
    state.write(db)?;
    Ok(applied)
}

impl Applying<'_> {
    fn entries(&mut self, entries: &[Entry]) -> Result<Vec<Outcome>, StoreError> {
        let mut outcomes = Vec::with_capacity(entries.len());
        // Consecutive messages share insert statements.
        let together = |one: &Entry, other: &Entry| {
            one.action.message().is_some() && other.action.message().is_some()
        };
        for group in entries.chunk_by(together) {
            match &group[0].action {
                Action::Message(_) => {
                    self.numbering.store(group, &mut outcomes)?;
                    self.state.head = self.numbering.head();
                }
                action => outcomes.push(self.action(group[0].connection, action)?),
            }
        }
        Ok(outcomes)
    }

    fn action(&mut self, connection: ConnectionId, action: &Action) -> Result<Outcome, StoreError> {
        match action {
            // `entries` stores the messages, and `apply` removes rooms at the end
            // of the batch.
            Action::Message(_) | Action::ExpireRoom { .. } => Ok(Outcome::Done),
            Action::Begin { epoch } => self.begin(epoch),
            Action::Settings {
                name_expiry_ms,
                edit_window_ms,
            } => {
                self.state.name_expiry_ms = *name_expiry_ms;
                self.state.edit_window_ms = *edit_window_ms;
                self.numbering.edit_window_ms = *edit_window_ms;
                Ok(Outcome::Done)
            }
            Action::Claim {
                name,
                key,
                salt,
                tag,
            } => self.claim(name, key, salt, tag),
            Action::Use { key } => self.note_use(key),
            Action::Delivered { key, owner, upto } => self.note_delivered(key, *owner, *upto),
            Action::Topic { room, text, by } => self.set_topic(room, text, by),
            Action::Sanction {
                kind,
                target,
                duration_ms,
                audit,
            } => self.sanction(*kind, target, *duration_ms, audit),
            Action::Lift {
                kind,
                target,
                audit,
            } => self.lift(*kind, target, audit),
            Action::Redact { room, seq, by } => self.redact(room, *seq, by),
            Action::Retract { room, seq, owner } => self.retract(room, *seq, connection, *owner),
            Action::Kick(audit) => {
                self.record(audit)?;
                Ok(Outcome::Done)
            }
            Action::Expire { upto } => self.expire(*upto),
            Action::Ignore {
                owner,
                name,
                key,
                ignored,
            } => self.ignore(*owner, name, key, *ignored),
            Action::ExpireName { key } => self.expire_name(key),
            Action::SetAccess {
                room,
                private,
                by,
                name,
                operator,
            } => {
                if *private {
                    self.make_private(room, *by, name, *operator)
                } else {
                    self.make_public(room, *by)
                }
            }
            Action::RemoveMember { room, member, by } => self.remove_member(room, *member, *by),
            Action::AddRoomOwner { room, member, by } => self.add_room_owner(room, *member, *by),
            Action::Invite(draft) => self.invite(draft),
            Action::Uninvite { id, by, operator } => self.uninvite(*id, *by, *operator),
            Action::Admit {
                token,
                name,
                key,
                whom,
            } => self.admit(token, name, key, whom),
            Action::SetOperator { key, operator } => self.set_operator(key, *operator),
            Action::Release { key, audit } => self.release(key, audit),
            Action::AddHook(draft) => self.add_hook(draft),
            Action::RemoveHook {
                room,
                key,
                by,
                operator,
            } => self.remove_hook(room, key, *by, *operator),
            Action::Follow { owner, room, level } => self.follow(*owner, room, *level),
            Action::Unfollow { owner, room } => self.unfollow(*owner, room),
            Action::Read { owner, room, upto } => self.read(*owner, room, *upto),
        }
    }

    /// Begins another log, which continues the one before it, if there is one.
    fn begin(&mut self, epoch: &Epoch) -> Result<Outcome, StoreError> {
        let before = std::mem::replace(&mut self.state.epoch, epoch.clone());
        self.state.guests = self.random;
        if !before.0.is_empty() {
            parents::add(self.db, self.state.applied, &before, self.state.head)?;
        }
        Ok(Outcome::Done)
    }

    /// Adds an audit record of what an operator did.
    fn record(&mut self, audit: &AuditRecord) -> Result<(), StoreError> {
        let last = find(self.db, &AUDIT, "ORDER BY id DESC LIMIT 1", [], |row| {
            row.get::<_, i64>(0)
        })?;
        let row = AuditRow {
            id: last.transpose()?.unwrap_or(0) + 1,
            at: self.stamp.wall.0,
            operator: &audit.operator,
            action: &audit.act,
            target: &audit.target,
            reason: &audit.reason,
        };
        row.put(self.db)
    }
}

#[cfg(test)]
mod tests;
