//! The configuration file: TOML, with a key for each long flag.

use std::{collections::HashMap, ffi::OsString, ops::Range};

use clap::{
    Arg, ArgAction, Command,
    builder::Resettable,
    error::{ContextKind, ContextValue},
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::mistakes::sentence;

/// A mistake, and the line of the file that it is in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConfigMistake {
    pub(crate) line: usize,
    pub(crate) why: String,
}

/// The values of one key, as a person would type them, and the key's line.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) line: usize,
    pub(crate) values: Vec<OsString>,
}

/// The settings of a file, each under the id of its flag.
pub(crate) type Settings = HashMap<String, Setting>;

/// Reads the settings of a file for the flags of `command`. A setting with a
/// mistake is left out.
pub(crate) fn read(text: &str, command: &Command) -> (Settings, Vec<ConfigMistake>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let line = |at: Range<usize>| 1 + text[..at.start.min(text.len())].matches('\n').count();
    let mut mistakes: Vec<ConfigMistake> = errors
        .iter()
        .map(|error| ConfigMistake {
            line: line(error.span().unwrap_or_default()),
            why: error.message().to_owned(),
        })
        .collect();
    let mut settings = Settings::new();
    // A table recovered from bad TOML would report the same mistakes again.
    if mistakes.is_empty() {
        for (key, value) in table.get_ref() {
            let line = line(key.span());
            match setting(key.get_ref(), value, command) {
                Ok((id, values)) => {
                    settings.insert(id, Setting { line, values });
                }
                Err(why) => mistakes.push(ConfigMistake { line, why }),
            }
        }
    }
    mistakes.sort_by_key(|mistake| mistake.line);
    (settings, mistakes)
}

/// Whether a flag may stand in the file.
pub(crate) fn is_key(flag: &Arg) -> bool {
    let is_help = matches!(
        flag.get_action(),
        ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
    );
    !is_help && flag.get_long().is_some_and(|long| long != "config")
}

/// The id of the flag that a key names, and its values.
fn setting(
    key: &str,
    value: &Spanned<DeValue<'_>>,
    command: &Command,
) -> Result<(String, Vec<OsString>), String> {
    let flags = || command.get_arguments().filter(|flag| is_key(flag));
    let flag = flags()
        .find(|flag| flag.get_long() == Some(key))
        .ok_or_else(|| unknown(key, command))?;
    let values = match (value.get_ref(), flag.get_action()) {
        (DeValue::Boolean(truth), ArgAction::SetTrue) => vec![truth.to_string()],
        (_, ArgAction::SetTrue) => return Err(format!("{key}: write true or false")),
        (DeValue::Array(values), ArgAction::Append) => {
            let texts = values.iter().map(|value| text(value.get_ref()));
            let texts: Option<_> = texts.collect();
            texts.ok_or_else(|| format!("{key}: write texts in quotes, like [\"one\", \"two\"]"))?
        }
        (value, _) => {
            let text = text(value);
            vec![text.ok_or_else(|| format!("{key}: write a number, or a text in quotes"))?]
        }
    };
    let values: Vec<_> = values.into_iter().map(OsString::from).collect();
    check(flag, &values)?;
    Ok((flag.get_id().to_string(), values))
}

fn text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        _ => None,
    }
}

/// Checks the values of one flag alone.
///
/// # Errors
/// Fails with a sentence if the flag does not take them.
pub(super) fn check(flag: &Arg, values: &[OsString]) -> Result<(), String> {
    let flag = flag
        .clone()
        .env(Resettable::Reset)
        .default_values(values.iter().cloned());
    let command = Command::new("server").arg(flag);
    let parsed = command.try_get_matches_from(["server"]);
    parsed.map(drop).map_err(|error| sentence(&error))
}

/// The sentence about a key that no flag has.
fn unknown(key: &str, command: &Command) -> String {
    // The suggestion is that for a mistyped flag.
    let mistyped = command
        .clone()
        .try_get_matches_from(["server", &format!("--{key}")]);
    let similar = mistyped.err().and_then(|error| {
        let similar = match error.get(ContextKind::SuggestedArg)? {
            ContextValue::String(similar) => similar,
            ContextValue::Strings(similar) => similar.first()?,
            _ => return None,
        };
        Some(similar.trim_start_matches("--").to_owned())
    });
    match similar {
        Some(similar) => format!("there is no key {key:?}: write {similar}"),
        None => format!("there is no key {key:?}: the keys are the flags of server --help"),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::{super::ServerFlags, *};

    #[test]
    fn each_kind_of_value_is_read() {
        let text = "# mine\nport = 0\nhost = [\"a.example\", \"b.example\"]\norigin = \"https://x\"\n\
                    ephemeral = true\nrate = \"5:10\"\nnew-names = 7\nverbose = 2\n";
        let (settings, mistakes) = read(text, &ServerFlags::command());
        assert_eq!(mistakes, []);
        let mut found: Vec<_> = settings
            .iter()
            .map(|(id, setting)| {
                let values = setting.values.iter().map(|it| it.to_str().expect("UTF-8"));
                (setting.line, id.as_str(), values.collect::<Vec<_>>())
            })
            .collect();
        found.sort_unstable();
        assert_eq!(
            found,
            [
                (2, "port", vec!["0"]),
                (3, "host", vec!["a.example", "b.example"]),
                (4, "origin", vec!["https://x"]),
                (5, "ephemeral", vec!["true"]),
                (6, "rate", vec!["5:10"]),
                (7, "new_names", vec!["7"]),
                (8, "verbose", vec!["2"]),
            ]
        );
    }

    // Verified to fail when reading ends at the first mistake.
    #[test]
    fn all_mistakes_are_found_with_their_lines() {
        let text = "prot = 1\nport = 65536\nmax_text = 5\n\nephemeral = 1\naccess = \"all\"\n\
                    host = [1.5]\nconfig = \"x\"\nkeep = 0x10\n[tls]\ncert = 1\nzzz = 1\n";
        let (settings, mistakes) = read(text, &ServerFlags::command());
        assert!(settings.is_empty(), "{settings:?}");
        let parts = [
            (1, "\"prot\": write port"),
            (2, "--port"),
            (3, "write max-text"),
            (5, "true or false"),
            (6, "open, invite"),
            (7, "texts in quotes"),
            (8, "no key \"config\""),
            (9, "a number"),
            (10, "no key \"tls\""),
        ];
        assert_eq!(mistakes.len(), parts.len(), "{mistakes:#?}");
        for (mistake, (line, part)) in mistakes.iter().zip(parts) {
            assert_eq!(mistake.line, line, "{mistake:?}");
            assert!(mistake.why.contains(part), "{mistake:?}");
        }
        let (_, mistakes) = read("port = \nport = 1\nbind = here\n", &ServerFlags::command());
        let lines: Vec<_> = mistakes.iter().map(|mistake| mistake.line).collect();
        assert!(lines.contains(&1) && lines.contains(&3), "{mistakes:?}");
    }
}
