//! The browser's page: one document, one style and one module.
//!
//! The names of the style and the module contain a hash of their content, so
//! that browsers cache them for good. All three are compressed for clients that
//! accept gzip. The module is joined from small modules, and each of them is
//! tested alone.

use std::{fmt::Write, sync::LazyLock};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header, request::Parts, uri::Authority};
use http_body_util::Full;

use super::{answer::content, asset::Asset, base_path::BasePath, origin::Site};
use crate::protocol::name::RoomName;

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = concat!(
    include_str!("page/colours.css"),
    include_str!("page/page.css")
);

/// Makes the page one that browsers can install.
const MANIFEST: &str = include_str!("page/manifest.webmanifest");

/// Keeps pages for times without a connection.
const WORKER: &str = include_str!("page/worker.js");

macro_rules! modules {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("page/", $name, ".mjs")))),+]
    };
}

/// The modules in order: each stands before those that import it; the last one
/// is the page.
const MODULES: [(&str, &str); 25] = modules![
    "backoff",
    "position",
    "outbox",
    "text",
    "markup",
    "client",
    "commands",
    "typed",
    "heights",
    "rows",
    "dom",
    "keep",
    "view",
    "blocks",
    "row",
    "attention",
    "menu",
    "regarding",
    "composer",
    "panels",
    "places",
    "talk",
    "entry",
    "offline",
    "page",
];

static STYLE_ASSET: LazyLock<Asset> =
    LazyLock::new(|| Asset::named("page", "css", "text/css; charset=utf-8", STYLE.into()));

static SCRIPT_ASSET: LazyLock<Asset> =
    LazyLock::new(|| Asset::named("page", "js", "text/javascript; charset=utf-8", bundle()));

/// Returns the document: the room's chat, and other ways to join.
pub(super) fn document(
    head: &Parts,
    site: &Site,
    base: &BasePath,
    room: &RoomName,
) -> Response<Full<Bytes>> {
    let host = &site.host;
    // A browser says `http://` and `ws://` for both.
    let encrypted = if site.is_encrypted() { "s" } else { "" };
    let path = base.to_string();
    let data_base = if path.is_empty() {
        String::new()
    } else {
        format!(" data-base=\"{path}\"")
    };
    let page = PAGE
        .replace("{data-base}", &data_base)
        .replace("{s}", encrypted)
        .replace("{room}", room.as_str())
        .replace("{base}", &path)
        .replace("{address}", &format!("{}{base}", escape(host.as_str())))
        .replace("{style}", &STYLE_ASSET.path(base))
        .replace("{script}", &SCRIPT_ASSET.path(base));
    Asset::page(page).revalidated(head, &policy(host))
}

/// Returns the style or the module of this name.
pub(super) fn asset(head: &Parts, name: &str) -> Option<Response<Full<Bytes>>> {
    let asset = [&STYLE_ASSET, &SCRIPT_ASSET]
        .into_iter()
        .find(|asset| asset.name() == name)?;
    Some(asset.immutable(head))
}

/// Returns the manifest.
pub(super) fn manifest() -> Response<Full<Bytes>> {
    content(StatusCode::OK, "application/manifest+json", MANIFEST)
}

/// Returns the service worker of all rooms.
pub(super) fn worker(base: &BasePath) -> Response<Full<Bytes>> {
    const ALLOWED: HeaderName = HeaderName::from_static("service-worker-allowed");
    let mut response = content(StatusCode::OK, "text/javascript; charset=utf-8", WORKER);
    let headers = response.headers_mut();
    // Without this header its scope would be its own folder.
    if let Ok(scope) = HeaderValue::try_from(format!("{base}/")) {
        headers.insert(ALLOWED, scope);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// The content security policy: the page may load only its own style and
/// module, and may connect only to its own server. Trusted Types keep text from
/// becoming markup; their one policy names the service worker.
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
         connect-src 'self'{sockets}; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types worker"
    )
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
