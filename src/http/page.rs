//! What a browser is shown.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header, uri::Authority};
use http_body_util::Full;

use super::content;
use crate::protocol::name::RoomName;

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");

/// Nothing but the page's own style, and connections to where it came from.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src data:; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What this is and how to join.
pub(super) fn how_to_join(host: &Authority, room: &RoomName) -> Response<Full<Bytes>> {
    let page = PAGE
        .replace("{room}", room.as_str())
        .replace("{address}", &escape(host.as_str()));
    let mut response = content(StatusCode::OK, "text/html; charset=utf-8", page);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    response
}

pub(super) fn style() -> Response<Full<Bytes>> {
    content(StatusCode::OK, "text/css; charset=utf-8", STYLE)
}

/// `Host` is the visitor's own word, but not always the visitor's own choice.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
