//! Finds the rows that nobody needs any more. Entries of the log remove them.

use rusqlite::Connection;

use super::{
    StoreError,
    reader::Store,
    row::{TableRow, query},
    state::ReplicaState,
    tables::{NAMES, NameRow},
};
use crate::{
    log::GuardedTime,
    protocol::name::{Name, NameKey},
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
        self.on_reader(move |database| expired_names(database.db(), &after, now))
            .await
    }
}

fn expired_names(
    db: &Connection,
    after: &str,
    now: GuardedTime,
) -> Result<ExpiredPage<ExpiredName>, StoreError> {
    let mut state = ReplicaState::load(db)?;
    state.clock = state.clock.max(now);
    let mut rows = query(db, &NAMES, "WHERE key > ?1 ORDER BY key LIMIT ?2")?;
    let mut rows = rows.query((after, PAGE_ROWS))?;
    let (mut expired, mut next, mut count) = (Vec::new(), None, 0);
    while let Some(row) = rows.next()? {
        count += 1;
        // A damaged name stays taken.
        let Some(row) = NameRow::read(row) else {
            continue;
        };
        next = Some(row.key.to_owned());
        if let (true, Ok(key), Ok(name)) = (
            state.is_name_over(&row),
            NameKey::stored(row.key),
            Name::stored(row.name),
        ) {
            expired.push(ExpiredName {
                key,
                claimed: name.key(),
            });
        }
    }
    Ok(ExpiredPage {
        expired,
        next: next.filter(|_| count == PAGE_ROWS),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        log::{Action, Entry},
        protocol::{OwnerNumber, WallTime},
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
        let settings = Action::Settings { name_expiry_ms };
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

    // Verified to fail when a page ends the table, and when it looks at one row
    // more.
    #[test]
    fn expired_names_are_found_a_page_at_a_time() {
        let mut database = Database::in_memory().expect("a store");
        let settings = Action::Settings { name_expiry_ms: 0 };
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
            let page = expired_names(database.db(), &from, now).expect("readable");
            found.push(page.expired.len());
            after = page.next;
        }
        assert_eq!(found, [500, 499, 1]);
    }
}
