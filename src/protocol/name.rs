//! Names of rooms, people, messages and commands. Each type checks its rules
//! when it is made.

mod key;
mod look;
mod reserved;
mod rule;

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use super::invisible::is_invisible;

pub use self::{key::NameKey, rule::RuleBroken};
use super::OwnerNumber;

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
            type Error = RuleBroken;
            fn try_from(text: String) -> Result<Self, RuleBroken> {
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

/// The first character of the name of an inbox.
const INBOX: char = '@';

name! {
    /// The name of a room: 1 to 64 of `a-z 0-9 . _ -`, starting with a letter, a
    /// digit or `_`. Upper case is folded.
    RoomName
}

impl RoomName {
    /// The longest room name, in characters.
    pub const MAX: usize = 64;

    /// The lobby: the room of the path `/`.
    pub fn lobby() -> Self {
        RoomName("lobby".into())
    }

    /// The inbox of an owner of a name: the room that holds its private
    /// messages. No client can name it, because parsing refuses a room name that
    /// begins with `@`.
    pub fn inbox(owner: OwnerNumber) -> Self {
        RoomName(format!("{INBOX}{owner}").into())
    }

    /// Whether it is an inbox.
    pub fn is_inbox(&self) -> bool {
        self.0.starts_with(INBOX)
    }

    /// The owner of an inbox; `None` for a room.
    pub fn inbox_owner(&self) -> Option<OwnerNumber> {
        let owner = self.0.strip_prefix(INBOX)?;
        owner.parse().ok().map(OwnerNumber)
    }

    /// Reads the name of a room or an inbox from the log.
    ///
    /// # Errors
    /// [`RuleBroken`] if the text is the name of neither.
    pub fn stored(name: &str) -> Result<Self, RuleBroken> {
        const RULE: RuleBroken = RuleBroken::new("this is no stored inbox");
        match name.strip_prefix(INBOX) {
            Some(owner) => {
                let inbox = owner.parse().map(|owner| Self::inbox(OwnerNumber(owner)));
                inbox
                    .ok()
                    .filter(|inbox| inbox.as_str() == name)
                    .ok_or(RULE)
            }
            None => name.parse(),
        }
    }

    /// Whether lists show it. They leave out a room whose name begins with `_`.
    pub fn is_listed(&self) -> bool {
        !self.0.starts_with('_')
    }

    /// The room of a URL path.
    ///
    /// # Errors
    /// [`RuleBroken`] if the path is no room name.
    pub fn from_path(path: &str) -> Result<Self, RuleBroken> {
        match path.strip_prefix('/').unwrap_or(path) {
            "" => Ok(Self::lobby()),
            // In a URL the sign begins a fragment.
            room if room.starts_with('#') => "".parse(),
            room => room.parse(),
        }
    }
}

impl FromStr for RoomName {
    type Err = RuleBroken;

    /// Reads a room as a person types it: `tea`, or `#tea`.
    fn from_str(text: &str) -> Result<Self, RuleBroken> {
        const RULE: RuleBroken = RuleBroken::new(
            "a room name is 1 to 64 of the characters a-z 0-9 . _ - and starts with a letter, a digit or _",
        );
        let text = text.strip_prefix('#').unwrap_or(text);
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
    /// in Unicode normal form C. None of them is invisible.
    ///
    /// It has no space and no colon. So it cannot look like an `IP:port` tag,
    /// and it cannot end the tag of a line early.
    Name
}

impl Name {
    /// The longest display name, in characters.
    pub const MAX: usize = 32;

    /// The comparison key of the name.
    pub fn key(&self) -> NameKey {
        NameKey::of(self.as_str())
    }

    /// Checks that a person may take the name now. A name that is read, from the
    /// log or from an event, may be older than this rule.
    ///
    /// # Errors
    /// [`RuleBroken`] if the name looks like an address or a reserved name.
    pub fn check_free(&self) -> Result<(), RuleBroken> {
        reserved::check(self.as_str(), &self.key())
    }

    /// Parses a name that a person asks for.
    ///
    /// # Errors
    /// [`RuleBroken`] if the text is no name, or a reserved name or an address.
    pub fn asked(text: &str) -> Result<Self, RuleBroken> {
        let name: Self = text.parse()?;
        name.check_free()?;
        Ok(name)
    }

    /// Reads a name that an earlier version may have accepted. It checks only
    /// rules that no version of Unicode changes.
    ///
    /// # Errors
    /// [`RuleBroken`] if the name is empty, has more than 512 bytes, or has a
    /// space, an ASCII control character or a colon.
    pub fn stored(text: &str) -> Result<Self, RuleBroken> {
        const RULE: RuleBroken = RuleBroken::new("this is no stored name");
        let bad = |byte: u8| byte <= b' ' || byte == 0x7f || byte == b':';
        if text.is_empty() || text.len() > 512 || text.bytes().any(bad) {
            return Err(RULE);
        }
        Ok(Name(text.into()))
    }
}

impl Name {
    /// The name under which the server itself acts. It is reserved: no person has
    /// it.
    pub fn of_server() -> Self {
        Name("server".into())
    }
}

impl FromStr for Name {
    type Err = RuleBroken;

    fn from_str(text: &str) -> Result<Self, RuleBroken> {
        const RULE: RuleBroken = RuleBroken::new(
            "a name is 1 to 32 letters, digits or any of - _ . and cannot start with a combining mark",
        );
        // Normalising leaves at least a third of the characters. So a longer
        // text is refused before that work.
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
            && !name.contains(is_invisible)
            && name
                .chars()
                .all(|c| c.is_alphanumeric() || is_combining_mark(c) || "-_.".contains(c));
        if good {
            Ok(Name(name.into()))
        } else if reserved::is_address(text) {
            Err(reserved::ADDRESS)
        } else {
            Err(RULE)
        }
    }
}

/// Declares a short text that a client chooses.
macro_rules! token {
    ($(#[$doc:meta])* $Token:ident, $rule:literal) => {
        name! {
            $(#[$doc])*
            $Token
        }

        impl $Token {
            /// The longest one, in characters.
            pub const MAX: usize = 64;
        }

        impl FromStr for $Token {
            type Err = RuleBroken;

            fn from_str(text: &str) -> Result<Self, RuleBroken> {
                const RULE: RuleBroken = RuleBroken::new($rule);
                if is_token(text, Self::MAX) {
                    Ok($Token(text.into()))
                } else {
                    Err(RULE)
                }
            }
        }
    };
}

token! {
    /// A publisher's own id of a message: 1 to 64 of `A-Z a-z 0-9 _ -`.
    MessageId, "an id is 1 to 64 of the characters A-Z a-z 0-9 _ -"
}

token! {
    /// The ref of a command, which its answers carry: 1 to 64 of
    /// `A-Z a-z 0-9 _ -`. The client chooses it.
    Reference, "a ref is 1 to 64 of the characters A-Z a-z 0-9 _ -"
}

/// Whether a text has 1 to `most` characters of `A-Z a-z 0-9 _ -`. They need no
/// escape in any format.
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
    fn a_path_is_a_room_or_is_refused() {
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
            "/a/b", "/a b", "/a%20b", "/#a", "/.a", "/-", "/-a", "/ä", "/a/", "//", &long,
        ] {
            assert!(RoomName::from_path(path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_name_is_normalised_or_refused() {
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
            "ana\u{13441}",
            "ana\u{16fe4}",
            &"n".repeat(33),
        ] {
            assert!(name.parse::<Name>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_message_id_is_a_short_token() {
        assert!("Az0_-".parse::<MessageId>().is_ok());
        assert!("i".repeat(64).parse::<MessageId>().is_ok());
        for id in ["", "a b", "é", &"i".repeat(65)] {
            assert!(id.parse::<MessageId>().is_err(), "{id:?}");
        }
    }
}
