//! Names that the server refuses: its own, and those that look like an address.

use std::net::{IpAddr, SocketAddr};

use super::{key::NameKey, rule::RuleBroken};

/// Names that a message of the server itself could have.
const RESERVED: [&str; 8] = [
    "server",
    "system",
    "operator",
    "admin",
    "you",
    "everyone",
    "here",
    "anonymous",
];

/// The error for a name that is an address.
pub(super) const ADDRESS: RuleBroken = RuleBroken::new("a name must not be an address");

/// Checks that a name looks like no reserved name and no IPv4 address.
///
/// # Errors
/// [`RuleBroken`] if it does.
pub(super) fn check(key: &NameKey) -> Result<(), RuleBroken> {
    const TAKEN: RuleBroken = RuleBroken::new(
        "the names server, system, operator, admin, you, everyone, here and anonymous are reserved",
    );
    if RESERVED.iter().any(|name| key.is_like(&NameKey::of(name))) {
        return Err(TAKEN);
    }
    let mut looks = key.encoded().split(' ');
    if looks.any(is_dotted_address) {
        return Err(ADDRESS);
    }
    Ok(())
}

/// Whether a text is an IP address, a prefix of addresses or an `IP:port`.
pub(super) fn is_address(text: &str) -> bool {
    let is_prefix = |(address, bits): (&str, &str)| {
        address.parse::<IpAddr>().is_ok() && bits.parse::<u8>().is_ok()
    };
    text.parse::<IpAddr>().is_ok()
        || text.parse::<SocketAddr>().is_ok()
        || text.split_once('/').is_some_and(is_prefix)
}

/// Whether a look is that of four short numbers with dots between them.
fn is_dotted_address(look: &str) -> bool {
    // In a look, 1 is l and 0 is o.
    let is_digit = |b: u8| b.is_ascii_digit() || b == b'l' || b == b'o';
    let is_number = |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(is_digit);
    look.split('.').count() == 4 && look.split('.').all(is_number)
}

#[cfg(test)]
mod tests {
    use crate::protocol::name::Name;

    #[test]
    fn reserved_names_and_addresses_are_refused() {
        for name in RESERVED_LOOKS {
            let read: Name = name.parse().expect(name);
            assert!(read.check_free().is_err(), "{name}");
        }
        for (text, rule) in [
            ("127.0.0.1:5000", "a name must not be an address"),
            ("2001:db8::1", "a name must not be an address"),
            ("203.0.113.0/24", "a name must not be an address"),
            ("203.0.113.7", "a name must not be an address"),
            (
                "a:b",
                "a name is 1 to 32 letters, digits or any of - _ . and cannot start with a combining mark",
            ),
        ] {
            let refused = Name::asked(text).expect_err(text);
            assert_eq!(refused.to_string(), rule, "{text}");
        }
        for name in ["servers", "youri", "1.2.3", "v1.2.3.4", "there", "127"] {
            assert!(Name::asked(name).is_ok(), "{name}");
        }
    }

    const RESERVED_LOOKS: [&str; 9] = [
        "server",
        "Admin",
        "\u{410}dmin",
        "adrnin",
        "\u{3a5}ou",
        "0perator",
        "203.0.113.7",
        "l27.O.0.1",
        "１２７.0.0.1",
    ];
}
