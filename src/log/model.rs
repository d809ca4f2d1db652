//! For tests: a log with faults, and random batches of every kind.
//!
//! The log loses proposals, drops acknowledgements, orders a batch twice and
//! stalls, as its faults say. It never changes the order.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::{
    Action, Admitted, AuditRecord, Batch, BatchId, BatchPosition, Draft, Entry, GuardedTime,
    HookDraft, InvitationDraft, Log, NoAnswer, OrderedBatch, Recipient, SanctionKind, SealedBatch,
    Stamp, Standing,
};
use crate::protocol::{
    About, AboutKind, Author, ConnectionId, Epoch, FollowLevel, MessageKind, OwnerNumber, Seq,
    WallTime,
    name::{Name, RoomName},
};

/// The fault of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The proposal gets a position and no answer.
    NoAnswer,
    /// The proposal gets no position and no answer.
    Lost,
    /// The proposal gets two positions.
    Twice,
    /// Reading returns no batch, although there is one.
    Stall,
    /// Reading fails.
    Unreadable,
}

/// The ordered batches. Clones share them, because the log outlives a server.
#[derive(Clone, Default)]
pub(crate) struct ModelLog {
    ordered: Arc<Mutex<Vec<SealedBatch>>>,
    faults: Arc<Mutex<Vec<Option<Fault>>>>,
}

impl ModelLog {
    /// A log with one fault for each call. Calls after the last fault succeed.
    pub(crate) fn with(mut faults: Vec<Option<Fault>>) -> Self {
        faults.reverse();
        ModelLog {
            faults: Arc::new(Mutex::new(faults)),
            ..ModelLog::default()
        }
    }

    /// Removes the remaining faults.
    pub(crate) fn heal(&self) {
        self.faults.lock().expect("no panic").clear();
    }

    /// The number of ordered batches.
    pub(crate) fn len(&self) -> usize {
        self.ordered.lock().expect("no panic").len()
    }

    /// The batch after a position, without faults.
    pub(crate) fn read(&self, after: BatchPosition) -> Option<OrderedBatch> {
        let ordered = self.ordered.lock().expect("no panic");
        let place = usize::try_from(after.0).expect("few");
        ordered.get(place).map(|sealed| OrderedBatch {
            position: after.next(),
            sealed: sealed.clone(),
        })
    }

    fn fault(&self) -> Option<Fault> {
        self.faults.lock().expect("no panic").pop().flatten()
    }
}

impl Log for ModelLog {
    fn propose(&mut self, sealed: &SealedBatch) -> Result<(), NoAnswer> {
        let mut ordered = self.ordered.lock().expect("no panic");
        match self.fault() {
            Some(Fault::Lost) => return Err(NoAnswer),
            Some(Fault::Twice) => ordered.extend([sealed.clone(), sealed.clone()]),
            Some(Fault::NoAnswer) => {
                ordered.push(sealed.clone());
                return Err(NoAnswer);
            }
            Some(Fault::Stall | Fault::Unreadable) | None => ordered.push(sealed.clone()),
        }
        Ok(())
    }

    fn read_after(&mut self, after: BatchPosition) -> Result<Option<OrderedBatch>, NoAnswer> {
        match self.fault() {
            Some(Fault::Stall) => return Ok(None),
            Some(Fault::Unreadable) => return Err(NoAnswer),
            _ => {}
        }
        Ok(self.read(after))
    }

    fn withdraw(&mut self, _: BatchId) -> bool {
        false
    }
}

/// Faults for a number of calls; most calls have none.
pub(crate) fn faults() -> impl Strategy<Value = Vec<Option<Fault>>> {
    let fault = prop_oneof![
        Just(Fault::NoAnswer),
        Just(Fault::Lost),
        Just(Fault::Twice),
        Just(Fault::Stall),
        Just(Fault::Unreadable),
    ];
    proptest::collection::vec(proptest::option::weighted(0.3, fault), 0..60)
}

fn name() -> impl Strategy<Value = Name> {
    prop::sample::select(vec!["ana", "Ana", "bob", "李四", "o"])
        .prop_map(|name| name.parse().expect("a name"))
}

fn owner() -> impl Strategy<Value = OwnerNumber> {
    (1..4_u64).prop_map(OwnerNumber)
}

fn room() -> impl Strategy<Value = RoomName> {
    prop::sample::select(vec!["lobby", "tea", "_ops"])
        .prop_map(|room| room.parse().expect("a room"))
}

fn audit() -> impl Strategy<Value = AuditRecord> {
    ("[a-z]{0,3}", "[ab]{1,4}").prop_map(|(reason, target)| AuditRecord {
        operator: "op".into(),
        act: "kick".into(),
        target,
        reason,
    })
}

