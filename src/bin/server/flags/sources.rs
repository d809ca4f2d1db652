//! The three sources of flags: typed words, the environment, and the
//! configuration file. Each overrides the next.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::Path,
};

use broadcast_chat::net::tls::read_small;
use clap::{
    ArgMatches, Command, CommandFactory, FromArgMatches, builder::Resettable, parser::ValueSource,
};

use super::{
    ServerFlags,
    config::{self, Settings},
    mistakes::Mistakes,
};

/// The values of each flag, before they are parsed.
pub(crate) type RawValues = BTreeMap<String, Vec<OsString>>;

/// The flags of all sources.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) flags: ServerFlags,
    pub(super) raw: RawValues,
    /// The mistakes found so far.
    pub(super) mistakes: Mistakes,
}

/// Reads the flags of all sources. A value with a mistake counts as not given.
///
/// # Errors
/// Fails if the typed words are wrong or ask for help.
pub(super) fn read(
    words: impl IntoIterator<Item = impl Into<OsString>>,
) -> Result<Sources, clap::Error> {
    let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
    let mut mistakes = Mistakes::default();
    let command = ServerFlags::command().mut_args(|flag| {
        let value = flag.get_env().and_then(std::env::var_os);
        let right = value.map_or(Ok(()), |value| config::check(&flag, &[value]));
        match right {
            Ok(()) => flag,
            Err(why) => {
                let variable = flag.get_env().unwrap_or_default().display().to_string();
                mistakes.all.push(format!("{variable}: {why}"));
                flag.env(Resettable::Reset)
            }
        }
    });
    let matches = command.clone().try_get_matches_from(&words)?;
    let mut settings = Settings::new();
    if let Some(path) = ServerFlags::from_arg_matches(&matches)?.config {
        settings = read_file(&path, &command, &mut mistakes);
    }
    let mut command = with_defaults(command, &settings);
    let matches = command.try_get_matches_from_mut(words)?;
    let mut flags = ServerFlags::from_arg_matches(&matches)?;
    if flags.ephemeral {
        let (data, ephemeral) = (
            rank("data", &matches, &settings),
            rank("ephemeral", &matches, &settings),
        );
        flags.ephemeral = data <= ephemeral;
        // An image may set one variable for all, and a user the other.
        if data == ephemeral && data != Rank::Environment {
            mistakes.add(
                "--data",
                &"and --ephemeral contradict each other: give one of them",
            );
        }
    }
    let keys = command.get_arguments().filter(|flag| config::is_key(flag));
    let raw = keys.filter_map(|flag| {
        let values = matches.get_raw(flag.get_id().as_str())?;
        let values = values.map(OsStr::to_owned).collect();
        Some((flag.get_long()?.to_owned(), values))
    });
    Ok(Sources {
        flags,
        raw: raw.collect(),
        mistakes,
    })
}

/// The variables named like a flag's that no flag has.
pub(super) fn unknown_variables() -> Vec<String> {
    let mut command = ServerFlags::command();
    command.build();
    let flags = command
        .get_subcommands()
        .chain([&command])
        .flat_map(Command::get_arguments);
    let known: Vec<_> = flags.filter_map(|flag| flag.get_env()).collect();
    let variables = std::env::vars_os().map(|(variable, _)| variable);
    let unknown = variables.filter(|variable| {
        variable.as_encoded_bytes().starts_with(b"CHAT_") && !known.contains(&variable.as_os_str())
    });
    let mut unknown: Vec<_> = unknown.map(|it| it.display().to_string()).collect();
    unknown.sort_unstable();
    unknown
}

fn read_file(path: &Path, command: &Command, mistakes: &mut Mistakes) -> Settings {
    let read = read_small(path).map_err(|why| why.to_string());
    let text =
        read.and_then(|bytes| String::from_utf8(bytes).map_err(|_| "it is not UTF-8".into()));
    let path = path.display();
    let text = text.map_err(|why| format!("{path}: {why}"));
    let Some(text) = mistakes.take("--config", text) else {
        return Settings::new();
    };
    let (settings, found) = config::read(&text, command);
    let found = found
        .iter()
        .map(|it| format!("{path}: line {}: {}", it.line, it.why));
    mistakes.all.extend(found);
    for flag in command.get_arguments() {
        if let (Some(long), Some(setting)) = (flag.get_long(), settings.get(flag.get_id().as_str()))
        {
            let place = format!("{path}: line {}", setting.line);
            mistakes.places.insert(format!("--{long}"), place);
        }
    }
    settings
}

