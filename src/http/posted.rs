//! The body of a POST: a text, or an object that another program makes.

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use http::{StatusCode, header, request::Parts};
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::time::timeout;

use super::{
    answer::Refused,
    forms::{self, Said},
    origin::single_header,
    state::HttpState,
};
use crate::{
    hub::{Registration, message_cost},
    protocol::{
        Limits, misplaced_secret,
        name::{MessageId, RoomName},
        text::Text,
    },
};

/// The longest object that a program may post, in bytes.
const MAX_OBJECT: usize = 256 << 10;

/// The name of GitHub's event.
const GITHUB_EVENT: header::HeaderName = header::HeaderName::from_static("x-github-event");

/// How long a body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// The request header for the message id, so that a repeated POST is stored
/// once.
const IDEMPOTENCY_KEY: header::HeaderName = header::HeaderName::from_static("idempotency-key");

/// A posted message.
pub(super) struct Posted {
    pub(super) text: Text,
    /// Its id: of the request, or else the one that the same notification always
    /// has.
    pub(super) id: Option<MessageId>,
    /// Whether everybody can compute the id.
    pub(super) is_guessable: bool,
}

/// Reads the body of a POST to a room, and charges the peer for it.
///
/// # Errors
///
/// Fails if the peer posts too much, or if the body is no message.
pub(super) async fn take<B>(
    head: &Parts,
    body: B,
    form: Form,
    registration: &Registration,
    state: &HttpState,
    room: &RoomName,
) -> Result<Posted, Refused>
where
    B: Body<Data = Bytes>,
{
    let id = match single_header(head, &IDEMPOTENCY_KEY)? {
        // The draft standard of this header puts the value in quotation marks.
        Some(key) => Some(
            key.trim_matches('"')
                .parse::<MessageId>()
                .map_err(|rule| Refused::bad_request(format!("Idempotency-Key: {rule}.")))?,
        ),
        None => None,
    };
    let budget = registration.budget();
    if let Some(budget) = budget {
        budget.post()?;
    }
    let mut taken = Vec::new();
    let limits = state.session.get().limits;
    let whole = read(body, form, limits, &mut taken).await;
    if let Some(budget) = budget {
        budget.posted(message_cost(taken.len(), state.hub.readers(room)));
    }
    whole?;
    let (text, own_id) = match form {
        Form::Text => (text(&taken, limits)?, None),
        Form::Json => object(&taken, head, limits)?,
        Form::Any => any(&taken, head, limits)?,
    };
    Ok(Posted {
        text,
        is_guessable: id.is_none() && own_id.is_some(),
        id: id.or(own_id),
    })
}

/// The form of a body.
#[derive(Clone, Copy)]
pub(super) enum Form {
    /// The text itself.
    Text,
    /// An object that another program makes.
    Json,
    /// For a hook, any of these: an object, a form whose field `payload` has one,
    /// or the text itself.
    Any,
}

impl Form {
    /// The form by the `Content-Type`. `curl` calls a plain text a form of a
    /// browser, so only two types count.
    ///
    /// # Errors
    ///
    /// Fails with 415 for a form with files.
    pub(super) fn of(head: &Parts) -> Result<Self, Refused> {
        let kind = single_header(head, &header::CONTENT_TYPE)?.unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if kind.eq_ignore_ascii_case("multipart/form-data") {
            let text = "The body is the text of one message, or a JSON object, and no form: \
                        curl takes --data in place of --form.";
            return Err(Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
        }
        let is_json = kind.eq_ignore_ascii_case("application/json");
        Ok(if is_json { Form::Json } else { Form::Text })
    }

    /// As [`Form::of`], for a hook.
    ///
    /// # Errors
    ///
    /// Fails with 415 for a form with files.
    pub(super) fn of_hook(head: &Parts) -> Result<Self, Refused> {
        Form::of(head).map(|form| match form {
            Form::Text => Form::Any,
            form => form,
        })
    }
}

/// Reads the body into `taken`, also as far as it came if it is refused.
async fn read<B>(body: B, form: Form, limits: Limits, taken: &mut Vec<u8>) -> Result<(), Refused>
where
    B: Body<Data = Bytes>,
{
    let (limit, slack) = match form {
        // One newline at the end is dropped.
        Form::Text => (limits.text_bytes, 2),
        Form::Json | Form::Any => (MAX_OBJECT.max(limits.text_bytes), 0),
    };
    let reading = async {
        let mut body = pin!(body);
        while let Some(frame) = body.frame().await {
            let broken = |_| Refused::bad_request("The body did not arrive whole.");
            if let Ok(data) = frame.map_err(broken)?.into_data() {
                taken.extend_from_slice(&data);
            }
            if taken.len() > limit + slack {
                let text = format!("The text is too long; at most {limit} bytes are taken.");
                return Err(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, text));
            }
        }
        Ok(())
    };
    timeout(BODY_DEADLINE, reading).await.unwrap_or_else(|_| {
        let text = "The body did not arrive within 10 seconds.";
        Err(Refused::new(StatusCode::REQUEST_TIMEOUT, text))
    })
}

/// The text of a body. One final newline is dropped: a shell adds it.
///
/// # Errors
///
/// Fails if the body is no text, or if it looks like a command with a secret.
fn text(body: &[u8], limits: Limits) -> Result<Text, Refused> {
    let raw = str::from_utf8(body).map_err(|_| Refused::bad_request("The body is not UTF-8."))?;
    let raw = raw
        .strip_suffix('\n')
        .map_or(raw, |raw| raw.strip_suffix('\r').unwrap_or(raw));
    let text = Text::parse(raw, limits.text_bytes)?;
    misplaced_secret::check(raw)?;
    Ok(text)
}

/// The text of a body of any form, and the id of its notification.
///
/// # Errors
///
/// Fails as [`object`] and [`text`] do. A text that is too long is cut.
fn any(body: &[u8], head: &Parts, limits: Limits) -> Result<(Text, Option<MessageId>), Refused> {
    if body.trim_ascii_start().starts_with(b"{") {
        return object(body, head, limits);
    }
    let payload = form_urlencoded::parse(body).find(|(field, _)| field == "payload");
    if let Some((_, payload)) = payload {
        return object(payload.as_bytes(), head, limits);
    }
    let raw = str::from_utf8(body).map_err(|_| Refused::bad_request("The body is not UTF-8."))?;
    said(raw.trim_end().to_owned().into(), limits)
}

/// The text of a posted object, and the id of its notification.
///
/// # Errors
///
/// Fails if the object has no known form, or its text looks like a command with
/// a secret.
fn object(body: &[u8], head: &Parts, limits: Limits) -> Result<(Text, Option<MessageId>), Refused> {
    said(
        forms::read(body, single_header(head, &GITHUB_EVENT)?)?,
        limits,
    )
}

/// A text, cut at the limit.
fn said(mut said: Said, limits: Limits) -> Result<(Text, Option<MessageId>), Refused> {
    said.cut(limits.text_bytes);
    misplaced_secret::check(&said.text)?;
    Ok((Text::parse(&said.text, limits.text_bytes)?, said.id))
}
