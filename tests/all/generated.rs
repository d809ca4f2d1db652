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
        "{} differs from the table of commands: run {AGAIN}",
        path.display()
    );
}

#[test]
fn the_commands_of_the_page_match_the_table() {
    let mut module = format!(
        "// Every command of the page. Made from src/protocol/command/table.rs by\n\
         // {AGAIN}\n\n\
         /** Each command: its word, its arguments, and what it does. */\n\
         export const COMMANDS = [\n"
    );
    for spec in &TABLE {
        if let Some(about) = spec.page.about(spec) {
            let word = format!("/{}", spec.word);
            let row = [&word, spec.arguments, about].map(|text| format!("{text:?}"));
            writeln!(module, "  [{}],", row.join(", ")).expect("a string");
        }
    }
    module.push_str("];\n");
    same("src/http/page/commands.mjs", &module);
}

#[test]
fn the_commands_of_the_protocol_reference_match_the_table() {
    const BEGIN: &str = "<!-- commands: made from src/protocol/command/table.rs -->\n";
    const END: &str = "<!-- end of commands -->\n";
    let path = "docs/protocol.md";
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
    let page = page.expect("a page");
    let (before, rest) = page.split_once(BEGIN).expect("a beginning");
    let (_, after) = rest.split_once(END).expect("an end");
    same(path, &format!("{before}{BEGIN}{}{END}{after}", reference()));
}

/// The reference of all commands, as Markdown.
fn reference() -> String {
    let mut text = "\n| typed | in JSON | does | who may |\n|---|---|---|---|\n".to_owned();
    for spec in &TABLE {
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
        Permission::Named => "everybody with a name",
        Permission::Operators => "operators",
        Permission::Plain => "everybody, in the plain format",
        Permission::Terminal => "the person at the terminal client",
    }
}
