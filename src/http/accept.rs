//! In which of its forms a room is asked for (RFC 9110 §12.5.1).

use http::{StatusCode, header, request::Parts};

use super::answer::Refused;

/// A form of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Plain lines: for whoever takes anything.
    Lines,
    /// The page for browsers.
    Page,
    /// A page of the history as JSON.
    Json,
    /// Server-sent events, as things happen.
    Events,
}

/// The forms as `type` and `subtype`. Of those named as good as each other the
/// first is given.
const FORMS: [(Form, &str, &str); 4] = [
    (Form::Page, "text", "html"),
    (Form::Json, "application", "json"),
    (Form::Events, "text", "event-stream"),
    (Form::Lines, "text", "plain"),
];

/// The form a request would like best.
pub(super) fn form(head: &Parts) -> Result<Form, Refused> {
    let lines = head.headers.get_all(header::ACCEPT).iter();
    let ranges: Vec<Range<'_>> = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(Range::parse)
        .collect();
    // Who says nothing takes anything.
    if ranges.is_empty() {
        return Ok(Form::Lines);
    }
    let mut best: Option<(Wish, Form)> = None;
    for (form, kind, subtype) in FORMS {
        let wish = ranges.iter().filter_map(|range| range.wish(kind, subtype));
        // What says most about it counts, not what likes it most.
        let Some(wish) = wish.max_by_key(|wish| wish.told) else {
            continue;
        };
        // Whoever takes any text is a program that says nothing of browsers.
        let better = best.is_none_or(|(other, _)| {
            let (new, old) = ((wish.quality, wish.told), (other.quality, other.told));
            new > old || new == old && form == Form::Lines && wish.told != Told::Subtype
        });
        if wish.quality > 0 && better {
            best = Some((wish, form));
        }
    }
    best.map(|(_, form)| form).ok_or_else(|| {
        Refused::new(
            StatusCode::NOT_ACCEPTABLE,
            "A room is to be had as text/plain, text/html, application/json or text/event-stream.",
        )
    })
}

/// How much a range says of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Nothing,
    Type,
    Subtype,
}

/// How a type is liked, in thousandths.
#[derive(Clone, Copy, Debug)]
struct Wish {
    quality: u16,
    told: Told,
}

/// One part of `Accept`.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    quality: u16,
}

impl<'a> Range<'a> {
    /// What is none says nothing.
    fn parse(part: &'a str) -> Option<Self> {
        let mut parts = part.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let quality = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim()
                .eq_ignore_ascii_case("q")
                .then_some(value.trim())
        });
        Some(Range {
            kind,
            subtype,
            quality: quality.map_or(Some(1000), thousandths)?,
        })
    }

    fn wish(&self, kind: &str, subtype: &str) -> Option<Wish> {
        let told = match (self.kind, self.subtype) {
            ("*", "*") => Told::Nothing,
            (same, "*") if same.eq_ignore_ascii_case(kind) => Told::Type,
            (same, too) if same.eq_ignore_ascii_case(kind) && too.eq_ignore_ascii_case(subtype) => {
                Told::Subtype
            }
            _ => return None,
        };
        Some(Wish {
            quality: self.quality,
            told,
        })
    }
}

/// A number from 0 to 1 with up to three decimals.
fn thousandths(value: &str) -> Option<u16> {
    let (whole, decimals) = value.split_once('.').unwrap_or((value, ""));
    let digits = decimals.bytes().all(|b| b.is_ascii_digit());
    if !matches!(whole, "0" | "1") || !digits || decimals.len() > 3 {
        return None;
    }
    let thousandths: u16 = format!("{whole}{decimals:0<3}").parse().ok()?;
    (thousandths <= 1000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(accept: &[&str]) -> Result<Form, u16> {
        let mut request = http::Request::get("/");
        for line in accept {
            request = request.header(header::ACCEPT, *line);
        }
        let (head, ()) = request.body(()).expect("a request").into_parts();
        form(&head).map_err(|refused| refused.status.as_u16())
    }

    #[test]
    fn forms() {
        assert_eq!(asked(&[]), Ok(Form::Lines));
        assert_eq!(asked(&["image/png", "application/json"]), Ok(Form::Json));
        for (accept, form) in [
            ("*/*", Ok(Form::Lines)),
            ("text/*", Ok(Form::Lines)),
            ("text/plain", Ok(Form::Lines)),
            ("TEXT/Plain; charset=utf-8", Ok(Form::Lines)),
            ("application/*", Ok(Form::Json)),
            ("application/json", Ok(Form::Json)),
            ("text/event-stream", Ok(Form::Events)),
            ("text/event-stream, */*", Ok(Form::Events)),
            // A browser, lynx, w3m, a script's usual wish.
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                Ok(Form::Page),
            ),
            (
                "text/html, text/plain, text/css, */*;q=0.01",
                Ok(Form::Page),
            ),
            ("text/html, text/*;q=0.5, image/*", Ok(Form::Page)),
            ("application/json, text/plain, */*", Ok(Form::Json)),
            ("application/json, text/event-stream", Ok(Form::Json)),
            // What is liked better wins; what is named closer counts.
            ("text/html;q=0.1, text/plain", Ok(Form::Lines)),
            (
                "application/json;q=0.5, text/plain;q=0.501",
                Ok(Form::Lines),
            ),
            ("text/html;q=0, */*", Ok(Form::Lines)),
            ("text/plain;q=0, text/*", Ok(Form::Page)),
            (
                "*/*, text/plain;q=0.1, text/html;q=0.2, application/json;q=0.3",
                Ok(Form::Events),
            ),
            // What is no range says nothing.
            ("text/html;q=2", Ok(Form::Lines)),
            ("nonsense", Ok(Form::Lines)),
            ("", Ok(Form::Lines)),
            ("image/png", Err(406)),
            ("*/*;q=0", Err(406)),
            ("text/html;q=0.000", Err(406)),
        ] {
            assert_eq!(asked(&[accept]), form, "{accept}");
        }
    }
}
