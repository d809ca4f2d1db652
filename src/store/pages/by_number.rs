//! Reads messages by their numbers, which needs no index.

use rusqlite::Connection;

use crate::{
    protocol::{MAX_HISTORY_PAGE_BYTES, Message, Seq, Slot, name::RoomName},
    store::{
        StoreError,
        related::RelatedRows,
        room::RoomState,
        row::{TableRow, query, to_db},
        store_error,
        tables::{MESSAGES, MessageRow},
    },
};

/// Reads the row of a message by its number; `None` if it is missing or
/// damaged.
pub(super) fn lookup<T>(
    view: &Connection,
    seq: Seq,
    read: impl FnOnce(&MessageRow<'_>) -> T,
) -> Result<Option<T>, StoreError> {
    let mut rows = query(view, &MESSAGES, "WHERE seq = ?1")?;
    let mut rows = rows.query([to_db(seq)])?;
    match rows.next() {
        Ok(Some(row)) => Ok(MessageRow::read(row)
            .filter(|row| row.seq == seq)
            .as_ref()
            .map(read)),
        Ok(None) => Ok(None),
        Err(error) if store_error::is_damage(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The slot of a row, with what other rows say of it; `None` if a field is
/// invalid.
///
/// # Errors
/// Fails if the database cannot be read.
pub(super) fn complete_slot(
    view: &Connection,
    row: &MessageRow<'_>,
    room: &RoomName,
) -> Result<Option<Slot>, StoreError> {
    let Some(mut slot) = row.slot(room, None) else {
        return Ok(None);
    };
    RelatedRows::new(view).complete(row, &mut slot)?;
    Ok(Some(slot))
}

/// The messages of a room with these numbers, oldest first, and whether some
/// were left out for their size or count.
///
/// `seqs` starts with the newest number. At most `limit` messages and
/// `MAX_HISTORY_PAGE_BYTES` of text are returned, but at least one message if
/// `limit` is not 0. Redacted and unreadable messages are skipped.
///
/// # Errors
/// Fails if the database cannot be read.
pub(in crate::store) fn messages_by_number(
    db: &Connection,
    name: &RoomName,
    seqs: &[Seq],
    limit: usize,
) -> Result<(Vec<Message>, bool), StoreError> {
    let view = db.unchecked_transaction()?;
    let Some(room) = RoomState::find(&view, name)? else {
        return Ok((Vec::new(), false));
    };
    let mut messages = Vec::new();
    let mut bytes = 0;
    let mut more = false;
    for seq in seqs {
        let found = lookup(&view, *seq, |row| {
            let here = (row.room == room.id).then_some(row)?;
            Some(complete_slot(&view, here, name))
        })?;
        let found = found.flatten().transpose()?.flatten();
        let Some(slot @ Slot::Message(_)) = found else {
            continue;
        };
        bytes += slot.text_bytes();
        more = messages.len() == limit || bytes > MAX_HISTORY_PAGE_BYTES && !messages.is_empty();
        if more {
            break;
        }
        if let Slot::Message(message) = slot {
            messages.push(message);
        }
    }
    messages.reverse();
    Ok((messages, more))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{Hole, Slots, page};
    use crate::{
        log::Draft,
        protocol::{About, AboutKind, GapReason, Seq, Slot, WallTime, name::RoomName},
        store::database::Database,
    };

    // Verified to fail when a damaged row brings changes into a page of messages.
    #[test]
    fn a_page_of_messages_around_damage_has_no_change() {
        let mut database = Database::in_memory().expect("a store");
        let react = |text: &str| {
            let mut draft = Draft::of("lobby", text);
            draft.from.name = "ana".parse().ok();
            draft.about = Some(About {
                seq: Seq(1),
                kind: AboutKind::React,
            });
            draft.entry()
        };
        let said = || Draft::of("lobby", "text").entry();
        // The messages are 1, 2, 4 and 7.
        let entries = vec![
            said(),
            said(),
            react("a"),
            said(),
            react("b"),
            react("c"),
            said(),
        ];
        database.apply_next(WallTime(1), entries);
        let damage = "UPDATE messages SET sum = sum + 1 WHERE seq = 2";
        database.db().execute(damage, []).expect("damaged");
        let room = RoomName::lobby();
        let mut after = Seq::START;
        let (mut shown, mut holes) = (Vec::new(), Vec::new());
        while after < Seq(7) {
            let span = (after, Seq(7));
            let reported = &mut BTreeSet::new();
            let found = page(database.db(), &room, span, Slots::Messages, reported);
            let found = found.expect("readable");
            let is_message = |slot: &Slot| slot.message().is_some();
            assert!(found.slots.iter().all(is_message), "{found:?}");
            shown.extend(found.slots.iter().map(Slot::seq));
            holes.extend(found.hole);
            after = found.upto;
        }
        assert_eq!(shown, [1, 4, 7].map(Seq));
        let hole = Hole {
            upto: Seq(2),
            reason: GapReason::Damaged,
        };
        assert_eq!(holes, [hole]);
    }
}
