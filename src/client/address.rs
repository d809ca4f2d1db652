//! The address of a room: from the typed words to a URI.
//!
//! Nothing here looks up a name or connects.

mod parts;

use std::{borrow::Cow, fmt};

use http::Uri;

use self::parts::AddressParts;
pub use self::parts::BadAddress;
use super::{pass::Pass, trust::ServerTrust};
use crate::protocol::{
    Epoch, Seq, Start,
    name::{Name, RoomName},
};

/// The host if the address names none.
const DEFAULT_HOST: &str = "127.0.0.1";

/// The address and the flags beside it, each checked on its own.
#[derive(Clone, Debug, Default)]
pub struct AddressOptions {
    /// `host`, `host:port`, or the URL of a room, with or without its scheme.
    pub address: Option<String>,
    /// The port, if the address has none.
    pub port: Option<u16>,
    /// The room, if the address names none.
    pub room: Option<RoomName>,
    /// The display name to use.
    pub name: Option<Name>,
    /// Where to start reading.
    pub start: Start,
    /// Which certificate of the server to trust.
    pub trust: ServerTrust,
}

/// A room on a server: where to connect and what to request there.
///
/// Displayed as `host:port`.
#[derive(Clone, Debug)]
pub struct Target {
    /// The host to look up: without brackets, with an IPv6 zone if one was
    /// typed.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
    pub(super) trust: ServerTrust,
    /// The path before the room: empty, or like `/chat`.
    base: String,
    uri: Uri,
    room: RoomName,
    /// The pass that the first connection uses.
    pass: Option<Pass>,
    /// The start that the URI's query asks for.
    start: Start,
    /// Whether the reader wants no echo of its own messages.
    pub(super) hide_echoes: bool,
}

impl Target {
    /// Combines an address with the flags beside it.
    ///
    /// # Errors
    ///
    /// Fails if the address is malformed or contradicts a flag.
    pub fn new(wanted: &AddressOptions) -> Result<Self, BadAddress> {
        let place = match &wanted.address {
            Some(address) => AddressParts::parse(address)?,
            None => AddressParts::bare(DEFAULT_HOST, None),
        };
        let port = match (place.port, wanted.port) {
            (Some(said), Some(flag)) if said != flag => {
                return Err(BadAddress(format!(
                    "the address says port {said} but --port says {flag}"
                )));
            }
            (said, flag) => said.or(flag).unwrap_or(place.default_port),
        };
        let room = match (place.room, &wanted.room) {
            (Some(said), Some(flag)) if said != *flag => {
                return Err(BadAddress(format!(
                    "the address says room {said} but --room says {flag}"
                )));
            }
            (said, flag) => said.or_else(|| flag.clone()),
        };
        let tls = match place.tls {
            Some(false) if wanted.trust.is_chosen() => {
                return Err(BadAddress(
                    "the address is not of TLS, so the server shows no certificate: write https://"
                        .to_owned(),
                ));
            }
            said => said.unwrap_or(wanted.trust.is_chosen()),
        };
        let scheme = if tls { "wss" } else { "ws" };
        let path = room.as_ref().map_or("", RoomName::as_str);
        let query = query(&place.query, wanted);
        let mark = if query.is_empty() { "" } else { "?" };
        let uri = format!(
            "{scheme}://{}:{port}{}/{path}{mark}{query}",
            in_uri(&place.host),
            place.base
        );
        Ok(Target {
            uri: uri
                .parse()
                .map_err(|why| BadAddress(format!("{uri} is no address ({why})")))?,
            start: start(&query),
            // The client needs every echo, as a receipt and to prove that no
            // message is missing. So it hides echoes itself.
            hide_echoes: pairs(&place.query).any(|(key, value)| key == "echo" && value == "0"),
            room: room.unwrap_or_else(RoomName::lobby),
            pass: place.pass,
            host: place.host,
            base: place.base,
            port,
            tls,
            trust: wanted.trust.clone(),
        })
    }

    /// The URI of the room.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The room.
    pub fn room(&self) -> &RoomName {
        &self.room
    }

    /// The pass in the address.
    pub fn pass(&self) -> Option<&Pass> {
        self.pass.as_ref()
    }

    /// The name to use.
    pub fn name(&self) -> Option<Name> {
        let (_, name) = pairs(self.uri.query().unwrap_or_default())
            .filter(|(key, value)| key == "name" && !value.is_empty())
            .last()?;
        name.parse().ok()
    }

    /// Where to start reading.
    pub(super) fn start(&self) -> &Start {
        &self.start
    }

    /// The URI that reads a room of this server from `start` on. `name`, if
    /// given, replaces the name in the address.
    pub(super) fn resume_uri(&self, room: &RoomName, start: &Start, name: Option<&Name>) -> String {
        let given = self.uri.query().unwrap_or_default();
        let kept = pairs(given).filter(|(key, _)| match &**key {
            "name" => name.is_none(),
            "after" | "epoch" | "backlog" | "inbox" => false,
            _ => true,
        });
        let query = written(kept, name, start);
        format!("{}/{room}?{query}", self.origin())
    }

