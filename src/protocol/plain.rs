//! Encodes events in the plain format.
//!
//! A line is `TAG: text`, or `* answer`, or the welcome. Each line after an
//! inner newline is indented by two spaces, so no text can fake another
//! person's line. [`typed`](super::typed) parses the lines of the client.

use std::{fmt::Write, iter::repeat};

use super::{
    Event, GapReason, Message, MessageKind, PLAIN_WELCOME, PageEvent, PrivateMessage, RoomInfo,
    Slot,
    command::table::{Listing, Permission, TABLE},
    name::{Name, RoomName},
    text::{Text, sanitize},
};

/// The columns at which `/help` may begin the description of a command.
const COLUMNS: [usize; 3] = [15, 18, 34];

/// The answer to `/help`: a line for each command that the table lists.
pub fn help() -> Event {
    let mut text = "Type a message to say it to the room. Commands:\n".to_owned();
    let mut specs = TABLE.iter().peekable();
    while let Some(spec) = specs.next() {
        let Some(about) = spec.help.about(spec) else {
            continue;
        };
        let mut form = spec.form();
        while let Some(beside) = specs.next_if(|next| next.help == Listing::SharedLine) {
            form = format!("{form}, {}", beside.form());
        }
        // The operators' commands use later columns, apart from the others.
        let first = usize::from(spec.permission == Permission::Operators);
        let fits = |column: &&usize| form.len() + 2 <= **column;
        let column = COLUMNS[first..].iter().find(fits).unwrap_or(&0);
        let about = about.replace('\n', &format!("\n{:column$}", ""));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{form:<column$}{about}");
    }
    text.push_str("//TEXT         say a text that begins with a slash");
    Event::Notice { text }
}

/// The answer to `/join`. The plain format has a welcome only for the first
/// room.
pub fn joined(room: &RoomName, topic: Option<&Text>) -> Event {
    let topic = topic.map_or_else(String::new, |text| format!(" The topic: {}", &**text));
    Event::Notice {
        text: format!("You are now in {room}.{topic}"),
    }
}

/// Appends a message as `TAG: text`, and a private one as an answer:
/// `* ana to you: text`.
pub fn put_message(line: &mut String, message: &Message) {
    if let Some(private) = message.private() {
        return put_private(line, &private);
    }
    let verb = match message.kind {
        MessageKind::Said => "",
        MessageKind::Me => "* ",
    };
    // Writing to a String cannot fail.
    let _ = write!(line, "{}: {verb}", message.from);
    put_inset(line, &message.text);
}

fn put_private(line: &mut String, private: &PrivateMessage) {
    // Writing to a String cannot fail.
    let _ = if private.sent {
        write!(line, "* you to {}: ", private.to)
    } else {
        write!(line, "* {} to you: ", private.from)
    };
    put_inset(line, &private.text);
}

/// The answer to `/history` or `/search`: each message on a line of its own, as
/// `put` writes it.
pub fn page(page: &PageEvent, put: impl Fn(&mut String, &Message)) -> String {
    let mut lines = String::new();
    for message in page.messages.iter().filter_map(Slot::message) {
        lines.push_str(if lines.is_empty() { "* " } else { "\n* " });
        put(&mut lines, message);
    }
    match &page.search {
        Some(_) => {
            let found = match (page.messages.len(), page.more) {
                (0, _) => "Nothing found.".to_owned(),
                (count, false) => format!("{count} found."),
                (count, true) => format!("{count} found; there are older ones."),
            };
            let end = if lines.is_empty() { "" } else { "\n" };
            // Writing to a String cannot fail.
            let _ = write!(lines, "{end}* {found}");
        }
        None if page.messages.is_empty() => lines.push_str("* Nothing was said here yet."),
        None if lines.is_empty() => lines.push_str("* What was said here is erased."),
        None => {}
    }
    lines
}

/// The answer to `/inbox`: each message on a line of its own.
fn inbox(messages: &[PrivateMessage]) -> String {
    let mut lines = String::new();
    for private in messages {
        lines.push_str(if lines.is_empty() { "" } else { "\n" });
        put_private(&mut lines, private);
    }
    lines
}

