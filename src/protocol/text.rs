//! Makes texts safe, once, before they are stored or sent.

use std::{borrow::Cow, fmt, ops::Deref, sync::Arc};

use serde::{Deserialize, Serialize, Serializer};
use unicode_normalization::char::is_combining_mark;

use super::{Refusal, RefusalCode, invisible::is_invisible};

/// The most combining marks that one letter may have. It is more than any
/// language stacks, and too few to paint over the lines above.
const MAX_MARKS: usize = 8;

/// The most blank lines in a row that a text keeps. More of them push other
/// people's messages off the screen.
const MAX_BLANK_LINES: usize = 2;

/// A text that is safe for a raw terminal, for log output and for a page.
///
/// Its line ends are `\n`. It has no control character except `\n` and tab, and
/// no bidirectional override, embedding or isolate. No letter has more than
/// eight combining marks. At most two lines in a row are blank.
///
/// Clones share the text, because a message is copied from draft to history.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(from = "String")]
pub struct Text(Arc<str>);

impl Text {
    /// Makes the text of a message safe.
    ///
    /// # Errors
    /// Refuses a blank text, and one of more than `limit` bytes before it is
    /// made safe.
    pub fn parse(raw: &str, limit: usize) -> Result<Self, Refusal> {
        if raw.len() > limit {
            return Err(Refusal::new(
                RefusalCode::TooLong,
                format!(
                    "The text has {} bytes; at most {limit} are taken.",
                    raw.len()
                ),
            ));
        }
        if is_blank(raw) {
            return Err(Refusal::new(
                RefusalCode::Empty,
                "An empty message says nothing.",
            ));
        }
        Ok(raw.into())
    }
}

impl Text {
    /// A text that was made safe earlier, under any version of Unicode.
    pub fn stored(safe: &str) -> Self {
        Text(safe.into())
    }
}

impl From<&str> for Text {
    fn from(raw: &str) -> Self {
        Text(fold(&sanitize(raw)).into())
    }
}

impl From<String> for Text {
    fn from(raw: String) -> Self {
        raw.as_str().into()
    }
}

impl From<Text> for String {
    fn from(text: Text) -> String {
        (*text.0).to_owned()
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Replaces every unsafe character of a text and drops surplus combining marks.
/// A safe text is borrowed.
pub fn sanitize(raw: &str) -> Cow<'_, str> {
    // Most texts are ASCII, and only control characters are unsafe there. Without
    // an early end the compiler checks many bytes at a time.
    let is_safe = |b: u8| matches!(b, b' '..=b'~' | b'\n' | b'\t');
    if raw.bytes().fold(true, |safe, b| safe & is_safe(b)) {
        return Cow::Borrowed(raw);
    }
    let mut safe = String::with_capacity(raw.len());
    let mut marks = 0;
    let mut chars = raw.chars().peekable();
    while let Some(c) = chars.next() {
        if is_combining_mark(c) {
            marks += 1;
            if marks <= MAX_MARKS {
                safe.push(c);
            }
            continue;
        }
        if !is_joiner(c) {
            marks = 0;
        }
        safe.push(match c {
            '\r' => {
                chars.next_if_eq(&'\n');
                '\n'
            }
            // NEL, LINE SEPARATOR and PARAGRAPH SEPARATOR.
            '\u{85}' | '\u{2028}' | '\u{2029}' => '\n',
            '\n' | '\t' => c,
            c if c.is_control() || is_bidi_control(c) => char::REPLACEMENT_CHARACTER,
            c => c,
        });
    }
    if safe == raw {
        Cow::Borrowed(raw)
    } else {
        Cow::Owned(safe)
    }
}

/// Whether a text shows nothing: it is empty, or has only white space and
/// invisible characters.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || is_invisible(c))
}

/// Drops the blank lines of a safe text after the first two in a row.
fn fold(safe: &str) -> Cow<'_, str> {
    if safe.matches('\n').nth(MAX_BLANK_LINES - 1).is_none() {
        return Cow::Borrowed(safe);
    }
    let mut blank = 0;
    let kept = safe.split('\n').filter(|line| {
        blank = if is_blank(line) { blank + 1 } else { 0 };
        blank <= MAX_BLANK_LINES
    });
    Cow::Owned(kept.collect::<Vec<_>>().join("\n"))
}

