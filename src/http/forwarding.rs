//! Reads what a proxy says of a request: its visitor, and the URL that the
//! visitor asked for.
//!
//! Only trusted proxies are believed. Each proxy adds itself on the right, so
//! the headers are read from right to left.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Once,
};

use http::{HeaderMap, HeaderName, StatusCode, header, request::Parts};
use tracing::warn;

use super::answer::Refused;
use crate::{
    hub::{Full, Registration},
    net::{AddressSet, Peer},
};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The headers by which proxies name the visitor.
const VISITOR_HEADERS: [&str; 3] = ["Forwarded", "X-Forwarded-For", "X-Real-IP"];

/// The facts about a request that a trusted proxy states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Forwarded {
    /// The address of the visitor.
    visitor: Option<SocketAddr>,
    /// The host that the visitor asked for.
    pub(super) host: Option<String>,
    /// Whether the visitor asked by https, if the proxy says so.
    pub(super) https: Option<bool>,
}

/// Takes the place of a request's visitor. Returns what a trusted proxy says of
/// the request.
///
/// # Errors
///
/// Fails with 429 if the visitor's prefix already has the most connections
/// allowed. Fails with 400 if the headers of a trusted proxy contradict each
/// other.
pub(super) fn admit(
    head: &Parts,
    registration: &Registration,
    proxies: &AddressSet,
    is_limited: bool,
) -> Result<Forwarded, Refused> {
    let full = |full: Full| Refused::new(StatusCode::TOO_MANY_REQUESTS, full.to_string());
    if registration.has_place() {
        if is_limited && is_forwarded(&head.headers) {
            registration.count_as_forwarded().map_err(full)?;
        }
        return Ok(Forwarded::default());
    }
    let told = Forwarded::read(&head.headers, registration.peer(), proxies)?;
    registration.take_place(told.visitor).map_err(full)?;
    Ok(told)
}

/// Whether a request says that it was forwarded. Warns of the first one.
///
/// Its peer is not believed, so its visitors cannot be told apart.
pub(super) fn is_forwarded(headers: &HeaderMap) -> bool {
    static WARNED: Once = Once::new();
    let mut named = VISITOR_HEADERS.iter();
    let Some(found) = named.find(|name| headers.contains_key(**name)) else {
        return false;
    };
    WARNED.call_once(|| {
        warn!(
            "a proxy forwards requests here (header {found}), and is not believed: all its visitors \
             together have the limits of one address; name the proxy with --trusted-proxy"
        );
    });
    true
}

impl Forwarded {
    /// Reads the headers of a request that came from a trusted proxy.
    ///
    /// # Errors
    ///
    /// Fails with 400 if two headers name different visitors: one of them came
    /// from the visitor.
    fn read(headers: &HeaderMap, proxy: Peer, proxies: &AddressSet) -> Result<Self, Refused> {
        let elements = list(headers, &header::FORWARDED);
        let hops = elements
            .iter()
            .rev()
            .map(|element| node(field(element, "for")));
        let (by_standard, depth) = visitor(hops, proxy, proxies);
        let element = elements.iter().rev().nth(depth);
        let mut told = Forwarded {
            visitor: by_standard,
            host: element
                .and_then(|element| field(element, "host"))
                .map(unquoted),
            https: element
                .and_then(|element| field(element, "proto"))
                .and_then(|proto| is_https(&unquoted(proto))),
        };
        let names = list(headers, &X_FORWARDED_FOR);
        let hops = names.iter().rev().map(|name| node(Some(name)));
        let (by_custom, depth) = visitor(hops, proxy, proxies);
        if !elements.is_empty() && !names.is_empty() && ip(by_custom) != ip(by_standard) {
            return Err(Refused::bad_request(
                "The headers Forwarded and X-Forwarded-For name different visitors: let the proxy remove the one that it does not set.",
            ));
        }
        told.visitor = by_standard.or(by_custom);
        // These lists may be shorter: some proxies replace them.
        let at_depth = |name: &HeaderName| {
            let values = list(headers, name);
            let index = values.len().checked_sub(1)?.saturating_sub(depth);
            values.get(index).map(|value| (*value).to_owned())
        };
        told.host = told.host.or_else(|| at_depth(&X_FORWARDED_HOST));
        let proto = || at_depth(&X_FORWARDED_PROTO).and_then(|proto| is_https(&proto));
        told.https = told.https.or_else(proto);
        Ok(told)
    }
}

