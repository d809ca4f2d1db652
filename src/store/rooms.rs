//! Lists the rooms, the last spoken in first.

use rusqlite::{Connection, Params, params};
use tracing::error;

use super::{
    StoreError,
    reader::Store,
    room::RoomState,
    row::{TableRow, find, query, to_db},
    tables::{MESSAGES, MessageRow, ROOMS, RoomRow, TOPICS, TopicRow},
};
use crate::protocol::{
    LastMessage, MAX_LISTED_ROOMS, OwnerNumber, RoomInfo, Seq, WallTime, name::RoomName, text::Text,
};

/// The public rooms that lists show; the index `rooms_listed` has them.
const PUBLIC: &str = "private = 0 AND name NOT GLOB '[@_]*' AND said > ?1";

/// A page of the list of rooms.
#[derive(Debug, PartialEq, Eq)]
pub struct ListedRooms {
    /// The rooms. Their members are not counted.
    pub rooms: Vec<RoomInfo>,
    /// The number of all rooms.
    pub total: usize,
    /// Whether there are rooms after these.
    pub more: bool,
}

impl Store {
    /// The rooms after one of them: first those with messages, the last spoken
    /// in first, then the others of the `present` ones. `owner` is told of its
    /// private rooms, too.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub async fn listed_rooms(
        &self,
        present: Vec<RoomName>,
        owner: Option<OwnerNumber>,
        after: Option<RoomName>,
    ) -> Result<ListedRooms, StoreError> {
        let expired = self.expired();
        self.on_reader(move |database| {
            let list = RoomList {
                db: database.db(),
                expired,
            };
            list.page(present, owner, after.as_ref())
        })
        .await
    }
}

struct RoomList<'db> {
    db: &'db Connection,
    /// Every message up to this number has expired.
    expired: Seq,
}

