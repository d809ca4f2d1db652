//! The comparison key of names.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use super::{look::looks_of, rule::RuleBroken};

/// Stands between the looks of a key. No look has one.
const SEPARATOR: char = ' ';

/// The comparison key of a name.
///
/// Equal keys belong to one name: they compare by the first look of the name,
/// which no change of case changes. Two names with different keys may have
/// another look in common. Then only one of them may be used or owned at a
/// time.
#[derive(Clone, Debug)]
pub struct NameKey {
    /// All looks, first the one that keys compare by.
    looks: Arc<str>,
}

impl NameKey {
    /// The longest stored key, in bytes. A name has at most 32 letters and four
    /// looks, and a letter looks like at most 18 others.
    const MAX_STORED: usize = 16 * 1024;

    /// The key as text: the look that keys compare by.
    pub fn as_str(&self) -> &str {
        let first = self.looks.split(SEPARATOR).next();
        first.unwrap_or_default()
    }

    /// The key with all looks of its name, for [`NameKey::stored`].
    pub fn encoded(&self) -> &str {
        &self.looks
    }

    /// The keys of the other names that a person may take the name for.
    pub fn lookalikes(&self) -> impl Iterator<Item = NameKey> + '_ {
        let others = self.looks.split(SEPARATOR).skip(1);
        others.map(|look| NameKey { looks: look.into() })
    }

    /// Whether a name with this key looks like none but those that this key's
    /// name looks like.
    pub fn covers(&self, other: &NameKey) -> bool {
        self == other && other.lookalikes().all(|look| self.has_look(&look))
    }

    /// Whether a person may take one of two names for the other.
    pub fn is_like(&self, other: &NameKey) -> bool {
        self.has_look(other) || other.lookalikes().any(|look| self.has_look(&look))
    }

    fn has_look(&self, look: &NameKey) -> bool {
        let mut looks = self.looks.split(SEPARATOR);
        looks.any(|own| own == look.as_str())
    }

    /// The key of a name: its looks.
    pub(super) fn of(name: &str) -> Self {
        let mut looks = looks_of(name);
        if looks[0].is_empty() {
            // Only a name from an earlier version can be invisible.
            looks = vec![name.to_owned()];
        }
        NameKey {
            looks: looks.join(&SEPARATOR.to_string()).into(),
        }
    }

    /// Reads a key that was computed earlier, under any version of Unicode.
    ///
    /// # Errors
    /// [`RuleBroken`] if the first look is empty, or if the text has more than
    /// 16 KiB.
    pub fn stored(text: &str) -> Result<Self, RuleBroken> {
        const RULE: RuleBroken = RuleBroken::new("this is no stored key of a name");
        if text.is_empty() || text.starts_with(SEPARATOR) || text.len() > Self::MAX_STORED {
            return Err(RULE);
        }
        Ok(NameKey { looks: text.into() })
    }
}

impl PartialEq for NameKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for NameKey {}

impl PartialOrd for NameKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for NameKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for NameKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for NameKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
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
                let (one_key, other_key) = (key(&one), key(&other));
                let alike = kind != "different";
                assert_eq!(one_key.is_like(&other_key), alike, "{one} and {other}");
                assert_eq!(other_key.is_like(&one_key), alike, "{other} and {one}");
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
                assert!(!key(name).is_like(&key(other)), "{name} and {other}");
            }
        }
    }

    #[test]
    fn common_names_are_different_names() {
        // `I` looks like `l`, and `cl` like `d`.
        let alike = [
            ("clan", "dan"),
            ("clara", "dara"),
            ("clay", "day"),
            ("cleo", "deo"),
            ("ian", "lan"),
            ("ira", "lra"),
        ];
        let names: Vec<_> = COMMON.split_whitespace().collect();
        assert_eq!(names.len(), 200);
        let mut found = Vec::new();
        for (place, name) in names.iter().enumerate() {
            for other in &names[place + 1..] {
                if key(name).is_like(&key(other)) {
                    found.push((*name, *other));
                }
            }
        }
        assert_eq!(found, alike);
    }

    const COMMON: &str = "
        adam adrian aisha albert alex alice alicia amanda ana andrea andrew ann anna antonio
        arthur ben benjamin bob carl carlos carmen carol charles chen chloe chris christina
        clan clara clark claude claudia clay cleo clive dan dana daniel dara david dawn day
        dean deo diana dmitri donald dora doris dylan eileen elena elias elizabeth ella emily
        emma eric erin esther eva eve felix fernando fiona frances francis frank fred gabriel
        george gerald gina gloria grace greg hannah hans harry helen henry hugo ian ida igor
        ina ira irene iris isaac isabel ivan jack jacob jake james jamie jan jane janet jason
        jean jennifer jessica jim joe john jon jose joseph joshua judy julia julian karen karl
        kate kevin lan lara laura lee leo li liam lian lily lina linda lisa liz louis lra
        lucas lucy luis luke lydia maria marie marina mario mark martin mary matthew max megan
        mia michael miguel mike mila mina mohammed nadia nancy natalie nathan nick nina noah
        nora olga oliver olivia omar oscar otto patricia paul pedro peter phil priya rachel
        ray rebecca rita rob robert robin ross roy ruth ryan sam samuel sandra sara sarah
        sofia sonia stella stephen susan tanya tara teresa uma
    ";
}
