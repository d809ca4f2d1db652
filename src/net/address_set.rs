//! Sets of addresses, as flags name them.

use std::{net::IpAddr, str::FromStr};

use ipnet::IpNet;

use crate::protocol::prefix::Prefix;

const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];

/// The private networks of RFC 1918 and RFC 4193.
const PRIVATE: [&str; 4] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];

/// A set of addresses: of prefixes, of `loopback` or of `private`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressSet(Vec<IpNet>);

impl AddressSet {
    /// No address at all.
    pub const NONE: AddressSet = AddressSet(Vec::new());

    /// The addresses of the loopback interface.
    pub fn loopback() -> Self {
        AddressSet::of(&LOOPBACK)
    }

    fn of(prefixes: &[&str]) -> Self {
        AddressSet(prefixes.iter().filter_map(|it| it.parse().ok()).collect())
    }

    /// Whether no address is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an address is in it. A peer without an address came through a
    /// Unix socket: it is on this machine, and counts as a loopback address.
    pub fn contains(&self, address: Option<IpAddr>) -> bool {
        let here = IpAddr::from([127, 0, 0, 1]);
        let address = address.map_or(here, |address| address.to_canonical());
        self.0.iter().any(|prefix| prefix.contains(&address))
    }

    /// Whether an address is in it and in a prefix.
    pub fn overlaps(&self, prefix: Prefix) -> bool {
        self.0.iter().any(|own| prefix.overlaps(own))
    }
}

impl FromStr for AddressSet {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str =
            "give an IP address, a prefix such as 10.1.0.0/16, or loopback or private";
        const ALL: &str = "a prefix of 0 bits has all addresses: give a longer one";
        match text {
            "loopback" => return Ok(AddressSet::loopback()),
            "private" => return Ok(AddressSet::of(&PRIVATE)),
            _ => {}
        }
        let prefix = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address.to_canonical()),
            Err(_) => text.parse().map_err(|_| FORM)?,
        };
        if prefix.prefix_len() == 0 {
            return Err(ALL);
        }
        Ok(AddressSet(vec![prefix.trunc()]))
    }
}

impl FromIterator<AddressSet> for AddressSet {
    fn from_iter<I: IntoIterator<Item = AddressSet>>(sets: I) -> Self {
        AddressSet(sets.into_iter().flat_map(|set| set.0).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_the_addresses_that_its_text_names() {
        for (text, inside, outside) in [
            ("loopback", "127.9.9.9", "128.0.0.1"),
            ("loopback", "::1", "::2"),
            ("private", "10.0.0.7", "11.0.0.7"),
            ("private", "172.31.255.255", "172.32.0.0"),
            ("private", "::ffff:192.168.7.7", "192.169.0.0"),
            ("private", "fd00::1", "fe80::1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.7/24", "192.0.2.8", "192.0.3.7"),
            ("2001:db8::7", "2001:db8::7", "2001:db8::8"),
        ] {
            let set: AddressSet = text.parse().expect(text);
            for (address, expected) in [(inside, true), (outside, false)] {
                let address: IpAddr = address.parse().expect(address);
                assert_eq!(set.contains(Some(address)), expected, "{text} {address}");
            }
            assert_eq!(set.contains(None), text == "loopback", "a Unix socket");
        }
        for wrong in ["", "ana", "10.0.0.0/33", "10.0.0.7:80", "0.0.0.0/0", "::/0"] {
            assert!(wrong.parse::<AddressSet>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_prefix_overlaps_what_it_covers_and_what_covers_it() {
        let set: AddressSet = "10.1.0.0/16".parse().expect("a prefix");
        for (prefix, expected) in [
            ("10.0.0.0/8", true),
            ("10.1.2.3", true),
            ("10.2.0.0/16", false),
            ("2001:db8::/32", false),
        ] {
            let prefix = prefix.parse().expect(prefix);
            assert_eq!(set.overlaps(prefix), expected, "{prefix}");
        }
    }
}
