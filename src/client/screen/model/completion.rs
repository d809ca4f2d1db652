//! Completes the word before the cursor, by Tab.

use std::collections::BTreeSet;

use crate::protocol::{
    command::table::{Permission, TABLE, by_word},
    name::Name,
};

/// The candidates for a word, offered one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Completion {
    /// Where the word begins, in bytes.
    pub(super) start: usize,
    pub(in super::super) words: Vec<String>,
    /// The text inserted after a candidate.
    pub(super) behind: &'static str,
    /// The index of the candidate that is now in the text.
    pub(in super::super) taken: usize,
}

impl Completion {
    /// The candidates for the last word of a text; `None` if there are none.
    pub(super) fn of(text: &str, people: &[String], rooms: &BTreeSet<String>) -> Option<Self> {
        let start = text.rfind(char::is_whitespace).map_or(0, |at| {
            at + text[at..].chars().next().map_or(0, char::len_utf8)
        });
        let begun = text[start..].to_lowercase();
        let is_command = text.starts_with('/') && !text.starts_with("//");
        let before: Vec<&str> = text[..start].split_whitespace().collect();
        let names = people.iter().filter(|name| name.parse::<Name>().is_ok());
        let mut behind = " ";
        let words: Vec<String> = if is_command && before.is_empty() {
            commands().into_iter().collect()
        } else if is_command && before.len() == 1 {
            let spec = before[0].strip_prefix('/').and_then(by_word);
            let spec = spec.filter(|spec| spec.word != "name");
            match spec.and_then(|spec| Some((spec.permission, spec.fields.first()?.name))) {
                Some((_, "room")) => {
                    behind = "";
                    let mark = if begun.starts_with('#') { "#" } else { "" };
                    rooms.iter().map(|room| format!("{mark}{room}")).collect()
                }
                Some((Permission::Operators, "who")) => people.to_vec(),
                Some((_, "to" | "name")) => names.cloned().collect(),
                _ => mentions(names, &begun),
            }
        } else {
            if start == 0 && !begun.starts_with('@') {
                behind = ": ";
            }
            mentions(names, &begun)
        };
        // An argument of a command may end here.
        let words = if is_command && before.len() > 1 && begun.is_empty() {
            Vec::new()
        } else {
            words
        };
        let fits = |word: &String| word.to_lowercase().starts_with(&begun);
        let words: Vec<String> = words.into_iter().filter(fits).collect();
        let idle = words.is_empty() || text.is_empty();
        (!idle).then_some(Completion {
            start,
            words,
            behind,
            taken: 0,
        })
    }

    /// The current candidate and the text after it.
    pub(super) fn word(&self) -> String {
        let word = self.words.get(self.taken).map_or("", String::as_str);
        format!("{word}{}", self.behind)
    }

    pub(super) fn turn(&mut self, back: bool) {
        let count = self.words.len();
        let step = if back { count - 1 } else { 1 };
        self.taken = (self.taken + step) % count;
    }
}

/// The names with the mark that the word begins with, if any.
fn mentions<'a>(names: impl Iterator<Item = &'a String>, begun: &str) -> Vec<String> {
    let mark = if begun.starts_with('@') { "@" } else { "" };
    names.map(|name| format!("{mark}{name}")).collect()
}

/// The words of all commands, sorted.
fn commands() -> BTreeSet<String> {
    let words = TABLE
        .iter()
        .flat_map(|spec| spec.aliases.iter().chain([&spec.word]));
    words
        .filter(|word| !word.is_empty())
        .map(|word| format!("/{word}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tab_offers_commands_rooms_and_people() {
        let people = ["ana", "Anton", "bob", "127.0.0.1:5000"].map(str::to_owned);
        let rooms = ["lobby", "ops", "tea"].map(str::to_owned).into();
        for (text, words) in [
            ("an", &["ana: ", "Anton: "][..]),
            ("AN", &["ana: ", "Anton: "]),
            ("hi an", &["ana ", "Anton "]),
            ("hi ", &["ana ", "Anton ", "bob "]),
            ("/join o", &["ops"]),
            ("/join #o", &["#ops"]),
            ("hi @B", &["@bob "]),
            ("@b", &["@bob "]),
            ("/kick b", &["bob "]),
            ("/kick 1", &["127.0.0.1:5000 "]),
            ("/msg b", &["bob "]),
            ("/msg bob ", &[]),
            ("/msg bob an", &["ana ", "Anton "]),
            ("/msg 1", &[]),
            ("/me @b", &["@bob "]),
            ("/jo", &["/join ", "/joins "]),
            ("/me", &["/me ", "/members "]),
            ("", &[]),
            ("x", &[]),
            ("//joi", &[]),
        ] {
            let mut found = Completion::of(text, &people, &rooms);
            let mut seen = Vec::new();
            if let Some(completion) = &mut found {
                for _ in 0..completion.words.len() {
                    seen.push(completion.word());
                    completion.turn(false);
                }
                completion.turn(true);
                assert_eq!(completion.taken, completion.words.len() - 1);
            }
            assert_eq!(seen, words, "{text:?}");
        }
    }
}
