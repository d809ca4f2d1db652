//! Reads the text of a search as words to find, never as query syntax.

use unicode_normalization::char::is_combining_mark;

use crate::protocol::{Refusal, RefusalCode, text::sanitize};

/// How FTS5 cuts texts into words: as [`words`] does, with case and accents
/// removed.
pub(super) const TOKENIZER: &str = "unicode61 remove_diacritics 2 categories 'L* N* Co M*'";

/// The longest search, in bytes, and the most words that the index cuts it
/// into. Each word is a lookup.
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
    /// The parts between spaces. The words of a part must be in a row.
    phrases: Vec<String>,
    /// Whether the last word may begin a longer one.
    last_may_begin: bool,
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
        let phrases: Vec<String> = typed
            .split_whitespace()
            .filter(|phrase| words(phrase).any(|word| word.contains(char::is_alphanumeric)))
            .map(str::to_owned)
            .collect();
        let Some(last) = phrases.iter().flat_map(|phrase| words(phrase)).last() else {
            let text =
                "Search for words, for example /search tea. Only letters and digits can be found.";
            return Err(Refusal::new(RefusalCode::Empty, text));
        };
        let letters = last.chars().filter(|c| c.is_alphanumeric()).count();
        let last_may_begin = letters >= MIN_BEGINNING;
        if phrases.iter().flat_map(|phrase| words(phrase)).count() > MAX_WORDS {
            let text = format!(
                "A search has at most {MAX_WORDS} words. A sign ends a word; in scripts without \
                 spaces each letter is one."
            );
            return Err(Refusal::new(RefusalCode::TooLong, text));
        }
        Ok(Words {
            typed,
            phrases,
            last_may_begin,
        })
    }

    /// The typed text of the search, made safe to show.
    pub fn typed(&self) -> &str {
        &self.typed
    }

    /// The FTS5 query for these words in a room. Within quotation marks FTS5
    /// reads only words in a row.
    pub(super) fn query(&self, room: i64) -> String {
        let quoted = |phrase: &String| format!("\"{}\"", words_of_room(room, phrase));
        let mut query = self
            .phrases
            .iter()
            .map(quoted)
            .collect::<Vec<_>>()
            .join(" AND ");
        if self.last_may_begin {
            query.push('*');
        }
        query
    }
}

/// The words of a text as the index holds them: each begins with its room. So a
/// lookup reads the words of one room only.
pub(super) fn words_of_room(room: i64, text: &str) -> String {
    let mut marked = String::with_capacity(text.len() * 2);
    let prefix = format!("{room}x");
    for word in words(text) {
        if !marked.is_empty() {
            marked.push(' ');
        }
        marked.push_str(&prefix);
        marked.push_str(word);
    }
    marked
}

/// The words of a text: letters, digits and combining marks in a row. Each
/// letter of a script without spaces is a word: in such a script a search finds
/// letters in a row.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = &rest[rest.find(is_of_word)?..];
        let mut ends = rest.char_indices().skip(1);
        let end = if rest.starts_with(is_unspaced) {
            ends.next()
        } else {
            ends.find(|(_, c)| !is_of_word(*c) || is_unspaced(*c))
        };
        let (word, after) = rest.split_at(end.map_or(rest.len(), |(at, _)| at));
        rest = after;
        Some(word)
    })
}

/// Whether a character is part of a word. FTS5 cuts no word at such a
/// character; a combining mark is one of them, as Hindi needs.
fn is_of_word(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric();
    }
    // Letters in circles and squares are symbols to FTS5.
    let is_symbol = matches!(c, '\u{24b6}'..='\u{24e9}' | '\u{1f130}'..='\u{1f189}');
    (c.is_alphanumeric() || is_combining_mark(c)) && !is_symbol
}

/// Whether a letter is Thai, Lao, Myanmar, Khmer, Tai, kana, bopomofo or Han.
fn is_unspaced(c: char) -> bool {
    c >= '\u{e00}'
        && matches!(
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
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn a_search_becomes_an_fts5_query() {
        for (typed, query) in [
            ("tea", "\"3xtea\"*"),
            (" green  tea ", "\"3xgreen\" AND \"3xtea\"*"),
            ("a", "\"3xa\""),
            ("foo-bar", "\"3xfoo 3xbar\"*"),
            ("foo-b", "\"3xfoo 3xb\""),
            (
                "tea OR \"coffee",
                "\"3xtea\" AND \"3xOR\" AND \"3xcoffee\"*",
            ),
            (
                "room:1 -x text:*",
                "\"3xroom 3x1\" AND \"3xx\" AND \"3xtext\"*",
            ),
            ("!! tea ??", "\"3xtea\"*"),
            ("世界", "\"3x世 3x界\""),
            ("हिन्दी", "\"3xहिन्दी\"*"),
        ] {
            assert_eq!(Words::parse(typed).expect(typed).query(3), query, "{typed}");
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

    /// Verified to fail when the parts between spaces are counted.
    #[test]
    fn a_search_is_limited_by_the_words_of_the_index() {
        for (sixteen, another) in [("x-".repeat(16), "x"), ("世".repeat(16), "界")] {
            assert!(Words::parse(&sixteen).is_ok(), "{sixteen}");
            let refused = Words::parse(&(sixteen + another)).expect_err("17 words");
            assert_eq!(refused.code, RefusalCode::TooLong);
        }
    }

    /// Every character, in the middle of a word, against FTS5 itself. Verified
    /// to fail when letters in circles count as letters.
    #[test]
    fn fts5_cuts_no_word_further() {
        let db = Connection::open_in_memory().expect("a database");
        let tables = format!(
            "CREATE VIRTUAL TABLE texts USING fts5 (text, tokenize=\"{TOKENIZER}\");
             CREATE VIRTUAL TABLE cut USING fts5vocab (texts, 'instance');"
        );
        db.execute_batch(&tables).expect("two tables");
        let mut add = db
            .prepare("INSERT INTO texts (text) VALUES (?1)")
            .expect("valid");
        let all: String = ('\0'..=char::MAX).filter(|c| is_of_word(*c)).collect();
        let words: Vec<_> = all.chars().map(|c| format!("1xa{c}b")).collect();
        for some in words.chunks(1000) {
            add.execute([some.join(" ")]).expect("added");
        }
        let cut = db.query_row("SELECT count(*) FROM cut", [], |row| row.get(0));
        let cut: i64 = cut.expect("readable");
        assert_eq!(usize::try_from(cut), Ok(words.len()));
    }
}
