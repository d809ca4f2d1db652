//! Makes texts safe, once, before they are stored or sent.

use std::{borrow::Cow, fmt, ops::Deref, sync::Arc};

use serde::{Deserialize, Serialize, Serializer};
use unicode_normalization::char::is_combining_mark;

use super::{Refusal, RefusalCode};

/// The most combining marks that one letter may have. It is more than any
/// language stacks, and too few to paint over the lines above.
const MAX_MARKS: usize = 8;

/// A text that is safe for a raw terminal, for log output and for a page.
///
/// Its line ends are `\n`. It has no control character except `\n` and tab, and
/// no bidirectional override, embedding or isolate. No letter has more than
/// eight combining marks.
///
/// Clones share the text, because a message is copied from draft to history.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct Text(Arc<str>);

impl Text {
    /// Makes the text of a message safe.
    ///
    /// # Errors
    /// Refuses an empty text, and one of more than `limit` bytes before it is
    /// made safe.
    pub fn parse(raw: &str, limit: usize) -> Result<Self, Refusal> {
        if raw.is_empty() {
            return Err(Refusal::new(
                RefusalCode::Empty,
                "An empty message says nothing.",
            ));
        }
        if raw.len() > limit {
            return Err(Refusal::new(
                RefusalCode::TooLong,
                format!(
                    "The text has {} bytes; at most {limit} are taken.",
                    raw.len()
                ),
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
        Text(match sanitize(raw) {
            Cow::Borrowed(safe) => safe.into(),
            Cow::Owned(safe) => safe.into(),
        })
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
    // Most texts are ASCII, and only control characters are unsafe there.
    if raw
        .bytes()
        .all(|b| (b' '..=b'~').contains(&b) || b == b'\n' || b == b'\t')
    {
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

    #[test]
    fn an_empty_or_long_text_is_refused() {
        assert_eq!(
            Text::parse("", 8).expect_err("empty").code,
            RefusalCode::Empty
        );
        assert!(Text::parse("12345678", 8).is_ok());
        assert_eq!(
            Text::parse("123456789", 8).expect_err("long").code,
            RefusalCode::TooLong
        );
    }

    proptest! {
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
