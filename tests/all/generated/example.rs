use std::fmt::Write;

use clap::{Arg, ArgAction, Command, CommandFactory};

use super::flags::server::flags::{ServerFlags, config};

/// The width of the comments, in characters.
const WIDTH: usize = 100;

/// An example of a configuration file: every key, with its default in a
/// comment.
pub(super) fn example() -> String {
    let mut text = "# The configuration of a chat server: server --config FILE\n\
                    #\n\
                    # Every key is the name of a flag. Each stands here with its default, or with a word for\n\
                    # what it takes. Remove the # in front of a key to set it. Typed flags and environment\n\
                    # variables override this file. `server check-config --config FILE` tells all mistakes.\n"
        .to_owned();
    let command = ServerFlags::command();
    for flag in command.get_arguments().filter(|flag| config::is_key(flag)) {
        let long = flag.get_long().expect("a key");
        let help = flag.get_long_help().or(flag.get_help());
        let help = help.expect("a help text").to_string();
        text.push('\n');
        for paragraph in help.split("\n\n") {
            for line in wrapped(paragraph) {
                writeln!(text, "# {line}").expect("a string");
            }
        }
        writeln!(text, "#{long} = {}", value(flag)).expect("a string");
    }
    text
}

fn wrapped(paragraph: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in paragraph.split_whitespace() {
        let line = lines.last_mut().expect("a line");
        if !line.is_empty() && line.len() + 1 + word.len() > WIDTH - 2 {
            lines.push(word.to_owned());
        } else {
            let space = if line.is_empty() { "" } else { " " };
            write!(line, "{space}{word}").expect("a string");
        }
    }
    lines
}

/// The default of a flag, or its placeholder, in TOML.
fn value(flag: &Arg) -> String {
    let placeholder = flag.get_value_names().map_or("", |names| names[0].as_str());
    match (flag.get_action(), flag.get_default_values()) {
        (ArgAction::SetTrue, _) => "false".to_owned(),
        (ArgAction::Count, _) => "0".to_owned(),
        (ArgAction::Append, _) => format!("[{placeholder:?}]"),
        (_, [default]) => {
            let default = default.to_str().expect("UTF-8");
            default
                .parse::<u64>()
                .map_or_else(|_| format!("{default:?}"), |number| number.to_string())
        }
        _ => format!("{placeholder:?}"),
    }
}

/// The keys of the example, without the `#`.
fn keys(example: &str) -> impl Iterator<Item = &str> {
    let lines = example.lines().filter_map(|line| line.strip_prefix('#'));
    lines.filter(|line| !line.starts_with(' ') && line.contains(" = "))
}

// Verified to fail when the text of a default has no quotes.
#[test]
fn the_defaults_of_the_example_are_a_right_file() {
    let example = example();
    let command: Command = ServerFlags::command();
    let all: Vec<_> = keys(&example).collect();
    assert_eq!(
        all.len(),
        command
            .get_arguments()
            .filter(|flag| config::is_key(flag))
            .count()
    );
    let (_, mistakes) = config::read(&all.join("\n"), &command);
    // Only a placeholder can be wrong: it is no number.
    for mistake in &mistakes {
        let line = all[mistake.line - 1];
        let (_, value) = line.split_once(" = ").expect("a value");
        let is_placeholder = value.contains(|it: char| it.is_ascii_uppercase());
        assert!(is_placeholder, "{line}: {}", mistake.why);
    }
    assert!(config::read(&example, &command).0.is_empty());
}
