//! Chooses the representation of a room by `Accept` (RFC 9110 §12.5.1).

use http::{StatusCode, header, request::Parts};

use super::answer::Refused;

/// A representation of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Plain lines, the default for `*/*`.
    Lines,
    /// The HTML page for browsers.
    Page,
    /// A history page as JSON.
    Json,
    /// Server-sent events of the live room.
    Events,
}

/// The forms as `type` and `subtype`. Among equally preferred forms the first
/// wins.
const FORMS: [(Form, &str, &str); 4] = [
    (Form::Page, "text", "html"),
    (Form::Json, "application", "json"),
    (Form::Events, "text", "event-stream"),
    (Form::Lines, "text", "plain"),
];

/// Returns the form the request prefers.
///
/// # Errors
///
/// Fails with 406 if the request accepts none of the forms.
pub(super) fn form(head: &Parts) -> Result<Form, Refused> {
    let lines = head.headers.get_all(header::ACCEPT).iter();
    let ranges: Vec<Range<'_>> = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(Range::parse)
        .collect();
    // Without `Accept`, any form is acceptable.
    if ranges.is_empty() {
        return Ok(Form::Lines);
    }
    let mut best: Option<(Wish, Form)> = None;
    for (form, kind, subtype) in FORMS {
        let wish = ranges.iter().filter_map(|range| range.wish(kind, subtype));
        // The most specific range counts, not the one with the highest quality.
        let Some(wish) = wish.max_by_key(|wish| wish.told) else {
            continue;
        };
        // A program that accepts any text does not ask for a browser's page.
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

/// How specific a media range is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Nothing,
    Type,
    Subtype,
}

/// The quality of a type in thousandths, and the range's specificity.
#[derive(Clone, Copy, Debug)]
struct Wish {
    quality: u16,
    told: Told,
}

/// One media range of `Accept`.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    quality: u16,
}

impl<'a> Range<'a> {
    /// Returns `None` for an invalid range, which is then ignored.
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
    fn accept_headers_select_the_form_of_a_room() {
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
            // A browser, lynx, w3m, and a script's usual headers.
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
            // The higher quality wins; the more specific range counts.
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
            // An invalid range is ignored.
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