/// Whether it is an embedding or override (LRE, RLE, PDF, LRO, RLO) or an
/// isolate (LRI, RLI, FSI, PDI) of UAX #9. They affect the display beyond the
/// end of the text that has them.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether it is a joining or formatting character without a width. It begins no
/// letter, so it does not reset the count of marks.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2065}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn unsafe_characters_are_replaced() {
        let stacked = format!("a{}", "\u{301}".repeat(200));
        let bounded = format!("a{}", "\u{301}".repeat(8));
        for (raw, safe) in [
            ("plain", "plain"),
            ("tab\tand\nline", "tab\tand\nline"),
            ("a\r\nb\rc\u{85}d\u{2028}e\u{2029}f", "a\nb\nc\nd\ne\nf"),
            ("\r\r\n\n", "\n\n\n"),
            (
                "\u{1b}[2J\u{9b}2J\u{7f}\0",
                "\u{fffd}[2J\u{fffd}2J\u{fffd}\u{fffd}",
            ),
            ("a\u{b}b\u{c}c", "a\u{fffd}b\u{fffd}c"),
            ("\u{202e}evil\u{202c}", "\u{fffd}evil\u{fffd}"),
            ("\u{2066}x\u{2069}", "\u{fffd}x\u{fffd}"),
            ("שלום\u{200f} مرحبا 👨‍👩‍👧", "שלום\u{200f} مرحبا 👨‍👩‍👧"),
            (&stacked, &bounded),
        ] {
            assert_eq!(sanitize(raw), safe, "{raw:?}");
        }
        let joined = format!("a{}", format!("{}\u{200d}", "\u{301}".repeat(8)).repeat(9));
        assert_eq!(sanitize(&joined).matches('\u{301}').count(), 8);
    }

    // Verified to fail when only a text of 0 bytes is empty.
    #[test]
    fn a_blank_or_long_text_is_refused() {
        for blank in [
            "",
            " ",
            "\n\n",
            "\t\u{a0}",
            "\u{200b}\u{feff}",
            "\u{2800}",
            "\u{3164}",
            "\u{e0041}",
        ] {
            let refused = Text::parse(blank, 8).expect_err("blank");
            assert_eq!(refused.code, RefusalCode::Empty, "{blank:?}");
        }
        for visible in [" .", "\u{200d}a", "\u{301}", "\0", "\u{fffd}"] {
            assert!(Text::parse(visible, 8).is_ok(), "{visible:?}");
        }
        assert!(Text::parse("12345678", 8).is_ok());
        assert_eq!(
            Text::parse("123456789", 8).expect_err("long").code,
            RefusalCode::TooLong
        );
    }

    #[test]
    fn blank_lines_in_a_row_are_folded_to_two() {
        let many = "\n".repeat(8000);
        let spaced = "\n \u{200b}".repeat(2000);
        for (raw, folded) in [
            ("a\n\nb\n\n\nc", "a\n\nb\n\n\nc"),
            ("a\n\n\n\nb", "a\n\n\nb"),
            (&format!("a{many}b"), "a\n\n\nb"),
            (&format!("{many}b{many}"), "\n\nb\n\n"),
            (&format!("a{spaced}\r\nb"), "a\n \u{200b}\n \u{200b}\nb"),
            ("  a\n\n\n\n  b", "  a\n\n\n  b"),
        ] {
            assert_eq!(&*Text::from(raw), folded, "{raw:?}");
        }
    }

    proptest! {
        // Verified to fail when a third blank line is kept.
        #[test]
        fn folding_keeps_every_visible_line(raw in "[ab \n\u{200b}]{0,60}") {
            let visible = |text: &str| {
                let lines = text.split('\n').filter(|line| !is_blank(line));
                lines.map(str::to_owned).collect::<Vec<_>>()
            };
            let folded = Text::from(&*raw);
            prop_assert!(folded.len() <= raw.len());
            prop_assert_eq!(&Text::from(&*folded), &folded);
            prop_assert_eq!(visible(&folded), visible(&raw));
            let lines: Vec<_> = folded.split('\n').map(is_blank).collect();
            let longest = lines.split(|blank| !blank).map(<[bool]>::len).max();
            prop_assert!(longest.unwrap_or(0) <= MAX_BLANK_LINES);
        }

        #[test]
        fn no_unsafe_character_survives(raw in any::<String>()) {
            let safe = sanitize(&raw).into_owned();
            prop_assert!(safe.chars().all(|c| c == '\n' || c == '\t' || !c.is_control()));
            prop_assert!(!safe.contains(is_bidi_control));
            prop_assert!(safe.chars().all(|c| c != '\u{2028}' && c != '\u{2029}'), "no separators");
            prop_assert_eq!(sanitize(&safe), safe.as_str(), "safe text stays as it is");
        }
    }
}
