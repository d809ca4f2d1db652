//! Whom an operator means.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::name::{BadName, Name};

/// Somebody, by what the others see of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Who {
    /// One connection.
    Connection(SocketAddr),
    /// All connections from an address.
    Address(IpAddr),
    /// All connections under a name.
    Name(Name),
}

impl FromStr for Who {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        const RULE: BadName = BadName::of("it is no name, no IP address and no IP:port");
        let address = |text: &str| text.parse().ok().map(Who::Address);
        let connection = |text: &str| text.parse().ok().map(Who::Connection);
        let found = address(text).or_else(|| connection(text));
        found
            .or_else(|| text.parse().ok().map(Who::Name))
            .ok_or(RULE)
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Connection(addr) => addr.fmt(f),
            Who::Address(ip) => ip.fmt(f),
            Who::Name(name) => name.fmt(f),
        }
    }
}

impl TryFrom<String> for Who {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        text.parse()
    }
}

impl From<Who> for String {
    fn from(who: Who) -> String {
        who.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody() {
        for text in ["ana", "10.0.0.7", "10.0.0.7:5000", "::1", "[::1]:5000"] {
            let who: Who = text.parse().expect(text);
            assert_eq!(who.to_string(), text);
            assert_eq!(matches!(who, Who::Name(_)), text == "ana");
            assert_eq!(matches!(who, Who::Connection(_)), text.ends_with(":5000"));
        }
        for text in ["", "a b", "10.0.0.7:", "a:b"] {
            assert!(text.parse::<Who>().is_err(), "{text:?}");
        }
    }
}
