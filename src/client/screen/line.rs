//! The lines of the screen: styled text for messages, days and marks.

use jiff::Zoned;
use unicode_segmentation::UnicodeSegmentation;

use super::{
    found::excerpt,
    width::{grapheme_width, text_width, visible_form},
};
use crate::protocol::{
    Author, Change, ChangeKind, Message, MessageKind, Quote,
    markup::{MarkupBlock, Piece, blocks},
    text::sanitize,
};

/// The widest line of a reaction, in cells.
const REACTION: usize = 79;

/// The columns between two tab stops in code.
const TAB: usize = 4;

/// The role of a span; the painter picks its look by the terminal's colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    /// Secondary text: times, joins and leaves.
    Dim,
    /// The beginning of a message that another one answers.
    Quote,
    /// The name of another user: each name has a colour of its own.
    Name(usize),
    /// The name of another user that nobody owns, in the same colour.
    Unverified(usize),
    /// The user's own name.
    Own,
    /// Text that calls for the user's attention.
    Loud,
    /// An error or a warning.
    Bad,
    /// Text with markup.
    Marked {
        bold: bool,
        italic: bool,
        code: bool,
    },
}

/// A stretch of text in one style.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) style: Style,
    pub(super) text: String,
}

/// A line, or several if its text has newlines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line(pub(super) Vec<Span>);

impl Line {
    pub(super) fn new(style: Style, text: impl Into<String>) -> Self {
        Line::default().and(style, text)
    }

    /// Appends a text. It may come from a server, so it is made safe to show.
    #[must_use]
    pub(super) fn and(mut self, style: Style, text: impl Into<String>) -> Self {
        let text = text.into();
        let text = match sanitize(&text) {
            std::borrow::Cow::Borrowed(_) => text,
            std::borrow::Cow::Owned(clean) => clean,
        };
        // Further lines are indented, so that a text cannot fake a message.
        let text = if text.contains('\n') {
            text.replace('\n', "\n  ")
        } else {
            text
        };
        self.0.push(Span { style, text });
        self
    }

    /// Appends a text in the looks of its markup. Code begins on a line of its
    /// own, so that its columns stay aligned.
    #[must_use]
    fn and_marked(mut self, plain: Style, text: &str) -> Self {
        let piece_style = |piece: &Piece| match (plain, piece) {
            (Style::Plain, piece) if piece.bold || piece.italic || piece.code => Style::Marked {
                bold: piece.bold,
                italic: piece.italic,
                code: piece.code,
            },
            (style, _) => style,
        };
        for (n, block) in blocks(text).iter().enumerate() {
            if n > 0 || matches!(block, MarkupBlock::Code(_)) {
                self = self.and(Style::Plain, "\n");
            }
            let pieces = match block {
                MarkupBlock::Text(pieces) => pieces,
                MarkupBlock::Quote(pieces) => {
                    let text: String = pieces.iter().map(|piece| piece.text).collect();
                    let style = if plain == Style::Plain {
                        Style::Dim
                    } else {
                        plain
                    };
                    self = self.and(style, format!("> {}", text.replace('\n', "\n> ")));
                    continue;
                }
                MarkupBlock::Item {
                    level,
                    mark,
                    pieces,
                } => {
                    self = self.and(plain, format!("{}{mark} ", "  ".repeat(*level)));
                    pieces
                }
                MarkupBlock::Code(lines) => {
                    let lines: Vec<_> = lines.iter().map(|line| without_tabs(line)).collect();
                    let (bold, italic, code) = (false, false, true);
                    let style = Style::Marked { bold, italic, code };
                    self = self.and(style, lines.join("\n"));
                    continue;
                }
            };
            for piece in pieces {
                self = self.and(piece_style(piece), piece.text);
            }
        }
        self
    }

    /// Appends the quote of a reply, if there is one, and a line end.
    #[must_use]
    fn and_quote(self, quote: Option<&Quote>) -> Self {
        match quote {
            Some(quote) => {
                let quote = format!("> {}: {}\n", quote.from, &*quote.text);
                self.and(Style::Quote, quote)
            }
            None => self,
        }
    }

