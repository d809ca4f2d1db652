//! The target of an operator's command.

use std::{fmt, net::SocketAddr, str::FromStr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    name::{Name, RuleBroken},
    prefix::Prefix,
    tag::Tag,
};

/// The target of an operator's command: a person as other people see them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum CommandTarget {
    /// One connection, by its address and port.
    Connection(SocketAddr),
    /// One connection, by the tag that hides its address.
    Guest(Tag),
    /// All connections from an address or a prefix.
    Prefix(Prefix),
    /// All connections with a name.
    Name(Name),
}

impl FromStr for CommandTarget {
    type Err = RuleBroken;

    fn from_str(text: &str) -> Result<Self, RuleBroken> {
        const RULE: RuleBroken = RuleBroken::new("give a name, an IP address, a prefix or IP:port");
        if let Ok(addr) = text.parse() {
            return Ok(CommandTarget::Connection(addr));
        }
        if let Ok(tag) = text.parse::<Tag>()
            && tag.is_guest()
        {
            return Ok(CommandTarget::Guest(tag));
        }
        match text.parse() {
            Ok(prefix) => Ok(CommandTarget::Prefix(prefix)),
            Err(rule) if text.parse::<IpNet>().is_ok() => Err(rule),
            Err(_) => text.parse().map(CommandTarget::Name).map_err(|_| RULE),
        }
    }
}

impl fmt::Display for CommandTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandTarget::Connection(addr) => addr.fmt(f),
            CommandTarget::Guest(tag) => tag.fmt(f),
            CommandTarget::Prefix(prefix) => prefix.fmt(f),
            CommandTarget::Name(name) => name.fmt(f),
        }
    }
}

impl TryFrom<String> for CommandTarget {
    type Error = RuleBroken;

    fn try_from(text: String) -> Result<Self, RuleBroken> {
        text.parse()
    }
}

impl From<CommandTarget> for String {
    fn from(who: CommandTarget) -> String {
        who.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_name_an_address_or_a_prefix() {
        for text in [
            "ana",
            "guest-ab3d",
            "10.0.0.7",
            "203.0.113.0/24",
            "2001:db8::/64",
            "10.0.0.7:5000",
            "[::1]:5000",
        ] {
            let who: CommandTarget = text.parse().expect(text);
            assert_eq!(who.to_string(), text);
            assert_eq!(matches!(who, CommandTarget::Name(_)), text == "ana");
            assert_eq!(matches!(who, CommandTarget::Guest(_)), text == "guest-ab3d");
            assert_eq!(
                matches!(who, CommandTarget::Connection(_)),
                text.ends_with(":5000")
            );
        }
        for text in ["", "a b", "10.0.0.7:", "a:b", "10.0.0.0/7"] {
            assert!(text.parse::<CommandTarget>().is_err(), "{text:?}");
        }
    }
}
