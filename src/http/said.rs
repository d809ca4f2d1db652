//! The message in the body of a POST: a text, or JSON with a text.

use http::{StatusCode, header, request::Parts};
use serde::Deserialize;

use super::answer::Refused;
use crate::protocol::{Limits, MessageKind, misplaced_secret, text::Text};

/// A letter of a text has at most six bytes in JSON (`\\u0000`), and so many
/// bytes stand around the text.
const JSON_BYTES_A_BYTE: usize = 6;
const JSON_AROUND: usize = 256;

/// The form of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyForm {
    /// The text itself.
    Text,
    /// A JSON object with a text.
    Json,
}

/// The message in a JSON body. Further fields are ignored.
#[derive(Deserialize)]
struct Said {
    text: String,
    #[serde(default)]
    kind: MessageKind,
}

impl BodyForm {
    /// The form that the request says.
    pub(super) fn of(head: &Parts) -> Self {
        let kind = head.headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let (kind, _) = kind.split_once(';').unwrap_or((kind, ""));
        match kind.trim().to_ascii_lowercase().as_str() {
            "application/json" => BodyForm::Json,
            _ => BodyForm::Text,
        }
    }

    /// The longest body, in bytes.
    pub(super) fn limit(self, limits: Limits) -> usize {
        match self {
            // One line break at the end is dropped.
            BodyForm::Text => limits.text_bytes + 2,
            BodyForm::Json => limits.text_bytes * JSON_BYTES_A_BYTE + JSON_AROUND,
        }
    }

    /// The message in a body.
    ///
    /// # Errors
    ///
    /// Fails if the body is no text or no such JSON, and if the text looks like
    /// a command with a secret.
    pub(super) fn parse(self, body: &[u8], limits: Limits) -> Result<(Text, MessageKind), Refused> {
        let raw =
            str::from_utf8(body).map_err(|_| Refused::bad_request("The body is not UTF-8."))?;
        if self == BodyForm::Text {
            // A shell adds the line break at the end.
            let raw = raw
                .strip_suffix('\n')
                .map_or(raw, |raw| raw.strip_suffix('\r').unwrap_or(raw));
            return accept(raw, MessageKind::Said, limits);
        }
        let said: Said = serde_json::from_str(raw).map_err(|why| {
            if why.is_data() {
                let text = format!(
                    "This JSON is no message ({why}): give {{\"text\":\"hi\"}}, and \"kind\":\"me\" if it says what you do."
                );
                Refused::new(StatusCode::UNPROCESSABLE_ENTITY, text)
            } else {
                Refused::bad_request(format!("The body is no JSON ({why})."))
            }
        })?;
        accept(&said.text, said.kind, limits)
    }
}

fn accept(raw: &str, kind: MessageKind, limits: Limits) -> Result<(Text, MessageKind), Refused> {
    let text = Text::parse(raw, limits.text_bytes)?;
    misplaced_secret::check(raw)?;
    Ok((text, kind))
}