    /// Removes the quote.
    pub(super) fn remove_quote(&mut self) {
        self.0.retain(|span| span.style != Style::Quote);
    }

    /// The line, cut to a width.
    #[must_use]
    pub(super) fn fit(self, width: usize) -> Self {
        if text_width(&self.text()) <= width {
            return self;
        }
        let mut left = width.saturating_sub(1);
        let mut cut = Line::default();
        'spans: for span in self.0 {
            let mut kept = String::new();
            for grapheme in span.text.graphemes(true) {
                let wide = grapheme_width(visible_form(grapheme));
                if wide > left {
                    cut = cut.and(span.style, kept + "…");
                    break 'spans;
                }
                left -= wide;
                kept.push_str(grapheme);
            }
            cut = cut.and(span.style, kept);
        }
        cut
    }

    /// Its text, without styles.
    pub(super) fn text(&self) -> String {
        self.0.iter().map(|span| span.text.as_str()).collect()
    }
}

/// A line of code with spaces for its tabs: the terminal's tab stops do not
/// begin where the code begins.
fn without_tabs(line: &str) -> String {
    let mut spaced = String::with_capacity(line.len());
    let mut column = 0;
    for part in line.split_inclusive('\t') {
        let text = part.strip_suffix('\t').unwrap_or(part);
        spaced.push_str(text);
        column += text_width(text);
        if text.len() < part.len() {
            let blanks = TAB - column % TAB;
            spaced.push_str(&" ".repeat(blanks));
            column += blanks;
        }
    }
    spaced
}

/// The style of a name; the same name always has the same style.
pub(super) fn name_style(name: &str, own: bool) -> Style {
    if own {
        Style::Own
    } else {
        Style::Name(crc32fast::hash(name.to_lowercase().as_bytes()) as usize)
    }
}

/// The time of day, as `HH:MM`.
pub(super) fn clock(at: &Zoned) -> String {
    format!("{:02}:{:02}", at.hour(), at.minute())
}

/// The line that begins a new day.
pub(super) fn day(at: &Zoned) -> Line {
    heading(&at.strftime("%A, %-d %B %Y").to_string())
}

/// A line that marks the start of a day, a room or unseen messages.
pub(super) fn heading(text: &str) -> Line {
    Line::new(Style::Dim, format!("── {text}"))
}

/// The line of a message in a room.
pub(super) fn message_line(message: &Message, at: &Zoned, own: bool, calls: bool) -> Line {
    let text = if calls { Style::Loud } else { Style::Plain };
    let mut line = message_head(message, at, own).and_marked(text, &message.text);
    if message.edited {
        line = line.and(Style::Dim, " (edited)");
    }
    for reaction in message.reactions.iter().flat_map(|all| all.iter()) {
        line = line.and(
            Style::Dim,
            format!("  {} {}", &*reaction.text, reaction.count),
        );
    }
    line
}

/// The line of a message that a search found: the part of its text around the
/// words, which are marked.
pub(super) fn found_line(message: &Message, at: &Zoned, own: bool, query: &str) -> Line {
    let pieces = excerpt(&message.text, query).into_iter();
    pieces.fold(message_head(message, at, own), |line, (is_hit, text)| {
        line.and(if is_hit { Style::Loud } else { Style::Plain }, text)
    })
}

/// The line of a message up to its text.
fn message_head(message: &Message, at: &Zoned, own: bool) -> Line {
    let name = message.from.to_string();
    let line = Line::new(Style::Dim, format!("{} ", clock(at)));
    let style = author_style(&message.from, own);
    let line = match message.kind {
        MessageKind::Said => line.and(style, name).and(Style::Plain, ": "),
        MessageKind::Me => line
            .and(Style::Dim, "* ")
            .and(style, name)
            .and(Style::Plain, " "),
    };
    line.and_quote(message.quote.as_deref())
}

