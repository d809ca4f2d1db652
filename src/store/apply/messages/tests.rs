//! Tests of numbers, repeats and taken ids.

use super::*;
use crate::{
    log::{Recipient, UnreadLimit},
    protocol::{MessageKind, WallTime},
    store::{check, database::Database, digest::digests},
};

fn draft(room: &str, id: Option<u64>) -> Draft {
    Draft {
        id: id.map(|id| format!("id-{id}").parse().unwrap()),
        ..Draft::of(room, "text")
    }
}

/// A draft of an owner, or of nobody for 0, with an id and a text.
fn said(owner: u64, id: &str, text: &str) -> Draft {
    let mut draft = Draft::of("tea", text);
    draft.from.owner = Some(OwnerNumber(owner)).filter(|owner| *owner != OwnerNumber::NONE);
    draft.id = id.parse().ok();
    draft
}

fn apply(database: &mut Database, drafts: Vec<Draft>) -> Vec<Outcome> {
    let entries = drafts.into_iter().map(Draft::entry).collect();
    database.apply_next(WallTime(0), entries).outcomes
}

/// Verified to fail when the content is not compared, when the kind is not
/// part of it, and when all authors have one scope.
#[test]
fn a_repeat_has_the_same_author_id_and_content() {
    let mut database = Database::empty().unwrap();
    let me = |mut draft: Draft| {
        draft.kind = MessageKind::Me;
        draft
    };
    let first = vec![
        said(0, "a", "one"),
        said(1, "a", "one"),
        said(2, "a", "two"),
    ];
    let stored = [1, 2, 3].map(|seq| Outcome::Stored(Seq(seq)));
    assert_eq!(apply(&mut database, first), stored);
    for (draft, outcome) in [
        (said(0, "a", "one"), Outcome::Repeat(Seq(1))),
        (said(0, "a", "two"), Outcome::IdTaken),
        (me(said(0, "a", "one")), Outcome::IdTaken),
        (said(1, "a", "one"), Outcome::Repeat(Seq(2))),
        (said(2, "a", "one"), Outcome::IdTaken),
        (said(2, "a", "two"), Outcome::Repeat(Seq(3))),
        (said(3, "a", "one"), Outcome::Stored(Seq(4))),
    ] {
        assert_eq!(
            apply(&mut database, vec![draft.clone()]),
            [outcome],
            "{draft:?}"
        );
    }
    // Within one batch too.
    let both = vec![
        said(0, "b", "one"),
        said(0, "b", "two"),
        said(0, "b", "one"),
    ];
    let outcomes = [
        Outcome::Stored(Seq(5)),
        Outcome::IdTaken,
        Outcome::Repeat(Seq(5)),
    ];
    assert_eq!(apply(&mut database, both), outcomes);
}

/// Verified to fail when only direct followers are held back, and when the
/// followers of other connections are.
#[test]
fn a_message_behind_a_taken_id_is_not_stored() {
    let mut database = Database::empty().unwrap();
    apply(&mut database, vec![said(0, "a", "of another")]);
    let after = |id: &str, follows: &str| Draft {
        follows: follows.parse().ok(),
        ..said(0, id, id)
    };
    let chain = (0..40).map(|n| after(&format!("c-{n}"), &format!("c-{}", n - 1)));
    let mut drafts = vec![said(0, "a", "mine"), after("c-0", "a")];
    drafts.extend(chain.skip(1));
    let mut entries: Vec<_> = drafts.into_iter().map(Draft::entry).collect();
    let other = Entry {
        connection: ConnectionId(8),
        ..after("d", "a").entry()
    };
    entries.extend([other, after("e", "").entry()]);
    let outcomes = database.apply_next(WallTime(0), entries).outcomes;
    assert_eq!(outcomes[0], Outcome::IdTaken);
    assert_eq!(outcomes[1..41], [const { Outcome::FollowsUnstored }; 40]);
    assert_eq!(
        outcomes[41..],
        [Outcome::Stored(Seq(2)), Outcome::Stored(Seq(3))]
    );
}

#[test]
fn a_message_behind_one_for_a_full_inbox_is_not_stored() {
    let mut database = Database::empty().unwrap();
    let limit = UnreadLimit {
        of_sender: 2,
        of_all: 2,
    };
    let to_bob = |id: &str, follows: &str| Draft {
        room: RoomName::inbox(OwnerNumber(1)),
        to: Some(Recipient {
            name: "bob".parse().unwrap(),
            owner: OwnerNumber(2),
            ignores: false,
            unread: Some(limit),
        }),
        follows: follows.parse().ok(),
        ..said(0, id, id)
    };
    let drafts = [("a", ""), ("b", "a"), ("c", "b"), ("d", "c"), ("a", "")];
    let entries = drafts.map(|(id, follows)| to_bob(id, follows).entry());
    let outcomes = database.apply_next(WallTime(0), entries.into()).outcomes;
    let expected = [
        Outcome::Stored(Seq(1)),
        Outcome::Stored(Seq(3)),
        Outcome::InboxFull,
        Outcome::FollowsUnstored,
        Outcome::Repeat(Seq(1)),
    ];
    assert_eq!(outcomes, expected);
}

/// The digests of the messages and their rooms.
fn stored(database: &Database) -> Vec<(&'static str, String)> {
    let mut digests = digests(database.db()).unwrap();
    digests.retain(|(table, _)| [MESSAGES.name, ROOMS.name].contains(table));
    digests
}

/// Verified to fail when a failed attempt to insert together keeps a room's
/// last number, and when a repeat counts as stored.
#[test]
fn messages_are_stored_alike_together_and_one_by_one() {
    let rooms = ["a", "b", "c"];
    // Ids repeat within a statement, within a batch, or from an earlier
    // batch.
    let patterns: [fn(u64) -> Option<u64>; 5] = [
        |_| None,
        Some,
        |n| (n % 3 == 0).then_some(n / 2),
        |n| Some(n % 20),
        |n| Some(if n == 7 { 500 } else { n + 490 }),
    ];
    for spread in [1, 2, 3] {
        let (mut together, mut alone) = (Database::empty().unwrap(), Database::empty().unwrap());
        let mut shown = [Vec::new(), Vec::new()];
        for pattern in patterns {
            let entries: Vec<_> = (0..100)
                .map(|n: u64| {
                    let room = usize::try_from(n).unwrap() / 5 % spread;
                    // Some ids come again with another text.
                    let text = format!("text {}", n / 60);
                    let draft = draft(rooms[room], pattern(n));
                    Draft {
                        text: text.into(),
                        ..draft
                    }
                    .entry()
                })
                .collect();
            let mut apply = |which: usize, database: &mut Database, entries: Vec<Entry>| {
                let applied = database.apply_next(WallTime(0), entries);
                let messages = applied.messages.into_iter();
                shown[which].extend(messages.map(|m| (m.seq(), m.prev(), m.room().cloned())));
                applied.outcomes
            };
            let one = apply(0, &mut together, entries.clone());
            let other: Vec<_> = entries
                .into_iter()
                .flat_map(|entry| apply(1, &mut alone, vec![entry]))
                .collect();
            assert_eq!(one, other);
        }
        assert_eq!(shown[0], shown[1]);
        assert_eq!(stored(&together), stored(&alone));
        let head = together.state().head;
        let end = check::recent_messages(together.db(), Seq::START, head).unwrap();
        assert_eq!(end, head);
    }
}
