use super::*;
use crate::{
    log::{Action, Admitted, Draft, Entry, Recipient},
    protocol::{Author, WallTime, name::Name},
    store::database::Database,
};

fn name(name: &str) -> Name {
    name.parse().expect("a name")
}

fn room(room: &str) -> RoomName {
    room.parse().expect("a room")
}

fn claim(owner: &str) -> Action {
    Action::Claim {
        name: name(owner),
        key: name(owner).key(),
        salt: [1; 16],
        tag: [1; 32],
    }
}

fn follow(owner: u64, of: &str) -> Action {
    Action::Follow {
        owner: OwnerNumber(owner),
        room: room(of),
        level: None,
    }
}

fn read(owner: u64, room: RoomName, upto: u64) -> Action {
    Action::Read {
        owner: OwnerNumber(owner),
        room,
        upto: Seq(upto),
    }
}

/// A message in a room that mentions owners.
fn said(of: &str, mentions: &[u64]) -> Action {
    Action::Message(Draft {
        mentions: mentions.iter().copied().map(OwnerNumber).collect(),
        ..Draft::of(of, "text")
    })
}

/// A private message.
fn private(from: u64, to: u64) -> Action {
    let draft = Draft::of("tea", "text");
    Action::Message(Draft {
        room: RoomName::inbox(OwnerNumber(from)),
        from: Author {
            name: Some(name("ana")),
            owner: Some(OwnerNumber(from)),
            ..draft.from.clone()
        },
        to: Some(Recipient {
            name: name("bob"),
            owner: OwnerNumber(to),
            ignores: false,
            unread: None,
        }),
        ..draft
    })
}

fn apply(database: &mut Database, actions: impl IntoIterator<Item = Action>) -> Vec<Outcome> {
    let entries = actions.into_iter().map(Entry::of_server).collect();
    database.apply_next(WallTime(1), entries).outcomes
}

fn rows(database: &Database, table: &str) -> i64 {
    let count = format!("SELECT count(*) FROM {table}");
    let db = database.db();
    db.query_row(&count, [], |row| row.get(0)).expect("a count")
}

fn state(database: &Database, owner: u64, of: &RoomName) -> Option<(u64, i64, i64)> {
    let found = PlaceState::find(database.db(), OwnerNumber(owner), of).expect("readable");
    found.map(|state| (state.read.0, state.messages, state.mentions))
}

#[test]
fn a_read_position_only_rises() {
    let mut database = Database::in_memory().expect("a store");
    let tea = room("tea");
    apply(&mut database, [said("tea", &[]), follow(1, "tea")]);
    assert_eq!(state(&database, 1, &tea), Some((1, 0, 0)), "all was read");
    apply(&mut database, (0..5).map(|_| said("tea", &[])));
    for (upto, now) in [(4, 4), (2, 4), (90, 6)] {
        apply(&mut database, [read(1, tea.clone(), upto)]);
        assert_eq!(state(&database, 1, &tea), Some((now, 0, 0)), "{upto}");
    }
    // Without a follow there is no position.
    apply(&mut database, [read(2, tea.clone(), 3)]);
    assert_eq!(state(&database, 2, &tea), None);
}

#[test]
fn a_name_follows_at_most_a_thousand_rooms() {
    let mut database = Database::in_memory().expect("a store");
    let all = (0..MAX_FOLLOWED).map(|n| follow(1, &format!("r{n}")));
    let all = apply(&mut database, all);
    assert!(
        all.iter()
            .all(|it| *it == Outcome::Follows(FollowLevel::All))
    );
    let more = [follow(1, "more"), follow(1, "r7"), follow(2, "more")];
    let follows = Outcome::Follows(FollowLevel::All);
    assert_eq!(
        apply(&mut database, more),
        [Outcome::FollowsTooMany, follows.clone(), follows]
    );
}

#[test]
fn mentions_are_indexed_for_followers_until_they_are_read() {
    let mut database = Database::in_memory().expect("a store");
    let level = Some(FollowLevel::None);
    let deaf = Action::Follow {
        owner: OwnerNumber(3),
        room: room("tea"),
        level,
    };
    apply(&mut database, [follow(1, "tea"), deaf]);
    // Owner 2 does not follow the room.
    apply(&mut database, [said("tea", &[1, 2, 3]), said("tea", &[1])]);
    assert_eq!(state(&database, 1, &room("tea")), Some((0, 0, 2)));
    assert_eq!(rows(&database, "mentions"), 2);
    apply(&mut database, [read(1, room("tea"), 1)]);
    assert_eq!(rows(&database, "mentions"), 1);
    apply(&mut database, [Action::Expire { upto: Seq(2) }]);
    assert_eq!(rows(&database, "mentions"), 0);
}

#[test]
fn a_conversation_leaves_with_its_messages_or_its_people() {
    let mut database = Database::in_memory().expect("a store");
    apply(&mut database, [claim("ana"), claim("bob"), claim("carl")]);
    apply(&mut database, [private(1, 2), private(3, 2), private(3, 1)]);
    let with = |partner| RoomName::inbox(OwnerNumber(partner));
    assert_eq!(state(&database, 2, &with(1)), Some((0, 1, 0)));
    assert_eq!(state(&database, 1, &with(2)), Some((0, 0, 0)));
    assert_eq!(rows(&database, "places"), 6);
    apply(&mut database, [Action::Expire { upto: Seq(2) }]);
    assert_eq!(state(&database, 2, &with(1)), None);
    assert_eq!(rows(&database, "places"), 4);
    let release = Action::Release {
        key: name("carl").key(),
        audit: crate::log::AuditRecord {
            operator: "op".into(),
            act: "release".into(),
            target: "carl".into(),
            reason: String::new(),
        },
    };
    apply(&mut database, [follow(3, "tea"), release]);
    assert_eq!(rows(&database, "places"), 0);
}

#[test]
fn only_members_keep_a_place_in_a_private_room() {
    let mut database = Database::in_memory().expect("a store");
    apply(&mut database, [claim("ana"), claim("bob")]);
    apply(&mut database, [follow(1, "tea"), follow(2, "tea")]);
    let private = Action::SetAccess {
        room: room("tea"),
        private: true,
        by: OwnerNumber(1),
        name: name("ana"),
        operator: false,
    };
    apply(&mut database, [private]);
    assert_eq!(state(&database, 2, &room("tea")), None);
    assert!(state(&database, 1, &room("tea")).is_some());
    let denied = apply(&mut database, [follow(2, "tea")]);
    assert_eq!(denied, [Outcome::Denied(Denial::NotMember)]);
    let invite = Action::Invite(crate::log::InvitationDraft {
        token: [4; 32],
        room: room("tea"),
        gives: crate::log::Standing::Claimed,
        uses: 3,
        duration_ms: 300,
        by: OwnerNumber(1),
        author: "ana".into(),
        operator: false,
    });
    let admit = Action::Admit {
        token: [4; 32],
        name: name("bob"),
        key: name("bob").key(),
        whom: Admitted::Owner(OwnerNumber(2)),
    };
    let remove = Action::RemoveMember {
        room: room("tea"),
        member: OwnerNumber(2),
        by: OwnerNumber(1),
    };
    apply(&mut database, [invite, admit, follow(2, "tea")]);
    assert!(state(&database, 2, &room("tea")).is_some());
    apply(&mut database, [remove]);
    assert_eq!(state(&database, 2, &room("tea")), None);
}
