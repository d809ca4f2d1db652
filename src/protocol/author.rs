//! Authors of messages, and how clients are told of them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{connection_id::ConnectionId, name::Name, owner_number::OwnerNumber, tag::Tag};

/// The author of a message: the connection's tag, and its name, if any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// The display name; absent if the connection has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// The connection's tag.
    pub addr: Tag,
    /// The author's owner number, if it owns its name. No client is told the
    /// number: in a client it is [`OwnerNumber::UNTOLD`].
    #[serde(skip)]
    pub owner: Option<OwnerNumber>,
}

impl Author {
    /// The server itself, for which a person at its machine acts.
    pub fn server() -> Self {
        Author {
            name: Some(Name::of_server()),
            addr: ConnectionId::SERVER.into(),
            owner: None,
        }
    }

    /// Whether it has a name that nobody owns: anyone may use that name.
    pub fn is_unverified(&self) -> bool {
        self.name.is_some() && self.owner.is_none()
    }
}

impl fmt::Display for Author {
    /// Writes the name, or the tag if there is none, as the plain format does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => name.fmt(f),
            None => self.addr.fmt(f),
        }
    }
}

/// The author of a message, as clients are told it.
#[derive(Serialize)]
struct ToldAuthor<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a Name>,
    addr: &'a Tag,
    #[serde(skip_serializing_if = "Option::is_none")]
    unverified: Option<bool>,
}

/// The author of a message, as a client reads it.
#[derive(Deserialize)]
struct HeardAuthor {
    #[serde(default)]
    name: Option<Name>,
    addr: Tag,
    #[serde(default)]
    unverified: bool,
}

/// Writes an author as clients are told it.
///
/// # Errors
/// Fails if the serializer fails.
pub(super) fn tell<S: Serializer>(author: &Author, to: S) -> Result<S::Ok, S::Error> {
    let told = ToldAuthor {
        name: author.name.as_ref(),
        addr: &author.addr,
        unverified: author.is_unverified().then_some(true),
    };
    told.serialize(to)
}

/// Reads an author as clients are told it.
///
/// # Errors
/// Fails if the deserializer fails.
pub(super) fn hear<'de, D: Deserializer<'de>>(from: D) -> Result<Author, D::Error> {
    let heard = HeardAuthor::deserialize(from)?;
    let owned = heard.name.is_some() && !heard.unverified;
    Ok(Author {
        owner: owned.then_some(OwnerNumber::UNTOLD),
        name: heard.name,
        addr: heard.addr,
    })
}
