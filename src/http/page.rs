//! The browser's page: one document, one style and one module.
//!
//! The names of the style and the module contain a hash of their content, so
//! that browsers cache them for good. All three are compressed for clients that
//! accept gzip. The module is joined from small modules, and each of them is
//! tested alone.

use std::{fmt::Write, io::Write as _, sync::LazyLock};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderName, HeaderValue, Response, StatusCode, header, request::Parts, uri::Authority};
use http_body_util::Full;
use ring::digest;

use super::answer::content;
use crate::protocol::name::RoomName;

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");

macro_rules! modules {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("page/", $name, ".mjs")))),+]
    };
}

/// The modules in order: each stands before those that import it; the last one
/// is the page.
const MODULES: [(&str, &str); 17] = modules![
    "backoff",
    "position",
    "outbox",
    "text",
    "client",
    "commands",
    "typed",
    "heights",
    "rows",
    "keep",
    "dom",
    "view",
    "row",
    "attention",
    "composer",
    "panels",
    "page",
];

/// The path of the style and the module, below `/-/`.
pub(super) const ASSETS: &str = "assets/";

static STYLE_ASSET: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("css", "text/css; charset=utf-8", STYLE.into()));

static SCRIPT_ASSET: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("js", "text/javascript; charset=utf-8", bundle()));

/// A file that is the same for every client of this build.
struct Asset {
    name: String,
    kind: &'static str,
    plain: Bytes,
    zipped: Option<Bytes>,
}

impl Asset {
    fn new(ending: &str, kind: &'static str, text: String) -> Self {
        let name = format!("page-{}.{ending}", content_hash(&text));
        let zipped = gzip(&text);
        Asset {
            name,
            kind,
            plain: text.into(),
            zipped,
        }
    }
}

/// Returns the document: the room's chat, and other ways to join.
pub(super) fn document(head: &Parts, host: &Authority, room: &RoomName) -> Response<Full<Bytes>> {
    let page = PAGE
        .replace("{room}", room.as_str())
        .replace("{address}", &escape(host.as_str()))
        .replace("{style}", &format!("/-/{ASSETS}{}", STYLE_ASSET.name))
        .replace("{script}", &format!("/-/{ASSETS}{}", SCRIPT_ASSET.name));
    let tag = format!("W/\"{}\"", content_hash(&page));
    let known = head
        .headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|tags| tags.to_str().ok())
        .any(|tags| tags.split(',').any(|known| known.trim() == tag));
    let mut response = if known {
        let mut unchanged = Response::new(Full::default());
        *unchanged.status_mut() = StatusCode::NOT_MODIFIED;
        unchanged
    } else {
        let zipped = takes_gzip(head).then(|| gzip(&page)).flatten();
        encoded("text/html; charset=utf-8", page.into(), zipped)
    };
    for (name, value) in [
        (header::CACHE_CONTROL, "no-cache"),
        (header::ETAG, &tag),
        (header::CONTENT_SECURITY_POLICY, &policy(host)),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::VARY, "accept-encoding"),
    ] {
        insert(&mut response, name, value);
    }
    response
}

/// Returns the style or the module of this name.
pub(super) fn asset(head: &Parts, name: &str) -> Option<Response<Full<Bytes>>> {
    let asset = [&STYLE_ASSET, &SCRIPT_ASSET]
        .into_iter()
        .find(|asset| asset.name == name)?;
    let zipped = asset.zipped.clone().filter(|_| takes_gzip(head));
    let mut response = encoded(asset.kind, asset.plain.clone(), zipped);
    let forever = "public, max-age=31536000, immutable";
    insert(&mut response, header::CACHE_CONTROL, forever);
    insert(&mut response, header::VARY, "accept-encoding");
    Some(response)
}

fn insert(response: &mut Response<Full<Bytes>>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(name, value);
    }
}

fn encoded(kind: &'static str, plain: Bytes, zipped: Option<Bytes>) -> Response<Full<Bytes>> {
    let is_zipped = zipped.is_some();
    let mut response = content(StatusCode::OK, kind, zipped.unwrap_or(plain));
    if is_zipped {
        insert(&mut response, header::CONTENT_ENCODING, "gzip");
    }
    response
}