/// Finds the visitor among the hops. The hop of the last proxy comes first.
/// Returns its address, and how many hops came before it.
///
/// A hop without an address ends the search: the proxy before it holds.
fn visitor(
    hops: impl Iterator<Item = Option<(IpAddr, Option<u16>)>>,
    proxy: Peer,
    proxies: &AddressSet,
) -> (Option<SocketAddr>, usize) {
    let port = proxy.addr.map_or(0, |addr| addr.port());
    let mut found = None;
    let mut depth = 0;
    for (before, hop) in hops.enumerate() {
        let Some((address, own_port)) = hop else {
            break;
        };
        found = Some(SocketAddr::new(address, own_port.unwrap_or(port)));
        depth = before;
        if !proxies.contains(Some(address)) {
            break;
        }
    }
    (found, depth)
}

fn ip(addr: Option<SocketAddr>) -> Option<IpAddr> {
    addr.map(|addr| addr.ip())
}

/// Splits a list header, in all its lines, into its elements.
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<&'a str> {
    let lines = headers.get_all(name).into_iter();
    // A line that is not ASCII is one element without a meaning.
    lines
        .map(|line| line.to_str().unwrap_or("unknown"))
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .collect()
}

/// The value of a field in an element of `Forwarded` (RFC 7239 §4).
fn field<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    element.split(';').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn unquoted(value: &str) -> String {
    value.trim_matches('"').to_owned()
}

/// Reads an address with or without a port. `unknown` and hidden names have
/// none.
fn node(text: Option<&str>) -> Option<(IpAddr, Option<u16>)> {
    let text = text?.trim_matches('"');
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some((address.to_canonical(), None));
    }
    if let Ok(addr) = text.parse::<SocketAddr>() {
        return Some((addr.ip().to_canonical(), Some(addr.port())));
    }
    // An IPv6 address in brackets, or a port that is a hidden name.
    let (host, _) = text
        .rsplit_once(':')
        .filter(|_| !text.ends_with(']'))
        .unwrap_or((text, ""));
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let address: IpAddr = bare.unwrap_or(host).parse().ok()?;
    Some((address.to_canonical(), None))
}