fn about_kind() -> impl Strategy<Value = AboutKind> {
    prop::sample::select(vec![
        AboutKind::Reply,
        AboutKind::Edit,
        AboutKind::React,
        AboutKind::Unreact,
    ])
}

fn draft() -> impl Strategy<Value = Draft> {
    let id = || proptest::option::of("[a-c]{1,2}");
    let to = proptest::option::weighted(0.2, (name(), owner()));
    let about = proptest::option::weighted(0.4, (0..40_u64, about_kind()));
    (
        room(),
        proptest::option::of((name(), proptest::option::of(owner()))),
        // Often an id is repeated with the same text, and often with another.
        prop_oneof!["[ab]", "[ -~]{1,40}"],
        (id(), id()),
        any::<bool>(),
        (to, about),
        proptest::collection::btree_set(owner(), 0..2),
    )
        .prop_map(
            |(room, from, text, (id, follows), me, (to, about), mentions)| {
                let (name, owner) = from.unzip();
                let owner = owner.flatten();
                let to = to.filter(|_| owner.is_some());
                let own_inbox = owner.filter(|_| to.is_some()).map(RoomName::inbox);
                Draft {
                    room: own_inbox.unwrap_or(room),
                    from: Author {
                        name,
                        addr: ([127, 0, 0, 1], 5000).into(),
                        owner,
                    },
                    text: text.into(),
                    id: id.map(|id| id.parse().expect("an id")),
                    follows: follows.map(|id| id.parse().expect("an id")),
                    kind: if me {
                        MessageKind::Me
                    } else {
                        MessageKind::Said
                    },
                    to: to.map(|(name, owner)| Recipient {
                        name,
                        owner,
                        ignores: false,
                        unread: None,
                    }),
                    mentions: mentions.into_iter().collect(),
                    about: about.map(|(seq, kind)| About {
                        seq: Seq(seq),
                        kind,
                    }),
                }
            },
        )
}

/// An action of any kind.
pub(crate) fn action() -> impl Strategy<Value = Action> {
    let kind = || prop_oneof![Just(SanctionKind::Ban), Just(SanctionKind::Mute)];
    let seq = || (0..40_u64).prop_map(Seq);
    let target = || "[ab]{1,2}";
    prop_oneof![
        20 => draft().prop_map(Action::Message),
        1 => "[a-f]{4}".prop_map(|epoch| Action::Begin { epoch: Epoch(epoch.as_str().into()) }),
        1 => (0..2000_u64, 0..2000_u64).prop_map(|(name_expiry_ms, edit_window_ms)| {
            Action::Settings {
                name_expiry_ms,
                edit_window_ms,
            }
        }),
        4 => (name(), any::<[u8; 16]>(), any::<[u8; 32]>()).prop_map(|(name, salt, tag)| {
            Action::Claim { key: name.key(), name, salt, tag }
        }),
        2 => name().prop_map(|name| Action::Use { key: name.key() }),
        2 => (name(), owner(), seq()).prop_map(|(name, owner, upto)| {
            Action::Delivered { key: name.key(), owner, upto }
        }),
        2 => (room(), "[a-z]{0,5}").prop_map(|(room, text)| {
            Action::Topic { room, text: text.into(), by: "ana".into() }
        }),
        3 => (kind(), target(), proptest::option::of(0..3000_u64), audit()).prop_map(
            |(kind, target, duration_ms, audit)| Action::Sanction { kind, target, duration_ms, audit }
        ),
        2 => (kind(), target(), audit())
            .prop_map(|(kind, target, audit)| Action::Lift { kind, target, audit }),
        3 => (room(), seq()).prop_map(|(room, seq)| Action::Redact { room, seq, by: "op".into() }),
        3 => (room(), seq(), (0..4_u64).prop_map(OwnerNumber))
            .prop_map(|(room, seq, owner)| Action::Retract { room, seq, owner }),
        1 => audit().prop_map(Action::Kick),
        1 => seq().prop_map(|upto| Action::Expire { upto }),
        2 => (owner(), name(), any::<bool>()).prop_map(|(owner, name, ignored)| {
            Action::Ignore { owner, key: name.key(), name, ignored }
        }),
        2 => name().prop_map(|name| Action::ExpireName { key: name.key() }),
        2 => prop_oneof![room(), owner().prop_map(RoomName::inbox)]
            .prop_map(|room| Action::ExpireRoom { room }),
        8 => access(),
        4 => places(),
    ]
}

