//! The names things go by, each with its rules in its constructor.

mod key;
mod rule;

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

pub use self::{key::NameKey, rule::BadName};

macro_rules! name {
    ($(#[$doc:meta])* $Name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $Name(Arc<str>);

        impl $Name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $Name {
            type Error = BadName;
            fn try_from(text: String) -> Result<Self, BadName> {
                text.parse()
            }
        }

        impl From<$Name> for String {
            fn from(name: $Name) -> String {
                name.as_str().to_owned()
            }
        }
    };
}

/// What the names of inboxes begin with.
const INBOX: char = '@';

name! {
    /// A room: 1 to 64 of `a-z 0-9 . _ -`, starting with a letter, a digit or
    /// `_`; upper case is folded.
    RoomName
}

impl RoomName {
    /// The longest room name, in characters.
    pub const MAX: usize = 64;

    /// The room of `/`.
    pub fn lobby() -> Self {
        RoomName("lobby".into())
    }

    /// Where what is said to one person alone stands in the log. Nobody can name
    /// it: no room name that comes from outside begins so.
    pub fn inbox(person: &NameKey) -> Self {
        RoomName(format!("{INBOX}{}", person.as_str()).into())
    }

    /// Whether it is somebody's inbox.
    pub fn is_inbox(&self) -> bool {
        self.0.starts_with(INBOX)
    }

    /// A room by its name in the log, where inboxes stand too.
    ///
    /// # Errors
    /// [`BadName`] if it is neither a room's nor an inbox's name.
    pub fn stored(name: &str) -> Result<Self, BadName> {
        match name.strip_prefix(INBOX) {
            Some(key) => NameKey::stored(key).map(|key| Self::inbox(&key)),
            None => name.parse(),
        }
    }

    /// Whether it may be listed.
    pub fn is_listed(&self) -> bool {
        !self.0.starts_with('_')
    }

    /// The room a URL path names.
    pub fn from_path(path: &str) -> Result<Self, BadName> {
        match path.strip_prefix('/').unwrap_or(path) {
            "" => Ok(Self::lobby()),
            room => room.parse(),
        }
    }
}

impl FromStr for RoomName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        const RULE: BadName = BadName::of(
            "a room name is 1 to 64 of the characters a-z 0-9 . _ - and starts with a letter, a digit or _",
        );
        let good = text.len() <= Self::MAX
            && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if good {
            Ok(RoomName(text.to_ascii_lowercase().into()))
        } else {
            Err(RULE)
        }
    }
}

name! {
    /// A display name: 1 to 32 letters, digits and marks of any script or `-_.`,
    /// in Unicode normal form C.
    ///
    /// It holds neither space nor colon, so it can forge neither an `IP:port`
    /// tag nor the end of a tag.
    Name
}

impl Name {
    /// The longest display name, in characters.
    pub const MAX: usize = 32;

    /// What the name is compared by.
    pub fn key(&self) -> NameKey {
        NameKey::of(self.as_str())
    }

    /// A name that was taken before, by the rules of its time. Only what no
    /// version of Unicode changes is looked at.
    ///
    /// # Errors
    /// [`BadName`] if it is empty, longer than 512 bytes or has a space, a
    /// control character or a colon.
    pub fn stored(text: &str) -> Result<Self, BadName> {
        const RULE: BadName = BadName::of("this is no stored name");
        let bad = |byte: u8| byte <= b' ' || byte == 0x7f || byte == b':';
        if text.is_empty() || text.len() > 512 || text.bytes().any(bad) {
            return Err(RULE);
        }
        Ok(Name(text.into()))
    }
}

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        const RULE: BadName = BadName::of(
            "a name is 1 to 32 letters, digits or any of - _ . and begins with no mark",
        );
        // Normalising shrinks a name at most threefold in characters: a longer
        // one is refused before any work is done on it.
        if text.chars().nth(Self::MAX * 3).is_some() {
            return Err(RULE);
        }
        let name: String = if text.is_ascii() {
            text.to_owned()
        } else {
            text.nfc().collect()
        };
        let length = name.chars().count();
        let good = (1..=Self::MAX).contains(&length)
            && !name.starts_with(is_combining_mark)
            && !name.contains(is_filler)
            && name
                .chars()
                .all(|c| c.is_alphanumeric() || is_combining_mark(c) || "-_.".contains(c));
        if good {
            Ok(Name(name.into()))
        } else {
            Err(RULE)
        }
    }
}

/// The fillers of Hangul: letters by their kind, but nothing is seen of them.
fn is_filler(c: char) -> bool {
    matches!(c, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}')
}

name! {
    /// A client's own id of a message: 1 to 64 of `A-Z a-z 0-9 _ -`.
    MessageId
}

impl MessageId {
    /// The longest id, in characters.
    pub const MAX: usize = 64;
}

impl FromStr for MessageId {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        const RULE: BadName = BadName::of("an id is 1 to 64 of the characters A-Z a-z 0-9 _ -");
        if is_token(text, Self::MAX) {
            Ok(MessageId(text.into()))
        } else {
            Err(RULE)
        }
    }
}

name! {
    /// A client's name for a command, which its answers carry: 1 to 64 of
    /// `A-Z a-z 0-9 _ -`.
    Reference
}

impl Reference {
    /// The longest ref, in characters.
    pub const MAX: usize = 64;
}

impl FromStr for Reference {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        const RULE: BadName = BadName::of("a ref is 1 to 64 of the characters A-Z a-z 0-9 _ -");
        if is_token(text, Self::MAX) {
            Ok(Reference(text.into()))
        } else {
            Err(RULE)
        }
    }
}

/// Whether a text is made of at least one, and at most so many, characters that
/// need no escape anywhere.
fn is_token(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms() {
        let longest = "r".repeat(64);
        for (path, room) in [
            ("/", "lobby"),
            ("/ops", "ops"),
            ("/Ops.EU-1", "ops.eu-1"),
            ("/_hidden", "_hidden"),
            ("/7", "7"),
            (&format!("/{longest}"), &longest),
        ] {
            assert_eq!(RoomName::from_path(path).expect(path).as_str(), room);
        }
        let long = format!("/{}", "r".repeat(65));
        for path in [
            "/a/b", "/a b", "/a%20b", "/.a", "/-", "/-a", "/ä", "/a/", "//", &long,
        ] {
            assert!(RoomName::from_path(path).is_err(), "{path}");
        }
    }

    #[test]
    fn display_names() {
        for name in [
            "ana",
            "Åsa",
            "李四",
            "अनिता",
            "a-b_c.d",
            "0",
            &"n".repeat(32),
        ] {
            assert_eq!(name.parse::<Name>().expect(name).as_str(), name);
        }
        assert_eq!("A\u{30a}sa".parse::<Name>(), "Åsa".parse::<Name>());
        for name in [
            "",
            "a b",
            "a:b",
            "127.0.0.1:5000",
            "*",
            "\u{301}a",
            "a\u{202e}",
            "\u{3164}",
            "an\u{ffa0}a",
            &"n".repeat(33),
        ] {
            assert!(name.parse::<Name>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn message_ids() {
        assert!("Az0_-".parse::<MessageId>().is_ok());
        assert!("i".repeat(64).parse::<MessageId>().is_ok());
        for id in ["", "a b", "é", &"i".repeat(65)] {
            assert!(id.parse::<MessageId>().is_err(), "{id:?}");
        }
    }
}
