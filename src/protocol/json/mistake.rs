//! Refuses a frame that is no command, and says the mistake.

use crate::protocol::{
    Refusal, RefusalCode,
    command::table::{self, CommandSpec},
    name::MessageId,
    scalar::FieldError,
};

/// A mistake in the fields of a command.
#[derive(Debug)]
pub(super) enum Mistake {
    /// The command needs this field.
    Missing { field: &'static str },
    /// The field is there twice.
    Repeated { field: &'static str },
    /// The field cannot hold its value.
    Wrong {
        field: &'static str,
        why: FieldError,
    },
}

impl Mistake {
    /// The refusal: the mistake, and an example of the command.
    pub(super) fn refusal(self, spec: &CommandSpec, id: Option<MessageId>) -> Refusal {
        let kind = spec.json_type.unwrap_or_default();
        let mut code = RefusalCode::BadField;
        let why = match self {
            Mistake::Missing { field } => format!("\"{field}\" is missing"),
            Mistake::Repeated { field } => {
                format!("invalid value for \"{field}\": duplicate field `{field}`")
            }
            Mistake::Wrong { field, why } => match why {
                FieldError::WrongType => format!("invalid value for \"{field}\""),
                FieldError::RuleBroken(rule) => {
                    if matches!((kind, field), ("name", "name") | ("private", "to")) {
                        code = RefusalCode::BadName;
                    }
                    format!("invalid value for \"{field}\": {rule}")
                }
            },
        };
        let text = format!("{why}; for example {}.", spec.json_example);
        Refusal::new(code, text).with_id(id)
    }
}

/// The refusal of a frame that is not one JSON object.
pub(super) fn no_object() -> Refusal {
    let specs = table::all_in_json();
    let example = specs.first().map_or("", |spec| spec.json_example);
    let text = format!("Send one JSON object in a frame, like {example}.");
    Refusal::new(RefusalCode::BadJson, text)
}

/// The refusal of an object without a known `type`.
pub(super) fn no_command(code: RefusalCode, id: Option<MessageId>) -> Refusal {
    let specs = table::all_in_json();
    let known: Vec<_> = specs.iter().filter_map(|spec| spec.json_type).collect();
    let known = known.join(", ");
    let text = format!("No such command: \"type\" must be one of {known}.");
    Refusal::new(code, text).with_id(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{command_target::CommandTarget, json::parse};

    // Verified to fail when a repeated field is ignored.
    #[test]
    fn a_repeated_field_is_refused_unless_the_command_has_no_such_field() {
        for (field, frame) in [
            ("text", r#"{"type":"publish","text":"a","text":"b"}"#),
            ("text", r#"{"type":"publish","text":"a","text":7}"#),
            ("after", r#"{"type":"join","room":"a","after":1,"after":2}"#),
            ("type", r#"{"type":"members","type":"members"}"#),
            ("ref", r#"{"type":"members","ref":"a","ref":"a"}"#),
        ] {
            let refusal = parse(frame).command.expect_err(frame);
            assert_eq!(refusal.code, RefusalCode::BadField, "{frame}");
            let told = format!("invalid value for \"{field}\": duplicate field `{field}`; ");
            assert!(refusal.text.starts_with(&told), "{}", refusal.text);
        }
        let twice = r#"{"type":"members","text":1,"text":2,"x":1,"x":2}"#;
        assert!(parse(twice).command.is_ok());
    }

    // Verified to fail when unknown fields are skipped with `IgnoredAny`.
    #[test]
    fn the_syntax_of_unknown_fields_is_checked() {
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        for (value, good) in [
            (nested(126), true),
            (nested(128), false),
            (nested(10_000), false),
            ("1".repeat(300), true),
            ("1".repeat(400), false),
            ("1e999".to_owned(), false),
            (r#""\ud800""#.to_owned(), false),
            (r#""\ud83d\ude00""#.to_owned(), true),
            (r#"{"a":[1,{"b":null}],"a":1.5e-7}"#.to_owned(), true),
            ("[1,]".to_owned(), false),
        ] {
            let frame = format!(r#"{{"x":{value},"type":"members"}}"#);
            let code = parse(&frame).command.map_err(|refusal| refusal.code);
            assert_eq!(code.is_ok(), good, "{frame}");
            assert!(good || code == Err(RefusalCode::BadJson), "{frame}");
        }
    }

    #[test]
    fn an_object_with_an_unreadable_value_is_refused_with_its_id() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        for value in [r#""\ud83d""#, r#""\ude00 half""#, "1e999", &deep] {
            let frame = format!(r#"{{"type":"publish","id":"a-1","text":{value}}}"#);
            let refusal = parse(&frame).command.expect_err(value);
            assert_eq!(refusal.code, RefusalCode::BadJson, "{value}");
            assert_eq!(refusal.id, "a-1".parse().ok(), "{value}");
        }
    }

    #[test]
    fn each_wrong_frame_is_refused_with_its_code() {
        let deep = "[".repeat(100_000);
        for (frame, code) in [
            ("", RefusalCode::BadJson),
            ("hello", RefusalCode::BadJson),
            ("[]", RefusalCode::BadJson),
            ("7", RefusalCode::BadJson),
            (&deep, RefusalCode::BadJson),
            (r#"{"type":"publish","text":"hi""#, RefusalCode::BadJson),
            ("{}", RefusalCode::BadField),
            (r#"{"type":7}"#, RefusalCode::BadField),
            (r#"{"type":"dance"}"#, RefusalCode::UnknownType),
            (r#"{"type":"help"}"#, RefusalCode::UnknownType),
            (r#"{"type":"publish"}"#, RefusalCode::BadField),
            (r#"{"type":"publish","text":7}"#, RefusalCode::BadField),
            (
                r#"{"type":"publish","text":"hi","id":"a b"}"#,
                RefusalCode::BadField,
            ),
            (
                r#"{"type":"publish","text":"hi","kind":"shout"}"#,
                RefusalCode::BadField,
            ),
            (r#"{"type":"name","name":"a b"}"#, RefusalCode::BadName),
            (
                r#"{"type":"private","to":"a b","text":"hi"}"#,
                RefusalCode::BadName,
            ),
            (r#"{"type":"private","text":"hi"}"#, RefusalCode::BadField),
            (r#"{"type":"private","to":"bob"}"#, RefusalCode::BadField),
            (
                r#"{"type":"name","name":"ana","secret":"short"}"#,
                RefusalCode::BadField,
            ),
            (r#"{"type":"name"}"#, RefusalCode::BadField),
            (r#"{"type":"join","room":"a/b"}"#, RefusalCode::BadField),
            (
                r#"{"type":"join","room":"a","after":-1}"#,
                RefusalCode::BadField,
            ),
            (r#"{"type":"history","limit":-1}"#, RefusalCode::BadField),
            (r#"{"type":"history","before":"x"}"#, RefusalCode::BadField),
            (r#"{"type":"search"}"#, RefusalCode::BadField),
            (r#"{"type":"erase"}"#, RefusalCode::BadField),
            (r#"{"type":"erase","seq":"7"}"#, RefusalCode::BadField),
        ] {
            assert_eq!(parse(frame).command.expect_err(frame).code, code, "{frame}");
        }
    }

    #[test]
    fn a_refusal_says_the_mistake_and_an_example() {
        let examples = table::all_in_json();
        let examples: Vec<_> = examples.iter().map(|spec| spec.json_example).collect();
        let publish = examples[0];
        for (frame, text) in [
            (
                "hello",
                format!("Send one JSON object in a frame, like {publish}."),
            ),
            (
                "[]",
                format!("Send one JSON object in a frame, like {publish}."),
            ),
            (
                r#"{"type":"publish"}"#,
                format!("\"text\" is missing; for example {publish}."),
            ),
            (
                r#"{"type":"publish","text":"hi","kind":"shout"}"#,
                format!("invalid value for \"kind\"; for example {publish}."),
            ),
            (
                r#"{"type":"publish","id":7,"text":"hi"}"#,
                format!("invalid value for \"id\"; for example {publish}."),
            ),
            (
                r#"{"type":"history","before":1,"limit":-1}"#,
                format!("invalid value for \"limit\"; for example {}.", examples[10]),
            ),
            (
                r#"{"type":"kick","who":"a b"}"#,
                format!(
                    "invalid value for \"who\": {}; for example {}.",
                    "a b".parse::<CommandTarget>().expect_err("no name"),
                    table::by_json_type("kick").expect("a command").json_example
                ),
            ),
        ] {
            assert_eq!(parse(frame).command.expect_err(frame).text, text, "{frame}");
        }
    }
}