/// Makes the settings the defaults of their flags, also in subcommands: typed
/// flags and variables then override them.
fn with_defaults(command: Command, settings: &Settings) -> Command {
    let command = command.mut_args(|flag| match settings.get(flag.get_id().as_str()) {
        Some(setting) => flag.default_values(setting.values.iter().cloned()),
        None => flag,
    });
    command.mut_subcommands(|command| with_defaults(command, settings))
}

/// A source of a flag, from the weakest to the strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    None,
    File,
    Environment,
    Typed,
}

fn rank(id: &str, matches: &ArgMatches, settings: &Settings) -> Rank {
    match matches.value_source(id) {
        Some(ValueSource::CommandLine) => Rank::Typed,
        Some(ValueSource::EnvVariable) => Rank::Environment,
        _ if settings.contains_key(id) => Rank::File,
        _ => Rank::None,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::mistakes::sentence, *};

    /// The flags, and all mistakes.
    fn parsed(words: &[&str]) -> (ServerFlags, Vec<String>) {
        let read = read([&["server"], words].concat()).expect("right words");
        (read.flags, read.mistakes.all)
    }

    #[test]
    fn the_last_word_about_the_store_is_the_strongest_source() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("chat.toml");
        let config = format!("--config={}", path.display());
        for (file, words, ephemeral, wrong) in [
            ("", &["--ephemeral"][..], true, false),
            ("", &["--data", "x"], false, false),
            ("", &["--data", "x", "--ephemeral"], true, true),
            ("ephemeral = true", &[], true, false),
            ("ephemeral = true", &["--data", "x"], false, false),
            ("data = 'y'", &["--ephemeral"], true, false),
            ("data = 'y'\nephemeral = true", &[], true, true),
        ] {
            std::fs::write(&path, file).expect("a file");
            let (flags, mistakes) = parsed(&[words, &[&config]].concat());
            assert_eq!(flags.ephemeral, ephemeral, "{file} {words:?}");
            assert_eq!(!mistakes.is_empty(), wrong, "{file} {words:?} {mistakes:?}");
        }
    }

    #[test]
    fn typed_flags_override_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("chat.toml");
        let text = "port = 5\nbind = '::1'\nhost = ['a', 'b']\nverbose = 2\nkeep = 3\n";
        std::fs::write(&path, text).expect("a file");
        let config = format!("--config={}", path.display());
        let (flags, mistakes) = parsed(&[&config, "--port=6", "--host=c", "--host=d"]);
        assert!(mistakes.is_empty(), "{mistakes:?}");
        assert_eq!((flags.port, flags.verbose, flags.keep), (6, 2, Some(3)));
        assert!(flags.bind.is_loopback() && flags.bind.is_ipv6());
        assert_eq!(flags.host, ["c", "d"]);
        assert_eq!(parsed(&[&config]).0.host, ["a", "b"]);
    }

    #[test]
    fn an_error_is_one_sentence() {
        for (flag, told) in [
            ("--prot=1", "unexpected argument '--prot' found"),
            ("--port=x", "invalid value 'x' for '--port <PORT>'"),
            (
                "--rate=20:",
                "invalid value '20:' for '--rate <RATE[:BURST]|off>': a rate is",
            ),
            ("--bind=here", "give an IP address"),
            ("--daily-bytes=1099511627777", "give at most 1099511627776"),
        ] {
            let error = read(["server", flag]).expect_err(flag);
            let sentence = sentence(&error);
            assert!(sentence.contains(told), "{sentence}");
            assert!(!sentence.contains('\n'), "{sentence}");
        }
    }
}
