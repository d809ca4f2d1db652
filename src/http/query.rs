//! Parses the query of a room's URL.
//!
//! Unknown parameters are ignored, so that later versions can add some. The
//! value of a known parameter must be valid.

use std::str::FromStr;

use http::{HeaderName, header, request::Parts};

use super::{answer::Refused, origin::single_header};
use crate::{
    protocol::{
        Epoch, PublishKind, Seq, Start,
        format::Format,
        name::{Name, RoomName},
        secret::Secret,
        token::Token,
    },
    session::SessionRequest,
};

/// The query of a room's URL.
#[derive(Clone, Debug)]
pub(super) struct Query {
    /// `name`: the name to use.
    pub(super) name: Option<Name>,
    /// The secret that proves ownership of the name. It is never in the URL,
    /// because URLs are shown and stored.
    pub(super) secret: Option<Secret>,
    /// The token of an invitation, which is never in the URL either.
    pub(super) invitation: Option<Token>,
    /// The token of a link to a name, which is never in the URL either.
    pub(super) link: Option<Token>,
    /// `after`, `epoch`, `backlog`, `inbox`: where to start reading.
    pub(super) start: Start,
    /// `before`, `limit`: which page of the history.
    pub(super) before: Option<Seq>,
    pub(super) limit: Option<u32>,
    /// `seq=1`: plain lines begin with their number.
    pub(super) numbered: bool,
    /// `kind`: the kind of the message.
    pub(super) kind: PublishKind,
    /// `about`: the message that it answers or changes.
    pub(super) about: Option<Seq>,
    /// `echo`: whether own messages are shown; `echo=0` hides them.
    pub(super) echo: bool,
}

impl Default for Query {
    fn default() -> Self {
        Query {
            name: None,
            secret: None,
            invitation: None,
            link: None,
            start: Start::default(),
            before: None,
            limit: None,
            numbered: false,
            kind: PublishKind::Said,
            about: None,
            echo: true,
        }
    }
}

impl Query {
    /// Parses the query of a request, the secret in its `Authorization` header,
    /// and the token in its `Chat-Invite` or `Chat-Link` header.
    ///
    /// # Errors
    ///
    /// Fails with 400 if a known parameter or the secret is invalid.
    pub(super) fn of(head: &Parts) -> Result<Self, Refused> {
        Ok(Query {
            secret: bearer(head)?,
            invitation: single_header(head, &INVITATION)?.map(Token::given),
            link: single_header(head, &LINK)?.map(Token::given),
            ..Query::parse(head.uri.query().unwrap_or_default())?
        })
    }

    fn parse(query: &str) -> Result<Self, Refused> {
        let mut parsed = Query::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                // A form sends an empty field as an empty value; that means no
                // name.
                "name" if value.is_empty() => {}
                "name" => {
                    let bad = |rule| Refused::bad_request(format!("name: {rule}."));
                    parsed.name = Some(Name::asked(&value).map_err(bad)?);
                }
                "after" => parsed.start.after = Some(Seq(number("after", &value)?)),
                "epoch" => parsed.start.epoch = Some(Epoch((&*value).into())),
                "inbox" => parsed.start.inbox = Some(Seq(number("inbox", &value)?)),
                "backlog" => parsed.start.backlog = Some(number("backlog", &value)?),
                "before" => parsed.before = Some(Seq(number("before", &value)?)),
                "limit" => parsed.limit = Some(number("limit", &value)?),
                "seq" => parsed.numbered = switch("seq", &value)?,
                "about" => parsed.about = Some(Seq(number("about", &value)?)),
                "kind" => {
                    let known = PublishKind::ALL.iter().find(|(word, _)| *word == value);
                    let (_, kind) = known.ok_or_else(|| {
                        let words = PublishKind::ALL.map(|(word, _)| word).join(", ");
                        Refused::bad_request(format!("kind={value}: kind is one of {words}."))
                    })?;
                    parsed.kind = *kind;
                }
                "echo" => parsed.echo = switch("echo", &value)?,
                _ => {}
            }
        }
        Ok(parsed)
    }

    /// Whether it asks for a history page rather than for everything from a
    /// position.
    pub(super) fn is_for_a_page(&self) -> bool {
        self.before.is_some() || self.limit.is_some()
    }

    /// The format of plain lines.
    pub(super) fn line_format(&self) -> Format {
        if self.numbered {
            Format::NumberedPlain
        } else {
            Format::Plain
        }
    }

    /// The session it asks for, at the server with this URL.
    pub(super) fn session_request(
        self,
        room: RoomName,
        format: Format,
        base: &str,
    ) -> SessionRequest {
        SessionRequest {
            room,
            name: self.name,
            secret: self.secret,
            proved: None,
            is_linked: false,
            base: base.into(),
            format,
            start: self.start,
            echo: self.echo,
        }
    }
}