/// Encodes an event; `None` if the plain format does not show it.
pub fn event(event: &Event) -> Option<String> {
    let said = match event {
        Event::Welcome(_) => return Some(PLAIN_WELCOME.to_owned()),
        Event::Message(message) => {
            let mut line = String::new();
            put_message(&mut line, message);
            return Some(line);
        }
        Event::Private(private) => {
            let mut line = String::new();
            put_private(&mut line, private);
            return Some(line);
        }
        Event::Page(found) => return Some(page(found, put_message)),
        Event::Inbox { messages, .. } if !messages.is_empty() => return Some(inbox(messages)),
        Event::Inbox { .. } => "You have no private messages.".to_owned(),
        Event::Live { .. }
        | Event::Erased { .. }
        | Event::Accepted { .. }
        | Event::Joined { .. }
        | Event::Left { .. }
        | Event::Renamed { .. } => return None,
        Event::Gap {
            after,
            reason: GapReason::Epoch,
            ..
        } => {
            format!("{after} is not a position of this log: the whole log follows.")
        }
        Event::Gap {
            after,
            next,
            reason: GapReason::Damaged,
        } => {
            format!("Messages between {after} and {next} are damaged and not shown.")
        }
        Event::Gap { after, next, .. } => {
            format!("Messages between {after} and {next} are no longer available.")
        }
        Event::Name { name, secret: None } => format!("You are now {name}."),
        Event::Name {
            name,
            secret: Some(secret),
        } => {
            let secret = secret.reveal();
            format!("You are now {name}. To have this name again: /name {name} {secret}")
        }
        Event::Ignored { names } if names.is_empty() => "You ignore nobody.".to_owned(),
        Event::Ignored { names } => {
            let names: Vec<_> = names.iter().map(Name::as_str).collect();
            format!("You ignore {}.", names.join(", "))
        }
        // The count of a room with many joins and leaves; no answer.
        Event::Members { names, .. } if names.is_empty() => return None,
        Event::Members {
            names,
            addresses,
            total,
        } => members(names, addresses, *total),
        Event::Rooms { rooms, total } => {
            let more = total - rooms.len().min(*total);
            let mut said = match total {
                0 => "No listed room has people in it.".to_owned(),
                _ => "Rooms with people in them:".to_owned(),
            };
            for RoomInfo {
                room,
                members,
                topic,
            } in rooms
            {
                let topic = topic.as_ref().map_or("", |text| text);
                let colon = if topic.is_empty() { "" } else { ": " };
                // Writing to a String cannot fail.
                let _ = write!(said, "\n{room} ({members}){colon}{topic}");
            }
            if more > 0 {
                let _ = write!(said, "\nand {more} more");
            }
            said
        }
        Event::Topic { room, topic } => {
            let by = topic.by.as_ref().map(|by| format!(" ({by})"));
            if topic.text.is_empty() {
                format!("{room} has no topic.")
            } else {
                let by = by.unwrap_or_default();
                format!("The topic of {room}: {}{by}", &*topic.text)
            }
        }
        Event::Refused(refusal) => refusal.text.clone(),
        Event::Notice { text } => text.clone(),
    };
    let mut line = String::from("* ");
    put_inset(&mut line, &sanitize(&said));
    Some(line)
}

fn put_inset(line: &mut String, text: &str) {
    let mut rest = text.split('\n');
    line.push_str(rest.next().unwrap_or_default());
    for next in rest {
        line.push_str("\n  ");
        line.push_str(next);
    }
}

fn members(names: &[String], addresses: &[String], total: usize) -> String {
    let addresses = addresses.iter().map(String::as_str).chain(repeat(""));
    let shown: Vec<_> = names.iter().zip(addresses).map(with_address).collect();
    let more = match total - names.len().min(total) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{total} here: {}{more}", shown.join(", "))
}

