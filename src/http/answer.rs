//! Complete responses: a body of one type, or a refusal in one sentence.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

use crate::protocol::{Refusal, RefusalCode};

/// A refused request: a status and a sentence.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) text: String,
    pub(super) header: Option<(HeaderName, HeaderValue)>,
}

impl Refused {
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Refused {
            status,
            text: text.into(),
            header: None,
        }
    }

    pub(super) fn bad_request(text: impl Into<String>) -> Self {
        Refused::new(StatusCode::BAD_REQUEST, text)
    }

    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.code {
            RefusalCode::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            RefusalCode::NameTaken | RefusalCode::NotAllowed => StatusCode::FORBIDDEN,
            RefusalCode::NotHere => StatusCode::NOT_FOUND,
            RefusalCode::IdTaken => StatusCode::UNPROCESSABLE_ENTITY,
            RefusalCode::Rate => StatusCode::TOO_MANY_REQUESTS,
            RefusalCode::Busy => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        let refused = Refused::new(status, refusal.text);
        match refusal.retry_ms {
            Some(ms) => refused.with(header::RETRY_AFTER, ms.div_ceil(1000).into()),
            None => refused,
        }
    }
}

impl From<Refused> for Response<Full<Bytes>> {
    fn from(refused: Refused) -> Self {
        let mut response = text(refused.status, refused.text + "\n");
        response.headers_mut().extend(refused.header);
        response
    }
}

pub(super) fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    content(status, "text/plain; charset=utf-8", body)
}

pub(super) fn content(
    status: StatusCode,
    kind: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}