    /// The server as scheme, host, port and base path.
    pub(super) fn origin(&self) -> String {
        let scheme = if self.tls { "wss" } else { "ws" };
        let (host, port, base) = (in_uri(&self.host), self.port, &self.base);
        format!("{scheme}://{host}:{port}{base}")
    }

    /// The URL of the room without a query, the same for every client.
    pub(super) fn room_url(&self) -> String {
        format!("{}/{}", self.origin(), self.room)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", in_uri(&self.host), self.port)
    }
}

/// The host as a URI writes it, without an IPv6 zone, which has a meaning on
/// this machine only.
fn in_uri(host: &str) -> Cow<'_, str> {
    let address = host.split('%').next().unwrap_or(host);
    if address.contains(':') {
        format!("[{address}]").into()
    } else {
        address.into()
    }
}

/// The query of the address, with the values of flags in place of its own.
fn query(given: &str, wanted: &AddressOptions) -> String {
    let Start {
        after,
        epoch,
        backlog,
        inbox: _,
    } = &wanted.start;
    // A position and a backlog both say where to start. If a flag gives one of
    // them, the other one in the URL would contradict it.
    let overridden = |key: &str| match key {
        "name" => wanted.name.is_some(),
        "epoch" => epoch.is_some() || backlog.is_some(),
        "after" | "backlog" => after.is_some() || backlog.is_some(),
        _ => false,
    };
    let kept =
        pairs(given).filter(|(key, value)| !(overridden(key) || key == "echo" && value == "0"));
    written(kept, wanted.name.as_ref(), &wanted.start)
}

/// A query of these pairs, followed by the name and the start.
fn written<'a>(
    kept: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
    name: Option<&Name>,
    start: &Start,
) -> String {
    let added = [
        ("name", name.map(ToString::to_string)),
        ("after", start.after.map(|seq| seq.to_string())),
        ("epoch", start.epoch.as_ref().map(ToString::to_string)),
        ("backlog", start.backlog.map(|n| n.to_string())),
        ("inbox", start.inbox.map(|seq| seq.to_string())),
    ];
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(kept)
        .extend_pairs(
            added
                .into_iter()
                .filter_map(|(key, value)| Some((key, value?))),
        )
        .finish()
}

fn pairs(query: &str) -> form_urlencoded::Parse<'_> {
    form_urlencoded::parse(query.as_bytes())
}

