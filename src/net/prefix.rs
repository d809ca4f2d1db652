//! Address prefixes. Connections and rates are counted by prefix.

use std::net::IpAddr;

use ipnet::IpNet;

/// The prefix length of one IPv4 address.
const IPV4_BITS: u8 = 32;

/// The prefix length for IPv6. A machine chooses the other 64 bits itself, as
/// often as it likes.
const IPV6_BITS: u8 = 64;

/// The part of an address that counts as one peer: an IPv4 address, or an IPv6
/// prefix of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix(IpNet);

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
}
