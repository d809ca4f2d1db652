//! The bytes that show lines and the footer below them.
//!
//! Lines are written unwrapped: the terminal wraps them, keeps them, and lets
//! people select, search and open links in them. The footer is erased and drawn
//! again below them. The painter never queries the terminal. Except to redraw
//! the screen, it moves the cursor only relatively, so earlier output stays.

use std::fmt::Write;

use super::{
    footer::Footer,
    line::{Line, Style},
    width::text_width,
};

/// Colours of names, of 256: those readable on dark and on light backgrounds.
const MANY: [u8; 12] = [29, 31, 64, 66, 68, 94, 97, 130, 133, 162, 166, 167];

/// Colours of names, of 16, as SGR codes.
const FEW: [u8; 5] = [31, 32, 34, 35, 36];

/// Begins a synchronized update with a hidden cursor: the terminal shows the
/// update only at [`END`].
const BEGIN: &str = "\x1b[?2026h\x1b[?25l";
/// Ends the synchronized update and shows the cursor.
const END: &str = "\x1b[?25h\x1b[?2026l";

/// Erases the screen from the cursor's row on. Terminals such as tmux keep a
/// screen that is erased from its first row on, so that row is erased alone.
const ERASE_BELOW: &str = "\x1b7\x1b[K\x1b[B\r\x1b[J\x1b8";

/// How many colours the terminal supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColourDepth {
    /// None: text is only bold, dim or reverse.
    None,
    /// The 16 colours of every terminal.
    Few,
    /// The palette of 256 colours.
    Many,
}

impl ColourDepth {
    /// Reads `NO_COLOR`, `COLORTERM` and `TERM`.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        if set("NO_COLOR").is_some() {
            ColourDepth::None
        } else if set("COLORTERM").is_some() || set("TERM").is_some_and(|t| t.contains("256")) {
            ColourDepth::Many
        } else {
            ColourDepth::Few
        }
    }
}

#[derive(Debug)]
pub(super) struct Painter {
    colours: ColourDepth,
    /// The width of each row of the footer on the screen, in cells.
    drawn: Vec<usize>,
    /// The cursor's row and column in that footer.
    cursor: (usize, usize),
}

impl Painter {
    pub(super) fn new(colours: ColourDepth) -> Self {
        Painter {
            colours,
            drawn: Vec::new(),
            cursor: (0, 0),
        }
    }

    /// Shows new lines, and the footer below them, on a screen of `columns`.
    pub(super) fn paint(&mut self, lines: &[Line], footer: &Footer, columns: usize) -> String {
        let mut out = String::from(BEGIN);
        self.erase(&mut out, columns);
        self.lines(&mut out, lines);
        self.draw(&mut out, footer);
        out.push_str(END);
        out
    }

    /// Erases the screen, then shows lines and the footer.
    pub(super) fn repaint(&mut self, lines: &[Line], footer: &Footer) -> String {
        let mut out = String::from(BEGIN);
        out.extend(["\x1b[H", ERASE_BELOW]);
        self.lines(&mut out, lines);
        self.draw(&mut out, footer);
        out.push_str(END);
        out
    }

    /// Erases the footer and shows the last lines.
    pub(super) fn leave(&mut self, lines: &[Line], columns: usize) -> String {
        let mut out = String::from(BEGIN);
        self.erase(&mut out, columns);
        self.lines(&mut out, lines);
        out.push_str(END);
        self.forget();
        out
    }

    /// Forgets the footer, as the screen no longer shows it.
    pub(super) fn forget(&mut self) {
        self.drawn.clear();
        self.cursor = (0, 0);
    }

    /// Erases the screen from the footer's first row on. A terminal that was
    /// made narrower is assumed to have wrapped the footer's rows.
    fn erase(&self, out: &mut String, columns: usize) {
        let columns = columns.max(1);
        let (row, column) = self.cursor;
        let above: usize = self
            .drawn
            .iter()
            .take(row)
            .map(|w| w.div_ceil(columns).max(1))
            .sum();
        let above = above + column / columns;
        out.push('\r');
        if above > 0 {
            // Writing to a String cannot fail.
            let _ = write!(out, "\x1b[{above}A");
        }
        out.push_str(ERASE_BELOW);
    }

    fn lines(&self, out: &mut String, lines: &[Line]) {
        for line in lines {
            self.put(out, line);
            out.push_str("\r\n");
        }
    }

