//! Who counts as one, where connections are counted and rates are kept.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// How much of an IPv6 address names the network; the rest its machines choose
/// themselves, as often as they like.
const NETWORK_BITS: u32 = 64;

/// An IPv4 address, or an IPv6 network of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(IpAddr);

impl From<SocketAddr> for Network {
    fn from(peer: SocketAddr) -> Self {
        // A listener for both kinds sees IPv4 in the clothes of IPv6.
        Network(match peer.ip().to_canonical() {
            IpAddr::V4(ip) => IpAddr::V4(ip),
            IpAddr::V6(ip) => {
                let mask = u128::MAX << (Ipv6Addr::BITS - NETWORK_BITS);
                IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_one() {
        let of = |addr: &str| Network::from(addr.parse::<SocketAddr>().expect("an address"));
        for (one, other, same) in [
            ("192.0.2.1:1", "192.0.2.1:2", true),
            ("192.0.2.1:1", "192.0.2.2:1", false),
            ("192.0.2.1:1", "[::ffff:192.0.2.1]:1", true),
            ("[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.2]:1", false),
            ("[2001:db8:0:1::1]:1", "[2001:db8:0:1:ffff::]:2", true),
            ("[2001:db8:0:1::1]:1", "[2001:db8:0:2::1]:1", false),
        ] {
            assert_eq!(of(one) == of(other), same, "{one} {other}");
        }
    }
}
