//! Reads pages of a room and checks them: each row by its checksum, their
//! sequence by `prev`.
//!
//! A page is read by the SQL index of rooms and numbers. A damaged row shows by
//! its checksum. A missing one shows by the `prev` of the next, or by the
//! room's last number. Then the messages are looked up one by one by number,
//! which needs no index. Messages that cannot be read are a [`Hole`].

mod backlog;
mod by_number;

use std::collections::BTreeSet;

use rusqlite::{Connection, Rows};
use tracing::error;

use self::by_number::{complete_slot, lookup};
pub(super) use self::{backlog::backlog_start, by_number::messages_by_number};
use super::{
    StoreError,
    related::RelatedRows,
    room::RoomState,
    row::{TableRow, query, to_db},
    state::ReplicaState,
    store_error,
    tables::{MESSAGES, MessageRow},
};
use crate::protocol::{GapReason, Seq, Slot, name::RoomName};

/// A page of one room, as it is stored.
#[derive(Debug, Default)]
pub struct StoredPage {
    /// The missing messages before the slots.
    pub hole: Option<Hole>,
    /// Messages and redactions, in order. Empty at the end of the room, or if
    /// no message up to `upto` can be read.
    pub slots: Vec<Slot>,
    /// Every message of the room up to this number is in the page or before it.
    pub upto: Seq,
}

/// A part of a room that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// The last number in it.
    pub upto: Seq,
    /// Why it cannot be read.
    pub reason: GapReason,
}

/// A page ends at this many messages, or bytes of text: readers wait for one
/// another, and a page takes about a millisecond to read.
const PAGE_MESSAGES: usize = 1000;
const PAGE_BYTES: usize = 64 << 10;

/// How many numbers one page looks up one by one, which takes about 20 ms.
const LOOKED_UP: u64 = 10_000;

/// How many damaged messages are reported, once each.
const MAX_REPORTED: usize = 1000;

/// The slots that a page has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slots {
    /// All of them.
    All,
    /// All but changes. However many changes there are, none is read.
    Messages,
}

/// A page of the messages of a room after `after`, up to `head`.
///
/// # Errors
/// Fails if the database cannot be read; damaged messages become a hole.
pub(super) fn page(
    db: &Connection,
    name: &RoomName,
    (after, head): (Seq, Seq),
    wanted: Slots,
    reported: &mut BTreeSet<Seq>,
) -> Result<StoredPage, StoreError> {
    // One view: no entry is applied between one query and the next.
    let view = db.unchecked_transaction()?;
    let Some(room) = RoomState::find(&view, name)? else {
        let swept = swept(&view, name)?.min(head);
        return Ok(StoredPage {
            hole: (after < swept).then_some(Hole {
                upto: swept,
                reason: GapReason::Expired,
            }),
            slots: Vec::new(),
            upto: head,
        });
    };
    let reading = PageReader {
        view: &view,
        name,
        room,
        after,
        head,
        wanted,
    };
    match reading.by_index() {
        Ok(Some(page)) => Ok(page),
        Ok(None) => reading.by_number(reported),
        Err(why) if why.is_damage() => reading.by_number(reported),
        Err(why) => Err(why),
    }
}

/// The number up to which a room may have lost messages with an earlier row. An
/// inbox with a reader has not: its row stays.
fn swept(view: &Connection, name: &RoomName) -> Result<Seq, StoreError> {
    if name.is_inbox() {
        return Ok(Seq::START);
    }
    Ok(ReplicaState::load(view)?.swept)
}

struct PageReader<'a> {
    view: &'a Connection,
    name: &'a RoomName,
    room: RoomState,
    after: Seq,
    head: Seq,
    wanted: Slots,
}

