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
/// `guest-ID` if the peer has no address.
///
/// A tag has 1 to 64 printable ASCII characters and no space.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(Arc<str>);

impl Tag {
    /// The longest tag, in bytes.
    pub const MAX_LENGTH: usize = 64;

    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = RuleBroken;

    fn from_str(text: &str) -> Result<Self, RuleBroken> {
        const RULE: RuleBroken =
            RuleBroken::new("a tag has 1 to 64 printable characters and no space");
        let fits = (1..=Self::MAX_LENGTH).contains(&text.len());
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
        (fits && printable).then(|| Tag(text.into())).ok_or(RULE)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<SocketAddr> for Tag {
    fn from(addr: SocketAddr) -> Self {
        Tag(addr.to_string().into())
    }
}

impl<I: Into<IpAddr>> From<(I, u16)> for Tag {
    fn from(addr: (I, u16)) -> Self {
        SocketAddr::from(addr).into()
    }
}

impl From<ConnectionId> for Tag {
    fn from(id: ConnectionId) -> Self {
        Tag(format!("guest-{id}").into())
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
