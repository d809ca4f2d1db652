//! The encoding of a batch: a version, then the fields in their order
//! (postcard).
//!
//! Decoding trusts no byte of its input.

use std::fmt;

use super::entry::Batch;

/// The version of the encoding, the first byte of every batch.
pub const FORMAT: u8 = 1;

/// The longest encoded batch that is decoded, in bytes.
const MAX_BYTES: usize = 8 << 20;

/// The reason why bytes cannot be decoded as a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The batch has this other version.
    Format(u8),
    /// The bytes are cut short, too long or not well-formed.
    Malformed,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Format(format) => {
                write!(
                    f,
                    "a batch has format {format}, but this server reads format {FORMAT}"
                )
            }
            DecodeError::Malformed => f.write_str("the bytes are no batch"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Encodes a batch.
pub fn encode(batch: &Batch) -> Vec<u8> {
    // Serialising into a Vec fails only for a sequence of unknown length, and
    // these types have none.
    postcard::to_extend(batch, vec![FORMAT]).unwrap_or_default()
}

/// Decodes a batch.
///
/// # Errors
/// [`DecodeError`] for bytes that [`encode`] does not write.
pub fn decode(bytes: &[u8]) -> Result<Batch, DecodeError> {
    match bytes.split_first() {
        Some((&FORMAT, rest)) if bytes.len() <= MAX_BYTES => {
            let (batch, rest) =
                postcard::take_from_bytes(rest).map_err(|_| DecodeError::Malformed)?;
            if rest.is_empty() {
                Ok(batch)
            } else {
                Err(DecodeError::Malformed)
            }
        }
        Some((&format, _)) if format != FORMAT => Err(DecodeError::Format(format)),
        _ => Err(DecodeError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        log::{
            Action, Admitted, AuditRecord, BatchId, Draft, Entry, GuardedTime, HookDraft,
            InvitationDraft, Recipient, SanctionKind, Stamp, Standing, model::batch,
        },
        protocol::{
            About, AboutKind, ConnectionId, Epoch, FollowLevel, MessageKind, OwnerNumber, Seq,
            WallTime,
            name::{Name, RoomName},
        },
    };

    /// One action of each kind on access.
    fn on_access() -> [Action; 11] {
        let admit = |whom| Action::Admit {
            token: [4; 32],
            name: "Ana".parse().expect("a name"),
            key: "Ana".parse::<Name>().expect("a name").key(),
            whom,
        };
        [
            Action::SetAccess {
                room: RoomName::lobby(),
                private: true,
                by: OwnerNumber(7),
                name: "ana".parse().expect("a name"),
                operator: false,
            },
            Action::RemoveMember {
                room: RoomName::lobby(),
                member: OwnerNumber(8),
                by: OwnerNumber(7),
            },
            Action::AddRoomOwner {
                room: RoomName::lobby(),
                member: OwnerNumber(8),
                by: OwnerNumber(7),
            },
            Action::Invite(InvitationDraft {
                token: [4; 32],
                room: RoomName::lobby(),
                gives: Standing::Admitted,
                uses: 300,
                duration_ms: 300,
                by: OwnerNumber(7),
                author: "ana".into(),
                operator: true,
            }),
            Action::Uninvite {
                id: 300,
                by: OwnerNumber(7),
                operator: false,
            },
            admit(Admitted::Owner(OwnerNumber(7))),
            admit(Admitted::New {
                salt: [1; 16],
                tag: [2; 32],
            }),
            Action::SetOperator {
                key: "ana".parse::<Name>().expect("a name").key(),
                operator: true,
            },
            Action::Release {
                key: "ana".parse::<Name>().expect("a name").key(),
                audit: AuditRecord {
                    operator: "op".into(),
                    act: "ban 2h".into(),
                    target: "ana".into(),
                    reason: "spam".into(),
                },
            },
            Action::AddHook(HookDraft {
                token: [4; 32],
                room: RoomName::lobby(),
                name: "Ana".parse().expect("a name"),
                key: "Ana".parse::<Name>().expect("a name").key(),
                by: OwnerNumber(7),
                author: "bob".into(),
                operator: true,
            }),
            Action::RemoveHook {
                room: RoomName::lobby(),
                key: "ana".parse::<Name>().expect("a name").key(),
                by: OwnerNumber(7),
                operator: false,
            },
        ]
    }

    /// One action of each kind on places.
    fn on_places() -> [Action; 3] {
        let (owner, room) = (OwnerNumber(7), RoomName::lobby());
        [
            Action::Follow {
                owner,
                room: room.clone(),
                level: Some(FollowLevel::Mentions),
            },
            Action::Unfollow { owner, room },
            Action::Read {
                owner,
                room: RoomName::inbox(OwnerNumber(8)),
                upto: Seq(300),
            },
        ]
    }

    /// A draft of each kind about a message, and the retraction of a message.
    fn on_messages() -> Vec<Action> {
        let kinds = [
            AboutKind::Reply,
            AboutKind::Edit,
            AboutKind::React,
            AboutKind::Unreact,
        ];
        let about = |kind| Draft {
            about: Some(About {
                seq: Seq(300),
                kind,
            }),
            ..Draft::of("tea", "+1")
        };
        let drafts = kinds.map(|kind| Action::Message(about(kind)));
        let retract = Action::Retract {
            room: RoomName::lobby(),
            seq: Seq(7),
            owner: OwnerNumber(7),
        };
        drafts.into_iter().chain([retract]).collect()
    }

    /// One entry of every kind.
    fn every_kind() -> Batch {
        let key = "ana".parse::<Name>().expect("a name").key();
        let audit = || AuditRecord {
            operator: "op".into(),
            act: "ban 2h".into(),
            target: "ana".into(),
            reason: "spam".into(),
        };
        let draft = Draft {
            id: Some("a-1".parse().expect("an id")),
            follows: Some("a-0".parse().expect("an id")),
            kind: MessageKind::Me,
            mentions: vec![OwnerNumber(8)],
            to: Some(Recipient {
                name: "bob".parse().expect("a name"),
                owner: OwnerNumber(7),
                ignores: false,
                unread: None,
            }),
            about: None,
            ..Draft::of("tea", "hi")
        };
        let actions = [
            Action::Begin {
                epoch: Epoch("e".into()),
            },
            Action::Settings {
                name_expiry_ms: 9,
                edit_window_ms: 0,
            },
            Action::Message(draft),
            Action::Claim {
                name: "Ana".parse().expect("a name"),
                key: key.clone(),
                salt: [1; 16],
                tag: [2; 32],
            },
            Action::Use { key: key.clone() },
            Action::Delivered {
                key,
                owner: OwnerNumber(7),
                upto: Seq(3),
            },
            Action::Topic {
                room: RoomName::lobby(),
                text: "t".to_owned().into(),
                by: "ana".into(),
            },
            Action::Sanction {
                kind: SanctionKind::Mute,
                target: "@ana".into(),
                duration_ms: Some(300),
                audit: audit(),
            },
            Action::Lift {
                kind: SanctionKind::Ban,
                target: "10.0.0.7".into(),
                audit: audit(),
            },
            Action::Redact {
                room: RoomName::lobby(),
                seq: Seq(7),
                by: "op".into(),
            },
            Action::Kick(audit()),
            Action::Expire { upto: Seq(300) },
            Action::Ignore {
                owner: OwnerNumber(7),
                name: "Bob".parse().expect("a name"),
                key: "Bob".parse::<Name>().expect("a name").key(),
                ignored: true,
            },
            Action::ExpireName {
                key: "ana".parse::<Name>().expect("a name").key(),
            },
            Action::ExpireRoom {
                room: RoomName::inbox(OwnerNumber(7)),
            },
        ];
        Batch {
            id: BatchId {
                incarnation: 2,
                number: 5,
            },
            stamp: Stamp {
                wall: WallTime(1000),
                guarded: GuardedTime(900),
            },
            random: [3; 16],
            entries: actions
                .into_iter()
                .chain(on_access())
                .chain(on_places())
                .chain(on_messages())
                .map(|action| Entry {
                    connection: ConnectionId(0x80),
                    action,
                })
                .collect(),
        }
    }

    /// The bytes of version 1 may never change, because other servers and later
    /// versions read them.
    #[test]
    fn the_bytes_of_version_1_do_not_change() {
        let bytes = encode(&every_kind());
        let hex = bytes.iter().map(|byte| format!("{byte:02x}"));
        let hex: String = hex.collect();
        assert_eq!(hex, include_str!("encoding/version-1.hex").trim_end());
        assert_eq!(decode(&bytes), Ok(every_kind()));
    }

    #[test]
    fn decoding_another_version_fails_and_names_it() {
        let mut bytes = encode(&every_kind());
        bytes[0] = 9;
        assert_eq!(decode(&bytes), Err(DecodeError::Format(9)));
        assert_eq!(decode(&[]), Err(DecodeError::Malformed));
    }

    #[test]
    fn a_cut_batch_is_malformed() {
        let bytes = encode(&every_kind());
        for end in 1..bytes.len() {
            assert_eq!(decode(&bytes[..end]), Err(DecodeError::Malformed), "{end}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(decode(&longer), Err(DecodeError::Malformed));
    }

    proptest! {
        #[test]
        fn any_batch_survives_encoding(batch in batch()) {
            prop_assert_eq!(decode(&encode(&batch)), Ok(batch));
        }

        #[test]
        fn any_bytes_decode_to_a_batch_or_an_error(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(first) = bytes.first_mut() {
                *first = FORMAT;
            }
            if let Ok(batch) = decode(&bytes) {
                prop_assert_eq!(decode(&encode(&batch)), Ok(batch));
            }
        }
    }
}
