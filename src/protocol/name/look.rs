//! The look of a text: each letter replaced by one that stands for all letters
//! like it.
//!
//! Unicode's confusables (UTS #39) say which letters look alike. Every rule
//! beside them is applied after them. So two letters that are confusable by
//! Unicode have one look in any case.

use std::iter;

use caseless::Caseless;
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};
use unicode_security::skeleton;

use crate::protocol::invisible::is_invisible;

/// The looks of a name, without repetition: one to four.
///
/// A person may take two names for one if they have a look in common. That is
/// no equivalence: `Νina` with a Greek letter looks like `Nina`, and in lower
/// case, `νina`, like `vina`. But `nina` and `vina` are different names. So one
/// look for each name is not enough.
///
/// The first look is the same for all spellings that differ only in case.
pub(super) fn looks_of(name: &str) -> Vec<String> {
    if name.is_ascii() {
        return vec![look(name)];
    }
    let plain: String = name.nfkc().default_case_fold().collect();
    let folded: String = name.chars().default_case_fold().collect();
    let mut looks = Vec::with_capacity(4);
    for look in [
        look_in_any_case(&plain),
        look(name),
        look(&folded),
        look_in_any_case(name),
    ] {
        if !looks.contains(&look) {
            looks.push(look);
        }
    }
    looks
}

/// The look of a text as it is written.
fn look(text: &str) -> String {
    let mut letters = String::with_capacity(text.len());
    put_letters(text, &mut letters);
    finish(&letters)
}

/// The look of a text whose small letters may be read as capitals: if a letter
/// looks like no ASCII letter but its capital does, the capital counts. `в` is
/// no `b`, but `В` is a `B`.
fn look_in_any_case(text: &str) -> String {
    let mut letters = String::with_capacity(text.len());
    let mut bytes = [0; 4];
    for letter in text.nfd() {
        let start = letters.len();
        put_letters(letter.encode_utf8(&mut bytes), &mut letters);
        if letters[start..].is_ascii() {
            continue;
        }
        let mut large = String::new();
        put_letters(&letter.to_uppercase().collect::<String>(), &mut large);
        if large.is_ascii() {
            letters.truncate(start);
            letters.push_str(&large);
        }
    }
    finish(&letters)
}

/// Appends the letters that stand for those of a text, in lower case.
fn put_letters(text: &str, letters: &mut String) {
    for letter in skeleton(text) {
        if letter.is_ascii() || iter::once(letter).nfkc().eq(iter::once(letter)) {
            put_letter(letter, letters);
        } else {
            // A letter that only its form tells from others looks like them.
            let plain: String = iter::once(letter).nfkc().collect();
            skeleton(&plain).for_each(|letter| put_letter(letter, letters));
        }
    }
}

fn put_letter(letter: char, letters: &mut String) {
    match letter {
        // An upper-case I looks like l, and its lower case is i. So i and l are
        // one.
        '1' | 'i' | 'I' => letters.push('l'),
        '0' => letters.push('o'),
        ' ' => {}
        _ if is_invisible(letter) => {}
        _ => match small_capital(letter) {
            Some('i') => letters.push('l'),
            Some(large) => letters.push(large),
            None => letters.extend(iter::once(letter).default_case_fold()),
        },
    }
}

/// The letter of a small capital, which only its height tells from a capital.
fn small_capital(letter: char) -> Option<char> {
    const LETTERS: [(char, char); 24] = [
        ('ᴀ', 'a'),
        ('ʙ', 'b'),
        ('ᴄ', 'c'),
        ('ᴅ', 'd'),
        ('ᴇ', 'e'),
        ('ꜰ', 'f'),
        ('ɢ', 'g'),
        ('ʜ', 'h'),
        ('ɪ', 'i'),
        ('ᴊ', 'j'),
        ('ᴋ', 'k'),
        ('ʟ', 'l'),
        ('ᴍ', 'm'),
        ('ɴ', 'n'),
        ('ᴏ', 'o'),
        ('ᴘ', 'p'),
        ('ꞯ', 'q'),
        ('ʀ', 'r'),
        ('ꜱ', 's'),
        ('ᴛ', 't'),
        ('ᴜ', 'u'),
        ('ᴠ', 'v'),
        ('ᴡ', 'w'),
        ('ʏ', 'y'),
    ];
    let found = LETTERS.iter().find(|(small, _)| *small == letter);
    found.map(|(_, large)| *large)
}

/// Replaces the letters that look like two, and drops the dots above `i` and
/// `j`, which do not show. Returns the look in normal form C.
fn finish(letters: &str) -> String {
    let mut look = String::with_capacity(letters.len());
    let mut is_dotted = false;
    for letter in letters.nfd() {
        if is_combining_mark(letter) {
            if letter != '\u{307}' || !is_dotted {
                look.push(letter);
            }
            continue;
        }
        is_dotted = matches!(letter, 'l' | 'j');
        match letter {
            'm' => look.push_str("rn"),
            'w' => look.push_str("vv"),
            'd' => look.push_str("cl"),
            _ => look.push(letter),
        }
    }
    look.nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_confusable_looks_like_its_prototype() {
        let mut confusables = 0;
        for letter in ('\0'..=char::MAX).filter(|c| c.is_alphanumeric()) {
            let text = letter.to_string();
            let prototype: String = skeleton(&text).collect();
            if prototype == text.nfd().collect::<String>() || prototype.contains(' ') {
                continue;
            }
            confusables += 1;
            let (upper, lower) = (text.to_uppercase(), text.to_lowercase());
            let mut pairs = vec![(&text, prototype)];
            for other in [&upper, &lower] {
                if *other != text {
                    pairs.push((&text, other.clone()));
                    pairs.push((other, skeleton(other).collect()));
                }
            }
            for (one, other) in pairs {
                // The letters before it have other looks in the other case.
                let looks = looks_of(&format!("Νк{one}"));
                let others = looks_of(&format!("Νк{other}"));
                let alike = looks.iter().any(|look| others.contains(look));
                assert!(alike, "{one} {other}: {looks:?} {others:?}");
            }
        }
        assert!(confusables > 3000, "{confusables}");
    }
}
