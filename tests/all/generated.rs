/// The codes of refusals and of closes, as Markdown.
mod codes;

/// The example of a configuration file.
mod example;

/// The flags of both programs, as Markdown.
mod flags;

/// The metrics, as Markdown.
mod metrics;

/// The HTTP statuses of the protocol, the code and the `OpenAPI` description.
pub(crate) mod statuses;

use std::{env, fmt::Write, fs, path::Path};

use broadcast_chat::protocol::command::table::{Field, Permission, REF, TABLE};

/// The command that regenerates the files.
const AGAIN: &str = "REGENERATE=1 cargo test --test all generated";

/// Asserts that a file has this content. If `REGENERATE` is set, writes it
/// first.
fn same(path: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if env::var_os("REGENERATE").is_some() {
        fs::write(&path, wanted).expect("a file that can be written");
    }
    let found = fs::read_to_string(&path).expect("a file");
    assert!(
        found == wanted,
        "{} differs from the code: run {AGAIN}",
        path.display()
    );
}

#[test]
fn the_commands_of_the_page_match_the_table() {
    let mut module = format!(
        "// Every command of the page. Made from src/protocol/command/table.rs by\n\
         // {AGAIN}\n\n\
         /** The commands: word, arguments, description and other words of each. */\n\
         export const COMMANDS = [\n"
    );
    for spec in TABLE {
        if let Some(about) = spec.page.about(spec) {
            let word = format!("/{}", spec.word);
            let row = [&word, spec.arguments, about].map(|text| format!("{text:?}"));
            let aliases = spec.aliases.iter().map(|word| format!("\"/{word}\""));
            let aliases = aliases.collect::<Vec<_>>().join(", ");
            writeln!(module, "  [{}, [{aliases}]],", row.join(", ")).expect("a string");
        }
    }
    module.push_str("];\n");
    same("src/http/page/commands.mjs", &module);
}

/// One test for all parts: a page with several parts is written part by part.
///
/// Verified to fail when a part lacks a row, for each of the parts.
#[test]
fn the_references_match_the_code() {
    for (path, name, source, part) in [
        (
            "docs/protocol.md",
            "commands",
            "src/protocol/command/table.rs",
            commands(),
        ),
        (
            "docs/protocol.md",
            "codes",
            "src/protocol/refusal.rs",
            codes::refusals(),
        ),
        (
            "docs/protocol.md",
            "close codes",
            "src/protocol/close.rs",
            codes::closes(),
        ),
        (
            "docs/operations.md",
            "flags",
            "src/bin/server/flags.rs",
            flags::of_the_server(),
        ),
        (
            "docs/operations.md",
            "live flags",
            "src/bin/server/flags/live.rs",
            flags::live(),
        ),
        (
            "docs/operations.md",
            "metrics",
            "src/metrics.rs",
            metrics::reference(),
        ),
        (
            "docs/scripts.md",
            "flags",
            "src/bin/client/flags.rs",
            flags::of_the_client(),
        ),
    ] {
        let begin = format!("<!-- {name}: made from {source} -->\n");
        let end = format!("<!-- end of {name} -->\n");
        let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
        let page = page.expect("a page");
        let (before, rest) = page.split_once(&begin).expect("a beginning");
        let (_, after) = rest.split_once(&end).expect("an end");
        same(path, &format!("{before}{begin}{part}{end}{after}"));
    }
}

#[test]
fn the_example_of_a_configuration_has_every_flag() {
    same("docs/broadcast-chatd.toml", &example::example());
}

// Verified to fail when a row is left out, and when a row is added.
#[test]
fn the_protocol_lists_every_status_of_the_code() {
    let documented = statuses::documented();
    assert_eq!(documented, statuses::of_the_code());
    let described = statuses::of_the_description();
    assert!(described.len() > 10, "{described:?}");
    assert_eq!(described.difference(&documented).next(), None);
}

/// The reference of all commands.
fn commands() -> String {
    let mut text = "\n| typed | in JSON | does | who may |\n|---|---|---|---|\n".to_owned();
    for spec in TABLE {
        let aliases = spec.aliases.iter().map(|alias| format!(", `/{alias}`"));
        let aliases: String = aliases.collect();
        let form = spec.form();
        let sent = match spec.json_example {
            "" => "–".to_owned(),
            sent => format!("`{sent}`"),
        };
        let about = spec.about;
        let may = who(spec.permission);
        writeln!(text, "| `{form}`{aliases} | {sent} | {about} | {may} |").expect("a string");
    }
    text.push_str("\n| `type` | field | holds |\n|---|---|---|\n");
    for spec in TABLE.iter().filter(|spec| spec.json_type.is_some()) {
        let kind = spec.json_type.unwrap_or_default();
        for field in spec.fields {
            writeln!(text, "| `{kind}` | {} | {} |", named(field), field.holds).expect("a string");
        }
    }
    writeln!(text, "| any | {} | {} |\n", named(&REF), REF.holds).expect("a string");
    text
}

/// A field's name; `?` marks an optional field.
fn named(field: &Field) -> String {
    let optional = if field.needed { "" } else { "?" };
    format!("`{}`{optional}", field.name)
}

fn who(may: Permission) -> &'static str {
    match may {
        Permission::Everybody => "everybody",
        Permission::Owners => "everybody who owns a name",
        Permission::Operators => "operators",
        Permission::Plain => "everybody, in the plain format",
        Permission::Terminal => "the person at the terminal client",
        Permission::Programs => "programs, in JSON",
    }
}
