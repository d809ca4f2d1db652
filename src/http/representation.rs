//! Chooses the representation of a room by `Accept` (RFC 9110 §12.5.1).

use http::{StatusCode, header, request::Parts};

use super::answer::Refused;

/// A representation of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Representation {
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
const REPRESENTATIONS: [(Representation, &str, &str); 4] = [
    (Representation::Page, "text", "html"),
    (Representation::Json, "application", "json"),
    (Representation::Events, "text", "event-stream"),
    (Representation::Lines, "text", "plain"),
];

/// Returns the form the request prefers.
///
/// # Errors
///
/// Fails with 406 if the request accepts none of the forms.
pub(super) fn preferred(head: &Parts) -> Result<Representation, Refused> {
    let lines = head.headers.get_all(header::ACCEPT).iter();
    let ranges: Vec<Range<'_>> = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(Range::parse)
        .collect();
    // Without `Accept`, any form is acceptable.
    if ranges.is_empty() {
        return Ok(Representation::Lines);
    }
    let mut best: Option<(Preference, Representation)> = None;
    for (form, kind, subtype) in REPRESENTATIONS {
        let wish = ranges
            .iter()
            .filter_map(|range| range.preference(kind, subtype));
        // The most specific range counts, not the one with the highest quality.
        let Some(wish) = wish.max_by_key(|wish| wish.specificity) else {
            continue;
        };
        // A program that accepts any text does not ask for a browser's page.
        let better = best.is_none_or(|(other, _)| {
            let (new, old) = (
                (wish.quality, wish.specificity),
                (other.quality, other.specificity),
            );
            new > old
                || new == old
                    && form == Representation::Lines
                    && wish.specificity != Specificity::Subtype
        });
        if wish.quality > 0 && better {
            best = Some((wish, form));
        }
    }
    best.map(|(_, form)| form).ok_or_else(|| {
        Refused::new(
            StatusCode::NOT_ACCEPTABLE,
            "A room is available as text/plain, text/html, application/json or text/event-stream.",
        )
    })
}

/// How specific a media range is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Specificity {
    Nothing,
    Type,
    Subtype,
}

/// The quality of a type in thousandths, and the range's specificity.
#[derive(Clone, Copy, Debug)]
struct Preference {
    quality: u16,
    specificity: Specificity,
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

    fn preference(&self, kind: &str, subtype: &str) -> Option<Preference> {
        let specificity = match (self.kind, self.subtype) {
            ("*", "*") => Specificity::Nothing,
            (same, "*") if same.eq_ignore_ascii_case(kind) => Specificity::Type,
            (same, too) if same.eq_ignore_ascii_case(kind) && too.eq_ignore_ascii_case(subtype) => {
                Specificity::Subtype
            }
            _ => return None,
        };
        Some(Preference {
            quality: self.quality,
            specificity,
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

    fn asked(accept: &[&str]) -> Result<Representation, u16> {
        let mut request = http::Request::get("/");
        for line in accept {
            request = request.header(header::ACCEPT, *line);
        }
        let (head, ()) = request.body(()).expect("a request").into_parts();
        preferred(&head).map_err(|refused| refused.status.as_u16())
    }

    #[test]
    fn accept_headers_select_the_form_of_a_room() {
        assert_eq!(asked(&[]), Ok(Representation::Lines));
        assert_eq!(
            asked(&["image/png", "application/json"]),
            Ok(Representation::Json)
        );
        for (accept, form) in [
            ("*/*", Ok(Representation::Lines)),
            ("text/*", Ok(Representation::Lines)),
            ("text/plain", Ok(Representation::Lines)),
            ("TEXT/Plain; charset=utf-8", Ok(Representation::Lines)),
            ("application/*", Ok(Representation::Json)),
            ("application/json", Ok(Representation::Json)),
            ("text/event-stream", Ok(Representation::Events)),
            ("text/event-stream, */*", Ok(Representation::Events)),
            // A browser, lynx, w3m, and a script's usual headers.
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                Ok(Representation::Page),
            ),
            (
                "text/html, text/plain, text/css, */*;q=0.01",
                Ok(Representation::Page),
            ),
            ("text/html, text/*;q=0.5, image/*", Ok(Representation::Page)),
            (
                "application/json, text/plain, */*",
                Ok(Representation::Json),
            ),
            (
                "application/json, text/event-stream",
                Ok(Representation::Json),
            ),
            // The higher quality wins; the more specific range counts.
            ("text/html;q=0.1, text/plain", Ok(Representation::Lines)),
            (
                "application/json;q=0.5, text/plain;q=0.501",
                Ok(Representation::Lines),
            ),
            ("text/html;q=0, */*", Ok(Representation::Lines)),
            ("text/plain;q=0, text/*", Ok(Representation::Page)),
            (
                "*/*, text/plain;q=0.1, text/html;q=0.2, application/json;q=0.3",
                Ok(Representation::Events),
            ),
            // An invalid range is ignored.
            ("text/html;q=2", Ok(Representation::Lines)),
            ("nonsense", Ok(Representation::Lines)),
            ("", Ok(Representation::Lines)),
            ("image/png", Err(406)),
            ("*/*;q=0", Err(406)),
            ("text/html;q=0.000", Err(406)),
        ] {
            assert_eq!(asked(&[accept]), form, "{accept}");
        }
    }
}
