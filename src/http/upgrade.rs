//! The opening handshake, strictly checked (RFC 6455 §4.2).

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Response, StatusCode, Version, header, request::Parts,
};
use http_body_util::Full;
use ring::digest;

use super::{answer::Refused, origin::single_header, query::Query};
use crate::protocol::{SUBPROTOCOL, format::Format, secret::Secret, token::Token};

/// The string that a server appends to the key before hashing (RFC 6455 §1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Whether a request asks for an upgrade, valid or not.
pub(super) fn is_upgrade(head: &Parts) -> bool {
    has_token(head, &header::UPGRADE, "websocket")
        || head.headers.contains_key(header::SEC_WEBSOCKET_KEY)
        || head.headers.contains_key(header::SEC_WEBSOCKET_VERSION)
}

/// Accepts an upgrade: returns the response, the format and the query with the
/// secrets.
///
/// # Errors
///
/// Fails with a status and a sentence if the handshake or the query is invalid.
pub(super) fn accept(head: &Parts) -> Result<(Response<Full<Bytes>>, Format, Query), Refused> {
    if head.method != Method::GET {
        let text = format!("A WebSocket handshake is a GET, not a {}.", head.method);
        return Err(Refused::new(StatusCode::METHOD_NOT_ALLOWED, text)
            .with(header::ALLOW, HeaderValue::from_static("GET")));
    }
    if head.version != Version::HTTP_11 {
        return Err(Refused::bad_request(
            "A WebSocket handshake needs HTTP/1.1.",
        ));
    }
    if !has_token(head, &header::UPGRADE, "websocket") {
        return Err(Refused::bad_request(
            "The header \"Upgrade: websocket\" is missing.",
        ));
    }
    if !has_token(head, &header::CONNECTION, "upgrade") {
        return Err(Refused::bad_request(
            "The header \"Connection: Upgrade\" is missing.",
        ));
    }
    let has_body = head.headers.contains_key(header::TRANSFER_ENCODING)
        || head
            .headers
            .get(header::CONTENT_LENGTH)
            .is_some_and(|length| length != "0");
    if has_body {
        return Err(Refused::bad_request(
            "A request for a WebSocket has no body.",
        ));
    }
    if required_header(head, &header::SEC_WEBSOCKET_VERSION)? != "13" {
        return Err(Refused::new(
            StatusCode::UPGRADE_REQUIRED,
            "WebSocket version 13 is spoken here.",
        )
        .with(
            header::SEC_WEBSOCKET_VERSION,
            HeaderValue::from_static("13"),
        ));
    }
    let key = required_header(head, &header::SEC_WEBSOCKET_KEY)?;
    if STANDARD.decode(key).map(|key| key.len()) != Ok(16) {
        return Err(Refused::bad_request(
            "Sec-WebSocket-Key is not 16 bytes in base64.",
        ));
    }
    // Clients compare the response with their request, case-sensitively.
    let json = list(head, &header::SEC_WEBSOCKET_PROTOCOL).any(|part| part == SUBPROTOCOL);
    let mut query = Query::of(head)?;
    if let Some(secret) = offered_secret(head)? {
        query.secret = Some(secret);
    }
    let mut offered = list(head, &header::SEC_WEBSOCKET_PROTOCOL);
    if let Some(offered) = offered.find_map(|part| part.strip_prefix("invite.")) {
        query.invitation = Some(Token::given(offered));
    }
    let mut offered = list(head, &header::SEC_WEBSOCKET_PROTOCOL);
    if let Some(offered) = offered.find_map(|part| part.strip_prefix("link.")) {
        query.link = Some(Token::given(offered));
    }
    let format = if json {
        Format::Json
    } else {
        query.line_format()
    };
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    let accept = HeaderValue::try_from(accept_key(key))
        .map_err(|_| Refused::bad_request("Sec-WebSocket-Key is no header value."))?;
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if json {
        headers.insert(
            header::SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(SUBPROTOCOL),
        );
    }
    Ok((response, format, query))
}

/// Returns the secret of a name among the subprotocols, in base64url. A page
/// can set no other header, and URLs are shown and stored.
fn offered_secret(head: &Parts) -> Result<Option<Secret>, Refused> {
    let mut offered = list(head, &header::SEC_WEBSOCKET_PROTOCOL);
    let Some(encoded) = offered.find_map(|part| part.strip_prefix("secret.")) else {
        return Ok(None);
    };
    let decoded = URL_SAFE_NO_PAD.decode(encoded).ok();
    let secret = decoded.and_then(|bytes| String::from_utf8(bytes).ok()?.parse().ok());
    let wrong = || Refused::bad_request("The text after \"secret.\" is not a secret in base64url.");
    secret.map(Some).ok_or_else(wrong)
}

