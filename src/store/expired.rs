//! Finds the rows that nobody needs any more. Entries of the log remove them.

use rusqlite::{Connection, Row};

use super::{
    StoreError,
    reader::Store,
    room::RoomState,
    row::{Table, TableRow, query},
    state::ReplicaState,
    tables::{NAMES, NameRow, ROOMS, RoomRow, TOPICS, TopicRow},
};
use crate::{
    log::GuardedTime,
    protocol::name::{Name, NameKey, RoomName},
};

/// How many rows one page looks at. Other readers wait for it.
const PAGE_ROWS: u32 = 500;

/// The expired rows among some rows of a table.
#[derive(Debug)]
pub struct ExpiredPage<T> {
    /// The contents of the expired rows.
    pub expired: Vec<T>,
    /// The key after which the next page begins; `None` at the end of the table.
    pub next: Option<String>,
}

/// A name whose row is no longer needed, unless its owner is connected.
#[derive(Debug)]
pub struct ExpiredName {
    /// The comparison key of the row.
    pub key: NameKey,
    /// The comparison key of the claimed name. A row that only reserves a look
    /// of this name has another one.
    pub claimed: NameKey,
}

impl Store {
    /// The names that expired long ago, among some names after a key.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub async fn expired_names(
        &self,
        after: String,
        now: GuardedTime,
    ) -> Result<ExpiredPage<ExpiredName>, StoreError> {
        self.on_reader(move |database| names(database.db(), &after, now))
            .await
    }

    /// The rooms without messages, among some rooms after a name.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub async fn empty_rooms(&self, after: String) -> Result<ExpiredPage<RoomName>, StoreError> {
        self.on_reader(move |database| rooms(database.db(), &after))
            .await
    }

    /// The rooms without messages whose topic is old, among some topics after a
    /// room.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub async fn expired_topics(
        &self,
        after: String,
        now: GuardedTime,
    ) -> Result<ExpiredPage<RoomName>, StoreError> {
        self.on_reader(move |database| topics(database.db(), &after, now))
            .await
    }
}

fn names(
    db: &Connection,
    after: &str,
    now: GuardedTime,
) -> Result<ExpiredPage<ExpiredName>, StoreError> {
    let state = state_at(db, now)?;
    page(db, &NAMES, "key", after, |row| {
        // A damaged name stays taken.
        let row = NameRow::read(row).filter(|row| state.is_name_over(row));
        Ok(row.and_then(|row| {
            let claimed = Name::stored(row.name).ok()?.key();
            let key = NameKey::stored(row.key).ok()?;
            Some(ExpiredName { key, claimed })
        }))
    })
}

fn rooms(db: &Connection, after: &str) -> Result<ExpiredPage<RoomName>, StoreError> {
    let state = ReplicaState::load(db)?;
    page(db, &ROOMS, "name", after, |row| {
        let Some(row) = RoomRow::read(row) else {
            return Ok(None);
        };
        let Ok(name) = RoomName::stored(row.name) else {
            return Ok(None);
        };
        let is_over = RoomState::of(row).is_over(db, &name, &state)?;
        Ok(is_over.then_some(name))
    })
}

fn topics(
    db: &Connection,
    after: &str,
    now: GuardedTime,
) -> Result<ExpiredPage<RoomName>, StoreError> {
    let state = state_at(db, now)?;
    page(db, &TOPICS, "room", after, |row| {
        let row = TopicRow::read(row).filter(|row| state.is_topic_over(row));
        let Some(Ok(name)) = row.map(|row| RoomName::stored(row.room)) else {
            return Ok(None);
        };
        let has_row = RoomState::find(db, &name)?.is_some();
        Ok((!has_row).then_some(name))
    })
}

/// The state, with the log's clock as it would be after an entry sealed now.
fn state_at(db: &Connection, now: GuardedTime) -> Result<ReplicaState, StoreError> {
    let mut state = ReplicaState::load(db)?;
    state.clock = state.clock.max(now);
    Ok(state)
}

