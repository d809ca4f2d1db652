//! Completes the word before the cursor, by Tab.

use std::collections::BTreeSet;

use crate::protocol::command::table::TABLE;

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
        let command = text.starts_with('/') && !text.starts_with("//");
        let (words, behind): (Vec<String>, _) = if command && start == 0 {
            (commands().into_iter().collect(), " ")
        } else if text.starts_with("/join ") {
            (rooms.iter().cloned().collect(), "")
        } else {
            (people.to_vec(), if start == 0 { ": " } else { " " })
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
        let people = ["ana", "Anton", "bob"].map(str::to_owned);
        let rooms = ["lobby", "ops", "tea"].map(str::to_owned).into();
        for (text, words) in [
            ("an", &["ana: ", "Anton: "][..]),
            ("AN", &["ana: ", "Anton: "]),
            ("hi an", &["ana ", "Anton "]),
            ("hi ", &["ana ", "Anton ", "bob "]),
            ("/join o", &["ops"]),
            ("/kick b", &["bob "]),
            ("/joi", &["/join "]),
            ("/qu", &["/quiet ", "/quit "]),
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