fn accept_key(key: &str) -> String {
    let joined = [key, GUID].concat();
    STANDARD.encode(digest::digest(
        &digest::SHA1_FOR_LEGACY_USE_ONLY,
        joined.as_bytes(),
    ))
}

/// Returns the value of a required header.
fn required_header<'a>(head: &'a Parts, name: &HeaderName) -> Result<&'a str, Refused> {
    let missing = || Refused::bad_request(format!("The header {name} is missing."));
    single_header(head, name)?.ok_or_else(missing)
}

/// Whether a list header contains a token, in any case.
fn has_token(head: &Parts, name: &HeaderName, token: &str) -> bool {
    list(head, name).any(|part| part.eq_ignore_ascii_case(token))
}

/// Splits a list header into its parts.
fn list<'a>(head: &'a Parts, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = head.headers.get_all(name).into_iter();
    lines
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 4] = [
        ("upgrade", "websocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn ask(
        uri: &str,
        headers: &[(&str, &str)],
    ) -> Result<(Response<Full<Bytes>>, Format, Query), Refused> {
        let mut request = http::Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).expect("a request").into_parts();
        accept(&head)
    }

    #[test]
    fn the_accept_key_matches_the_rfc_example() {
        let (response, format, query) = ask("/", &GOOD).expect("accepted");
        assert_eq!(
            response.headers()[header::SEC_WEBSOCKET_ACCEPT],
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        assert!(
            !response
                .headers()
                .contains_key(header::SEC_WEBSOCKET_PROTOCOL)
        );
        assert_eq!(
            (format, query.echo, query.name),
            (Format::Plain, true, None)
        );
    }

    #[test]
    fn the_json_subprotocol_is_matched_case_sensitively() {
        let mut headers = GOOD.to_vec();
        headers.push(("sec-websocket-protocol", "other, chat.v1"));
        let (response, format, _) = ask("/?seq=1", &headers).expect("accepted");
        assert_eq!(
            response.headers()[header::SEC_WEBSOCKET_PROTOCOL],
            "chat.v1"
        );
        assert_eq!(format, Format::Json);
        headers.pop();
        headers.push(("sec-websocket-protocol", "CHAT.V1"));
        let (response, format, _) = ask("/", &headers).expect("accepted");
        let answered = response.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
        assert_eq!((answered, format), (None, Format::Plain));
    }

    #[test]
    fn a_secret_can_be_sent_as_a_subprotocol() {
        for (offered, secret) in [
            ("chat.v1", Ok(None)),
            (
                "chat.v1, secret.MDEyMzQ1Njc4OWFiY2RlZg",
                Ok(Some("0123456789abcdef")),
            ),
            ("chat.v1, secret.MDEyMw", Err(400)),
            ("chat.v1, secret.*", Err(400)),
        ] {
            let mut headers = GOOD.to_vec();
            headers.push(("sec-websocket-protocol", offered));
            let found = ask("/?name=ana", &headers);
            let found = found.map(|(_, _, query)| query.secret);
            let found = found.as_ref().map(|s| s.as_ref().map(Secret::reveal));
            assert_eq!(found.map_err(|r| r.status.as_u16()), secret, "{offered}");
        }
    }

    #[test]
    fn invalid_handshakes_are_refused() {
        for (name, value, status) in [
            ("upgrade", None, 400),
            ("upgrade", Some("h2c"), 400),
            ("connection", None, 400),
            ("connection", Some("close"), 400),
            ("sec-websocket-version", None, 400),
            ("sec-websocket-version", Some("8"), 426),
            ("sec-websocket-key", None, 400),
            ("sec-websocket-key", Some("short"), 400),
            (
                "sec-websocket-key",
                Some("dGhlIHNhbXBsZSBub25jZSBsb25nZXI="),
                400,
            ),
        ] {
            let mut headers = GOOD.to_vec();
            headers.retain(|(other, _)| *other != name);
            headers.extend(value.map(|value| (name, value)));
            let refused = ask("/", &headers).expect_err(name);
            assert_eq!(refused.status.as_u16(), status, "{name}: {value:?}");
        }
        for doubled in ["sec-websocket-version", "sec-websocket-key"] {
            let mut headers = GOOD.to_vec();
            headers.extend(GOOD.iter().filter(|(name, _)| *name == doubled));
            assert_eq!(ask("/", &headers).expect_err(doubled).status.as_u16(), 400);
        }
        let mut headers = GOOD.to_vec();
        headers.push(("content-length", "3"));
        assert_eq!(ask("/", &headers).expect_err("a body").status.as_u16(), 400);
    }
}
