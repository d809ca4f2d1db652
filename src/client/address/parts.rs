//! The parts of a typed address: scheme, host, port, base path, room and query.

use std::{fmt, net::Ipv6Addr};

use super::super::pass::Pass;
use crate::protocol::{
    DEFAULT_PORT, is_base_segment,
    name::{RoomName, RuleBroken},
};

/// The error for a bad address; its text says what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadAddress(pub(super) String);

impl fmt::Display for BadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadAddress {}

/// The parts of an address, before the flags are added.
pub(super) struct AddressParts {
    /// Whether the scheme asks for TLS; `None` without a scheme.
    pub(super) tls: Option<bool>,
    pub(super) host: String,
    pub(super) port: Option<u16>,
    pub(super) default_port: u16,
    /// The path before the room: empty, or like `/chat`.
    pub(super) base: String,
    pub(super) room: Option<RoomName>,
    pub(super) query: String,
    /// The token behind `#invite=` or `#link=`.
    pub(super) pass: Option<Pass>,
}

impl AddressParts {
    pub(super) fn bare(host: &str, port: Option<u16>) -> Self {
        AddressParts {
            tls: None,
            host: host.to_owned(),
            port,
            default_port: DEFAULT_PORT,
            base: String::new(),
            room: None,
            query: String::new(),
            pass: None,
        }
    }

    pub(super) fn parse(address: &str) -> Result<Self, BadAddress> {
        if let Some((scheme, rest)) = address.split_once("://") {
            return Self::parse_url(scheme, rest);
        }
        if address.contains('@') {
            return Err(BadAddress(
                "an address takes no user name or password".to_owned(),
            ));
        }
        if address.bytes().all(|b| b.is_ascii_digit()) && !address.is_empty() {
            return Err(BadAddress(format!(
                "{address} is no address: did you mean --port {address}?"
            )));
        }
        if is_ipv6(address) {
            return Ok(Self::bare(address, None));
        }
        // As a URL without its scheme, but with the port of a bare host.
        Self::parse_rest(None, DEFAULT_PORT, address)
    }

    fn parse_url(scheme: &str, rest: &str) -> Result<Self, BadAddress> {
        let (tls, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "ws" | "http" => (false, 80),
            "wss" | "https" => (true, 443),
            _ => {
                return Err(BadAddress(format!(
                    "{scheme}:// leads to no chat: a room's URL begins with ws://, wss://, http:// or https://"
                )));
            }
        };
        Self::parse_rest(Some(tls), default_port, rest)
    }

    /// Parses a URL from its host on.
    fn parse_rest(tls: Option<bool>, default_port: u16, rest: &str) -> Result<Self, BadAddress> {
        let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let pass = Pass::in_fragment(fragment)
            .map_err(|why| BadAddress(format!("the address is not whole: {why}")))?;
        let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            // The sentence does not repeat the address, which may hold a
            // password.
            return Err(BadAddress(
                "a room's URL takes no user name or password before its host".to_owned(),
            ));
        }
        let (host, port) = host_and_port(authority)?;
        let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
        let (base, room) = path.rsplit_once('/').unwrap_or_default();
        let no_room = |why: &dyn fmt::Display| BadAddress(format!("{path} is no room: {why}"));
        if !base.split('/').skip(1).all(is_base_segment) {
            return Err(no_room(
                &"the path before it has other characters than a server's",
            ));
        }
        let room = match room {
            "" => None,
            room => Some(room.parse().map_err(|why: RuleBroken| no_room(&why))?),
        };
        Ok(AddressParts {
            tls,
            host: host.to_owned(),
            port,
            default_port,
            base: base.to_owned(),
            room,
            query: query.to_owned(),
            pass,
        })
    }
}

fn host_and_port(authority: &str) -> Result<(&str, Option<u16>), BadAddress> {
    let bad = |why: &str| BadAddress(format!("{authority:?} is no address: {why}"));
    let (host, port) = if let Some(bracketed) = authority.strip_prefix('[') {
        let (host, rest) = bracketed
            .split_once(']')
            .filter(|(host, rest)| is_ipv6(host) && (rest.is_empty() || rest.starts_with(':')))
            .ok_or_else(|| bad("brackets enclose an IPv6 address, as in [::1]:2000"))?;
        (host, rest.strip_prefix(':'))
    } else {
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        if port.is_some_and(|port| port.contains(':')) {
            return Err(bad(
                "an IPv6 address with a port is written as in [::1]:2000",
            ));
        }
        let is_host = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        if host.is_empty() || !host.bytes().all(is_host) {
            return Err(bad("it has no host name or address"));
        }
        (host, port)
    };
    let port = port
        .map(|port| match port.parse() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(bad("a port is a number from 1 to 65535")),
        })
        .transpose()?;
    Ok((host, port))
}

fn is_ipv6(host: &str) -> bool {
    let (address, zone) = host.split_once('%').unwrap_or((host, "0"));
    address.parse::<Ipv6Addr>().is_ok()
        && !zone.is_empty()
        && zone.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}
