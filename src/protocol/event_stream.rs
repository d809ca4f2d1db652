//! Server-sent events (the WHATWG's HTML, §9.2): a room over plain HTTP, for
//! readers that do not publish.
//!
//! The data of an event is the object of the JSON format, on one line. A message
//! has no `event` field, and its `id` is its number. Every other event is named
//! by its type.

use std::fmt::Write;

use super::{Change, Event, Message, PrivateMessage, Seq, close::CloseReason, json};

/// The beginning of an event's object, up to the value of its type.
const TYPE: &str = r#"{"type":""#;

/// Encodes an event; `None` if the stream does not show it: a reader that
/// publishes nothing needs no news of people.
pub fn event(event: &Event) -> Option<String> {
    let mut out = String::new();
    match event {
        Event::Message(message) => {
            put_message(&mut out, message);
            return Some(out);
        }
        Event::Joined { .. }
        | Event::Left { .. }
        | Event::Renamed { .. }
        | Event::Members { .. } => return None,
        // The reader has everything up to this number, so it can resume here.
        Event::Live { seq }
        | Event::Changed(Change { seq, .. })
        | Event::Private(PrivateMessage { seq, .. })
        | Event::Erased {
            seq, prev: Some(_), ..
        } => put_id(&mut out, *seq),
        _ => {}
    }
    let data = json::event(event);
    let name = data
        .strip_prefix(TYPE)
        .and_then(|rest| rest.split('"').next());
    // Writing to a String cannot fail.
    let _ = writeln!(out, "event: {}", name.unwrap_or_default());
    out.extend(["data: ", &data, "\n\n"]);
    Some(out)
}

/// Appends a message.
pub fn put_message(out: &mut String, message: &Message) {
    if let Some(private) = message.private() {
        out.extend(event(&Event::Private(private)));
        return;
    }
    put_id(out, message.seq);
    // JSON escapes line ends, so the data is one line.
    out.push_str("data: ");
    json::put_message(out, message);
    out.push_str("\n\n");
}

fn put_id(out: &mut String, seq: Seq) {
    let _ = writeln!(out, "id: {seq}");
}

/// An empty comment, which keeps the connection from looking idle.
pub fn keep_alive() -> &'static str {
    ":\n\n"
}

/// Encodes the end of the stream: a comment with the reason, for people. A drain
/// adds the reconnect delay.
pub fn close(reason: &CloseReason) -> String {
    let retry = match reason {
        CloseReason::Draining { wait_ms } => format!("retry: {wait_ms}\n"),
        _ => String::new(),
    };
    format!(": {reason}\n{retry}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Author, ConnectionId, GapReason, MessageKind, WallTime, name::RoomName};

    #[test]
    fn events_are_written_as_server_sent_events() {
        let message = Message {
            seq: Seq(7),
            prev: Seq(3),
            room: RoomName::lobby(),
            at: WallTime(0),
            from: Author {
                name: None,
                addr: ([127, 0, 0, 1], 5000).into(),
                owner: None,
            },
            text: "a\nid: 9\n\ndata: b".to_owned().into(),
            id: None,
            kind: MessageKind::Said,
            to: None,
            about: None,
            quote: None,
            edited: false,
            edited_at: None,
            reactions: None,
            connection: ConnectionId::SERVER,
        };
        let gap = Event::Gap {
            after: Seq(1),
            next: Seq(2),
            reason: GapReason::Expired,
        };
        for (told, written) in [
            (
                Event::Message(message),
                "id: 7\ndata: {\"type\":\"message\",\"seq\":7,\"prev\":3,\"room\":\"lobby\",\
                 \"at\":\"1970-01-01T00:00:00.000Z\",\"from\":{\"addr\":\"127.0.0.1:5000\"},\
                 \"text\":\"a\\nid: 9\\n\\ndata: b\"}\n\n",
            ),
            (
                gap,
                "event: gap\ndata: {\"type\":\"gap\",\"after\":1,\"next\":2,\"reason\":\"erased\"}\n\n",
            ),
            (
                Event::Live { seq: Seq(7) },
                "id: 7\nevent: live\ndata: {\"type\":\"live\",\"seq\":7}\n\n",
            ),
            (
                Event::Erased {
                    seq: Seq(7),
                    prev: Some(Seq(3)),
                    id: None,
                },
                "id: 7\nevent: erased\ndata: {\"type\":\"erased\",\"seq\":7,\"prev\":3}\n\n",
            ),
            (
                Event::Erased {
                    seq: Seq(7),
                    prev: None,
                    id: None,
                },
                "event: erased\ndata: {\"type\":\"erased\",\"seq\":7}\n\n",
            ),
        ] {
            assert_eq!(event(&told).as_deref(), Some(written));
        }
        let wait_ms = 120;
        assert_eq!(
            close(&CloseReason::Draining { wait_ms }),
            ": 120 ms: the server is restarting (4003)\nretry: 120\n\n"
        );
        assert_eq!(close(&CloseReason::GoingAway).lines().count(), 2);
    }
}
