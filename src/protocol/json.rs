//! The JSON format, subprotocol `chat.v1`: one object per text frame.

mod fields;
mod mistake;
mod outline;
mod scan;

use serde::Deserialize;

pub use self::outline::outline;
use self::{fields::Fields, mistake::Mistake};
use super::{
    Command, Event, Message, Refusal, RefusalCode, Request,
    command::table::CommandSpec,
    name::{MessageId, Reference},
    request::{FrameKind, Outline},
};

/// The `ref` of an event, read apart from the event.
#[derive(Deserialize)]
struct RefField {
    #[serde(default, rename = "ref")]
    reference: Option<Reference>,
}

/// Parses a text frame of a client.
pub fn parse(frame: &str) -> Request {
    parse_outlined(frame, outline(frame))
}

/// Parses a text frame with this outline.
pub fn parse_outlined(frame: &str, outline: Outline) -> Request {
    let Outline {
        kind,
        id,
        reference,
        ..
    } = outline;
    let command = match kind {
        FrameKind::NoObject => Err(mistake::no_object().with_id(id)),
        FrameKind::NoType => Err(mistake::no_command(RefusalCode::BadField, id)),
        FrameKind::UnknownType => Err(mistake::no_command(RefusalCode::UnknownType, id)),
        FrameKind::Command(spec) => parse_command(frame, spec, id),
    };
    Request { reference, command }
}

fn parse_command(
    frame: &str,
    spec: &'static CommandSpec,
    id: Option<MessageId>,
) -> Result<Command, Refusal> {
    let fields = Fields::read(frame, spec).map_err(|_| mistake::no_object())?;
    let refuse = |mistake: Mistake| mistake.refusal(spec, id);
    fields.command().map_err(refuse)
}

/// Encodes a command as a client sends it.
pub fn command(command: &Command) -> String {
    to_string(command)
}

/// Encodes a command with a ref, by which the client recognises its answer.
pub fn request(asked: &Command, reference: Option<&Reference>) -> String {
    with_ref(command(asked), reference)
}

/// Encodes an event as the server sends it.
pub fn event(event: &Event) -> String {
    to_string(event)
}

/// Encodes an event that answers a command with this ref.
pub fn answer(told: &Event, reference: Option<&Reference>) -> String {
    with_ref(event(told), reference)
}

/// The ref of an event; `None` if it has none, or one that breaks the rule.
pub fn reference(event: &str) -> Option<Reference> {
    // `serde_json` would read an array as the fields in their order.
    if !event.trim_start().starts_with('{') {
        return None;
    }
    let RefField { reference } = serde_json::from_str(event).ok()?;
    reference
}

