//! The fields that commands have in JSON.

use serde::Deserialize;

use crate::protocol::{
    Epoch, FollowLevel, PublishKind, Seq,
    command_target::CommandTarget,
    name::{MessageId, Name, Reference, RoomName},
    place::WatchedRooms,
    scalar::{FieldError, Scalar},
    secret::Secret,
    token::Token,
    typed_duration::TypedDuration,
};

/// A field of a command in JSON.
#[derive(Debug)]
pub struct Field {
    /// Its key.
    pub name: &'static str,
    /// The description of its values.
    pub holds: &'static str,
    /// Whether the command must have this field.
    pub needed: bool,
    /// Whether its values are objects.
    pub is_object: bool,
    /// Checks a value; fails if the field cannot hold it.
    pub check: fn(&Scalar<'_>) -> Result<(), FieldError>,
}

/// The field that every command may have. The answers carry it too.
pub const REF: Field = optional::<Option<Reference>>("ref", "1 to 64 of `A-Za-z0-9_-`");

pub(super) const TEXT: Field = needed::<String>("text", "a text");
pub(super) const ID: Field = optional::<Option<MessageId>>("id", "1 to 64 of `A-Za-z0-9_-`");
pub(super) const KIND: Field = optional::<PublishKind>(
    "kind",
    "`said` (the default), `me`, `reply`, `react`, `unreact` or `edit`",
);
pub(super) const ABOUT: Field = optional::<Option<Seq>>(
    "about",
    "the number of the message that it answers or changes",
);
pub(super) const FOLLOWS: Field =
    optional::<Option<MessageId>>("follows", "the `id` of the message sent before");
pub(super) const TO: Field = needed::<Name>("to", "a name");
pub(super) const NAME: Field = needed::<Name>("name", "a name");
pub(super) const IGNORED: Field = optional::<Option<Name>>("name", "a name; absent to list them");
pub(super) const SECRET: Field =
    optional::<Option<Secret>>("secret", "16 to 128 printable ASCII characters, no spaces");
pub(super) const ROOM: Field = needed::<RoomName>("room", "a room");
pub(super) const AFTER_ROOM: Field =
    optional::<Option<RoomName>>("after", "the last room of the page before");
pub(super) const AFTER: Field = optional::<Option<Seq>>("after", "a number of a message");
pub(super) const EPOCH: Field =
    optional::<Option<Epoch>>("epoch", "the log that `after` counts in");
pub(super) const BACKLOG: Field =
    optional::<Option<u32>>("backlog", "how many messages, at most 1000");
pub(super) const TOPIC: Field = optional::<Option<String>>("text", "one line; empty for no topic");
pub(super) const BEFORE: Field = optional::<Option<Seq>>("before", "a number of a message");
pub(super) const LIMIT: Field = optional::<Option<u32>>("limit", "how many messages, at most 200");
pub(super) const QUERY: Field = needed::<String>("query", "words");
pub(super) const PROOF: Field = needed::<String>("secret", "the operators' secret");
pub(super) const WHO: Field =
    needed::<CommandTarget>("who", "a name, an IP address, a prefix or `IP:port`");
pub(super) const FOR: Field =
    optional::<Option<TypedDuration>>("for", "a time like `30m`, `2h` or `7d`");
pub(super) const REASON: Field = optional::<Option<String>>("reason", "one line");
pub(super) const SOME_ROOM: Field =
    optional::<Option<RoomName>>("room", "a room; absent for the one you are in");
pub(super) const PRIVATE: Field = needed::<bool>("private", "`true` or `false`");
pub(super) const USES: Field = optional::<Option<u32>>("uses", "how many people, 1 to 1000");
pub(super) const TOKEN: Field =
    optional::<Option<Token>>("token", "the token of an invitation, to use it");
pub(super) const INVITATION: Field = needed::<u64>("id", "the number of an invitation");
pub(super) const WITH: Field =
    optional::<Option<Name>>("with", "the other person of a private conversation");
pub(super) const READ_ROOM: Field = optional::<Option<RoomName>>("room", "a room that you follow");
pub(super) const READ_UPTO: Field = needed::<Seq>("seq", "the number of the last message read");
pub(super) const LEVEL: Field =
    optional::<Option<FollowLevel>>("level", "`all` (the default), `mentions` or `none`");
pub(super) const ROOMS: Field = Field {
    is_object: true,
    ..needed::<WatchedRooms>(
        "rooms",
        "an object of 1 to 64 rooms, each with the number up to which it was read",
    )
};
pub(super) const SEQ: Field = needed::<Seq>("seq", "the number of a message");

const fn needed<T: for<'a> Deserialize<'a>>(name: &'static str, holds: &'static str) -> Field {
    Field {
        name,
        holds,
        needed: true,
        is_object: false,
        check: check::<T>,
    }
}

const fn optional<T: for<'a> Deserialize<'a>>(name: &'static str, holds: &'static str) -> Field {
    Field {
        name,
        holds,
        needed: false,
        is_object: false,
        check: check::<T>,
    }
}

fn check<T: for<'a> Deserialize<'a>>(value: &Scalar<'_>) -> Result<(), FieldError> {
    T::deserialize(value).map(drop)
}
