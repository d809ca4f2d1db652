//! The JSON format, subprotocol `chat.v1`: one object per text frame.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Command, Event, Message, Refusal, RefusalCode, name::Name};

/// What a text frame of a client asks for.
pub fn parse(frame: &str) -> Result<Command, Refusal> {
    serde_json::from_str(frame).map_err(|error| refusal(frame, &error))
}

/// What may be asked for, each with an example.
const COMMANDS: [(&str, &str); 16] = [
    ("publish", r#"{"type":"publish","text":"hi"}"#),
    ("private", r#"{"type":"private","to":"bob","text":"hi"}"#),
    ("name", r#"{"type":"name","name":"ana"}"#),
    ("join", r#"{"type":"join","room":"tea","backlog":20}"#),
    ("members", r#"{"type":"members"}"#),
    ("rooms", r#"{"type":"rooms"}"#),
    ("topic", r#"{"type":"topic","text":"tea at five"}"#),
    ("history", r#"{"type":"history","before":70,"limit":20}"#),
    ("search", r#"{"type":"search","query":"green tea"}"#),
    (
        "operator",
        r#"{"type":"operator","secret":"of the operators"}"#,
    ),
    ("kick", r#"{"type":"kick","who":"ana","reason":"spam"}"#),
    (
        "ban",
        r#"{"type":"ban","who":"ana","for":"2h","reason":"spam"}"#,
    ),
    ("unban", r#"{"type":"unban","who":"ana"}"#),
    ("mute", r#"{"type":"mute","who":"ana","for":"30m"}"#),
    ("unmute", r#"{"type":"unmute","who":"ana"}"#),
    ("erase", r#"{"type":"erase","seq":7}"#),
];

/// Fields that may not be what they are to be.
const FIELDS: [&str; 18] = [
    "text", "id", "kind", "follows", "name", "secret", "room", "after", "epoch", "backlog",
    "before", "limit", "query", "who", "reason", "for", "seq", "to",
];

/// Says of a frame that is no command why it is none, and what one looks like.
fn refusal(frame: &str, error: &serde_json::Error) -> Refusal {
    let Ok(Value::Object(object)) = serde_json::from_str(frame) else {
        let text = format!("Send one JSON object in a frame, like {}.", COMMANDS[0].1);
        return Refusal::new(RefusalCode::BadJson, text);
    };
    let id = object
        .get("id")
        .and_then(Value::as_str)
        .and_then(|id| id.parse().ok());
    let kind = object.get("type").and_then(Value::as_str);
    let known = COMMANDS.iter().find(|(known, _)| Some(*known) == kind);
    let Some((kind, example)) = known else {
        let code = match kind {
            Some(_) => RefusalCode::UnknownType,
            None => RefusalCode::BadField,
        };
        let known = COMMANDS.map(|(kind, _)| kind).join(", ");
        let text = format!("No such command: \"type\" is to be one of {known}.");
        return Refusal::new(code, text).of(id);
    };
    let code = match *kind {
        "name" | "private" if has_bad_name(&object, kind) => RefusalCode::BadName,
        _ => RefusalCode::BadField,
    };
    let why = wrong(object, error);
    Refusal::new(code, format!("{why}; {kind} is like {example}.")).of(id)
}

/// What is wrong with the fields of an object.
fn wrong(mut object: Map<String, Value>, error: &serde_json::Error) -> String {
    let said = error.to_string();
    // Where in the frame it was noticed helps nobody.
    let said = said.split(" at line ").next().unwrap_or_default();
    let missing = said.strip_prefix("missing field `");
    if let Some(field) = missing.and_then(|rest| rest.split('`').next()) {
        return format!("\"{field}\" is missing");
    }
    // The one without which there is nothing to say, or something else.
    let unfit = FIELDS.into_iter().find(|field| {
        object.remove(*field).is_some_and(|value| {
            let without = Command::deserialize(&Value::Object(object.clone()));
            object.insert((*field).to_owned(), value);
            without.map_or_else(|other| other.to_string() != said, |_| true)
        })
    });
    let field = unfit.unwrap_or("type");
    // Of what people said what it is to be, that is told.
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

fn has_bad_name(object: &Map<String, Value>, kind: &str) -> bool {
    let field = if kind == "private" { "to" } else { "name" };
    let name = object.get(field).and_then(Value::as_str);
    name.is_some_and(|name| name.parse::<Name>().is_err())
}

/// A command as a client sends it.
pub fn command(command: &Command) -> String {
    to_string(command)
}

/// An event as the server sends it.
pub fn event(event: &Event) -> String {
    to_string(event)
}

/// Appends a message as the event it is; the same as [`event`] of an
/// [`Event::Message`], which would have to own it.
pub fn put_message(out: &mut String, message: &Message) {
    if let Some(private) = message.private() {
        out.push_str(&event(&Event::Private(private)));
        return;
    }
    let fields = to_string(message);
    out.push_str(r#"{"type":"message","#);
    out.push_str(fields.strip_prefix('{').unwrap_or(&fields));
}

/// What a server sent; an error for what this version does not know.
pub fn parse_event(frame: &str) -> Result<Event, serde_json::Error> {
    serde_json::from_str(frame)
}

fn to_string(value: &impl serde::Serialize) -> String {
    // Only maps with keys that are no strings fail; these types have none.
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::{At, Author, Entry, Erased, Kind, Seq, Start, name::RoomName, who::Who};

    #[test]
    fn commands() {
        let publish = |text: &str, id: Option<&str>, kind| Command::Publish {
            text: text.to_owned(),
            id: id.map(|id| id.parse().expect("an id")),
            kind,
            follows: None,
        };
        for (frame, expected) in [
            (
                r#"{"type":"publish","text":"hi"}"#,
                publish("hi", None, Kind::Said),
            ),
            (
                r#"{"text":"hi","id":"a-1","x":[1],"type":"publish"}"#,
                publish("hi", Some("a-1"), Kind::Said),
            ),
            (
                r#"{"type":"publish","text":"waves","kind":"me"}"#,
                publish("waves", None, Kind::Me),
            ),
            (
                r#"{"type":"publish","text":"b","id":"a-2","follows":"a-1"}"#,
                Command::Publish {
                    text: "b".to_owned(),
                    id: Some("a-2".parse().expect("an id")),
                    kind: Kind::Said,
                    follows: Some("a-1".parse().expect("an id")),
                },
            ),
            (
                r#"{"type":"private","to":"bob","text":"hi","id":"a-3"}"#,
                Command::Private {
                    to: "bob".parse().expect("a name"),
                    text: "hi".to_owned(),
                    id: Some("a-3".parse().expect("an id")),
                    follows: None,
                },
            ),
            (r#"{"type":"members"}"#, Command::Members),
            (
                r#"{"type":"history"}"#,
                Command::History {
                    before: None,
                    limit: None,
                },
            ),
            (
                r#"{"type":"history","before":7,"limit":20}"#,
                Command::History {
                    before: Some(Seq(7)),
                    limit: Some(20),
                },
            ),
            (
                r#"{"type":"search","query":"green tea","before":7}"#,
                Command::Search {
                    query: "green tea".to_owned(),
                    before: Some(Seq(7)),
                    limit: None,
                },
            ),
            (
                r#"{"type":"erase","seq":7}"#,
                Command::Erase { seq: Seq(7) },
            ),
            (
                r#"{"type":"join","room":"Ops","after":7,"epoch":"e"}"#,
                Command::Join {
                    room: "ops".parse().expect("a room"),
                    start: Start {
                        after: Some(Seq(7)),
                        epoch: Some(super::super::Epoch("e".into())),
                        ..Start::default()
                    },
                },
            ),
        ] {
            assert_eq!(parse(frame).as_ref(), Ok(&expected), "{frame}");
            assert_eq!(
                parse(&command(&expected)).as_ref(),
                Ok(&expected),
                "{frame}"
            );
        }
    }

    #[test]
    fn refusals() {
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
            assert_eq!(parse(frame).expect_err(frame).code, code, "{frame}");
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        let examples = COMMANDS.map(|(kind, example)| {
            let command = parse(example).expect(example);
            assert!(command_is(&command, kind), "{example}");
            example
        });
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
                    "a b".parse::<Who>().expect_err("no name"),
                    examples[10]
                ),
            ),
        ] {
            assert_eq!(parse(frame).expect_err(frame).text, text, "{frame}");
        }
    }

    fn command_is(parsed: &Command, kind: &str) -> bool {
        command(parsed).starts_with(&format!(r#"{{"type":"{kind}""#))
    }

    #[test]
    fn what_was_erased() {
        let (seq, prev) = (Seq(7), Seq(3));
        for id in [None, Some("a-1".parse().expect("an id"))] {
            let erased = Erased { seq, prev, id };
            let told = event(&erased.clone().into());
            let entry = Entry::Erased(erased);
            assert_eq!(to_string(&entry), told, "the same in a page");
            let read: Entry = serde_json::from_str(&told).expect("an entry");
            assert_eq!(read, entry);
        }
        let (prev, id) = (None, None);
        let aside = Event::Erased { seq, prev, id };
        assert_eq!(event(&aside), r#"{"type":"erased","seq":7}"#);
        assert_eq!(parse_event(&event(&aside)).expect("an event"), aside);
    }

    proptest! {
        #[test]
        fn anything_sent_is_answered(frame in any::<String>()) {
            let _ = parse(&frame);
        }

        #[test]
        fn messages_survive_the_wire(text in ".+", seq in 1..u64::MAX, at in 0..4_000_000_000_000_i64) {
            let message = Message {
                seq: Seq(seq),
                prev: Seq(seq - 1),
                room: RoomName::lobby(),
                at: At(at),
                from: Author { name: None, addr: ([127, 0, 0, 1], 5000).into() },
                text: text.into(),
                id: None,
                kind: Kind::Me,
                to: None,
            };
            let mut written = String::new();
            put_message(&mut written, &message);
            let entry = Entry::Message(message.clone());
            prop_assert_eq!(&serde_json::from_str::<Entry>(&to_string(&entry)).expect("an entry"), &entry);
            let message = Event::Message(message);
            prop_assert_eq!(&written, &event(&message));
            prop_assert_eq!(parse_event(&written).expect("an event"), message);
        }
    }
}
