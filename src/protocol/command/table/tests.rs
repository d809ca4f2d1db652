use std::{collections::BTreeSet, ptr};

use serde_json::{Map, Value, json};

use super::*;
use crate::protocol::{Request, json, typed as plain};

/// All commands that JSON has, each with all its fields.
fn whole() -> impl Iterator<Item = (&'static CommandSpec, Map<String, Value>)> {
    all_in_json().into_iter().map(|spec| {
        let value = |field: &Field| match field.name {
            "kind" => json!("me"),
            "after" if spec.json_type == Some("rooms") => json!("tea"),
            "about" | "after" | "backlog" | "before" | "limit" | "seq" | "uses" => json!(7),
            "id" if spec.json_type == Some("uninvite") => json!(7),
            "private" => json!(true),
            "level" => json!("mentions"),
            "rooms" => json!({"tea": 7}),
            "token" => json!("0123456789abcdefghijkl"),
            "for" => json!("2h"),
            _ => json!("0123456789abcdef"),
        };
        let fields = spec.fields.iter().chain([&REF]);
        let fields = fields.map(|field| (field.name.to_owned(), value(field)));
        let kind = ("type".to_owned(), json!(spec.json_type));
        (spec, fields.chain([kind]).collect())
    })
}

fn parse(object: &Map<String, Value>) -> Request {
    json::parse(&Value::Object(object.clone()).to_string())
}

#[test]
fn examples_parse_as_their_own_command() {
    for spec in TABLE {
        if spec.is_typed() {
            let command = plain::parse(spec.typed_example).expect(spec.typed_example);
            let command = command.expect("a command");
            let own = command.spec().expect("a declaration");
            assert!(
                ptr::eq(own, spec) || ["me", "public", "part"].contains(&spec.word),
                "{}",
                spec.typed_example
            );
        }
        if let Some(kind) = spec.json_type {
            let command = json::parse(spec.json_example)
                .command
                .expect(spec.json_example);
            assert_eq!(command.spec().and_then(|spec| spec.json_type), Some(kind));
        }
    }
}

#[test]
fn words_and_kinds_are_unique() {
    let words = TABLE
        .iter()
        .flat_map(|spec| spec.aliases.iter().chain([&spec.word]));
    let words: Vec<_> = words.collect();
    let kinds: Vec<_> = TABLE.iter().filter_map(|spec| spec.json_type).collect();
    assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), words.len());
    assert_eq!(kinds.iter().collect::<BTreeSet<_>>().len(), kinds.len());
}

#[test]
fn a_command_has_exactly_its_declared_fields() {
    for (spec, object) in whole() {
        let request = parse(&object);
        let command = request.command.expect(spec.json_example);
        let again = json::request(&command, request.reference.as_ref());
        let again: Map<_, _> = serde_json::from_str(&again).expect("an object");
        assert_eq!(again, object);
    }
}

#[test]
fn a_refusal_names_the_wrong_or_missing_field() {
    for (spec, object) in whole() {
        for field in spec.fields.iter().chain([&REF]) {
            let said = |object: &Map<_, _>| parse(object).command.map_err(|refusal| refusal.text);
            let mut changed = object.clone();
            changed.insert(field.name.to_owned(), json!({}));
            let wrong = format!("invalid value for \"{}\"", field.name);
            let text = said(&changed).expect_err(spec.json_example);
            assert!(text.starts_with(&wrong), "{text}");
            changed.remove(field.name);
            let missing = format!("\"{}\" is missing", field.name);
            match said(&changed) {
                Ok(_) => assert!(!field.needed, "{} {}", spec.json_example, field.name),
                Err(text) => assert!(field.needed && text.starts_with(&missing), "{text}"),
            }
        }
    }
}
