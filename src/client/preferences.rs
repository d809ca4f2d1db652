//! The preferences of a person for the screen, in a file written by hand.

use std::{fmt, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::screen::ColourDepth;
use crate::protocol::name::Name;

/// The known keys, for the error about an unknown one.
const KEYS: &str = "name, colours, bell and joins";

/// The preferences; flags override them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preferences {
    /// The name to use.
    pub name: Option<Name>,
    /// The colours of the terminal, in place of those the environment names.
    pub colours: Option<ColourDepth>,
    /// Whether the bell rings.
    pub bell: Option<bool>,
    /// Whether joins and leaves are shown at first.
    pub joins: Option<bool>,
}

/// An error in the file, with its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreferenceError {
    line: usize,
    why: String,
}

impl fmt::Display for PreferenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl Preferences {
    /// Reads preferences from TOML.
    ///
    /// # Errors
    ///
    /// Fails if the text has mistakes, and returns all of them.
    pub fn read(text: &str) -> Result<Self, Vec<PreferenceError>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mistake = |at: Range<usize>, why: String| PreferenceError {
            line: 1 + text[..at.start.min(text.len())].matches('\n').count(),
            why,
        };
        let mut mistakes: Vec<PreferenceError> = errors
            .iter()
            .map(|error| mistake(error.span().unwrap_or_default(), error.message().to_owned()))
            .collect();
        let mut preferences = Preferences::default();
        // A table recovered from bad TOML would report the same mistakes again.
        if mistakes.is_empty() {
            for (key, value) in table.get_ref() {
                if let Err((at, why)) = preferences.set(key, value) {
                    mistakes.push(mistake(at, why));
                }
            }
        }
        mistakes.sort_by_key(|mistake| mistake.line);
        if mistakes.is_empty() {
            Ok(preferences)
        } else {
            Err(mistakes)
        }
    }

    fn set(
        &mut self,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<(), (Range<usize>, String)> {
        let wrong = |why: String| (value.span(), format!("{}: {why}", key.get_ref()));
        let text = || match value.get_ref() {
            DeValue::String(text) => Ok(text.as_ref()),
            _ => Err(wrong("a text in quotes is expected".to_owned())),
        };
        let truth = || match value.get_ref() {
            DeValue::Boolean(truth) => Ok(*truth),
            _ => Err(wrong("true or false is expected".to_owned())),
        };
        match key.get_ref().as_ref() {
            "name" => {
                let name = text()?.parse();
                self.name =
                    Some(name.map_err(|why: crate::protocol::name::RuleBroken| {
                        wrong(why.to_string())
                    })?);
            }
            "colours" => {
                self.colours = Some(match text()? {
                    "none" => ColourDepth::None,
                    "few" => ColourDepth::Few,
                    "many" => ColourDepth::Many,
                    _ => {
                        return Err(wrong(
                            "\"none\", \"few\" or \"many\" is expected".to_owned(),
                        ));
                    }
                });
            }
            "bell" => self.bell = Some(truth()?),
            "joins" => self.joins = Some(truth()?),
            other => {
                let why = format!("there is no {other:?}: the keys are {KEYS}");
                return Err((key.span(), why));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_are_read() {
        let text = "# mine\nname = \"ana\"\ncolours = \"few\"\nbell = false\njoins = false\n";
        let read = Preferences::read(text).expect("no mistake");
        assert_eq!(
            read,
            Preferences {
                name: "ana".parse().ok(),
                colours: Some(ColourDepth::Few),
                bell: Some(false),
                joins: Some(false),
            }
        );
        assert_eq!(Preferences::read(""), Ok(Preferences::default()));
    }

    #[test]
    fn all_mistakes_are_returned_at_once() {
        let lines = |text: &str| -> Vec<String> {
            let mistakes = Preferences::read(text).expect_err(text);
            mistakes.iter().map(PreferenceError::to_string).collect()
        };
        let text = "name = \"a b\"\nbell = 1\n\ncolor = \"few\"\ncolours = \"red\"";
        let said = lines(text);
        assert_eq!(said.len(), 4, "{said:?}");
        for (said, begins) in said.iter().zip([
            "line 1: name: ",
            "line 2: bell: true or false",
            "line 4: there is no \"color\"",
            "line 5: colours: \"none\"",
        ]) {
            assert!(said.starts_with(begins), "{said}");
        }
        // The same holds for text that is no TOML.
        let said = lines("bell = \njoins = yes\n");
        assert!(
            said.len() >= 2 && said[0].starts_with("line 1: "),
            "{said:?}"
        );
        assert!(
            said.iter().any(|said| said.starts_with("line 2: ")),
            "{said:?}"
        );
    }
}
