//! The encodings of the fields of entries.
//!
//! Decoding checks only rules that no Unicode version changes. A replica with
//! another version must read the same entry from the same bytes.

use std::net::IpAddr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::protocol::{
    Author, FollowLevel, MessageKind, OwnerNumber, Tag, WallTime,
    name::{MessageId, Name, NameKey, RoomName},
    text::Text,
};

/// Declares a field that is encoded as another type and checked by a rule.
macro_rules! encoded_as {
    ($($Field:ident: $Type:ty as $Other:ty, $write:expr, $read:expr;)*) => {$(
        pub(super) enum $Field {}

        impl $Field {
            /// Encodes the field.
            ///
            /// # Errors
            /// Fails if the serializer fails.
            pub(super) fn serialize<S: Serializer>(
                value: &$Type,
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                let write: fn(&$Type) -> $Other = $write;
                write(value).serialize(serializer)
            }

            /// Decodes the field.
            ///
            /// # Errors
            /// Fails if the deserializer fails or the value breaks its rule.
            pub(super) fn deserialize<'de, D: Deserializer<'de>>(
                deserializer: D,
            ) -> Result<$Type, D::Error> {
                let read: fn($Other) -> Option<$Type> = $read;
                read(<$Other>::deserialize(deserializer)?).ok_or_else(|| D::Error::custom("a rule"))
            }
        }
    )*};
}

encoded_as! {
    NameField: Name as &str, Name::as_str, |text| Name::stored(text).ok();
    KeyField: NameKey as &str, NameKey::encoded, |text| NameKey::stored(text).ok();
    RoomField: RoomName as &str, RoomName::as_str, |text| RoomName::stored(text).ok();
    TextField: Text as &str, |text| text, |text| Some(Text::stored(text));
    AtField: WallTime as i64, |at| at.0, |ms| Some(WallTime(ms));
    LevelField: Option<FollowLevel> as Option<i64>, |level| level.map(FollowLevel::stored),
        |level| Some(level.map(FollowLevel::from_stored));
    KindField: MessageKind as bool, |kind| *kind == MessageKind::Me,
        |me| Some(if me { MessageKind::Me } else { MessageKind::Said });
}

pub(super) enum IdField {}

impl IdField {
    /// Encodes the id, if there is one.
    ///
    /// # Errors
    /// Fails if the serializer fails.
    #[expect(clippy::ref_option, reason = "serde passes the field like this")]
    pub(super) fn serialize<S: Serializer>(
        value: &Option<MessageId>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.as_ref().map(MessageId::as_str).serialize(serializer)
    }

    /// Decodes an id, if there is one.
    ///
    /// # Errors
    /// Fails if the deserializer fails or the text is no message id.
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<MessageId>, D::Error> {
        let id: Option<&str> = Option::deserialize(deserializer)?;
        id.map(|id| id.parse().map_err(D::Error::custom))
            .transpose()
    }
}

pub(super) enum AuthorField {}

impl AuthorField {
    /// Encodes the author as its name, its owner number, its tag, and the address
    /// that the tag hides.
    ///
    /// # Errors
    /// Fails if the serializer fails.
    pub(super) fn serialize<S: Serializer>(
        author: &Author,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let name = author.name.as_ref().map(Name::as_str);
        let addr = (author.addr.as_str(), author.addr.hidden_address());
        (name, author.owner, addr).serialize(serializer)
    }

    /// Decodes an author.
    ///
    /// # Errors
    /// Fails if the deserializer fails, or the name or the tag breaks its rule.
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Author, D::Error> {
        type Fields<'a> = (
            Option<&'a str>,
            Option<OwnerNumber>,
            (&'a str, Option<IpAddr>),
        );
        let (name, owner, (addr, hidden)): Fields = Deserialize::deserialize(deserializer)?;
        let addr: Tag = addr.parse().map_err(D::Error::custom)?;
        Ok(Author {
            name: name
                .map(Name::stored)
                .transpose()
                .map_err(D::Error::custom)?,
            addr: addr.hiding(hidden),
            owner,
        })
    }
}
