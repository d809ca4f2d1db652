//! Prefixes of addresses. Connections and rates are counted by prefix, and
//! operators' commands may name one.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use ipnet::{IpNet, Ipv4Net};

use super::name::RuleBroken;

/// The prefix length of one IPv4 address.
const IPV4_BITS: u8 = 32;

/// The prefix length for IPv6. A machine chooses the other 64 bits itself, as
/// often as it likes.
const IPV6_BITS: u8 = 64;

/// The shortest prefixes that a person may type: more than a registry gives to
/// one provider.
const MIN_IPV4_BITS: u8 = 8;
const MIN_IPV6_BITS: u8 = 32;

/// A prefix of addresses. That of one address is the part that counts as one
/// peer: an IPv4 address, or an IPv6 prefix of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(IpNet);

impl Prefix {
    /// The prefix with this length that an address begins with; `None` if the
    /// address is shorter.
    pub fn of(address: IpAddr, bits: u8) -> Option<Self> {
        let net = IpNet::new(address.to_canonical(), bits).ok()?;
        Some(Prefix(net.trunc()))
    }

    /// Its length in bits.
    pub fn bits(self) -> u8 {
        self.0.prefix_len()
    }

    /// Whether an address begins with it.
    pub fn contains(self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// Whether all addresses of another prefix begin with it.
    pub fn includes(self, other: Prefix) -> bool {
        self.0.contains(&other.0)
    }

    /// Whether an address begins with it and with another one.
    pub fn overlaps(self, other: &IpNet) -> bool {
        self.0.contains(other) || other.contains(&self.0)
    }

    /// Whether it has an address of the loopback interface.
    pub fn has_loopback(self) -> bool {
        match self.0 {
            IpNet::V4(net) => net.addr().is_loopback() || net.contains(&Ipv4Addr::LOCALHOST),
            IpNet::V6(net) => net.contains(&Ipv6Addr::LOCALHOST),
        }
    }
}

impl From<IpAddr> for Prefix {
    fn from(address: IpAddr) -> Self {
        // A listener for both families reports IPv4 peers as IPv4-mapped IPv6.
        let address = address.to_canonical();
        let bits = match address {
            IpAddr::V4(_) => IPV4_BITS,
            IpAddr::V6(_) => IPV6_BITS,
        };
        Prefix(IpNet::new_assert(address, bits).trunc())
    }
}

impl FromStr for Prefix {
    type Err = RuleBroken;

    fn from_str(text: &str) -> Result<Self, RuleBroken> {
        const FORM: RuleBroken = RuleBroken::new("give an IP address or a prefix");
        const SHORT: RuleBroken =
            RuleBroken::new("a prefix has at least 8 bits in IPv4, and 32 in IPv6");
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(address.into());
        }
        let net: IpNet = text.parse().map_err(|_| FORM)?;
        let mapped = match net {
            IpNet::V6(net) => net
                .addr()
                .to_ipv4_mapped()
                .zip(net.prefix_len().checked_sub(96)),
            IpNet::V4(_) => None,
        };
        let net = mapped
            .and_then(|(address, bits)| Ipv4Net::new(address, bits).ok())
            .map_or(net, IpNet::V4);
        let fewest = match net {
            IpNet::V4(_) => MIN_IPV4_BITS,
            IpNet::V6(_) => MIN_IPV6_BITS,
        };
        if net.prefix_len() < fewest {
            return Err(SHORT);
        }
        Ok(Prefix(net.trunc()))
    }
}

impl fmt::Display for Prefix {
    /// Writes an IPv4 address alone, and every other prefix with its length.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpNet::V4(net) if net.prefix_len() == IPV4_BITS => net.addr().fmt(f),
            net => net.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_counts_by_address_and_ipv6_by_64_bits() {
        let of = |address: &str| Prefix::from(address.parse::<IpAddr>().expect("an address"));
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
            ("2001:db8:0:1::1", "2001:db8:0:1:ffff::", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
        ] {
            assert_eq!(of(one) == of(other), same, "{one} {other}");
        }
    }
    #[test]
    fn a_typed_prefix_is_an_address_or_has_its_length() {
        for (typed, shown) in [
            ("203.0.113.7", "203.0.113.7"),
            ("203.0.113.7/32", "203.0.113.7"),
            ("203.0.113.7/24", "203.0.113.0/24"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("::ffff:203.0.113.0/120", "203.0.113.0/24"),
            ("2001:db8::7", "2001:db8::/64"),
            ("2001:db8::7/128", "2001:db8::7/128"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("10.0.0.0/8", "10.0.0.0/8"),
        ] {
            let prefix: Prefix = typed.parse().expect(typed);
            assert_eq!(prefix.to_string(), shown);
            assert_eq!(shown.parse(), Ok(prefix));
        }
        for wrong in [
            "10.0.0.0/7",
            "0.0.0.0/0",
            "2001:db8::/31",
            "::/0",
            "::ffff:0.0.0.0/97",
        ] {
            let refused = wrong.parse::<Prefix>().expect_err(wrong);
            assert!(refused.to_string().contains("at least 8 bits"), "{wrong}");
        }
        for wrong in ["", "ana", "10.0.0.0/33", "10.0.0.7:80", "10/8"] {
            assert!(wrong.parse::<Prefix>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_prefix_contains_its_addresses() {
        let contains = |prefix: &str, address: &str| {
            let prefix: Prefix = prefix.parse().expect(prefix);
            prefix.contains(address.parse().expect(address))
        };
        assert!(contains("203.0.113.0/24", "203.0.113.200"));
        assert!(contains("203.0.113.0/24", "::ffff:203.0.113.200"));
        assert!(!contains("203.0.113.0/24", "203.0.114.1"));
        assert!(contains("2001:db8::1", "2001:db8::ffff"));
        assert!(!contains("2001:db8::1", "2001:db8:0:1::1"));
        for (prefix, loopback) in [
            ("127.0.0.1", true),
            ("127.0.0.0/8", true),
            ("127.3.0.0/16", true),
            ("126.0.0.0/8", false),
            ("::1", true),
            ("::2/127", false),
        ] {
            let found: Prefix = prefix.parse().expect(prefix);
            assert_eq!(found.has_loopback(), loopback, "{prefix}");
        }
    }
}
