//! The tags of connections.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{connection_id::ConnectionId, name::RuleBroken};

/// The tag that people see for a connection without a name: `IP:port`, or
/// `guest-xxxx` where addresses are hidden or the peer has none.
///
/// A tag has 1 to 64 printable ASCII characters and no space. Behind it may
/// stand, after a space, the address that it hides: only operators are told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(Arc<str>);

/// The characters that the tags of guests end with: none looks like another.
const GUEST_DIGITS: [u8; 32] = *b"0123456789abcdefghjkmnpqrstvwxyz";

/// The prefix of guests' tags.
pub(super) const GUEST: &str = "guest-";

impl Tag {
    /// The longest tag, in bytes.
    pub const MAX_LENGTH: usize = 64;

    /// How many tags of guests there are.
    pub const GUESTS: u32 = 1 << 20;

    fn new(shown: &str, hidden: Option<IpAddr>) -> Self {
        Tag(match hidden {
            Some(address) => format!("{shown} {address}").into(),
            None => shown.into(),
        })
    }

    /// The tag of a guest, which hides its address: `guest-` and four
    /// characters.
    pub fn guest(number: u32, address: Option<IpAddr>) -> Self {
        let digit = |place: u32| {
            let digit = number >> (15 - 5 * place) & 31;
            char::from(GUEST_DIGITS[digit as usize])
        };
        let mut shown = GUEST.to_owned();
        shown.extend((0..4).map(digit));
        Tag::new(&shown, address)
    }

    /// The same tag, with the address that it hides.
    #[must_use]
    pub fn hiding(self, address: Option<IpAddr>) -> Self {
        match address {
            None => self,
            Some(_) => Tag::new(self.as_str(), address),
        }
    }

    /// The tag as text.
    pub fn as_str(&self) -> &str {
        self.0.split_once(' ').map_or(&self.0, |(shown, _)| shown)
    }

    /// The address that it hides, as text.
    pub fn hidden(&self) -> Option<&str> {
        self.0.split_once(' ').map(|(_, hidden)| hidden)
    }

    /// The address that it hides.
    pub fn hidden_address(&self) -> Option<IpAddr> {
        self.hidden()?.parse().ok()
    }

    /// The address that it shows.
    pub fn shown_address(&self) -> Option<SocketAddr> {
        self.as_str().parse().ok()
    }

    /// The address of the connection, shown or hidden.
    pub fn address(&self) -> Option<IpAddr> {
        let shown = || self.shown_address().map(|addr| addr.ip());
        self.hidden_address().or_else(shown)
    }

    /// Whether it is the tag of a guest.
    pub fn is_guest(&self) -> bool {
        self.as_str().starts_with(GUEST)
    }
}

impl FromStr for Tag {
    type Err = RuleBroken;

    fn from_str(text: &str) -> Result<Self, RuleBroken> {
        const RULE: RuleBroken =
            RuleBroken::new("a tag has 1 to 64 printable characters and no space");
        let fits = (1..=Self::MAX_LENGTH).contains(&text.len());
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
        (fits && printable)
            .then(|| Tag::new(text, None))
            .ok_or(RULE)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<SocketAddr> for Tag {
    fn from(addr: SocketAddr) -> Self {
        Tag::new(&addr.to_string(), None)
    }
}

impl<I: Into<IpAddr>> From<(I, u16)> for Tag {
    fn from(addr: (I, u16)) -> Self {
        SocketAddr::from(addr).into()
    }
}

impl From<ConnectionId> for Tag {
    fn from(id: ConnectionId) -> Self {
        Tag::new(&format!("{GUEST}{id}"), None)
    }
}

impl TryFrom<String> for Tag {
    type Error = RuleBroken;

    fn try_from(text: String) -> Result<Self, RuleBroken> {
        text.parse()
    }
}

impl From<Tag> for String {
    fn from(tag: Tag) -> String {
        tag.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_tag_hides_its_address() {
        for (number, shown) in [
            (0, "guest-0000"),
            (1, "guest-0001"),
            (Tag::GUESTS - 1, "guest-zzzz"),
            (0x1_8864, "guest-3234"),
        ] {
            let address = Some([192, 0, 2, 7].into());
            let tag = Tag::guest(number, address);
            assert_eq!((tag.as_str(), tag.address()), (shown, address));
            let written = serde_json::to_string(&tag).expect("JSON");
            assert_eq!(written, format!("\"{shown}\""));
        }
        let open = Tag::from(([192, 0, 2, 7], 99));
        assert_eq!(open.address(), Some([192, 0, 2, 7].into()));
        assert_eq!(open.hidden_address(), None);
    }

    #[test]
    fn a_tag_is_printable_and_short() {
        let address = Tag::from(([127, 0, 0, 1], 5000));
        assert_eq!(address.as_str(), "127.0.0.1:5000");
        let longest = "x".repeat(Tag::MAX_LENGTH);
        for text in [
            "127.0.0.1:5000",
            "[fe80::1%2]:5000",
            "guest-1f0c",
            &*longest,
        ] {
            assert_eq!(text.parse::<Tag>().expect(text).as_str(), text);
        }
        let too_long = format!("{longest}x");
        for text in [
            "",
            "a b",
            "a\n",
            "\u{1b}[2J",
            "ана",
            "\u{202e}a",
            &*too_long,
        ] {
            assert!(text.parse::<Tag>().is_err(), "{text:?}");
        }
    }
}
