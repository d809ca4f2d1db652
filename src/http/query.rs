//! What a room's URL asks for behind its `?`.
//!
//! What is not known is left to later versions; what is known must be right.

use std::str::FromStr;

use http::{header, request::Parts};

use super::{answer::Refused, origin::only};
use crate::{
    protocol::{
        Epoch, Seq, Start,
        format::Format,
        name::{Name, RoomName},
        secret::Secret,
    },
    session::Visit,
};

/// The query of a room's URL.
#[derive(Clone, Debug)]
pub(super) struct Query {
    /// `name`: the name to carry.
    pub(super) name: Option<Name>,
    /// What proves it; no part of the URL, which is shown and kept.
    pub(super) secret: Option<Secret>,
    /// `after`, `epoch`, `backlog`, `inbox`: where to start reading.
    pub(super) start: Start,
    /// `before`, `limit`: which page of the history.
    pub(super) before: Option<Seq>,
    pub(super) limit: Option<u32>,
    /// `seq=1`: plain lines begin with their number.
    pub(super) numbered: bool,
    /// Not `echo=0`: own messages are shown.
    pub(super) echo: bool,
}

impl Default for Query {
    fn default() -> Self {
        Query {
            name: None,
            secret: None,
            start: Start::default(),
            before: None,
            limit: None,
            numbered: false,
            echo: true,
        }
    }
}

impl Query {
    /// The query of a request, and the secret in its header `Authorization`.
    pub(super) fn of(head: &Parts) -> Result<Self, Refused> {
        Ok(Query {
            secret: bearer(head)?,
            ..Query::parse(head.uri.query().unwrap_or_default())?
        })
    }

    fn parse(query: &str) -> Result<Self, Refused> {
        let mut parsed = Query::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                // An empty field of a form is no name, and no mistake either.
                "name" if value.is_empty() => {}
                "name" => {
                    let bad = |rule| Refused::bad_request(format!("name: {rule}."));
                    parsed.name = Some(value.parse().map_err(bad)?);
                }
                "after" => parsed.start.after = Some(Seq(number("after", &value)?)),
                "epoch" => parsed.start.epoch = Some(Epoch((&*value).into())),
                "inbox" => parsed.start.inbox = Some(Seq(number("inbox", &value)?)),
                "backlog" => parsed.start.backlog = Some(number("backlog", &value)?),
                "before" => parsed.before = Some(Seq(number("before", &value)?)),
                "limit" => parsed.limit = Some(number("limit", &value)?),
                "seq" => parsed.numbered = switch("seq", &value)?,
                "echo" => parsed.echo = switch("echo", &value)?,
                _ => {}
            }
        }
        Ok(parsed)
    }

    /// Whether it asks for a page, and not for everything from somewhere on.
    pub(super) fn is_for_a_page(&self) -> bool {
        self.before.is_some() || self.limit.is_some()
    }

    /// How plain lines are to be written.
    pub(super) fn lines(&self) -> Format {
        if self.numbered {
            Format::NumberedPlain
        } else {
            Format::Plain
        }
    }

    /// The visit it asks for.
    pub(super) fn visit(self, room: RoomName, format: Format) -> Visit {
        Visit {
            room,
            name: self.name,
            secret: self.secret,
            format,
            start: self.start,
            echo: self.echo,
        }
    }
}

/// Other schemes than `Bearer` are meant for a proxy before this server: a
/// browser it let in sends them with whatever else it asks for.
fn bearer(head: &Parts) -> Result<Option<Secret>, Refused> {
    let Some(value) = only(head, &header::AUTHORIZATION)? else {
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

pub(super) fn number<N: FromStr>(key: &str, value: &str) -> Result<N, Refused> {
    // `parse` would take a sign.
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
    fn queries() {
        let query = "name=Ana&after=7&epoch=ab&backlog=5&before=9&limit=3&seq=1&echo=0&other=x";
        let query = Query::parse(query).expect("all of it is right");
        assert_eq!(query.name.expect("a name").as_str(), "Ana");
        assert!(query.numbered && !query.echo);
        assert_eq!(query.start.after, Some(Seq(7)));
        assert_eq!(query.start.epoch, Some(Epoch("ab".into())));
        assert_eq!(query.start.backlog, Some(5));
        assert_eq!((query.before, query.limit), (Some(Seq(9)), Some(3)));
        let query = Query::parse("").expect("nothing is right");
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
            "echo=2",
        ] {
            let refused = Query::parse(wrong).expect_err(wrong);
            assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{wrong}");
        }
    }
}