/// Looks at the rows of a table after a key.
fn page<T>(
    db: &Connection,
    table: &Table,
    key: &str,
    after: &str,
    mut expired: impl FnMut(&Row<'_>) -> Result<Option<T>, StoreError>,
) -> Result<ExpiredPage<T>, StoreError> {
    let condition = format!("WHERE {key} > ?1 ORDER BY {key} LIMIT ?2");
    let mut rows = query(db, table, &condition)?;
    let mut rows = rows.query((after, PAGE_ROWS))?;
    let mut page = ExpiredPage {
        expired: Vec::new(),
        next: None,
    };
    let (mut count, mut last) = (0, None);
    while let Some(row) = rows.next()? {
        count += 1;
        last = row.get(key).ok().or(last);
        page.expired.extend(expired(row)?);
    }
    if count == PAGE_ROWS {
        page.next = last;
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};
    use crate::{
        log::{Action, Draft, Entry, Recipient},
        protocol::{OwnerNumber, Seq, WallTime},
        store::database::Database,
    };

    const DAY: i64 = 24 * 60 * 60 * 1000;

    fn name(name: &str) -> Name {
        name.parse().expect("a name")
    }

    fn apply(database: &mut Database, days: i64, actions: impl IntoIterator<Item = Action>) {
        let entries = actions.into_iter().map(Entry::of_server).collect();
        database.apply_next(WallTime(days * DAY), entries);
    }

    fn claim(owner: &str) -> Action {
        Action::Claim {
            name: name(owner),
            key: name(owner).key(),
            salt: [1; 16],
            tag: [1; 32],
        }
    }

    fn rows(database: &Database, table: &str) -> i64 {
        let count = format!("SELECT count(*) FROM {table}");
        let db = database.db();
        db.query_row(&count, [], |row| row.get(0)).expect("a count")
    }

    // Verified to fail when the entry removes any row of its key, and when the
    // list of ignored names stays.
    #[test]
    fn a_name_leaves_two_days_after_its_ownership_ended() {
        let mut database = Database::in_memory().expect("a store");
        let ignore = Action::Ignore {
            owner: OwnerNumber(1),
            name: name("bob"),
            key: name("bob").key(),
            ignored: true,
        };
        let name_expiry_ms = DAY.unsigned_abs() * 10;
        let settings = Action::Settings {
            name_expiry_ms,
            edit_window_ms: 0,
        };
        apply(&mut database, 1, [settings, claim("ana"), ignore]);
        let expire = || Action::ExpireName {
            key: name("ana").key(),
        };
        let key = || name("ana").key();
        // A use is noted with delay: the row waits for it.
        apply(&mut database, 12, [expire(), Action::Use { key: key() }]);
        apply(&mut database, 23, [expire()]);
        assert_eq!(
            (rows(&database, "names"), rows(&database, "ignored")),
            (1, 1)
        );
        apply(&mut database, 24, [expire()]);
        assert_eq!(
            (rows(&database, "names"), rows(&database, "ignored")),
            (0, 0)
        );
        // The next owner is another one.
        apply(&mut database, 24, [claim("ana"), expire()]);
        assert_eq!(rows(&database, "names"), 1);
        assert_eq!(database.state().owners, OwnerNumber(2));
    }

    // Verified to fail when a topic goes with its room at once, when it goes
    // although the room has a row, and when it stays.
    #[test]
    fn the_old_topic_of_an_empty_room_leaves() {
        let mut database = Database::in_memory().expect("a store");
        let tea: RoomName = "tea".parse().expect("a room");
        let topic = Action::Topic {
            room: tea.clone(),
            text: "tea".to_owned().into(),
            by: "ana".into(),
        };
        let name_expiry_ms = DAY.unsigned_abs() * 10;
        let settings = Action::Settings {
            name_expiry_ms,
            edit_window_ms: 0,
        };
        let message = Action::Message(Draft::of("tea", "text"));
        apply(&mut database, 1, [settings, topic, message]);
        let expire = || Action::ExpireRoom { room: tea.clone() };
        let found = |database: &Database, days| {
            let now = GuardedTime(days * DAY);
            let topics = super::topics(database.db(), "", now).expect("readable");
            let rooms = super::rooms(database.db(), "").expect("readable");
            (rooms.expired.len(), topics.expired.len())
        };
        let kept = |database: &Database| (rows(database, "rooms"), rows(database, "topics"));
        apply(&mut database, 12, [expire()]);
        assert_eq!((found(&database, 12), kept(&database)), ((0, 0), (1, 1)));
        let upto = Seq(1);
        apply(&mut database, 1, [Action::Expire { upto }]);
        assert_eq!(found(&database, 12), (1, 0));
        apply(&mut database, 12, [expire()]);
        assert_eq!((found(&database, 12), kept(&database)), ((0, 0), (0, 0)));
        // A new topic waits, although its room never had a message.
        let topic = Action::Topic {
            room: tea.clone(),
            text: "tea".to_owned().into(),
            by: "ana".into(),
        };
        apply(&mut database, 12, [topic, expire()]);
        assert_eq!((found(&database, 21), kept(&database)), ((0, 0), (0, 1)));
        assert_eq!(found(&database, 22), (0, 1));
        apply(&mut database, 22, [expire()]);
        assert_eq!(kept(&database), (0, 0));
    }

    // Verified to fail when an inbox with an owner is removed, and when one
    // without stays.
    #[test]
    fn an_inbox_leaves_after_its_owner() {
        let mut database = Database::in_memory().expect("a store");
        let inbox = RoomName::inbox(OwnerNumber(1));
        let expire = || Action::ExpireRoom {
            room: inbox.clone(),
        };
        let to_self = Draft {
            to: Some(Recipient {
                name: name("ana"),
                owner: OwnerNumber(1),
                ignores: false,
                unread: None,
            }),
            ..Draft::of("tea", "text")
        };
        let to_self = Draft {
            room: inbox.clone(),
            ..to_self
        };
        let settings = Action::Settings {
            name_expiry_ms: 0,
            edit_window_ms: 0,
        };
        let upto = Seq(1);
        apply(&mut database, 1, [settings, claim("ana")]);
        apply(&mut database, 1, [Action::Message(to_self)]);
        apply(&mut database, 2, [Action::Expire { upto }, expire()]);
        assert_eq!((rows(&database, "rooms"), rows(&database, "names")), (1, 1));
        let key = name("ana").key();
        apply(&mut database, 4, [Action::ExpireName { key }, expire()]);
        assert_eq!((rows(&database, "rooms"), rows(&database, "names")), (0, 0));
        assert_eq!(database.state().swept, Seq::START);
        check::start(database.db()).expect("a sound store");
    }

    #[test]
    fn expired_names_are_found_a_page_at_a_time() {
        let mut database = Database::in_memory().expect("a store");
        let settings = Action::Settings {
            name_expiry_ms: 0,
            edit_window_ms: 0,
        };
        let claims = (0..1001).map(|n| claim(&format!("g{n:04}")));
        apply(&mut database, 1, [settings]);
        apply(&mut database, 1, claims);
        apply(
            &mut database,
            2,
            [Action::Use {
                key: name("g0700").key(),
            }],
        );
        let mut after = Some(String::new());
        let mut found = Vec::new();
        while let Some(from) = after {
            let now = GuardedTime(3 * DAY);
            let page = super::names(database.db(), &from, now).expect("readable");
            found.push(page.expired.len());
            after = page.next;
        }
        assert_eq!(found, [500, 499, 1]);
    }
}