/// A person with the address that operators see, unless the tag shows it.
fn with_address((name, address): (&String, &str)) -> String {
    if address.is_empty() || name.contains(address) {
        return name.clone();
    }
    format!("{name} ({address})")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::{Author, ConnectionId, Redaction, Search, Seq, WallTime};

    /// The answer to `/help`.
    const HELP: &str = "\
Type a message to say it to the room. Commands:
/name NAME     be called NAME instead of your IP:port; the answer says how to
               have that name again
/join ROOM     go to another room
/members       list the people in the room
/rooms         list the rooms with people in them
/topic [TEXT]  show the topic, or set it (- clears it)
/me TEXT       say what you do: /me waves
/msg NAME TEXT    say something to one person alone
/inbox [N]     the last N of your private messages
/ignore [NAME], /unignore NAME    hide what NAME says; without NAME: whom do you ignore?
/history [N]   the last N messages (50; at most 200)
/search WORDS  the last messages with all these words
/operator SECRET  become an operator; operators can:
/kick WHO [WHY]   send away a name, IP, prefix or IP:port
/ban WHO [2h] [WHY], /unban WHO   keep out a name, IP or prefix
/mute WHO [2h], /unmute WHO       let a person only read
/bans             list who is banned or muted
/erase NUMBER     erase what was said (?seq=1 shows numbers)
/help          this list
//TEXT         say a text that begins with a slash";

    fn message(name: Option<&str>, text: &str, kind: MessageKind) -> Message {
        Message {
            seq: Seq(7),
            prev: Seq(3),
            room: RoomName::lobby(),
            at: WallTime(0),
            from: Author {
                name: name.map(|n| n.parse().expect("a name")),
                addr: ([127, 0, 0, 1], 5000).into(),
                owner: None,
            },
            text: text.to_owned().into(),
            id: None,
            kind,
            to: None,
            connection: ConnectionId::SERVER,
        }
    }

    #[test]
    fn help_lists_the_commands_of_the_table() {
        let text = HELP.to_owned();
        assert_eq!(help(), Event::Notice { text });
    }

    #[test]
    fn a_message_is_a_line_with_indented_continuation() {
        for (message, line) in [
            (message(None, "hi", MessageKind::Said), "127.0.0.1:5000: hi"),
            (message(Some("ana"), "hi", MessageKind::Said), "ana: hi"),
            (
                message(Some("ana"), "waves", MessageKind::Me),
                "ana: * waves",
            ),
            (
                message(None, "a\nbob: b\n* c", MessageKind::Said),
                "127.0.0.1:5000: a\n  bob: b\n  * c",
            ),
        ] {
            assert_eq!(event(&Event::Message(message)).as_deref(), Some(line));
        }
    }

    #[test]
    fn a_page_ends_with_its_result() {
        let erased = Slot::Redacted(Redaction {
            seq: Seq(8),
            prev: Seq(7),
            id: None,
        });
        let messages = vec![
            Slot::Message(message(Some("ana"), "a\n* bob: b", MessageKind::Said)),
            erased.clone(),
            Slot::Message(message(None, "waves", MessageKind::Me)),
        ];
        let found = [messages[0].clone(), messages[2].clone()];
        let lines = "* ana: a\n  * bob: b\n* 127.0.0.1:5000: * waves";
        let search = Some(Search {
            query: "a".to_owned(),
            indexed: Seq(9),
        });
        let page = |messages: &[Slot], more, search: &Option<Search>| {
            event(&Event::Page(PageEvent {
                messages: messages.to_vec(),
                more,
                search: search.clone(),
            }))
        };
        assert_eq!(page(&messages, true, &None).as_deref(), Some(lines));
        for (messages, more, search, last) in [
            (&found[..], false, &search, "* 2 found."),
            (&found, true, &search, "* 2 found; there are older ones."),
            (&[], false, &search, "* Nothing found."),
            (&[], false, &None, "* Nothing was said here yet."),
            (&[erased], false, &None, "* What was said here is erased."),
        ] {
            let told = page(messages, more, search).expect("lines");
            assert_eq!(told.lines().last(), Some(last));
        }
    }

    proptest! {
        #[test]
        fn no_text_fakes_a_line_of_another_person(text in any::<String>()) {
            let mut line = String::new();
            put_message(&mut line, &message(Some("ana"), &text, MessageKind::Said));
            let mut lines = line.split('\n');
            prop_assert!(lines.next().is_some_and(|first| first.starts_with("ana: ")));
            prop_assert!(lines.all(|next| next.starts_with("  ")));
        }
    }
}
