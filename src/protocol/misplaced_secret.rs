//! Recognises a text that would publish a secret: a command that its author
//! meant to type, with a blank or another character before its slash.

use unicode_normalization::UnicodeNormalization;

use super::{
    Refusal, RefusalCode,
    command::table,
    invisible::is_invisible,
    secret::{MADE, Secret},
};

/// The slash, and the characters that look like one. Normalisation maps the
/// full-width slash to the slash.
const SLASHES: [char; 6] = [
    '/', '\u{ff0f}', '\u{2044}', '\u{2215}', '\u{29f8}', '\u{2571}',
];

/// Checks that a text to publish holds no secret, as far as its form tells.
///
/// # Errors
/// Refuses a text with a line that looks like `/operator SECRET` or
/// `/name NAME SECRET`, and one with a secret that a program made.
pub fn check(text: &str) -> Result<(), Refusal> {
    let ends_line = |c| {
        matches!(
            c,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    let is_made = |word: &str| word.parse().is_ok_and(|secret: Secret| secret.is_made());
    // Most texts are ASCII and have no slash, and this search is much faster.
    let has_slash = text.contains('/') || !text.is_ascii() && text.contains(SLASHES);
    let told = text.contains('_') && text.contains(MADE) && text.split_whitespace().any(is_made)
        || has_slash && text.split(ends_line).any(is_command);
    if told {
        let why = "This looks like a command with a secret, so it is not published: a command begins with its slash.";
        return Err(Refusal::new(RefusalCode::NotAllowed, why));
    }
    Ok(())
}

/// Whether a line looks like a command with a secret. Only signs, blanks and
/// invisible characters may stand before the command.
fn is_command(line: &str) -> bool {
    let is_letter = |c: char| c.is_alphanumeric() && !is_invisible(c);
    let start = line.find(is_letter).unwrap_or(line.len());
    if !line[..start].contains(SLASHES) {
        return false;
    }
    let shown = |c: &char| c.is_whitespace() || !(c.is_control() || is_invisible(*c));
    let line: String = line.chars().filter(shown).nfkc().collect();
    let start = line.find(char::is_alphanumeric).unwrap_or(line.len());
    let (before, typed) = line.split_at(start);
    if !before.trim_end().ends_with(SLASHES) {
        return false;
    }
    let mut words = typed.split_whitespace();
    let word = words.next().unwrap_or_default().to_lowercase();
    let is_secret = |word: &str| word.parse::<Secret>().is_ok();
    match table::by_word(&word).map(|spec| spec.word) {
        // A single word is taken for a mistyped secret.
        Some("operator") => words
            .next()
            .is_some_and(|word| is_secret(word) || words.next().is_none()),
        Some("name") => words.nth(1).is_some_and(is_secret),
        Some("link") => words.next().is_some_and(is_secret),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Verified to fail when a line is not normalised.
    #[test]
    fn a_text_with_a_secret_is_refused() {
        for text in [
            " /operator of-the-operators",
            "\t/operator short",
            "\u{200b}/operator of-the-operators",
            "/\u{200b}operator of-the-operators",
            "/oper\u{ad}ator of-the-operators",
            "／operator of-the-operators",
            "\u{3164}/operator of-the-operators",
            "／ｏｐｅｒａｔｏｒ ｏｆ－ｔｈｅ－ｏｐｅｒａｔｏｒｓ",
            "\u{2215}OPERATOR of-the-operators please",
            "> /operator of-the-operators",
            "//operator of-the-operators",
            "/ operator of-the-operators",
            "the log:\n\n  /operator of-the-operators\nis it",
            "a\r /operator of-the-operators",
            "a\u{2028}/operator of-the-operators",
            " /name ana 0123456789abcdef",
            "$ /name ana 0123456789abcdef again",
            " /link 0123456789abcdef",
            "To have this name again: /name ana random128_JzFT0vFJzFT0vFJzFT0vFQ",
        ] {
            let refused = check(text).expect_err(text);
            assert_eq!(refused.code, RefusalCode::NotAllowed, "{text:?}");
        }
    }

    #[test]
    fn ordinary_texts_are_not_refused() {
        for text in [
            "",
            " hi",
            "  indented\n    code",
            " /operator",
            "/operator SECRET  be an operator, who can",
            "type /operator SECRET",
            "the operator of-the-operators-room",
            " /operators of-the-operators",
            " /name ana",
            "/name NAME     be called NAME instead of your IP:port",
            "see docs/name/of 0123456789abcdef",
            " /me waves",
            " /msg bob 0123456789abcdef",
            "0123456789abcdef",
            "random128_",
        ] {
            assert_eq!(check(text), Ok(()), "{text:?}");
        }
    }
}
