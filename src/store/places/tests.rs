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

// Verified to fail when a redaction leaves mentions, and when it does not count
// the later ones anew.
#[test]
fn a_redacted_message_mentions_nobody() {
    let mut database = Database::in_memory().expect("a store");
    let tea: RoomName = "tea".parse().expect("a room");
    apply(&mut database, [follow("tea")]);
    apply(&mut database, (0..3).map(|_| said("tea", vec![ANA])));
    let redact = |seq| Action::Redact {
        room: "tea".parse().expect("a room"),
        seq: Seq(seq),
        by: "op".into(),
    };
    let mentions = |database: &Database, read| {
        let unstored = [("tea".parse().expect("a room"), Seq(read))];
        unread(database, &unstored)["tea"].1
    };
    apply(&mut database, [redact(2)]);
    assert_eq!(
        [0, 1, 2, 3].map(|read| mentions(&database, read)),
        [2, 1, 1, 0]
    );
    apply(&mut database, [redact(2), redact(1)]);
    assert_eq!(mentions(&database, 0), 1);
    apply(&mut database, [said("tea", vec![ANA])]);
    assert_eq!(mentions(&database, 0), 2);
    let read = Action::Read {
        owner: ANA,
        room: tea,
        upto: Seq(3),
    };
    apply(&mut database, [read, redact(3)]);
    assert_eq!(mentions(&database, 0), 1);
    // Before very many others, one counts until it is read.
    apply(&mut database, (0..200).map(|_| said("tea", vec![ANA])));
    apply(&mut database, [redact(4), redact(200)]);
    assert_eq!(mentions(&database, 0), 200);
}
