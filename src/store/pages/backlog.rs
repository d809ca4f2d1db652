//! Finds where the last messages of a room begin.

use rusqlite::{Connection, OptionalExtension};

use super::by_number::lookup;
use crate::{
    protocol::{Seq, name::RoomName},
    store::{
        StoreError,
        room::RoomState,
        row::{from_db, to_db},
        state::ReplicaState,
    },
};

/// The position after which the last `count` messages of a room up to `head`
/// follow, without counting changes; if there are fewer, all of them.
///
/// # Errors
/// Fails if the database cannot be read.
pub(in crate::store) fn backlog_start(
    db: &Connection,
    name: &RoomName,
    count: u32,
    head: Seq,
) -> Result<Seq, StoreError> {
    let view = db.unchecked_transaction()?;
    let Some(room) = RoomState::find(&view, name)? else {
        return Ok(head);
    };
    let expired = ReplicaState::load(&view)?.expired;
    if room.said <= expired || head <= expired {
        return Ok(head);
    }
    match oldest_by_index(&view, room, expired, count, head) {
        Ok(Some(oldest)) => return Ok(before(oldest)),
        Ok(None) => {}
        Err(why) if why.is_damage() => {}
        Err(why) => return Err(why),
    }
    // The index is damaged: this follows `prev` from the last message on.
    let mut position = head;
    let mut seq = room.last;
    let mut counted = 0;
    while seq > expired && counted < count {
        if seq <= head {
            position = before(seq);
            counted += 1;
        }
        match lookup(&view, seq, |row| (row.prev, row.is_change()))? {
            Some((prev, is_change)) => {
                counted -= u32::from(is_change && seq <= head);
                seq = prev;
            }
            // The messages before it are unknown; a reader is told of a gap.
            None => break,
        }
    }
    Ok(position)
}

/// The oldest of the last `count` messages up to `head`, or the number after
/// `head` if there is no message. `None` if the index contradicts itself or the
/// room's row.
fn oldest_by_index(
    view: &Connection,
    room: RoomState,
    expired: Seq,
    count: u32,
    head: Seq,
) -> Result<Option<Seq>, StoreError> {
    let mut query = view.prepare_cached(
        "SELECT seq FROM messages WHERE room = ?1 AND kind < 2 AND seq <= ?2 \
         ORDER BY seq DESC LIMIT ?3",
    )?;
    let mut rows = query.query([room.id, to_db(head), count.into()])?;
    let mut oldest: Option<Seq> = None;
    let mut counted = 0;
    while let Some(row) = rows.next()? {
        let seq = from_db(row.get(0)?);
        let in_order = match oldest {
            Some(oldest) => seq < oldest,
            None => seq == room.said || room.said > head,
        };
        if !in_order {
            return Ok(None);
        }
        oldest = Some(seq);
        counted += 1;
    }
    let Some(seq) = oldest else {
        // The room begins after `head`, if its first message confirms it.
        let mut next = view.prepare_cached(
            "SELECT seq FROM messages WHERE room = ?1 AND kind < 2 AND seq > ?2 ORDER BY seq LIMIT 1",
        )?;
        let first = next
            .query_row([room.id, to_db(head)], |row| row.get(0).map(from_db))
            .optional()?;
        let sound = match first {
            Some(seq) => begins(view, room, seq, expired)?,
            None => false,
        };
        return Ok(sound.then_some(head.next()));
    };
    // If there are fewer, the first has no message before it.
    let sound = if counted == count {
        lookup(view, seq, |row| row.room == room.id)? == Some(true)
    } else {
        begins(view, room, seq, expired)?
    };
    Ok(sound.then_some(seq))
}

/// Whether a room has no message before one of its messages. It may have changes
/// of messages that have expired.
fn begins(view: &Connection, room: RoomState, seq: Seq, expired: Seq) -> Result<bool, StoreError> {
    let prev = lookup(view, seq, |row| (row.room == room.id).then_some(row.prev))?;
    Ok(match prev.flatten() {
        None => false,
        Some(prev) if prev <= expired => true,
        Some(prev) => lookup(view, prev, |row| !row.is_change())? == Some(false),
    })
}

fn before(seq: Seq) -> Seq {
    Seq(seq.0.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fanout::Applier,
        log::Draft,
        protocol::{About, AboutKind, ConnectionId, Slot},
        store::{Storage, open, schema},
    };

    /// Any client may ask for a page, so it must not read every change.
    /// Verified to fail when the page has changes.
    #[test]
    fn a_page_of_messages_reads_no_change() {
        let (replica, store) = open(&Storage::Memory, "a test").expect("a store");
        let mut log = Applier::local(replica).expect("a log");
        let react = |number: usize| {
            let mut draft = Draft::of("a", format!("{}", number % 3));
            draft.from.name = format!("n{number}").parse().ok();
            let (seq, kind) = (Seq(1), AboutKind::React);
            draft.about = (0 < number && number < 900).then_some(About { seq, kind });
            draft
        };
        log.apply_messages(ConnectionId(7), (0..901).map(react))
            .expect("stored");
        let room: RoomName = "a".parse().expect("a room");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let page = runtime.block_on(store.messages(&room, Seq::START, store.head()));
        let page = page.expect("readable");
        let seqs: Vec<_> = page.slots.iter().map(|slot| slot.seq().0).collect();
        assert_eq!((seqs, page.upto, page.hole), (vec![1, 901], Seq(901), None));
        let Slot::Message(first) = &page.slots[0] else {
            panic!("a message");
        };
        let reactions = first.reactions.as_deref().expect("some");
        let counts: Vec<_> = reactions
            .iter()
            .map(|one| (one.count, one.names.len()))
            .collect();
        assert_eq!(counts, [(300, 20), (300, 20), (299, 20)]);
        let start = runtime.block_on(store.backlog_start(&room, 2, store.head()));
        assert_eq!(start.expect("readable"), Seq::START);
    }

    /// Any client may ask for this, so it must not read the whole room.
    #[test]
    fn the_index_tells_where_a_room_begins() {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = Storage::Folder(folder.path().to_owned());
        let (replica, _) = open(&storage, "a test").expect("a store");
        let mut log = Applier::local(replica).expect("a log");
        for room in ["a", "a", "b", "a", "b"] {
            log.apply_messages(ConnectionId(7), [Draft::of(room, "text")])
                .expect("stored");
        }
        let db = schema::connect_reader(&folder.path().join("chat.sqlite")).expect("a log");
        for (room, upto, oldest) in [
            ("b", 2, 3),
            ("b", 1, 2),
            ("b", 3, 3),
            ("b", 5, 3),
            ("a", 1, 1),
        ] {
            let name: RoomName = room.parse().expect("a room");
            let row = RoomState::find(&db, &name).expect("a log").expect("a room");
            let found = oldest_by_index(&db, row, Seq::START, 50, Seq(upto));
            assert_eq!(
                found.expect("readable"),
                Some(Seq(oldest)),
                "{room} up to {upto}"
            );
        }
        let name: RoomName = "b".parse().expect("a room");
        let position = backlog_start(&db, &name, 50, Seq(2)).expect("readable");
        assert_eq!(position, Seq(2));
    }
}
