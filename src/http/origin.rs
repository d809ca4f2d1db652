//! Decides which web pages may use the server on a visitor's behalf.
//!
//! A browser lets any page open a WebSocket to any server, and names the page's
//! origin in `Origin` (RFC 6455 §10.2). A page may also make its own name
//! resolve to this machine (DNS rebinding). The server therefore accepts in
//! `Host` only IP addresses and names of this machine. A page whose name begins
//! with the name of the machine can still pass.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header, request::Parts,
    uri::Authority,
};

use super::{answer::Refused, forwarding::Forwarded};
use crate::{hub::Registration, net::AddressSet};

/// The URL that a request was made to, as its visitor knows it.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// The host and the port.
    pub(super) host: Authority,
    /// Whether the scheme is https, if that is known.
    pub(super) https: Option<bool>,
}

impl Site {
    /// Whether the URL is encrypted, as far as the server knows.
    pub(super) fn is_encrypted(&self) -> bool {
        self.https == Some(true)
    }
}

/// Which hosts and origins are trusted.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The name of this machine; each name with the same first label is served.
    pub hostname: String,
    /// Other host names of this server.
    pub hosts: Vec<String>,
    /// Other origins whose pages may connect, such as `https://example.org`.
    pub origins: Vec<String>,
    /// The addresses that may read the metrics, besides this machine's.
    pub metrics_readers: AddressSet,
}

impl Trust {
    /// Returns the site of a request. The host that a trusted proxy named
    /// replaces the one in `Host`, and needs no other trust.
    ///
    /// # Errors
    ///
    /// Fails with 400 if the host is missing or invalid. Fails with 421 if the
    /// server does not go by this name.
    pub(super) fn check_host(&self, head: &Parts, told: &Forwarded) -> Result<Site, Refused> {
        let https = told.https;
        if let Some(host) = &told.host {
            let invalid =
                |_| Refused::bad_request("The forwarded host is no host: look at the proxy.");
            let host: Authority = host.parse().map_err(invalid)?;
            without_user(&host)?;
            return Ok(Site { host, https });
        }
        let asked = match single_header(head, &header::HOST)? {
            Some(host) => host,
            None if head.version == Version::HTTP_10 => "localhost",
            None => return Err(Refused::bad_request("The header Host is missing.")),
        };
        let host: Authority = asked
            .parse()
            .map_err(|_| Refused::bad_request("The header Host names no host."))?;
        // A target in absolute form names the host itself (RFC 9112 §3.2.2).
        let host = head.uri.authority().cloned().unwrap_or(host);
        without_user(&host)?;
        if !self.knows(&host) {
            return Err(Refused::new(
                StatusCode::MISDIRECTED_REQUEST,
                "This server does not go by that name; it is started with --host NAME to do so.",
            ));
        }
        Ok(Site { host, https })
    }

    fn knows(&self, host: &Authority) -> bool {
        let name = host.host();
        // A name may end with the root's dot (RFC 1034 §3.1).
        let bare = name.strip_suffix('.').unwrap_or(name);
        is_address(bare)
            || is_local(bare)
            || self.is_own(bare)
            || self.hosts.iter().any(|known| {
                [host.as_str(), name, bare]
                    .iter()
                    .any(|name| name.eq_ignore_ascii_case(known))
            })
    }

    /// Whether a name has the first label of this machine's name, as
    /// `box.local` has for a machine `box`.
    fn is_own(&self, name: &str) -> bool {
        let own = first_label(&self.hostname);
        // These first labels are not this machine's alone.
        let shared = own.is_empty()
            || own.eq_ignore_ascii_case("localhost")
            || own.bytes().all(|byte| byte.is_ascii_digit());
        !shared && first_label(name).eq_ignore_ascii_case(own)
    }

    /// Whether a peer may read the metrics. A request that a proxy forwarded
    /// without being believed may not: its visitor is not known.
    pub(super) fn may_read_metrics(&self, registration: &Registration) -> bool {
        let address = registration.peer().ip();
        let may =
            AddressSet::loopback().contains(address) || self.metrics_readers.contains(address);
        may && !registration.is_forwarded()
    }

    /// Checks that `Origin`, if present, is the server's own or a trusted one.
    ///
    /// # Errors
    ///
    /// Fails with 403 if the origin is another one, and with 400 if the header
    /// is invalid.
    pub(super) fn check_origin(&self, head: &Parts, site: &Site) -> Result<(), Refused> {
        let Some(origin) = single_header(head, &header::ORIGIN)? else {
            return Ok(());
        };
        let own = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"))
            .is_some_and(|page| page.eq_ignore_ascii_case(site.host.as_str()));
        if own
            || self
                .origins
                .iter()
                .any(|known| known.eq_ignore_ascii_case(origin))
        {
            return Ok(());
        }
        Err(Refused::new(
            StatusCode::FORBIDDEN,
            "Pages of that origin may not connect; the server is started with --origin to let them.",
        ))
    }
}

impl Trust {
    /// Whether a request comes from a page of a trusted other origin.
    fn is_from_trusted_origin(&self, head: &Parts) -> bool {
        let Ok(Some(origin)) = single_header(head, &header::ORIGIN) else {
            return false;
        };
        self.origins
            .iter()
            .any(|known| known.eq_ignore_ascii_case(origin))
    }

