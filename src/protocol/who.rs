//! The target of an operator's command.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::name::{BadName, Name};

/// The target of an operator's command: a person as other people see them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Who {
    /// One connection, by its address and port.
    Connection(SocketAddr),
    /// All connections from an address.
    Address(IpAddr),
    /// All connections with a name.
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
    fn a_target_is_a_name_or_an_address() {
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