/// The start that a query asks for. A malformed value is skipped here; the
/// server refuses it.
fn start(query: &str) -> Start {
    let mut start = Start::default();
    for (key, value) in pairs(query) {
        match &*key {
            "after" => start.after = value.parse().ok().map(Seq),
            "epoch" => start.epoch = Some(Epoch((*value).into())),
            "backlog" => start.backlog = value.parse().ok(),
            _ => {}
        }
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(address: &str) -> AddressOptions {
        AddressOptions {
            address: Some(address.to_owned()),
            ..AddressOptions::default()
        }
    }

    #[test]
    fn good_addresses_become_uris() {
        for (address, uri, shown) in [
            ("chat.local", "ws://chat.local:2000/", "chat.local:2000"),
            ("10.0.0.7:81", "ws://10.0.0.7:81/", "10.0.0.7:81"),
            ("[::1]:81", "ws://[::1]:81/", "[::1]:81"),
            ("[::1]", "ws://[::1]:2000/", "[::1]:2000"),
            ("::1", "ws://[::1]:2000/", "[::1]:2000"),
            ("fe80::1%eth0", "ws://[fe80::1]:2000/", "[fe80::1]:2000"),
            ("h:81/Ops", "ws://h:81/ops", "h:81"),
            ("h/ops?name=ana", "ws://h:2000/ops?name=ana", "h:2000"),
            ("[::1]:81/chat/ops", "ws://[::1]:81/chat/ops", "[::1]:81"),
            ("ws://h", "ws://h:80/", "h:80"),
            ("ws://h:2000/", "ws://h:2000/", "h:2000"),
            ("http://h:2000/Ops", "ws://h:2000/ops", "h:2000"),
            ("HTTPS://h/ops", "wss://h:443/ops", "h:443"),
            ("wss://[::1]:8443/x#top", "wss://[::1]:8443/x", "[::1]:8443"),
            (
                "http://h/ops?after=7&x=a%20b",
                "ws://h:80/ops?after=7&x=a+b",
                "h:80",
            ),
            ("http://h?name=ana", "ws://h:80/?name=ana", "h:80"),
            ("https://h/chat/ops", "wss://h:443/chat/ops", "h:443"),
            ("https://h/a/chat/", "wss://h:443/a/chat/", "h:443"),
        ] {
            let target = Target::new(&wanted(address)).expect(address);
            assert_eq!(target.uri().to_string(), uri, "{address}");
            assert_eq!(target.to_string(), shown, "{address}");
        }
        let invited = "https://h/ops#invite=0123456789abcdefghijkl";
        let target = Target::new(&wanted(invited)).expect(invited);
        assert_eq!(target.uri().to_string(), "wss://h:443/ops");
        let pass = target.pass().map(Pass::header);
        assert_eq!(pass, Some(("chat-invite", "0123456789abcdefghijkl")));
        let zoned = Target::new(&wanted("fe80::1%eth0")).expect("an address");
        assert_eq!(zoned.host, "fe80::1%eth0");
        let none = Target::new(&AddressOptions::default()).expect("the default");
        assert_eq!(none.uri().to_string(), "ws://127.0.0.1:2000/");
    }

    #[test]
    fn bad_addresses_fail_without_showing_a_secret() {
        for address in [
            "",
            ":2000",
            "h:",
            "h:0",
            "h:65536",
            "h:x",
            "h:1:2",
            "h//ops",
            "/ops",
            "a b",
            "ana:secret@h",
            "3100",
            "[::1",
            "[::1]2000",
            "[h]:1",
            "::1%",
            "ftp://h/",
            "ws://",
            "ws:///ops",
            "ws://ana:secret@h/",
            "ws://h//b",
            "ws://h/../b",
            "ws://h/a%20b/c",
            "ws://h/-/health",
            "ws://h/a%20b",
            "ws://h/#invite=secret",
        ] {
            let why = Target::new(&wanted(address)).expect_err(address);
            assert!(!why.to_string().contains("secret"), "{address}");
        }
    }

    #[test]
    fn flags_complete_an_address_but_never_contradict_it() {
        let room = |room: &str| Some(room.parse().expect("a room"));
        for (address, port, named, uri) in [
            ("h", Some(81), None, Some("ws://h:81/")),
            ("h:81", Some(81), None, Some("ws://h:81/")),
            ("h:81", Some(82), None, None),
            ("ws://h/", Some(82), None, Some("ws://h:82/")),
            ("ws://h:80/", Some(82), None, None),
            ("h", None, room("Ops"), Some("ws://h:2000/ops")),
            ("ws://h:1/", None, room("ops"), Some("ws://h:1/ops")),
            ("ws://h:1/OPS", None, room("ops"), Some("ws://h:1/ops")),
            ("ws://h:1/lobby", None, room("ops"), None),
        ] {
            let target = Target::new(&AddressOptions {
                port,
                room: named,
                ..wanted(address)
            });
            assert_eq!(
                target.ok().map(|target| target.uri().to_string()),
                uri.map(str::to_owned),
                "{address}"
            );
        }
    }

    #[test]
    fn flags_replace_values_of_the_query() {
        let start = |after: Option<u64>, epoch: Option<&str>, backlog| Start {
            after: after.map(Seq),
            epoch: epoch.map(|e| Epoch(e.into())),
            backlog,
            inbox: None,
        };
        let given = "ws://h:1/?after=1&epoch=old&name=bob&echo=0";
        for (name, start, query) in [
            (None, start(None, None, None), "after=1&epoch=old&name=bob"),
            (
                Some("Åsa"),
                start(Some(7), None, None),
                "epoch=old&name=%C3%85sa&after=7",
            ),
            (
                None,
                start(Some(7), Some("a&b"), None),
                "name=bob&after=7&epoch=a%26b",
            ),
            (None, start(None, None, Some(20)), "name=bob&backlog=20"),
        ] {
            let target = Target::new(&AddressOptions {
                name: name.map(|name| name.parse().expect("a name")),
                start,
                ..wanted(given)
            })
            .expect("an address");
            assert_eq!(target.uri().query(), Some(query));
            assert!(target.hide_echoes, "the client hides echoes itself");
        }
    }

    #[test]
    fn other_rooms_of_a_server_stand_below_its_path() {
        let target = Target::new(&wanted("https://h/chat/ops")).expect("an address");
        assert_eq!(target.origin(), "wss://h:443/chat");
        assert_eq!(target.room_url(), "wss://h:443/chat/ops");
        let tea = "tea".parse().expect("a room");
        let uri = target.resume_uri(&tea, &Start::default(), None);
        assert!(uri.starts_with("wss://h:443/chat/tea?"), "{uri}");
    }

    #[test]
    fn a_resumed_uri_has_the_new_room_name_and_position() {
        let target = Target::new(&wanted("https://h/ops?x=1&name=ana&backlog=5&echo=0"));
        let target = target.expect("an address");
        assert_eq!(target.start().backlog, Some(5));
        assert_eq!(target.room_url(), "wss://h:443/ops");
        let start = Start {
            after: Some(Seq(7)),
            epoch: Some(Epoch("e".into())),
            backlog: None,
            inbox: Some(Seq(5)),
        };
        let name: Name = "bob".parse().expect("a name");
        let room = "tea".parse().expect("a room");
        for (room, name, uri) in [
            (
                target.room(),
                None,
                "wss://h:443/ops?x=1&name=ana&after=7&epoch=e&inbox=5",
            ),
            (
                &room,
                Some(&name),
                "wss://h:443/tea?x=1&name=bob&after=7&epoch=e&inbox=5",
            ),
        ] {
            assert_eq!(target.resume_uri(room, &start, name), uri);
        }
    }
}
