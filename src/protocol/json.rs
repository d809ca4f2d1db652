//! The JSON format, subprotocol `chat.v1`: one object per text frame.

use serde_json::{Map, Value, error::Category};

use super::{Command, Event, Message, Refusal, RefusalCode, name::Name};

/// What a text frame of a client asks for.
pub fn parse(frame: &str) -> Result<Command, Refusal> {
    serde_json::from_str(frame).map_err(|error| refusal(frame, &error))
}

/// Says of a frame that is no command why it is none.
fn refusal(frame: &str, error: &serde_json::Error) -> Refusal {
    let Ok(Value::Object(object)) = serde_json::from_str(frame) else {
        let what = match error.classify() {
            Category::Data => "one JSON object is expected".to_owned(),
            _ => error.to_string(),
        };
        return Refusal::new(RefusalCode::BadJson, format!("This is not JSON: {what}."));
    };
    let id = object
        .get("id")
        .and_then(Value::as_str)
        .and_then(|id| id.parse().ok());
    let known = [
        "publish", "private", "name", "join", "members", "rooms", "topic", "history", "search",
        "operator", "kick", "ban", "unban", "mute", "unmute", "erase",
    ];
    match object.get("type").and_then(Value::as_str) {
        None => Refusal::new(
            RefusalCode::BadField,
            format!("\"type\" is to be one of {}.", known.join(", ")),
        ),
        Some(kind) if !known.contains(&kind) => Refusal::new(
            RefusalCode::UnknownType,
            format!("No such command; \"type\" is one of {}.", known.join(", ")),
        ),
        Some(kind @ ("name" | "private")) if has_bad_name(&object, kind) => {
            Refusal::new(RefusalCode::BadName, format!("{error}."))
        }
        Some(_) => Refusal::new(RefusalCode::BadField, format!("{error}.")),
    }
    .of(id)
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
    use crate::protocol::{At, Author, Entry, Erased, Kind, Seq, Start, name::RoomName};

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
