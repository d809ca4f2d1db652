use std::collections::BTreeMap;

use super::*;
use crate::{
    log::{Action, Draft, Entry},
    protocol::WallTime,
    store::database::Database,
};

const ANA: OwnerNumber = OwnerNumber(1);

fn apply(database: &mut Database, actions: impl IntoIterator<Item = Action>) {
    let entries = actions.into_iter().map(Entry::of_server).collect();
    database.apply_next(WallTime(1), entries);
}

fn follow(room: &str) -> Action {
    Action::Follow {
        owner: ANA,
        room: room.parse().expect("a room"),
        level: None,
    }
}

fn said(room: &str, mentions: Vec<OwnerNumber>) -> Action {
    Action::Message(Draft {
        mentions,
        ..Draft::of(room, "text")
    })
}

/// The unread messages and mentions, by room.
fn unread(database: &Database, unstored: &[(RoomName, Seq)]) -> BTreeMap<String, (u64, u64)> {
    let found = places(database.db(), ANA, unstored).expect("readable");
    let pair = |it: &Followed| (it.place.to_string(), (it.unread, it.mentions));
    found.iter().map(pair).collect()
}

#[test]
fn unread_counts_messages_after_the_read_position() {
    let mut database = Database::in_memory().expect("a store");
    let tea: RoomName = "tea".parse().expect("a room");
    apply(&mut database, [follow("tea"), follow("ops")]);
    let one = || [said("tea", vec![ANA]), said("ops", Vec::new())];
    apply(&mut database, (0..4).flat_map(|_| one()));
    let counts = |tea, ops| BTreeMap::from([("tea".to_owned(), tea), ("ops".to_owned(), ops)]);
    assert_eq!(unread(&database, &[]), counts((4, 4), (4, 0)));
    let unstored = [(tea.clone(), Seq(3))];
    assert_eq!(unread(&database, &unstored), counts((2, 2), (4, 0)));
    let read = Action::Read {
        owner: ANA,
        room: tea.clone(),
        upto: Seq(5),
    };
    apply(&mut database, [read]);
    assert_eq!(unread(&database, &[]), counts((1, 1), (4, 0)));
    // A redacted message still counts; an expired one does not.
    let redact = Action::Redact {
        room: "ops".parse().expect("a room"),
        seq: Seq(8),
        by: "op".into(),
    };
    apply(&mut database, [redact]);
    assert_eq!(unread(&database, &[])["ops"], (4, 0));
    apply(&mut database, [Action::Expire { upto: Seq(4) }]);
    assert_eq!(unread(&database, &[]), counts((1, 1), (2, 0)));
    apply(&mut database, [Action::Expire { upto: Seq(8) }]);
    assert_eq!(unread(&database, &[]), counts((0, 0), (0, 0)));
}

// A count must not cost more in a room with more messages.
#[test]
fn counting_uses_an_index_and_reads_one_row() {
    let database = Database::in_memory().expect("a store");
    for (query, index) in [
        (FIRST_AFTER, "INDEX messages_of_room (room=? AND seq>?)"),
        (
            FIRST_WITH_AFTER,
            "INDEX messages_with (room=? AND partner=? AND seq>?)",
        ),
        (
            FIRST_MENTION_AFTER,
            "PRIMARY KEY (owner=? AND room=? AND seq>?)",
        ),
    ] {
        let plan = format!("EXPLAIN QUERY PLAN {query}");
        let mut plan = database.db().prepare(&plan).expect("a query");
        let count = plan.parameter_count();
        let rows = plan.query_map(rusqlite::params_from_iter(vec![1; count]), |row| {
            row.get::<_, String>(3)
        });
        let plan: Vec<_> = rows
            .expect("a plan")
            .map(|row| row.expect("a row"))
            .collect();
        assert_eq!(plan.len(), 1, "{plan:?}");
        assert!(
            plan[0].starts_with("SEARCH") && plan[0].ends_with(index),
            "{plan:?}"
        );
    }
}
