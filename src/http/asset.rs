//! Texts that a browser may cache: compressed at most once, and named or
//! revalidated by their hash.

use std::{io::Write, sync::OnceLock};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderName, HeaderValue, Response, StatusCode, header, request::Parts};
use http_body_util::Full;
use ring::digest;

use super::{answer::content, base_path::BasePath};

/// The path of named assets, below `/-/`.
pub(super) const ASSETS: &str = "assets/";

/// A text, and its compressed form once a client accepted that.
#[derive(Debug)]
pub(super) struct Asset {
    /// The last part of its path. A page has none.
    name: String,
    hash: String,
    kind: &'static str,
    plain: Bytes,
    zipped: OnceLock<Option<Bytes>>,
}

impl Asset {
    /// Makes a page, whose path says nothing of its content.
    pub(super) fn page(text: String) -> Self {
        Asset {
            name: String::new(),
            hash: content_hash(&text),
            kind: "text/html; charset=utf-8",
            plain: text.into(),
            zipped: OnceLock::new(),
        }
    }

    /// Makes a file whose name contains a hash of its content.
    pub(super) fn named(stem: &str, ending: &str, kind: &'static str, text: String) -> Self {
        let mut asset = Asset::page(text);
        asset.kind = kind;
        asset.name = format!("{stem}-{}.{ending}", asset.hash);
        asset
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The path of a named asset, below a base path.
    pub(super) fn path(&self, base: &BasePath) -> String {
        format!("{base}/-/{ASSETS}{}", self.name)
    }

    /// Responds with a named asset, which browsers keep for good.
    pub(super) fn immutable(&self, head: &Parts) -> Response<Full<Bytes>> {
        let mut response = self.encoded(head);
        let forever = "public, max-age=31536000, immutable";
        insert(&mut response, header::CACHE_CONTROL, forever);
        insert(&mut response, header::VARY, "accept-encoding");
        response
    }

    /// Responds with a page under a content security policy, or with 304 if the
    /// client has it already.
    pub(super) fn revalidated(&self, head: &Parts, policy: &str) -> Response<Full<Bytes>> {
        let tag = format!("W/\"{}\"", self.hash);
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
            self.encoded(head)
        };
        for (name, value) in [
            (header::CACHE_CONTROL, "no-cache"),
            (header::ETAG, &tag),
            (header::CONTENT_SECURITY_POLICY, policy),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::VARY, "accept-encoding"),
        ] {
            insert(&mut response, name, value);
        }
        response
    }

    fn encoded(&self, head: &Parts) -> Response<Full<Bytes>> {
        let zipped = takes_gzip(head)
            .then(|| self.zipped.get_or_init(|| gzip(&self.plain)).clone())
            .flatten();
        let is_zipped = zipped.is_some();
        let body = zipped.unwrap_or_else(|| self.plain.clone());
        let mut response = content(StatusCode::OK, self.kind, body);
        if is_zipped {
            insert(&mut response, header::CONTENT_ENCODING, "gzip");
        }
        response
    }
}

fn insert(response: &mut Response<Full<Bytes>>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(name, value);
    }
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

fn gzip(text: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

/// The first 72 bits of the text's SHA-256, in base64url.
fn content_hash(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    URL_SAFE_NO_PAD.encode(&digest.as_ref()[..9])
}

#[cfg(test)]
mod tests {
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
}