impl PageReader<'_> {
    /// The page as read by the index; `None` if the index or the first message
    /// is damaged.
    fn by_index(&self) -> Result<Option<StoredPage>, StoreError> {
        // Messages and changes each have their index, in the same order.
        let last = match self.wanted {
            Slots::All => self.room.last,
            Slots::Messages => self.room.said,
        };
        let changes = format!(
            "UNION ALL {} WHERE room = ?1 AND kind >= 2 AND seq > ?2 AND seq <= ?3",
            MESSAGES.select
        );
        let changes = match self.wanted {
            Slots::All => &*changes,
            Slots::Messages => "",
        };
        let condition = format!(
            "WHERE room = ?1 AND kind < 2 AND seq > ?2 AND seq <= ?3 {changes} ORDER BY seq"
        );
        let mut rows = query(self.view, &MESSAGES, &condition)?;
        let mut related = RelatedRows::new(self.view);
        let mut rows = rows.query([self.room.id, to_db(self.after), to_db(last)])?;
        let mut slots: Vec<Slot> = Vec::new();
        let mut bytes = 0;
        let mut reached = self.after;
        let mut hole = None;
        let upto = loop {
            if bytes >= PAGE_BYTES || slots.len() == PAGE_MESSAGES {
                break Some(reached);
            }
            let slot = match self.next(&mut rows, slots.last(), &mut related)? {
                Next::End => break (reached >= last).then_some(self.head),
                Next::Damaged => break None,
                Next::Slot(slot) => slot,
            };
            if slot.seq() <= reached {
                // The index is damaged: its numbers do not rise.
                break None;
            }
            let prev = self.prev(&slot)?;
            let follows = if slots.is_empty() {
                prev <= reached
            } else {
                prev == reached
            };
            if !follows && !self.is_left_out(prev)? {
                if !slots.is_empty() || prev > self.expired()? {
                    break None;
                }
                hole = Some(Hole {
                    upto: prev,
                    reason: GapReason::Expired,
                });
            }
            if slot.seq() > self.head {
                // Its `prev` shows that no message before it is missing.
                break Some(self.head);
            }
            reached = slot.seq();
            bytes += slot.text_bytes();
            slots.push(slot);
        };
        let upto = match upto {
            Some(upto) => upto,
            // The damage comes after these slots: the next page finds it.
            None if !slots.is_empty() => reached,
            None if reached < last && last <= self.expired()? => {
                hole = Some(Hole {
                    upto: last,
                    reason: GapReason::Expired,
                });
                self.head
            }
            None => return Ok(None),
        };
        Ok(Some(StoredPage { hole, slots, upto }))
    }

    fn next(
        &self,
        rows: &mut Rows<'_>,
        before: Option<&Slot>,
        related: &mut RelatedRows<'_>,
    ) -> Result<Next, StoreError> {
        Ok(match rows.next() {
            Ok(None) => Next::End,
            Ok(Some(row)) => {
                let row = MessageRow::read(row).filter(|row| row.room == self.room.id);
                let slot = row.and_then(|row| Some((row, row.slot(self.name, before)?)));
                let Some((row, mut slot)) = slot else {
                    return Ok(Next::Damaged);
                };
                related.complete(&row, &mut slot)?;
                Next::Slot(slot)
            }
            Err(error) if store_error::is_damage(&error) => Next::Damaged,
            Err(error) => return Err(error.into()),
        })
    }

    /// A page with the next message that can be read, or one without a message.
    fn by_number(&self, reported: &mut BTreeSet<Seq>) -> Result<StoredPage, StoreError> {
        let expired = self.expired()?;
        let first = self.after.max(expired).next();
        let last = Seq(self.head.0.min(first.0.saturating_add(LOOKED_UP)));
        let mut damaged = false;
        let (mut reached, mut hole) = (self.after, None);
        for seq in (first.0..=last.0).map(Seq) {
            match lookup(self.view, seq, |row| {
                (row.room == self.room.id).then(|| complete_slot(self.view, row, self.name))
            })? {
                // A message of another room.
                Some(None) => {}
                Some(Some(Ok(Some(slot)))) => {
                    let prev = self.prev(&slot)?;
                    if prev > reached {
                        hole = Some(Hole {
                            upto: prev,
                            reason: if prev <= expired {
                                GapReason::Expired
                            } else {
                                GapReason::Damaged
                            },
                        });
                    }
                    if self.wanted == Slots::Messages && matches!(slot, Slot::Changed(_)) {
                        reached = seq;
                        continue;
                    }
                    return Ok(StoredPage {
                        hole,
                        slots: vec![slot],
                        upto: seq,
                    });
                }
                Some(Some(Err(why))) => return Err(why),
                Some(Some(Ok(None))) | None => {
                    damaged = true;
                    if reported.len() < MAX_REPORTED && reported.insert(seq) {
                        error!("the message {seq} is damaged: its readers are told of a gap");
                    }
                }
            }
        }
        // The room of a damaged message is unknown: it may be this one.
        let reason = match (damaged, self.after < expired) {
            (true, _) => Some(GapReason::Damaged),
            (false, true) => Some(GapReason::Expired),
            (false, false) => None,
        };
        let upto = last.max(self.after);
        Ok(StoredPage {
            hole: reason.map(|reason| Hole { upto, reason }),
            slots: Vec::new(),
            upto,
        })
    }

    /// The number before a slot in its room. Before the first slot of a room's
    /// row, it is the last one that an earlier row may have had.
    fn prev(&self, slot: &Slot) -> Result<Seq, StoreError> {
        match slot.prev() {
            Seq::START => swept(self.view, self.name),
            prev => Ok(prev),
        }
    }

    /// Whether a number is that of a change, and the page has no changes.
    fn is_left_out(&self, seq: Seq) -> Result<bool, StoreError> {
        if self.wanted == Slots::All {
            return Ok(false);
        }
        let is_change = lookup(self.view, seq, |row| {
            row.room == self.room.id && row.is_change()
        });
        Ok(is_change? == Some(true))
    }

    fn expired(&self) -> Result<Seq, StoreError> {
        Ok(ReplicaState::load(self.view)?.expired)
    }
}

#[expect(clippy::large_enum_variant, reason = "it is taken apart at once")]
enum Next {
    End,
    Damaged,
    Slot(Slot),
}
