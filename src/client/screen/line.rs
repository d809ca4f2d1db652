//! Lines as they go to the terminal: what happened, in words and styles.

use jiff::{Timestamp, Zoned, tz::TimeZone};

use crate::protocol::{At, Kind, Message, text::clean};

/// What stands behind a style is for the terminal to say: colours may be few or
/// none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    /// Beside the point: times, comings and goings.
    Dim,
    /// Somebody's name: a colour of its own.
    Name(usize),
    /// One's own name.
    Own,
    /// What calls for a person.
    Loud,
    /// What went wrong.
    Bad,
}

/// A stretch of text in one style.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) style: Style,
    pub(super) text: String,
}

/// A line, or several where its text has newlines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line(pub(super) Vec<Span>);

impl Line {
    pub(super) fn new(style: Style, text: impl Into<String>) -> Self {
        Line::default().and(style, text)
    }

    /// This, and behind it a text; what a server may have put into it is made
    /// safe.
    #[must_use]
    pub(super) fn and(mut self, style: Style, text: impl Into<String>) -> Self {
        let text = text.into();
        let text = match clean(&text) {
            std::borrow::Cow::Borrowed(_) => text,
            std::borrow::Cow::Owned(clean) => clean,
        };
        // A line cannot fake another one: what follows its first is set in.
        let text = if text.contains('\n') {
            text.replace('\n', "\n  ")
        } else {
            text
        };
        self.0.push(Span { style, text });
        self
    }

    /// Its text, without styles.
    pub(super) fn text(&self) -> String {
        self.0.iter().map(|span| span.text.as_str()).collect()
    }
}

/// The style of somebody's name: always the same one.
pub(super) fn name_style(name: &str, own: bool) -> Style {
    if own {
        Style::Own
    } else {
        Style::Name(crc32fast::hash(name.to_lowercase().as_bytes()) as usize)
    }
}

/// When it was, for people.
pub(super) fn local(at: At, zone: &TimeZone) -> Zoned {
    let moment = Timestamp::from_millisecond(at.0).unwrap_or(Timestamp::UNIX_EPOCH);
    moment.to_zoned(zone.clone())
}

/// The time of day.
pub(super) fn clock(at: &Zoned) -> String {
    format!("{:02}:{:02}", at.hour(), at.minute())
}

/// What separates one day from the next.
pub(super) fn day(at: &Zoned) -> Line {
    mark(&at.strftime("%A, %-d %B %Y").to_string())
}

/// Where something begins.
pub(super) fn mark(text: &str) -> Line {
    Line::new(Style::Dim, format!("── {text}"))
}

/// What somebody said.
pub(super) fn said(message: &Message, at: &Zoned, own: bool, calls: bool) -> Line {
    let name = message.from.to_string();
    let line = Line::new(Style::Dim, format!("{} ", clock(at)));
    let text = if calls { Style::Loud } else { Style::Plain };
    let style = name_style(&name, own);
    match message.kind {
        Kind::Said => line
            .and(style, name)
            .and(Style::Plain, ": ")
            .and(text, &*message.text),
        Kind::Me => line
            .and(Style::Dim, "* ")
            .and(style, name)
            .and(Style::Plain, " ")
            .and(text, &*message.text),
    }
}

/// What somebody said to one person alone.
pub(super) fn whispered(at: &Zoned, from: &str, to: &str, text: &str, sent: bool) -> Line {
    let (from_style, to_style) = (name_style(from, sent), name_style(to, !sent));
    let (from, to) = if sent { ("you", to) } else { (from, "you") };
    let style = if sent { Style::Plain } else { Style::Loud };
    Line::new(Style::Dim, format!("{} * ", clock(at)))
        .and(from_style, from)
        .and(Style::Plain, " to ")
        .and(to_style, to)
        .and(Style::Plain, ": ")
        .and(style, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_acts_on_the_terminal_or_fakes_a_line() {
        let line = Line::new(Style::Plain, "a\u{1b}[2J\r\nb: c\u{202e}");
        assert_eq!(line.text(), "a\u{fffd}[2J\n  b: c\u{fffd}");
    }

    #[test]
    fn a_name_has_one_colour() {
        assert_eq!(name_style("ana", false), name_style("Ana", false));
        assert_eq!(name_style("ana", true), Style::Own);
    }
}