/// An action on the places of a name.
fn places() -> impl Strategy<Value = Action> {
    let place = prop_oneof![room(), owner().prop_map(RoomName::inbox)];
    let level = proptest::option::of(prop::sample::select(vec![
        FollowLevel::All,
        FollowLevel::Mentions,
        FollowLevel::None,
    ]));
    let upto = (0..40_u64).prop_map(Seq);
    prop_oneof![
        3 => (owner(), room(), level)
            .prop_map(|(owner, room, level)| Action::Follow { owner, room, level }),
        1 => (owner(), room()).prop_map(|(owner, room)| Action::Unfollow { owner, room }),
        3 => (owner(), place, upto)
            .prop_map(|(owner, room, upto)| Action::Read { owner, room, upto }),
    ]
}

/// An action on private rooms, invitations or the standing of names.
fn access() -> impl Strategy<Value = Action> {
    // Few tokens, so that invitations are used, also up.
    let token = || (0..3_u8).prop_map(|byte| [byte; 32]);
    let gives = prop::sample::select(vec![
        Standing::Claimed,
        Standing::Admitted,
        Standing::Operator,
    ]);
    let whom = prop_oneof![
        owner().prop_map(Admitted::Owner),
        (any::<[u8; 16]>(), any::<[u8; 32]>()).prop_map(|(salt, tag)| Admitted::New { salt, tag }),
    ];
    prop_oneof![
        4 => (room(), any::<bool>(), owner(), name(), any::<bool>()).prop_map(
            |(room, private, by, name, operator)| Action::SetAccess { room, private, by, name, operator }
        ),
        1 => (room(), owner(), owner())
            .prop_map(|(room, member, by)| Action::RemoveMember { room, member, by }),
        2 => (room(), owner(), owner())
            .prop_map(|(room, member, by)| Action::AddRoomOwner { room, member, by }),
        4 => (token(), room(), gives, 1..3_u32, 0..3000_u64, owner(), any::<bool>()).prop_map(
            |(token, room, gives, uses, duration_ms, by, operator)| Action::Invite(InvitationDraft {
                token, room, gives, uses, duration_ms, by, author: "ana".into(), operator,
            })
        ),
        1 => (1..5_u64, owner(), any::<bool>())
            .prop_map(|(id, by, operator)| Action::Uninvite { id, by, operator }),
        6 => (token(), name(), whom).prop_map(|(token, name, whom)| Action::Admit {
            token, key: name.key(), name, whom,
        }),
        1 => (name(), any::<bool>())
            .prop_map(|(name, operator)| Action::SetOperator { key: name.key(), operator }),
        1 => (name(), audit())
            .prop_map(|(name, audit)| Action::Release { key: name.key(), audit }),
        3 => (token(), room(), name(), owner(), any::<bool>()).prop_map(
            |(token, room, name, by, operator)| Action::AddHook(HookDraft {
                token, room, key: name.key(), name, by, author: "ana".into(), operator,
            })
        ),
        1 => (room(), name(), owner(), any::<bool>()).prop_map(|(room, name, by, operator)| {
            Action::RemoveHook { room, key: name.key(), by, operator }
        }),
    ]
}

/// A batch of entries of any kind.
pub(crate) fn batch() -> impl Strategy<Value = Batch> {
    let connection = prop_oneof![1..3_u64, any::<u64>()];
    let entry = (connection, action()).prop_map(|(connection, action)| Entry {
        connection: ConnectionId(connection),
        action,
    });
    let entries = proptest::collection::vec(entry, 0..40);
    // Sometimes days pass.
    let clock = prop_oneof![9 => 0..10_000_i64, 1 => 200_000_000..200_010_000_i64];
    let times = (0..10_000_i64, clock);
    (any::<u32>(), times, any::<[u8; 16]>(), entries).prop_map(
        |(number, (at, clock), random, entries)| Batch {
            id: BatchId {
                incarnation: 1,
                number: number.into(),
            },
            stamp: Stamp {
                wall: WallTime(at),
                guarded: GuardedTime(clock),
            },
            random,
            entries,
        },
    )
}

/// Batches of one server in their order; some occur twice.
pub(crate) fn history() -> impl Strategy<Value = Vec<OrderedBatch>> {
    let batches = proptest::collection::vec((batch(), proptest::bool::weighted(0.1)), 1..8);
    batches.prop_map(|batches| {
        let mut ordered: Vec<OrderedBatch> = Vec::new();
        for (number, (mut batch, twice)) in (1..).zip(batches) {
            batch.id.number = number;
            let sealed = SealedBatch::new(batch);
            for _ in 0..=usize::from(twice) {
                let before = ordered
                    .last()
                    .map_or(BatchPosition::START, |last| last.position);
                ordered.push(OrderedBatch {
                    position: before.next(),
                    sealed: sealed.clone(),
                });
            }
        }
        ordered
    })
}