    fn draw(&mut self, out: &mut String, footer: &Footer) {
        let row = footer.above.len();
        let count = row + 1 + footer.below.len();
        // The rows are made first, so nothing scrolls while they are drawn. The
        // terminal itself saves the cursor's place, as it may draw a letter
        // wider or narrower than expected.
        if count > 1 {
            out.push_str(&"\r\n".repeat(count - 1));
            let _ = write!(out, "\x1b[{}A", count - 1);
        }
        // Without autowrap a row drawn too wide does not reach the next.
        out.push_str("\x1b[?7l");
        for line in &footer.above {
            self.put(out, line);
            out.push_str("\r\n");
        }
        self.put(out, &footer.before);
        out.push_str("\x1b7");
        self.put(out, &footer.after);
        for line in &footer.below {
            out.push_str("\r\n");
            self.put(out, line);
        }
        out.push_str("\x1b[?7h\x1b8");
        let wide = |line: &Line| text_width(&line.text());
        let before = wide(&footer.before);
        self.cursor = (row, before);
        self.drawn = footer.above.iter().map(wide).collect();
        self.drawn.push(before + wide(&footer.after));
        self.drawn.extend(footer.below.iter().map(wide));
    }

    fn put(&self, out: &mut String, line: &Line) {
        for span in &line.0 {
            let code = self.code(span.style);
            // In raw mode a newline does not return to the first column.
            let text = span.text.replace('\n', "\r\n");
            match code {
                None => out.push_str(&text),
                Some(code) => out.extend(["\x1b[", &code, "m", &text, "\x1b[m"]),
            }
        }
    }

    fn code(&self, style: Style) -> Option<String> {
        let coloured = self.colours != ColourDepth::None;
        match (style, self.colours) {
            (Style::Plain, _) | (Style::Name(_), ColourDepth::None) => None,
            (Style::Dim | Style::Quote, _) => Some("2".to_owned()),
            (Style::Name(n), ColourDepth::Many) => Some(format!("38;5;{}", MANY[n % MANY.len()])),
            (Style::Name(n), ColourDepth::Few) => Some(FEW[n % FEW.len()].to_string()),
            (Style::Unverified(n), ColourDepth::Many) => {
                Some(format!("3;38;5;{}", MANY[n % MANY.len()]))
            }
            (Style::Unverified(n), ColourDepth::Few) => Some(format!("3;{}", FEW[n % FEW.len()])),
            (Style::Unverified(_), ColourDepth::None) => Some("3".to_owned()),
            (Style::Own, _) => Some("1".to_owned()),
            (Style::Loud, _) => Some("7".to_owned()),
            (Style::Marked { bold, italic, code }, _) => {
                let codes = [
                    (bold, "1"),
                    (italic, "3"),
                    (code, if coloured { "36" } else { "4" }),
                ];
                let codes = codes.iter().filter(|(set, _)| *set).map(|(_, code)| *code);
                Some(codes.collect::<Vec<_>>().join(";"))
            }
            (Style::Bad, _) => Some(if coloured { "31" } else { "1" }.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The luminance, from 0 to 1, of a colour of the 256-colour cube.
    fn luminance(colour: u8) -> f64 {
        let level = |n: u8| {
            let c = f64::from([0, 95, 135, 175, 215, 255][usize::from(n)]) / 255.0;
            if c <= 0.04045 {
                c / 12.92
            } else {
                ((c + 0.055) / 1.055).powf(2.4)
            }
        };
        let cube = colour - 16;
        let (red, green, blue) = (cube / 36, cube / 6 % 6, cube % 6);
        0.2126 * level(red) + 0.7152 * level(green) + 0.0722 * level(blue)
    }

    #[test]
    fn name_colours_are_readable_on_dark_and_light() {
        for colour in MANY {
            let bright = luminance(colour) + 0.05;
            assert!(bright / 0.05 >= 3.0, "{colour} on black");
            assert!(1.05 / bright >= 3.0, "{colour} on white");
        }
    }

    #[test]
    fn a_footer_wrapped_by_a_narrower_terminal_is_erased() {
        let row = |width: usize| Line::new(Style::Plain, "x".repeat(width));
        let footer = Footer {
            above: vec![row(35), row(20)],
            before: row(10),
            ..Footer::default()
        };
        for (columns, above) in [(40, 2), (35, 2), (34, 3), (20, 3), (10, 7), (9, 8)] {
            let mut painter = Painter::new(ColourDepth::None);
            painter.paint(&[], &footer, 40);
            let again = painter.paint(&[], &footer, columns);
            let erased = format!("{BEGIN}\r\x1b[{above}A{ERASE_BELOW}");
            assert!(again.starts_with(&erased), "{columns}: {again:?}");
        }
    }

    #[test]
    fn colours_follow_the_environment() {
        for (variables, colours) in [
            (&[("TERM", "xterm")][..], ColourDepth::Few),
            (&[("TERM", "xterm-256color")], ColourDepth::Many),
            (
                &[("TERM", "foot"), ("COLORTERM", "truecolor")],
                ColourDepth::Many,
            ),
            (
                &[("TERM", "xterm-256color"), ("NO_COLOR", "1")],
                ColourDepth::None,
            ),
            (
                &[("TERM", "xterm-256color"), ("NO_COLOR", "")],
                ColourDepth::Many,
            ),
        ] {
            let variable = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(ColourDepth::of(variable), colours, "{variables:?}");
        }
    }
}
