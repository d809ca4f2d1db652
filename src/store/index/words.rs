//! Reads the text of a search as words to find, never as query syntax.

use std::borrow::Cow;

use crate::protocol::{Refusal, RefusalCode, text::sanitize};

/// The longest search, in bytes, and the most words in it.
const MAX_BYTES: usize = 256;
const MAX_WORDS: usize = 16;

/// With this many letters or digits, the last word may also begin a longer one.
/// A single letter would begin too many words.
const MIN_BEGINNING: usize = 2;

/// Words that a message must all contain. The last one may also begin a longer
/// word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    typed: String,
    /// The words as an FTS5 query.
    query: String,
}

impl Words {
    /// The words of a search as a person typed it.
    ///
    /// # Errors
    /// Refuses a search without a word, or with too many bytes or words.
    pub fn parse(typed: &str) -> Result<Self, Refusal> {
        if typed.len() > MAX_BYTES {
            let text = format!("A search has at most {MAX_BYTES} bytes.");
            return Err(Refusal::new(RefusalCode::TooLong, text));
        }
        let typed = sanitize(typed.trim()).into_owned();
        let words: Vec<&str> = typed
            .split_whitespace()
            .filter(|word| word.contains(char::is_alphanumeric))
            .collect();
        let Some(last) = words.last() else {
            let text =
                "Search for words, for example /search tea. Only letters and digits can be found.";
            return Err(Refusal::new(RefusalCode::Empty, text));
        };
        if words.len() > MAX_WORDS {
            let text = format!("A search has at most {MAX_WORDS} words.");
            return Err(Refusal::new(RefusalCode::TooLong, text));
        }
        // Within quotation marks FTS5 reads only words in a row.
        let quoted = words
            .iter()
            .map(|word| format!("\"{}\"", space_out(word).replace('"', " ")));
        let mut query = quoted.collect::<Vec<_>>().join(" AND ");
        let letters = last.chars().filter(|c| c.is_alphanumeric()).count();
        if letters >= MIN_BEGINNING {
            query.push('*');
        }
        Ok(Words { typed, query })
    }

    /// The typed text of the search, made safe to show.
    pub fn typed(&self) -> &str {
        &self.typed
    }

    pub(super) fn query(&self) -> &str {
        &self.query
    }
}

/// Puts spaces around each letter of a script that writes no spaces between
/// words. In such a script a search finds letters in a row.
pub(super) fn space_out(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unspaced) {
        return Cow::Borrowed(text);
    }
    let mut spaced = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        if is_unspaced(c) {
            spaced.extend([' ', c, ' ']);
        } else {
            spaced.push(c);
        }
    }
    Cow::Owned(spaced)
}

/// Whether a letter is Thai, Lao, Myanmar, Khmer, Tai, kana, bopomofo or Han.
fn is_unspaced(c: char) -> bool {
    matches!(
        c,
        '\u{e00}'..='\u{eff}'
            | '\u{1000}'..='\u{109f}'
            | '\u{1780}'..='\u{17ff}'
            | '\u{1950}'..='\u{19df}'
            | '\u{1a20}'..='\u{1aaf}'
            | '\u{3005}'..='\u{3007}'
            | '\u{3040}'..='\u{312f}'
            | '\u{31a0}'..='\u{31bf}'
            | '\u{31f0}'..='\u{31ff}'
            | '\u{3400}'..='\u{4dbf}'
            | '\u{4e00}'..='\u{9fff}'
            | '\u{f900}'..='\u{faff}'
            | '\u{ff66}'..='\u{ff9f}'
            | '\u{20000}'..='\u{3ffff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_becomes_an_fts5_query() {
        for (typed, query) in [
            ("tea", "\"tea\"*"),
            (" green  tea ", "\"green\" AND \"tea\"*"),
            ("a", "\"a\""),
            ("foo-bar", "\"foo-bar\"*"),
            ("tea OR \"coffee", "\"tea\" AND \"OR\" AND \" coffee\"*"),
            ("room:1 -x text:*", "\"room:1\" AND \"-x\" AND \"text:*\"*"),
            ("!! tea ??", "\"tea\"*"),
            ("世界", "\" 世  界 \"*"),
        ] {
            assert_eq!(Words::parse(typed).expect(typed).query(), query, "{typed}");
        }
        for (typed, code) in [
            ("", RefusalCode::Empty),
            ("  !? \"*\" ", RefusalCode::Empty),
            (&"x".repeat(257), RefusalCode::TooLong),
            (&"x ".repeat(17), RefusalCode::TooLong),
        ] {
            assert_eq!(Words::parse(typed).expect_err(typed).code, code, "{typed}");
        }
    }
}
