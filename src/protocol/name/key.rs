//! When two names are one.

use std::{fmt, sync::Arc};

use caseless::Caseless;
use unicode_normalization::UnicodeNormalization;
use unicode_security::confusable_detection::skeleton;

use super::rule::BadName;

/// What names are compared by. Names that differ only in the case of letters,
/// or that a person may take for one another, have the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameKey(Arc<str>);

impl NameKey {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of a name: the compatibility form (NFKC), case folded, and of each
    /// letter what it looks like (the skeleton of UTS #39).
    pub(super) fn of(name: &str) -> Self {
        let plain: String = name.nfkc().collect();
        let mut key = String::with_capacity(plain.len());
        for letter in plain.chars().default_case_fold() {
            look(letter, &mut key);
        }
        NameKey(key.as_str().nfc().collect::<String>().into())
    }

    /// A key that was computed before, by whichever version of Unicode.
    ///
    /// # Errors
    /// [`BadName`] if it is empty or longer than 1 KiB.
    pub fn stored(text: &str) -> Result<Self, BadName> {
        const RULE: BadName = BadName::of("this is no stored key of a name");
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

/// Appends what a letter looks like: small, or else, where nothing in ASCII
/// does, large (в is no b, but В is a B).
fn look(letter: char, key: &mut String) {
    let mut bytes = [0; 4];
    let small = looks(letter.encode_utf8(&mut bytes));
    if !small.is_ascii() {
        let large = looks(&letter.to_uppercase().collect::<String>());
        if large.is_ascii() {
            return key.push_str(&large);
        }
    }
    key.push_str(&small);
}

fn looks(letters: &str) -> String {
    // A large I is a small l to the eye, and a small i by its case.
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
    fn one_person() {
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
    fn names_are_alike_as_the_vectors_say() {
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
    fn other_people() {
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
