//! Names that the server refuses: its own, and those that look like an address.

use std::{net::IpAddr, sync::LazyLock};

use unicode_normalization::UnicodeNormalization;

use super::{super::tag::GUEST, key::NameKey, rule::RuleBroken};

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

/// The looks of the prefix of guests' tags.
static GUEST_KEY: LazyLock<NameKey> = LazyLock::new(|| NameKey::of(GUEST));

static KEYS: LazyLock<[NameKey; 8]> = LazyLock::new(|| RESERVED.map(NameKey::of));

/// The error for a name that is an address.
pub(super) const ADDRESS: RuleBroken = RuleBroken::new("a name must not be an address");

/// Checks that a name looks like no reserved name and no address, and that it
/// is no address in a short form.
///
/// # Errors
/// [`RuleBroken`] if it does or is.
pub(super) fn check(name: &str, key: &NameKey) -> Result<(), RuleBroken> {
    const TAKEN: RuleBroken = RuleBroken::new(
        "the names server, system, operator, admin, you, everyone, here and anonymous are reserved",
    );
    const TAG: RuleBroken = RuleBroken::new("names that begin with guest- are reserved");
    if KEYS.iter().any(|reserved| key.is_like(reserved)) {
        return Err(TAKEN);
    }
    let is_guest = |look: &str| {
        let mut guests = GUEST_KEY.encoded().split(' ');
        guests.any(|guest| look.starts_with(guest))
    };
    if key.encoded().split(' ').any(is_guest) {
        return Err(TAG);
    }
    // In a look, 1 is l, 0 is o and d is cl. Some letters look like a colon or a
    // slash.
    let read = |look: &str| look.replace("cl", "d").replace('l', "1").replace('o', "0");
    let mut looks = key.encoded().split(' ').map(read);
    if is_address(name) || looks.any(|look| is_full_address(&look)) {
        return Err(ADDRESS);
    }
    Ok(())
}

/// Whether a text is an IP address or a prefix of addresses, with or without a
/// port. `127.1` is one too: many programs take it for one.
pub(super) fn is_address(text: &str) -> bool {
    let plain: String = text.nfkc().collect();
    is_full_address(&plain) || is_dotted(host(&plain), 2)
}

/// Whether a text is such an address in its full form.
fn is_full_address(text: &str) -> bool {
    let host = host(text);
    host.parse::<IpAddr>().is_ok() || is_dotted(host, 4)
}

/// The address in a text, without its prefix length and port.
fn host(text: &str) -> &str {
    let address = text.split_once('/').map_or(text, |(address, _)| address);
    if address.parse::<IpAddr>().is_ok() {
        return address;
    }
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Whether a text has at least `fewest` and at most four numbers, with dots
/// between them. A number may be hexadecimal, and in the digits of any script.
fn is_dotted(text: &str, fewest: usize) -> bool {
    let text = text.trim_end_matches('.');
    let is_number = |part: &str| {
        let digits = part.strip_prefix("0x");
        let is_hex = digits.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        !part.is_empty() && (is_hex || part.chars().all(char::is_numeric))
    };
    (fewest..=4).contains(&text.split('.').count()) && text.split('.').all(is_number)
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
            ("1.2.3.4:80", "a name must not be an address"),
            ("10.0.0.0/8", "a name must not be an address"),
            ("10.0/16", "a name must not be an address"),
            ("::1", "a name must not be an address"),
            ("[::1]:80", "a name must not be an address"),
            ("127.1", "a name must not be an address"),
            (
                "a:b",
                "a name is 1 to 32 letters, digits or any of - _ . and cannot start with a combining mark",
            ),
        ] {
            let refused = Name::asked(text).expect_err(text);
            assert_eq!(refused.to_string(), rule, "{text}");
        }
        for name in [
            "servers",
            "guest",
            "guests-of-ana",
            "youri",
            "v1.2.3.4",
            "1.2.3.4.5",
            "there",
            "127",
            "a.1",
            "lol.lol",
            "ノリコ",
        ] {
            assert!(Name::asked(name).is_ok(), "{name}");
        }
    }

    const RESERVED_LOOKS: [&str; 25] = [
        "guest-ab3d",
        "GUEST-1",
        "gu\u{435}st-7",
        "guest-",
        "server",
        "Admin",
        "\u{410}dmin",
        "adrnin",
        "\u{3a5}ou",
        "0perator",
        "\u{43e}perat\u{43e}r",
        "EVERYONE",
        "an0nym0us",
        "203.0.113.7",
        "l27.O.0.1",
        "１２７.0.0.1",
        "1.2.3",
        "127.1",
        "0x7f.1",
        "1.2.3.4.",
        "१२७.०.०.१",
        // Letters that look like a dot, a colon and a slash.
        "1\u{a4f8}2\u{a4f8}3\u{a4f8}4",
        "1.2.3.4\u{2d0}80",
        "10.0.0.0ノ8",
        "2001\u{2d0}db8\u{2d0}\u{2d0}1",
    ];
}
