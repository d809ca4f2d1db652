//! The comparison key of names.

use std::{fmt, sync::Arc};

use caseless::Caseless;
use unicode_normalization::UnicodeNormalization;
use unicode_security::confusable_detection::skeleton;

use super::rule::RuleBroken;

/// The comparison key of a name.
///
/// Two names have the same key if they differ only in case, or if a person may
/// mistake one for the other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameKey(Arc<str>);

impl NameKey {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of a name: its compatibility form (NFKC), case folded, with each
    /// letter replaced by its look (the skeleton of UTS #39).
    pub(super) fn of(name: &str) -> Self {
        let plain: String = name.nfkc().collect();
        let mut key = String::with_capacity(plain.len());
        for letter in plain.chars().default_case_fold() {
            put_look(letter, &mut key);
        }
        NameKey(key.as_str().nfc().collect::<String>().into())
    }

    /// Reads a key that was computed earlier, under any version of Unicode.
    ///
    /// # Errors
    /// [`RuleBroken`] if the text is empty or has more than 1 KiB.
    pub fn stored(text: &str) -> Result<Self, RuleBroken> {
        const RULE: RuleBroken = RuleBroken::new("this is no stored key of a name");
        if text.is_empty() || text.len() > 1024 {
            return Err(RULE);
        }
        Ok(NameKey(text.into()))
    }
}

impl fmt::Display for NameKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Appends the look of a letter. If its lower case looks like no ASCII letter
/// but its upper case does, the upper case counts: `в` is no `b`, but `В` is a
/// `B`.
fn put_look(letter: char, key: &mut String) {
    let mut bytes = [0; 4];
    let small = skeleton_of(letter.encode_utf8(&mut bytes));
    if !small.is_ascii() {
        let large = skeleton_of(&letter.to_uppercase().collect::<String>());
        if large.is_ascii() {
            return key.push_str(&large);
        }
    }
    key.push_str(&small);
}

fn skeleton_of(letters: &str) -> String {
    // An upper-case I looks like l, and its lower case is i. So i and l are one.
    let merged = |c| if c == 'i' { 'l' } else { c };
    skeleton(letters).default_case_fold().map(merged).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::protocol::name::Name;

    fn key(name: &str) -> NameKey {
        name.parse::<Name>().expect(name).key()
    }

    #[test]
    fn names_that_look_alike_have_one_key() {
        for (name, others) in [
            (
                "ana",
                &["Ana", "ANA", "аna", "аnа", "ɑna", "ａｎａ", "АNА"][..],
            ),
            ("alice", &["aIice", "a1ice", "ALICE", "Аlісе"]),
            ("bob", &["BOB", "ВОВ", "b0b", "B0B"]),
            ("Straße", &["STRASSE", "strasse"]),
            ("Åsa", &["A\u{30a}sa", "åsa", "ÅSA"]),
            ("Σίσυφος", &["ΣΊΣΥΦΟΣ", "σίσυφοσ"]),
            ("mike", &["rnike"]),
            ("李四", &["李四"]),
        ] {
            for other in others {
                assert_eq!(key(name), key(other), "{name} and {other}");
            }
        }
    }

    #[test]
    fn keys_agree_with_the_vectors_of_names() {
        let vectors = include_str!("../../../tests/vectors/names.json");
        let vectors: BTreeMap<String, Vec<[String; 2]>> =
            serde_json::from_str(vectors).expect("vectors");
        for (kind, pairs) in vectors {
            for [one, other] in pairs {
                let alike = key(&one) == key(&other);
                assert_eq!(alike, kind != "different", "{one} and {other}");
            }
        }
    }

    #[test]
    fn names_that_look_different_have_different_keys() {
        let all = [
            "ana",
            "anna",
            "åna",
            "bob",
            "rob",
            "eva",
            "ena",
            "李四",
            "李三",
            "Иван",
            "ivan",
            "n1",
            "n2",
            "n10",
            "n12",
            "a_b",
            "a-b",
            "a.b",
            "ab",
            "अनिता",
            "अनीता",
        ];
        for (place, name) in all.iter().enumerate() {
            for other in &all[place + 1..] {
                assert_ne!(key(name), key(other), "{name} and {other}");
            }
        }
    }
}
