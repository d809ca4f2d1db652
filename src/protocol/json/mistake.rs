//! Refuses a frame that is no command, and says the mistake.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::protocol::{
    Refusal, RefusalCode,
    command::table::{self, CommandSpec},
    name::{MessageId, Name},
};

/// The `id` of a frame, read apart from its other fields.
#[derive(Deserialize)]
struct IdField {
    #[serde(default)]
    id: Option<MessageId>,
}

/// The refusal of a frame that is no command: the mistake, and an example of a
/// command.
pub(super) fn refusal(frame: &str, error: &serde_json::Error) -> Refusal {
    let specs = table::all_in_json();
    let Ok(Value::Object(object)) = serde_json::from_str(frame) else {
        if let Some(refusal) = unreadable_value(frame, error) {
            return refusal;
        }
        let example = specs.first().map_or("", |spec| spec.json_example);
        let text = format!("Send one JSON object in a frame, like {example}.");
        return Refusal::new(RefusalCode::BadJson, text);
    };
    let id = object
        .get("id")
        .and_then(Value::as_str)
        .and_then(|id| id.parse().ok());
    let kind = object.get("type").and_then(Value::as_str);
    let Some(spec) = kind.and_then(table::by_json_type) else {
        let code = match kind {
            Some(_) => RefusalCode::UnknownType,
            None => RefusalCode::BadField,
        };
        let known: Vec<_> = specs.iter().filter_map(|spec| spec.json_type).collect();
        let known = known.join(", ");
        let text = format!("No such command: \"type\" is to be one of {known}.");
        return Refusal::new(code, text).with_id(id);
    };
    let kind = kind.unwrap_or_default();
    let code = match kind {
        "name" | "private" if has_bad_name(&object, kind) => RefusalCode::BadName,
        _ => RefusalCode::BadField,
    };
    let why = describe_mistake(&object, spec, error);
    Refusal::new(
        code,
        format!("{why}; {kind} is like {}.", spec.json_example),
    )
    .with_id(id)
}

/// The refusal of an object with a value that cannot be read, such as a text
/// with half of a surrogate pair. `None` if the frame is no object.
///
/// The refusal has the message's id. Without it, a publisher would wait for an
/// answer for ever.
fn unreadable_value(frame: &str, error: &serde_json::Error) -> Option<Refusal> {
    // `serde_json` would read an array as the fields in their order.
    if !frame.trim_start().starts_with('{') {
        return None;
    }
    let IdField { id } = serde_json::from_str(frame).ok()?;
    let text = format!("A value cannot be read: {}.", without_place(error));
    Some(Refusal::new(RefusalCode::BadField, text).with_id(id))
}

/// The text of an error without the position of the mistake in the frame, which
/// does not help a client.
fn without_place(error: &serde_json::Error) -> String {
    let said = error.to_string();
    said.split(" at line ")
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// A sentence that names the wrong field of a command.
fn describe_mistake(
    object: &Map<String, Value>,
    spec: &CommandSpec,
    error: &serde_json::Error,
) -> String {
    let said = &*without_place(error);
    let named = |what: &str| said.strip_prefix(what)?.split('`').next();
    if let Some(field) = named("missing field `") {
        return format!("\"{field}\" is missing");
    }
    let field = named("duplicate field `").or_else(|| wrong_field(object, spec, said));
    let field = field.unwrap_or("type");
    // The rules of this crate's types help a client. The messages of serde,
    // which begin with these words, do not.
    let own = !["invalid ", "unknown "]
        .iter()
        .any(|word| said.starts_with(word));
    let rule = if own {
        format!(" ({said})")
    } else {
        String::new()
    };
    format!("\"{field}\" is not what it is to be{rule}")
}

/// The field whose value fails its check with the error `said`, or else the
/// first field whose value fails.
fn wrong_field(
    object: &Map<String, Value>,
    spec: &CommandSpec,
    said: &str,
) -> Option<&'static str> {
    let mark = std::iter::once(&table::REF);
    let mut fields = spec.fields.iter().chain(mark).filter_map(|field| {
        let error = (field.check)(object.get(field.name)?).err()?;
        Some((field.name, error.to_string() == said))
    });
    let first = fields.next()?;
    let exact = std::iter::once(first).chain(fields).find(|(_, same)| *same);
    Some(exact.unwrap_or(first).0)
}

fn has_bad_name(object: &Map<String, Value>, kind: &str) -> bool {
    let field = if kind == "private" { "to" } else { "name" };
    let name = object.get(field).and_then(Value::as_str);
    name.is_some_and(|name| name.parse::<Name>().is_err())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{command_target::CommandTarget, json::parse};

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
    fn an_object_with_an_unreadable_value_is_refused_with_its_id() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        for value in [r#""\ud83d""#, r#""\ude00 half""#, "1e999", &deep] {
            let frame = format!(r#"{{"type":"publish","id":"a-1","text":{value},"ref":"q"}}"#);
            let request = parse(&frame);
            let refusal = request.command.expect_err(value);
            assert_eq!(refusal.code, RefusalCode::BadField, "{value}");
            assert_eq!(refusal.id, "a-1".parse().ok(), "{value}");
            assert_eq!(request.reference, "q".parse().ok(), "{value}");
        }
        let frame = r#"{"type":"publish","text":"\ud83d"}"#;
        let refusal = parse(frame).command.expect_err(frame);
        assert_eq!((refusal.code, refusal.id), (RefusalCode::BadField, None));
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
                format!("\"text\" is missing; publish is like {publish}."),
            ),
            (
                r#"{"type":"publish","text":"hi","kind":"shout"}"#,
                format!("\"kind\" is not what it is to be; publish is like {publish}."),
            ),
            (
                r#"{"type":"publish","id":7,"text":"hi"}"#,
                format!("\"id\" is not what it is to be; publish is like {publish}."),
            ),
            (
                r#"{"type":"history","before":1,"limit":-1}"#,
                format!(
                    "\"limit\" is not what it is to be; history is like {}.",
                    examples[7]
                ),
            ),
            (
                r#"{"type":"kick","who":"a b"}"#,
                format!(
                    "\"who\" is not what it is to be ({}); kick is like {}.",
                    "a b".parse::<CommandTarget>().expect_err("no name"),
                    examples[10]
                ),
            ),
        ] {
            assert_eq!(parse(frame).command.expect_err(frame).text, text, "{frame}");
        }
    }
}