/// The line of a correction.
pub(super) fn correction_line(change: &Change, at: &Zoned, own: bool, text: &str) -> Line {
    Line::new(Style::Dim, format!("{} * ", clock(at)))
        .and(author_style(&change.from, own), change.from.to_string())
        .and(Style::Plain, " corrected: ")
        .and_marked(Style::Plain, text)
}

/// The line of a reaction, or of one taken back, with the first words of its
/// message, if they are known.
pub(super) fn reaction_line(
    change: &Change,
    at: &Zoned,
    reaction: &str,
    text: Option<&str>,
) -> Line {
    let did = match change.kind {
        ChangeKind::Unreact => "took back",
        _ => "reacted",
    };
    let about = match text {
        Some(text) => format!("to: {}", &*Quote::beginning(text)),
        None => "to an earlier message".to_owned(),
    };
    let line = format!("{} * {} {did} {reaction} {about}", clock(at), change.from);
    Line::new(Style::Dim, line).fit(REACTION)
}

/// The style of an author's name.
fn author_style(author: &Author, own: bool) -> Style {
    match name_style(&author.to_string(), own) {
        Style::Name(colour) if author.is_unverified() => Style::Unverified(colour),
        owned => owned,
    }
}

/// The line of a private message.
pub(super) fn private_line(at: &Zoned, from: &str, to: &str, text: &str, sent: bool) -> Line {
    let (from_style, to_style) = (name_style(from, sent), name_style(to, !sent));
    let (from, to) = if sent { ("you", to) } else { (from, "you") };
    let style = if sent { Style::Plain } else { Style::Loud };
    Line::new(Style::Dim, format!("{} * ", clock(at)))
        .and(from_style, from)
        .and(Style::Plain, " to ")
        .and(to_style, to)
        .and(Style::Plain, ": ")
        .and_marked(style, text)
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::protocol::{ConnectionId, OwnerNumber, Seq, WallTime, name::RoomName};

    // With a look at the whole line for each tab, this would take hours.
    #[test]
    fn a_megabyte_of_tabs_is_spaced_at_once() {
        assert_eq!(without_tabs("a\tb\t").len(), 2 * TAB);
        let spaced = without_tabs(&"\t".repeat(1 << 20));
        assert_eq!(spaced.len(), TAB << 20);
    }

    #[test]
    fn text_cannot_control_the_terminal_or_fake_a_line() {
        let line = Line::new(Style::Plain, "a\u{1b}[2J\r\nb: c\u{202e}");
        assert_eq!(line.text(), "a\u{fffd}[2J\n  b: c\u{fffd}");
    }

    // Verified to fail when all names have one style.
    #[test]
    fn a_name_that_nobody_owns_is_shown_apart() {
        let style = |owner| {
            let message = Message {
                seq: Seq(1),
                prev: Seq(0),
                room: RoomName::lobby(),
                at: WallTime(0),
                from: Author {
                    name: Some("ana".parse().expect("a name")),
                    addr: ([127, 0, 0, 1], 5000).into(),
                    owner,
                },
                text: "hi".into(),
                id: None,
                kind: MessageKind::Said,
                to: None,
                about: None,
                quote: None,
                edited: false,
                edited_at: None,
                reactions: None,
                connection: ConnectionId(7),
            };
            let line = message_line(&message, &WallTime(0).local(&TimeZone::UTC), false, false);
            line.0[1].style
        };
        let Style::Name(colour) = name_style("ana", false) else {
            panic!("a name has a colour")
        };
        let owner = Some(OwnerNumber(1));
        assert_eq!(style(owner), Style::Name(colour));
        assert_eq!(style(None), Style::Unverified(colour));
    }

    #[test]
    fn a_name_has_one_colour_in_either_case() {
        assert_eq!(name_style("ana", false), name_style("Ana", false));
        assert_eq!(name_style("ana", true), Style::Own);
    }
}
