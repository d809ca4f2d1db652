//! The names that a reader ignores.

use std::collections::BTreeMap;

use super::{
    Author, Message, PageEvent, Refusal, RefusalCode, Slot,
    name::{Name, NameKey},
};

/// The most names that one reader ignores.
pub const MAX_IGNORED: usize = 200;

/// The names that a reader ignores, by comparison key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IgnoredNames(BTreeMap<String, Name>);

impl IgnoredNames {
    /// Adds a name.
    ///
    /// # Errors
    /// Refuses a name beyond the first [`MAX_IGNORED`].
    pub fn add(&mut self, name: Name) -> Result<(), Refusal> {
        let key = name.key();
        if self.0.len() >= MAX_IGNORED && !self.0.contains_key(key.as_str()) {
            return Err(too_many());
        }
        self.0.insert(key.as_str().to_owned(), name);
        Ok(())
    }

    /// Removes a name, in any spelling.
    pub fn remove(&mut self, key: &NameKey) {
        self.0.remove(key.as_str());
    }

    /// Whether no name is ignored.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this name is ignored, in any spelling.
    pub fn contains(&self, key: &NameKey) -> bool {
        self.0.contains_key(key.as_str())
    }

    /// Whether the reader ignores this author.
    pub fn hides(&self, author: &Author) -> bool {
        let name = author.name.as_ref().filter(|_| !self.is_empty());
        name.is_some_and(|name| self.contains(&name.key()))
    }

    /// Removes the messages and the quoted words of ignored authors from a page.
    pub fn hide_in(&self, page: &mut PageEvent) {
        page.messages.retain_mut(|slot| match slot {
            Slot::Message(message) => {
                self.hide_quote(message);
                !self.hides(&message.from)
            }
            Slot::Changed(_) | Slot::Redacted(_) => true,
        });
    }

    /// Removes the words of a quote of an ignored author.
    pub fn hide_quote(&self, message: &mut Message) {
        if let Some(quote) = &mut message.quote
            && self.hides(&quote.from)
        {
            quote.text = "ignored".into();
        }
    }

    /// The names, in the order of their keys.
    pub fn names(&self) -> Vec<Name> {
        self.0.values().cloned().collect()
    }
}

impl FromIterator<Name> for IgnoredNames {
    fn from_iter<T: IntoIterator<Item = Name>>(names: T) -> Self {
        let keyed = |name: Name| (name.key().as_str().to_owned(), name);
        IgnoredNames(names.into_iter().take(MAX_IGNORED).map(keyed).collect())
    }
}

/// The refusal of one name too many.
pub fn too_many() -> Refusal {
    let text = format!("You ignore {MAX_IGNORED} names already: /unignore one first.");
    Refusal::new(RefusalCode::NotAllowed, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(typed: &str) -> Name {
        typed.parse().expect("a name")
    }

    #[test]
    fn a_list_holds_so_many_names_in_any_spelling() {
        let mut ignored: IgnoredNames = (1..MAX_IGNORED)
            .map(|n| name(&format!("n-{n}")))
            .chain([name("Bob")])
            .collect();
        assert!(ignored.add(name("b0b")).is_ok(), "the same name");
        let refused = ignored.add(name("carl")).expect_err("one too many");
        assert_eq!(refused.code, RefusalCode::NotAllowed);
        let author = |typed| Author {
            name: Some(name(typed)),
            addr: ([127, 0, 0, 1], 5000).into(),
            owner: None,
        };
        assert!(ignored.hides(&author("BOB")));
        ignored.remove(&name("bob").key());
        assert!(!ignored.hides(&author("BOB")));
        assert!(ignored.add(name("carl")).is_ok());
    }
}
