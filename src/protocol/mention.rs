//! Mentions of names in a text. The page has the same rule
//! (`http/page/text.mjs`); `tests/vectors/mentions.json` tests both.

use unicode_normalization::char::is_combining_mark;

/// Characters of names that also end a sentence or join words.
const LOOSE: [char; 2] = ['.', '-'];

/// Whether a text has the name as a word of its own, in either case.
///
/// Full stops and hyphens around the name belong to the sentence, unless they
/// join it to more letters: `ana.` mentions ana, `ana.b` does not.
pub fn mentions(text: &str, name: &str) -> bool {
    let (text, name) = (text.to_lowercase(), name.to_lowercase());
    let part = |c: char| c.is_alphanumeric() || is_combining_mark(c) || c == '_';
    text.match_indices(&name).any(|(at, found)| {
        let before = text[..at].trim_end_matches(LOOSE);
        let after = text[at + found.len()..].trim_start_matches(LOOSE);
        !before.ends_with(part) && !after.starts_with(part)
    })
}

/// How many full stops and hyphens at an end of a word may belong to a name.
const MAX_LOOSE: usize = 4;

/// The names, in lower case, that a text may [mention](mentions): every word,
/// with and without the full stops and hyphens around it.
pub fn candidates(text: &str) -> Vec<String> {
    let text = text.to_lowercase();
    let is_part = |c: char| c.is_alphanumeric() || is_combining_mark(c) || c == '_';
    let mut names = Vec::new();
    for word in text.split(|c| !is_part(c) && !LOOSE.contains(&c)) {
        let core = word.trim_matches(LOOSE);
        if core.is_empty() {
            continue;
        }
        // The loose characters are of one byte each.
        let before = word.len() - word.trim_start_matches(LOOSE).len();
        let after = word.len() - word.trim_end_matches(LOOSE).len();
        for first in 0..=before.min(MAX_LOOSE) {
            for last in 0..=after.min(MAX_LOOSE) {
                let (start, end) = (before - first, word.len() - after + last);
                names.push(word[start..end].to_owned());
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Vector {
        text: String,
        name: String,
        mentioned: bool,
    }

    #[test]
    fn a_name_is_mentioned_as_a_word() {
        let vectors = include_str!("../../tests/vectors/mentions.json");
        let vectors: Vec<Vector> = serde_json::from_str(vectors).expect("vectors");
        for Vector {
            text,
            name,
            mentioned,
        } in vectors
        {
            assert_eq!(mentions(&text, &name), mentioned, "{text} {name}");
            let found = candidates(&text).contains(&name.to_lowercase());
            assert_eq!(found, mentioned, "{text} {name}");
        }
    }
}
