//! What a browser is shown, and a program that is none.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header, request::Parts, uri::Authority};
use http_body_util::Full;

use super::{content, text};
use crate::protocol::name::RoomName;

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const HOW_TO_JOIN: &str = include_str!("page/how_to_join.txt");

/// Nothing but the page's own style, and connections to where it came from.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src data:; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What this is and how to join, as a page or as text.
pub(super) fn how_to_join(
    head: &Parts,
    host: &Authority,
    room: &RoomName,
) -> Response<Full<Bytes>> {
    let wants_page = head
        .headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|accept| accept.contains("text/html"));
    let fill = |template: &str| {
        let host = escape(host.as_str());
        template
            .replace("{room}", room.as_str())
            .replace("{address}", &host)
    };
    let mut response = if wants_page {
        content(StatusCode::OK, "text/html; charset=utf-8", fill(PAGE))
    } else {
        text(StatusCode::OK, fill(HOW_TO_JOIN))
    };
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
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