/// Adds a ref to an object.
fn with_ref(mut object: String, reference: Option<&Reference>) -> String {
    if let Some(reference) = reference
        && object.ends_with('}')
    {
        object.pop();
        // A ref needs no escape. Every object has a `type`, so a comma fits.
        object.extend([r#","ref":""#, reference.as_str(), r#""}"#]);
    }
    object
}

/// Appends a message as an event.
///
/// The result is that of [`event`] for an [`Event::Message`]. But such an event
/// must own its message, and this function takes a reference.
pub fn put_message(out: &mut String, message: &Message) {
    if let Some(private) = message.private() {
        out.push_str(&event(&Event::Private(private)));
        return;
    }
    let fields = to_string(message);
    out.push_str(r#"{"type":"message","#);
    out.push_str(fields.strip_prefix('{').unwrap_or(&fields));
}

/// Parses an event of a server.
///
/// # Errors
/// Fails if the frame is not JSON or holds no event that this version knows.
pub fn parse_event(frame: &str) -> Result<Event, serde_json::Error> {
    serde_json::from_str(frame)
}

fn to_string(value: &impl serde::Serialize) -> String {
    // Only maps whose keys are no strings fail, and these types have none.
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::{
        Author, ConnectionId, MessageKind, PublishKind, Redaction, RefusalCode, Seq, Slot, Start,
        WallTime, name::RoomName,
    };

    #[test]
    fn commands_are_read_from_their_frames() {
        let publish = |text: &str, id: Option<&str>, kind| Command::Publish {
            text: text.to_owned(),
            id: id.map(|id| id.parse().expect("an id")),
            kind,
            about: None,
            follows: None,
        };
        for (frame, expected) in [
            (
                r#"{"type":"publish","text":"hi"}"#,
                publish("hi", None, PublishKind::Said),
            ),
            (
                r#"{"text":"hi","id":"a-1","x":[1],"type":"publish"}"#,
                publish("hi", Some("a-1"), PublishKind::Said),
            ),
            (
                r#"{"type":"publish","text":"waves","kind":"me"}"#,
                publish("waves", None, PublishKind::Me),
            ),
            (
                r#"{"type":"publish","text":"b","id":"a-2","follows":"a-1"}"#,
                Command::Publish {
                    text: "b".to_owned(),
                    id: Some("a-2".parse().expect("an id")),
                    kind: PublishKind::Said,
                    about: None,
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
                    with: None,
                    before: None,
                    limit: None,
                },
            ),
            (
                r#"{"type":"history","before":7,"limit":20}"#,
                Command::History {
                    with: None,
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
            assert_eq!(parse(frame).command.as_ref(), Ok(&expected), "{frame}");
            assert_eq!(
                parse(&command(&expected)).command.as_ref(),
                Ok(&expected),
                "{frame}"
            );
        }
    }

    #[test]
    fn a_ref_is_read_even_from_a_wrong_command() {
        for (frame, told) in [
            (r#"{"type":"members"}"#, None),
            (r#"{"type":"members","ref":null}"#, None),
            (r#"{"type":"members","ref":"a-1_B"}"#, Some("a-1_B")),
            (r#"{"ref":"a","type":"dance"}"#, Some("a")),
            (r#"{"type":"publish","text":7,"ref":"a"}"#, Some("a")),
            (r#"{"type":"publish","text":7,"ref":"a b"}"#, None),
            (r#"["ref"]"#, None),
            ("ref", None),
        ] {
            let reference = parse(frame).reference;
            assert_eq!(reference.as_ref().map(Reference::as_str), told, "{frame}");
        }
        for (wrong, rule) in [
            (
                r#""""#,
                ": a ref is 1 to 64 of the characters A-Z a-z 0-9 _ -",
            ),
            (
                r#""a b""#,
                ": a ref is 1 to 64 of the characters A-Z a-z 0-9 _ -",
            ),
            ("7", ""),
        ] {
            let refusal = parse(&format!(r#"{{"type":"members","ref":{wrong}}}"#)).command;
            let refusal = refusal.expect_err("a wrong ref");
            assert_eq!(refusal.code, RefusalCode::BadField);
            let example = r#"for example {"type":"members"}"#;
            let text = format!("invalid value for \"ref\"{rule}; {example}.");
            assert_eq!(refusal.text, text);
        }
    }

    #[test]
    fn an_answer_carries_the_ref_of_its_command() {
        let reference: Reference = "a-1".parse().expect("a ref");
        let rooms = Event::Rooms {
            rooms: Vec::new(),
            total: 0,
            more: false,
        };
        assert_eq!(answer(&rooms, None), event(&rooms));
        let told = answer(&rooms, Some(&reference));
        assert_eq!(told, r#"{"type":"rooms","rooms":[],"total":0,"ref":"a-1"}"#);
        assert_eq!(super::reference(&told), Some(reference));
        assert_eq!(parse_event(&told).expect("an event"), rooms);
    }

    #[test]
    fn a_redacted_message_survives_the_wire() {
        let (seq, prev) = (Seq(7), Seq(3));
        for id in [None, Some("a-1".parse().expect("an id"))] {
            let erased = Redaction { seq, prev, id };
            let told = event(&erased.clone().into());
            let entry = Slot::Redacted(erased);
            assert_eq!(to_string(&entry), told, "the same in a page");
            let read: Slot = serde_json::from_str(&told).expect("an entry");
            assert_eq!(read, entry);
        }
        let (prev, id) = (None, None);
        let aside = Event::Erased { seq, prev, id };
        assert_eq!(event(&aside), r#"{"type":"erased","seq":7}"#);
        assert_eq!(parse_event(&event(&aside)).expect("an event"), aside);
    }

    proptest! {
        #[test]
        fn parsing_any_frame_does_not_panic(frame in any::<String>()) {
            let _ = parse(&frame);
        }

        #[test]
        fn messages_survive_the_wire(text in ".+", seq in 1..u64::MAX, at in 0..4_000_000_000_000_i64) {
            let message = Message {
                seq: Seq(seq),
                prev: Seq(seq - 1),
                room: RoomName::lobby(),
                at: WallTime(at),
                from: Author { name: None, addr: ([127, 0, 0, 1], 5000).into(), owner: None },
                text: text.into(),
                id: None,
                kind: MessageKind::Me,
                to: None,
                about: None,
                quote: None,
                edited: false,
                edited_at: None,
                reactions: None,
                connection: ConnectionId::SERVER,
            };
            let mut written = String::new();
            put_message(&mut written, &message);
            let entry = Slot::Message(message.clone());
            prop_assert_eq!(&serde_json::from_str::<Slot>(&to_string(&entry)).expect("an entry"), &entry);
            let message = Event::Message(message);
            prop_assert_eq!(&written, &event(&message));
            prop_assert_eq!(parse_event(&written).expect("an event"), message);
        }
    }
}