    /// Whether this is the preflight a browser sends before such a page may
    /// POST.
    pub(super) fn is_preflight(&self, head: &Parts) -> bool {
        head.method == Method::OPTIONS
            && head
                .headers
                .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
            && self.is_from_trusted_origin(head)
    }

    /// Lets a page of a trusted other origin read the response (CORS).
    pub(super) fn add_cors_headers(&self, head: &Parts, answer: &mut HeaderMap) {
        if let Some(origin) = head.headers.get(header::ORIGIN)
            && self.is_from_trusted_origin(head)
        {
            answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            answer.append(header::VARY, HeaderValue::from_static("origin"));
        }
        if self.is_preflight(head) {
            for (name, value) in [
                (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
                (
                    header::ACCESS_CONTROL_ALLOW_HEADERS,
                    "authorization, content-type, idempotency-key",
                ),
                (header::ACCESS_CONTROL_MAX_AGE, "600"),
            ] {
                answer.insert(name, HeaderValue::from_static(value));
            }
        }
    }
}

/// Whether a host is an IP address. No page can make an address resolve to
/// another machine.
fn is_address(host: &str) -> bool {
    let v6 = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    v6.map_or_else(
        || host.parse::<Ipv4Addr>().is_ok(),
        |v6| v6.parse::<Ipv6Addr>().is_ok(),
    )
}

/// Whether a name always means the machine that asks (RFC 6761 §6.3).
fn is_local(name: &str) -> bool {
    name.rsplit('.')
        .next()
        .is_some_and(|last| last.eq_ignore_ascii_case("localhost"))
}

fn without_user(host: &Authority) -> Result<(), Refused> {
    if host.as_str().contains('@') {
        return Err(Refused::bad_request("The host must not name a user."));
    }
    Ok(())
}

fn first_label(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// Returns the value of a header that may occur once.
///
/// # Errors
///
/// Fails with 400 if the header occurs twice or is not ASCII.
pub(super) fn single_header<'a>(
    head: &'a Parts,
    name: &HeaderName,
) -> Result<Option<&'a str>, Refused> {
    let mut values = head.headers.get_all(name).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(Refused::bad_request(format!(
            "The header {name} is there twice."
        )));
    }
    let ascii = value.map(|value| value.to_str()).transpose();
    ascii.map_err(|_| Refused::bad_request(format!("The header {name} is not ASCII.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(trust: &Trust, headers: &[(&str, &str)]) -> u16 {
        let mut request = http::Request::get("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).expect("a request").into_parts();
        let checked = trust
            .check_host(&head, &Forwarded::default())
            .and_then(|site| trust.check_origin(&head, &site));
        checked.map_or_else(|refused| refused.status.as_u16(), |()| 200)
    }

    #[test]
    fn only_addresses_and_own_names_are_served() {
        let trust = Trust {
            hostname: "Box".into(),
            hosts: vec!["chat.example".into()],
            ..Trust::default()
        };
        for (host, expected) in [
            ("127.0.0.1:2000", 200),
            ("127.9.9.9", 200),
            ("localhost:2000", 200),
            ("LocalHost", 200),
            ("a.localhost:1", 200),
            ("localhost.", 200),
            ("[::1]:2000", 200),
            ("192.168.0.7:2000", 200),
            ("[fe80::1]", 200),
            ("box:2000", 200),
            ("BOX.local", 200),
            ("box.fritz.example.", 200),
            ("chat.example:2000", 200),
            ("CHAT.example", 200),
            ("chat.example.", 200),
            ("evil.example:2000", 421),
            ("boxes.local", 421),
            ("www.box", 421),
            (".box", 421),
            ("a.chat.example", 421),
            ("localhost.evil.example", 421),
            ("127.0.0.1.evil.example", 421),
            ("notlocalhost", 421),
            ("127.1", 421),
            ("a b", 400),
            ("eve@localhost", 400),
            ("", 400),
        ] {
            assert_eq!(status(&trust, &[("host", host)]), expected, "{host}");
        }
        assert_eq!(status(&trust, &[]), 400);
        assert_eq!(
            status(&trust, &[("host", "localhost"), ("host", "localhost")]),
            400
        );
    }

    #[test]
    fn a_hostname_that_many_machines_have_is_not_trusted() {
        for (hostname, host) in [
            ("", ".evil.example"),
            ("localhost", "localhost.evil.example"),
            ("127.0.0.1", "127.evil.example"),
        ] {
            let trust = Trust {
                hostname: hostname.into(),
                ..Trust::default()
            };
            assert_eq!(status(&trust, &[("host", host)]), 421, "{host}");
        }
        let long = Trust {
            hostname: "box.example".into(),
            ..Trust::default()
        };
        assert_eq!(status(&long, &[("host", "box.local")]), 200);
    }

    #[test]
    fn only_own_and_trusted_origins_are_allowed() {
        let trust = Trust {
            origins: vec!["https://app.example".into()],
            ..Trust::default()
        };
        for (origin, expected) in [
            ("http://localhost:2000", 200),
            ("https://localhost:2000", 200),
            ("https://app.example", 200),
            ("http://localhost:3000", 403),
            ("http://localhost", 403),
            ("https://evil.example", 403),
            ("null", 403),
            ("", 403),
        ] {
            let headers = [("host", "localhost:2000"), ("origin", origin)];
            assert_eq!(status(&trust, &headers), expected, "{origin}");
        }
    }
}