/// The content security policy: the page may load only its own style and
/// module, and may connect only to its own server. Trusted Types keep text from
/// becoming markup.
fn policy(host: &Authority) -> String {
    // 'self' should cover WebSockets, but does not in every browser. A host
    // with other characters could change the policy, so it is left out.
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    let sockets = if host.as_str().chars().all(plain) {
        format!(" ws://{host} wss://{host}")
    } else {
        String::new()
    };
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; \
         connect-src 'self'{sockets}; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
}

/// Whether a response may be compressed (RFC 9110 §12.5.3).
fn takes_gzip(head: &Parts) -> bool {
    let lines = head.headers.get_all(header::ACCEPT_ENCODING).iter();
    let mut anything = false;
    for part in lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
    {
        let (coding, quality) = part.split_once(';').unwrap_or((part, ""));
        let quality = quality.trim().trim_start_matches("q=");
        let wanted = quality.is_empty() || quality.parse().is_ok_and(|quality: f32| quality > 0.0);
        match coding.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => return wanted,
            "*" => anything = wanted,
            _ => {}
        }
    }
    anything
}

fn gzip(text: &str) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes()).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

/// The first 72 bits of the text's SHA-256, in base64url.
fn content_hash(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    URL_SAFE_NO_PAD.encode(&digest.as_ref()[..9])
}

/// Joins the modules into one. Each gets a scope of its own that returns its
/// exports. Only one module may therefore export a given name; private names
/// cannot collide.
fn bundle() -> String {
    let mut module = String::new();
    for (name, source) in MODULES {
        let mut exports = Vec::new();
        let mut body = String::new();
        for line in source.lines().filter(|line| !line.starts_with("import ")) {
            let exported = line.strip_prefix("export ");
            exports.extend(exported.and_then(declared));
            body += exported.unwrap_or(line);
            body.push('\n');
        }
        let exports = exports.join(", ");
        // Writing to a String cannot fail.
        let _ = if name == "page" {
            // The page is a plain block, so that its `await` works at the top
            // level of the module.
            write!(module, "{{\n{body}}}\n")
        } else {
            let given = format!("return {{ {exports} }};\n");
            write!(
                module,
                "const {{ {exports} }} = (() => {{\n{body}{given}}})();\n"
            )
        };
    }
    module
}

/// Returns the name that a line declares.
fn declared(line: &str) -> Option<&str> {
    let words = ["class ", "const ", "function ", "async function "];
    let rest = words.iter().find_map(|word| line.strip_prefix(word))?;
    rest.split(|c: char| !c.is_alphanumeric() && c != '$')
        .next()
}

/// Escapes text for HTML. `Host` comes from the client, but not always by the
/// visitor's choice.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn head(encoding: Option<&str>) -> Parts {
        let mut request = http::Request::get("/");
        if let Some(encoding) = encoding {
            request = request.header(header::ACCEPT_ENCODING, encoding);
        }
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn gzip_is_used_only_if_accepted() {
        for (encoding, gzip) in [
            (None, false),
            (Some(""), false),
            (Some("gzip, deflate, br, zstd"), true),
            (Some("br;q=1.0, GZIP;q=0.8"), true),
            (Some("identity"), false),
            (Some("*"), true),
            (Some("*, gzip;q=0"), false),
            (Some("*;q=0"), false),
            (Some("gzip;q=0.000"), false),
            (Some("gzip;q=x"), false),
        ] {
            assert_eq!(takes_gzip(&head(encoding)), gzip, "{encoding:?}");
        }
    }

    #[test]
    fn modules_stand_before_those_that_import_them() {
        let mut before = BTreeSet::new();
        let mut exported = BTreeSet::new();
        for (name, source) in MODULES {
            for line in source.lines() {
                if let Some((_, from)) = line.split_once(" from \"./") {
                    let from = from.trim_end_matches(".mjs\";");
                    assert!(before.contains(from), "{name} imports {from}");
                    assert!(line.starts_with("import "), "{name}: {line}");
                }
                if let Some(line) = line.strip_prefix("export ") {
                    let what = declared(line).expect(line);
                    assert!(exported.insert(what), "{what} is exported twice");
                }
            }
            before.insert(name);
        }
    }

    #[test]
    fn a_host_cannot_change_the_content_security_policy() {
        let policy = |host: &str| policy(&host.parse().expect("a host"));
        assert!(policy("[::1]:2000").contains("connect-src 'self' ws://[::1]:2000 wss://"));
        assert!(policy("a;b").contains("connect-src 'self';"));
    }
}