/// The header with the token of an invitation.
const INVITATION: HeaderName = HeaderName::from_static("chat-invite");

/// The header with the token of a link.
const LINK: HeaderName = HeaderName::from_static("chat-link");

/// Returns the secret of a `Bearer` header. Other schemes are for a proxy in
/// front of this server: a browser that the proxy let in sends them with every
/// request.
fn bearer(head: &Parts) -> Result<Option<Secret>, Refused> {
    let Some(value) = single_header(head, &header::AUTHORIZATION)? else {
        return Ok(None);
    };
    let (scheme, secret) = value.split_once(' ').unwrap_or((value, ""));
    let secret = secret.trim();
    let proves = scheme.eq_ignore_ascii_case("bearer");
    if !proves && !secret.is_empty() {
        return Ok(None);
    }
    let bad =
        |rule| Refused::bad_request(format!("Authorization: it is Bearer SECRET, where {rule}."));
    match secret.parse() {
        Ok(secret) if proves => Ok(Some(secret)),
        Ok(_) => Err(Refused::bad_request("Authorization: it is Bearer SECRET.")),
        Err(rule) => Err(bad(rule)),
    }
}

/// Parses an unsigned number.
///
/// # Errors
///
/// Fails with 400 if the value is no whole number or too large.
pub(super) fn number<N: FromStr>(key: &str, value: &str) -> Result<N, Refused> {
    // `parse` would accept a sign.
    let digits = value.bytes().all(|b| b.is_ascii_digit());
    let number = digits.then(|| value.parse().ok()).flatten();
    number.ok_or_else(|| Refused::bad_request(format!("{key}={value} is not a whole number.")))
}

fn switch(key: &str, value: &str) -> Result<bool, Refused> {
    match value {
        "1" => Ok(true),
        "0" => Ok(false),
        _ => Err(Refused::bad_request(format!(
            "{key}={value}: {key} is 0 or 1."
        ))),
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn queries_are_parsed_and_invalid_values_refused() {
        let query =
            "name=Ana&after=7&epoch=ab&backlog=5&before=9&limit=3&seq=1&kind=me&echo=0&other=x";
        let query = Query::parse(query).expect("a valid query");
        assert_eq!(query.name.expect("a name").as_str(), "Ana");
        assert!(query.numbered && !query.echo && query.kind == PublishKind::Me);
        assert_eq!(query.start.after, Some(Seq(7)));
        assert_eq!(query.start.epoch, Some(Epoch("ab".into())));
        assert_eq!(query.start.backlog, Some(5));
        assert_eq!((query.before, query.limit), (Some(Seq(9)), Some(3)));
        let query = Query::parse("").expect("an empty query is valid");
        assert!(!query.numbered && query.echo && query.name.is_none());
        for wrong in [
            "name=a+b",
            "after=x",
            "after=-1",
            "after=%2B1",
            "backlog=",
            "before=x",
            "limit=-1",
            "limit=4294967296",
            "seq=yes",
            "kind=you",
            "echo=2",
        ] {
            let refused = Query::parse(wrong).expect_err(wrong);
            assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{wrong}");
        }
    }
}
