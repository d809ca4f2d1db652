use std::fmt::Write;

use clap::{Arg, Command, CommandFactory};

#[allow(dead_code)] // here they are only looked at
#[path = "../../../src/bin/client/flags.rs"]
mod client;

#[allow(dead_code)]
#[path = "../../../src/bin/server"]
pub(super) mod server {
    pub(super) mod exit;
    pub(super) mod files;
    pub(in super::super) mod flags;
    pub(super) mod listeners;
}

pub(super) fn of_the_server() -> String {
    table(&server::flags::ServerFlags::command())
}

/// The flags that SIGHUP applies. Each must be a key of the configuration.
pub(super) fn live() -> String {
    let command = server::flags::ServerFlags::command();
    let mut text = "\n| key | takes effect |\n|---|---|\n".to_owned();
    for (flag, effect) in server::flags::live::LIVE {
        let mut flags = command.get_arguments();
        assert!(flags.any(|it| it.get_long() == Some(flag)), "{flag}");
        writeln!(text, "| `{flag}` | {effect} |").expect("a string");
    }
    text.push('\n');
    text
}

pub(super) fn of_the_client() -> String {
    table(&client::ClientFlags::command())
}

/// A row for each flag, in the order of `--help`.
fn table(command: &Command) -> String {
    let mut text = "\n| flag | default | meaning |\n|---|---|---|\n".to_owned();
    for flag in command.get_arguments() {
        let (default, meaning) = default_and_meaning(flag);
        writeln!(text, "| {} | {default} | {meaning} |", form(flag)).expect("a string");
    }
    text.push('\n');
    text
}

/// The flag as a person types it.
fn form(flag: &Arg) -> String {
    let value = match flag.get_value_names() {
        Some([name]) if flag.get_action().takes_values() => name.as_str(),
        _ => "",
    };
    let Some(long) = flag.get_long() else {
        return format!("`{value}`");
    };
    let short = flag.get_short().map(|short| format!("`-{short}`, "));
    let long = format!("--{long} {value}");
    // A bar would end the cell.
    let long = long.trim().replace('|', "\\|");
    format!("{}`{long}`", short.unwrap_or_default())
}

/// The default and the meaning of a flag. If its default is not a value, the
/// help has it in brackets, as clap writes the others.
fn default_and_meaning(flag: &Arg) -> (String, String) {
    let help = flag.get_long_help().or(flag.get_help());
    let mut meaning = help.expect("a help text").to_string();
    let mut default = String::new();
    if let Some((before, rest)) = meaning.split_once("[default: ") {
        let (told, after) = rest.split_once(']').expect("its end");
        told.clone_into(&mut default);
        meaning = format!("{}{after}", before.trim_end());
    } else if let [value] = flag.get_default_values()
        && flag.get_action().takes_values()
    {
        default = format!("`{}`", value.display());
    }
    let paragraphs = meaning.split("\n\n").map(|paragraph| {
        let words: Vec<_> = paragraph.split_whitespace().collect();
        words.join(" ").trim_end_matches('.').to_owned()
    });
    let mut meaning = paragraphs.collect::<Vec<_>>().join(". ");
    let values = flag.get_possible_values();
    if flag.get_action().takes_values() && !values.is_empty() {
        let values = values.iter().map(|value| format!("`{}`", value.get_name()));
        let values = values.collect::<Vec<_>>().join(", ");
        meaning = format!("{meaning} ({values})");
    }
    (default, meaning)
}