impl RoomList<'_> {
    fn page(
        &self,
        present: Vec<RoomName>,
        owner: Option<OwnerNumber>,
        after: Option<&RoomName>,
    ) -> Result<ListedRooms, StoreError> {
        let before = match after {
            None => Some(Seq(i64::MAX.cast_unsigned())),
            Some(room) => self.last(room)?,
        };
        let most = MAX_LISTED_ROOMS + 1;
        let expired = to_db(self.expired);
        let own = match owner {
            Some(owner) => self.rooms(
                "WHERE name IN (SELECT room FROM memberships WHERE owner = ?1) \
                 AND private = 1 AND name NOT GLOB '_*' AND said > ?2",
                params![owner.0.cast_signed(), expired],
            )?,
            None => Vec::new(),
        };
        let count = format!("SELECT count(*) FROM rooms WHERE {PUBLIC}");
        let public: i64 = self
            .db
            .prepare_cached(&count)?
            .query_row([expired], |row| row.get(0))?;
        let mut total = own.len() + usize::try_from(public).unwrap_or_default();

        let mut spoken = Vec::new();
        if let Some(before) = before {
            let page = format!("WHERE {PUBLIC} AND said < ?2 ORDER BY said DESC LIMIT ?3");
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            spoken = self.rooms(&page, params![expired, to_db(before), most])?;
            spoken.extend(own.into_iter().filter(|(_, last)| *last < before));
            spoken.sort_unstable_by_key(|(_, last)| std::cmp::Reverse(*last));
        }
        // A room with a last message stands before all of those without one.
        // If people have left the room that the page begins after, all quiet ones
        // come again: none is left out.
        let is_here = |room: &RoomName| present.contains(room);
        let mut is_after = before.is_some() || !after.is_some_and(is_here);
        let mut quiet = Vec::new();
        for room in present {
            if self.last(&room)?.is_none() {
                total += 1;
                if is_after {
                    quiet.push(room);
                } else {
                    is_after = after == Some(&room);
                }
            }
        }
        let spoken = spoken.into_iter().map(|(room, last)| (room, Some(last)));
        let mut all: Vec<_> = spoken
            .chain(quiet.into_iter().map(|room| (room, None)))
            .collect();
        let more = all.len() > MAX_LISTED_ROOMS;
        all.truncate(MAX_LISTED_ROOMS);
        let rooms: Result<_, _> = all
            .into_iter()
            .map(|(room, last)| self.info(room, last))
            .collect();
        Ok(ListedRooms {
            rooms: rooms?,
            total,
            more,
        })
    }

    /// The last number of a room that has messages.
    fn last(&self, room: &RoomName) -> Result<Option<Seq>, StoreError> {
        let room = RoomState::find(self.db, room)?;
        Ok(room
            .map(|room| room.said)
            .filter(|last| *last > self.expired))
    }

    /// The rooms under a condition, each with its last number. A damaged row is
    /// left out.
    fn rooms(
        &self,
        condition: &str,
        params: impl Params,
    ) -> Result<Vec<(RoomName, Seq)>, StoreError> {
        let mut query = query(self.db, &ROOMS, condition)?;
        let mut rows = query.query(params)?;
        let mut rooms = Vec::new();
        while let Some(row) = rows.next()? {
            let room = RoomRow::read(row).and_then(|row| Some((row.name.parse().ok()?, row.said)));
            if let Some(room) = room {
                rooms.push(room);
            } else {
                error!("the row of a room is damaged, and not listed");
            }
        }
        Ok(rooms)
    }

    fn info(&self, room: RoomName, last: Option<Seq>) -> Result<RoomInfo, StoreError> {
        let last = match last {
            Some(seq) => {
                let at = find(self.db, &MESSAGES, "WHERE seq = ?1", [to_db(seq)], |row| {
                    MessageRow::read(row).map(|row| WallTime(row.at))
                })?;
                let at = at.flatten();
                Some(LastMessage { seq, at })
            }
            None => None,
        };
        let of_room = "WHERE room = ?1";
        let topic = find(self.db, &TOPICS, of_room, [room.as_str()], |row| {
            TopicRow::read(row).map(|row| Text::stored(row.text))
        })?;
        Ok(RoomInfo {
            room,
            members: 0,
            last,
            topic: topic.flatten(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fanout::Applier,
        log::{Action, Draft},
        protocol::ConnectionId,
        store::{Storage, open, schema},
    };

    fn names(listed: &ListedRooms) -> Vec<&str> {
        listed.rooms.iter().map(|info| info.room.as_str()).collect()
    }

    #[tokio::test]
    async fn rooms_are_listed_by_their_last_message() {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = Storage::Folder(folder.path().to_owned());
        let (replica, store) = open(&storage, "a test").expect("a store");
        let mut log = Applier::local(replica).expect("a log");
        for room in ["b", "a", "_unlisted", "c", "a"] {
            log.apply_messages(ConnectionId(7), [Draft::of(room, "text")])
                .expect("stored");
        }
        log.apply_action(Action::Topic {
            room: "c".parse().expect("a room"),
            text: "tea".to_owned().into(),
            by: "ana".into(),
        })
        .expect("applied");
        let present = ["z", "c", "y"].map(|room| room.parse().expect("a room"));
        let page = async |after: Option<&str>| {
            let after = after.map(|room| room.parse().expect("a room"));
            let listed = store.listed_rooms(present.to_vec(), None, after).await;
            listed.expect("readable")
        };
        let all = page(None).await;
        assert_eq!(names(&all), ["a", "c", "b", "z", "y"]);
        assert_eq!((all.total, all.more), (5, false));
        let last = all.rooms[0].last.expect("a message");
        assert!(last.seq == Seq(5) && last.at.is_some());
        assert_eq!(all.rooms[1].topic.as_deref(), Some("tea"));
        assert_eq!(all.rooms[3].last, None);
        for (after, rooms) in [
            ("a", &["c", "b", "z", "y"][..]),
            ("b", &["z", "y"]),
            ("z", &["y"]),
            ("y", &[]),
        ] {
            let page = page(Some(after)).await;
            assert_eq!((names(&page), page.total), (rooms.to_vec(), 5), "{after}");
        }
    }

    #[tokio::test]
    async fn a_list_has_at_most_two_hundred_rooms() {
        let (replica, store) = open(&Storage::Memory, "a test").expect("a store");
        let mut log = Applier::local(replica).expect("a log");
        let drafts = (1..=250).map(|n| Draft::of(&format!("r{n}"), "text"));
        log.apply_messages(ConnectionId(7), drafts).expect("stored");
        let first = store.listed_rooms(Vec::new(), None, None).await;
        let first = first.expect("readable");
        assert_eq!(
            (first.rooms.len(), first.total, first.more),
            (200, 250, true)
        );
        let after = first.rooms.last().map(|info| info.room.clone());
        let rest = store.listed_rooms(Vec::new(), None, after).await;
        let rest = rest.expect("readable");
        assert_eq!((rest.rooms.len(), rest.more), (50, false));
        assert_eq!(rest.rooms[49].room.as_str(), "r1");
    }

    /// Any client may ask for the list.
    #[test]
    fn the_list_reads_no_more_rooms_than_it_shows() {
        let folder = tempfile::tempdir().expect("a folder");
        let db = schema::open(&folder.path().join("chat.sqlite")).expect("a database");
        let page =
            format!("EXPLAIN QUERY PLAN SELECT * FROM rooms WHERE {PUBLIC} ORDER BY last DESC");
        let plan: String = db.query_row(&page, [0], |row| row.get(3)).expect("a plan");
        assert!(plan.contains("USING INDEX rooms_listed"), "{plan}");
    }
}