fn is_https(proto: &str) -> Option<bool> {
    match proto.to_ascii_lowercase().as_str() {
        "https" | "wss" => Some(true),
        "http" | "ws" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: ([u8; 4], u16) = ([127, 0, 0, 1], 4711);

    fn read(headers: &[(&str, &str)]) -> Result<Forwarded, u16> {
        let proxies = ["loopback", "10.0.0.0/8", "2001:db8::/32"];
        let proxies = proxies.iter().map(|text| text.parse().expect("a prefix"));
        let mut request = http::Request::get("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).expect("a request").into_parts();
        let proxy = Peer::accepted(Some(PROXY.into())).expect("an id");
        let told = Forwarded::read(&head.headers, proxy, &proxies.collect());
        told.map_err(|refused| refused.status.as_u16())
    }

    // Verified to fail when the leftmost address is believed.
    #[test]
    fn the_first_untrusted_address_from_the_right_is_the_visitor() {
        for (name, value, visitor) in [
            ("x-forwarded-for", "192.0.2.7", Some("192.0.2.7:4711")),
            ("x-forwarded-for", "192.0.2.7:99", Some("192.0.2.7:99")),
            (
                "x-forwarded-for",
                "::ffff:192.0.2.7",
                Some("192.0.2.7:4711"),
            ),
            ("x-forwarded-for", "2001:db9::1", Some("[2001:db9::1]:4711")),
            (
                "x-forwarded-for",
                "[2001:db9::1]",
                Some("[2001:db9::1]:4711"),
            ),
            (
                "x-forwarded-for",
                "[2001:db9::1]:99",
                Some("[2001:db9::1]:99"),
            ),
            (
                "x-forwarded-for",
                "6.6.6.6, 192.0.2.7",
                Some("192.0.2.7:4711"),
            ),
            (
                "x-forwarded-for",
                "6.6.6.6,192.0.2.7 ,10.0.0.1",
                Some("192.0.2.7:4711"),
            ),
            (
                "x-forwarded-for",
                "10.0.0.2, 10.0.0.1",
                Some("10.0.0.2:4711"),
            ),
            (
                "x-forwarded-for",
                "6.6.6.6, unknown, 10.0.0.1",
                Some("10.0.0.1:4711"),
            ),
            ("x-forwarded-for", "6.6.6.6, ", None),
            ("x-forwarded-for", "unknown", None),
            ("x-forwarded-for", "192.0.2.300", None),
            ("forwarded", "for=192.0.2.7", Some("192.0.2.7:4711")),
            (
                "forwarded",
                "For=\"192.0.2.7:99\";proto=http",
                Some("192.0.2.7:99"),
            ),
            (
                "forwarded",
                "for=\"[2001:db9::1]\"",
                Some("[2001:db9::1]:4711"),
            ),
            (
                "forwarded",
                "for=\"[2001:db9::1]:_x\"",
                Some("[2001:db9::1]:4711"),
            ),
            (
                "forwarded",
                "for=6.6.6.6, for=192.0.2.7;by=_me, for=10.0.0.1",
                Some("192.0.2.7:4711"),
            ),
            ("forwarded", "for=6.6.6.6, for=_hidden", None),
            ("forwarded", "for=6.6.6.6, by=_me", None),
            ("x-real-ip", "192.0.2.7", None),
        ] {
            let told = read(&[(name, value)]).expect(value);
            let visitor = visitor.map(|addr| addr.parse().expect(addr));
            assert_eq!(told.visitor, visitor, "{name}: {value}");
        }
        let lines = [
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-for", "192.0.2.7"),
        ];
        let told = read(&lines).expect("two lines");
        assert_eq!(ip(told.visitor), Some([192, 0, 2, 7].into()));
    }

    #[test]
    fn a_header_that_the_proxy_passed_on_is_noticed() {
        let custom = ("x-forwarded-for", "192.0.2.7");
        assert_eq!(read(&[custom, ("forwarded", "for=6.6.6.6")]), Err(400));
        assert_eq!(read(&[custom, ("forwarded", "for=unknown")]), Err(400));
        let told = read(&[custom, ("forwarded", "for=\"192.0.2.7:99\"")]).expect("the same");
        assert_eq!(told.visitor, Some(([192, 0, 2, 7], 99).into()));
    }

    #[test]
    fn the_visitors_host_and_scheme_are_those_of_its_hop() {
        let chain = ("x-forwarded-for", "192.0.2.7, 10.0.0.1");
        for (headers, host, https) in [
            (&[][..], None, None),
            (
                &[
                    ("x-forwarded-host", "a.example"),
                    ("x-forwarded-proto", "https"),
                ],
                Some("a.example"),
                Some(true),
            ),
            (
                &[
                    ("x-forwarded-host", "evil, a.example, b.example"),
                    ("x-forwarded-proto", "https, http"),
                ],
                Some("a.example"),
                Some(true),
            ),
            (&[("x-forwarded-proto", "gopher")], None, None),
        ] {
            let told = read(&[&[chain], headers].concat()).expect("headers");
            assert_eq!(
                (told.host.as_deref(), told.https),
                (host, https),
                "{headers:?}"
            );
        }
        let element =
            "for=192.0.2.7;host=\"a.example:8443\";proto=https, for=10.0.0.1;host=b;proto=http";
        let told = read(&[("forwarded", element)]).expect("an element");
        assert_eq!(
            (told.host.as_deref(), told.https),
            (Some("a.example:8443"), Some(true))
        );
    }
}
