use std::{collections::BTreeMap, fmt::Write, mem};

use broadcast_chat::protocol::{
    RefusalCode,
    close::{CloseReason, may_come_back},
};
use serde_json::json;

/// A row for each code of a refusal.
pub(super) fn refusals() -> String {
    let mut text = "\n| `code` | means | try again |\n|---|---|---|\n".to_owned();
    let source = include_str!("../../../src/protocol/refusal.rs");
    for (name, about) in variants(source, "RefusalCode") {
        if name == "Other" {
            continue;
        }
        let sent = snake_case(&name);
        let code: RefusalCode = serde_json::from_value(json!(sent)).expect("a code");
        assert_ne!(code, RefusalCode::Other, "{sent}");
        let again = if code.is_temporary() {
            "after `retry_ms`"
        } else {
            "no"
        };
        writeln!(text, "| `{sent}` | {about} | {again} |").expect("a string");
    }
    text.push('\n');
    text
}

/// A row for each close code.
pub(super) fn closes() -> String {
    let reasons = [
        CloseReason::Done,
        CloseReason::GoingAway,
        CloseReason::Protocol,
        CloseReason::Binary,
        CloseReason::NotUtf8,
        CloseReason::TooBig,
        CloseReason::Internal,
        CloseReason::WriteTimeout,
        CloseReason::Unfinished,
        CloseReason::PingTimeout,
        CloseReason::Draining { wait_ms: 700 },
        CloseReason::StandingChanged,
        CloseReason::Flooding,
        CloseReason::kicked(""),
        CloseReason::banned(""),
        CloseReason::WrongSecrets,
        CloseReason::NotAllowed,
    ];
    let mut by_code: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    let source = include_str!("../../../src/protocol/close.rs");
    for (name, about) in variants(source, "CloseReason") {
        // The server repeats any other code of the client.
        if name == "Echo" {
            continue;
        }
        let reason = reasons.iter().find(|reason| {
            let shown = format!("{reason:?}");
            shown.split(' ').next() == Some(&name)
        });
        let reason = reason.unwrap_or_else(|| panic!("{name} is not in the list"));
        by_code.entry(reason.code()).or_default().push(about);
    }
    let mut text = "\n| code | why | come back |\n|---|---|---|\n".to_owned();
    for (code, why) in by_code {
        let back = if may_come_back(code) { "yes" } else { "no" };
        writeln!(text, "| {code} | {} | {back} |", why.join(". ")).expect("a string");
    }
    text.push('\n');
    text
}

/// The variants of an enum in a source file, each with its doc comment.
fn variants(source: &str, name: &str) -> Vec<(String, String)> {
    let begin = format!("pub enum {name} {{\n");
    let (_, body) = source.split_once(&begin).expect("an enum");
    let (body, _) = body.split_once("\n}").expect("its end");
    let (mut found, mut about) = (Vec::new(), Vec::new());
    for line in body.lines() {
        // The fields of a variant are indented further.
        let line = line.strip_prefix("    ").unwrap_or_default();
        if let Some(words) = line.strip_prefix("/// ") {
            about.push(words);
        } else if line.starts_with(|c: char| c.is_ascii_uppercase()) {
            let end = line.find(|c: char| !c.is_ascii_alphanumeric());
            let variant = &line[..end.unwrap_or(line.len())];
            let about = mem::take(&mut about).join(" ");
            found.push((variant.to_owned(), about.trim_end_matches('.').to_owned()));
        }
    }
    found
}

fn snake_case(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}
