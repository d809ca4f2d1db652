//! The words of a search in a text that has them, as the page shows them too
//! (`http/page/text.mjs`); `tests/vectors/found.json` tests both.

use std::ops::Range;

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// How many bytes of a long text are shown.
const EXCERPT: usize = 300;

/// How many of them are shown before the first word.
const BEFORE_HIT: usize = 100;

/// The part of a text around the first word of a search, in pieces. Each piece
/// says whether it is such a word.
pub(super) fn excerpt(text: &str, query: &str) -> Vec<(bool, String)> {
    let hits = find_words(text, query);
    let (mut begin, mut end) = (0, text.len());
    if text.len() > EXCERPT {
        let first = hits.first().map_or(0, |hit| hit.start);
        begin = boundary(text, first.saturating_sub(BEFORE_HIT));
        end = boundary(text, begin + EXCERPT);
    }
    let mut pieces = Vec::new();
    let mut at = begin;
    let mut plain = String::from(if begin > 0 { "…" } else { "" });
    for hit in hits.into_iter().filter(|hit| hit.end <= end) {
        plain.push_str(&text[at..hit.start]);
        pieces.push((false, std::mem::take(&mut plain)));
        at = hit.end;
        pieces.push((true, text[hit].to_owned()));
    }
    plain.push_str(&text[at..end]);
    if end < text.len() {
        plain.push('…');
    }
    pieces.push((false, plain));
    pieces
}

/// The last boundary of letters up to a place in a text.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

/// The places of the words of a search in a text, in order.
fn find_words(text: &str, query: &str) -> Vec<Range<usize>> {
    let query: Vec<char> = query.chars().flat_map(fold).collect();
    let mut words: Vec<&[char]> = query
        .split(|letter| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    // The longest one that fits is the one found.
    words.sort_unstable_by_key(|word| std::cmp::Reverse(word.len()));
    // Each folded letter with its place in the text.
    let mut folded = Vec::with_capacity(text.len());
    let mut places = Vec::with_capacity(text.len() + 1);
    for (at, letter) in text.char_indices() {
        for plain in fold(letter) {
            folded.push(plain);
            places.push(at);
        }
    }
    places.push(text.len());
    let mut hits = Vec::new();
    let mut at = 0;
    while at < folded.len() {
        let begins = at == 0 || !is_of_spaced_script(folded[at - 1]);
        let found = words.iter().find(|word| folded[at..].starts_with(word));
        match found {
            Some(word) if begins => {
                hits.push(places[at]..places[at + word.len()]);
                at += word.len();
            }
            _ => at += 1,
        }
    }
    hits
}

/// A letter without marks, in lower case.
fn fold(letter: char) -> impl Iterator<Item = char> {
    let plain = std::iter::once(letter).nfd();
    let plain = plain.filter(|part| !is_combining_mark(*part));
    plain.flat_map(char::to_lowercase)
}

/// Whether a folded letter is of a script with spaces between words: a word
/// begins only behind another letter.
fn is_of_spaced_script(letter: char) -> bool {
    // Latin, Greek and Cyrillic end before Armenian.
    letter.is_numeric() || letter.is_alphabetic() && letter < '\u{530}'
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_words_of_a_search_are_found() {
        let vectors = include_str!("../../../tests/vectors/found.json");
        let vectors: Vec<Value> = serde_json::from_str(vectors).expect("JSON");
        for vector in vectors {
            let text = vector["text"].as_str().expect("a text");
            let found = find_words(text, vector["query"].as_str().expect("a query"));
            let found: Vec<_> = found.into_iter().map(|hit| &text[hit]).collect();
            assert_eq!(Value::from(found), vector["found"], "{vector}");
        }
    }

    #[test]
    fn a_long_text_is_shown_around_the_first_word() {
        let text = format!("{} green tea {}", "é".repeat(200), "x".repeat(400));
        let pieces = excerpt(&text, "tea");
        let shown: String = pieces.iter().map(|(_, text)| &**text).collect();
        assert!(shown.starts_with("…é") && shown.ends_with("x…"), "{shown}");
        assert!(shown.len() <= EXCERPT + 2 * '…'.len_utf8(), "{shown}");
        let hits: Vec<_> = pieces.iter().filter(|(hit, _)| *hit).collect();
        assert_eq!(hits, [&(true, "tea".to_owned())]);
        let whole = [
            (false, "green ".to_owned()),
            (true, "tea".to_owned()),
            (false, String::new()),
        ];
        assert_eq!(excerpt("green tea", "tea"), whole);
    }
}
