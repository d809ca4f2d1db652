//! Encodes events in the plain format.
//!
//! A line is `TAG: text`, or `* answer`, or the welcome. Each line after an
//! inner newline is indented by two spaces, so no text can fake another
//! person's line. [`typed`](super::typed) parses the lines of the client.

mod lists;

use std::fmt::Write;

use super::{
    Change, ChangeKind, ConversationPage, Event, FollowLevel, GapReason, Message, MessageKind,
    PLAIN_WELCOME, PageEvent, PrivateMessage, Slot,
    command::table::TABLE,
    name::{Name, RoomName},
    text::{Text, sanitize},
};

/// The column at which `/help` begins the descriptions, and its last column: an
/// answer is indented by two of 80.
const ABOUT: usize = 21;
const WIDTH: usize = 78;

/// The answer to `/help`: each command that the table lists.
pub fn help() -> Event {
    let mut text = "Type a message to say it to the room. Commands:\n".to_owned();
    for spec in TABLE {
        let Some(about) = spec.help.about(spec) else {
            continue;
        };
        let aliases = spec.aliases.iter().map(|word| format!(" /{word}"));
        let aliases: String = aliases.collect();
        let also = if aliases.is_empty() { "" } else { "; also" };
        put_help(&mut text, &spec.form(), &format!("{about}{also}{aliases}"));
        text.push('\n');
    }
    put_help(&mut text, "//TEXT", "say a text that begins with a slash");
    Event::Notice { text }
}

/// Appends a command and its description, wrapped between words.
pub fn put_help(text: &mut String, form: &str, about: &str) {
    // Writing to a String cannot fail.
    let _ = write!(text, "{form:<ABOUT$}");
    let mut column = ABOUT;
    for (n, word) in about.split(' ').enumerate() {
        if n > 0 && column + 1 + word.len() > WIDTH {
            let _ = write!(text, "\n{:ABOUT$}", "");
            column = ABOUT;
        } else if n > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += word.len();
    }
}

/// The answer to `/join`. The plain format has a welcome only for the first
/// room.
pub fn joined(room: &RoomName, topic: Option<&Text>) -> Event {
    let topic = topic.map_or_else(String::new, |text| format!(" The topic: {}", &**text));
    Event::Notice {
        text: format!("You are now in {room}.{topic}"),
    }
}

/// Appends a message as `TAG: text`, a reply as `TAG: > TAG: quote` with the text
/// on the next line, and a private one as an answer:
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
    let _ = write!(line, "{}: ", message.from);
    if let Some(quote) = &message.quote {
        let _ = write!(line, "> {}: {}\n  ", quote.from, &*quote.text);
    }
    line.push_str(verb);
    put_inset(line, &message.text);
}

/// A correction as an answer: `* ana corrected: text`. The plain format does not
/// show other changes.
fn changed(change: &Change) -> Option<String> {
    let text = change.text.as_ref()?;
    if change.kind != ChangeKind::Edit {
        return None;
    }
    let mut line = format!("* {} corrected: ", change.from);
    put_inset(&mut line, text);
    Some(line)
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
        Event::Changed(change) => return changed(change),
        Event::Page(found) => return Some(page(found, put_message)),
        Event::Conversation(ConversationPage { messages, .. }) | Event::Inbox { messages, .. }
            if !messages.is_empty() =>
        {
            return Some(inbox(messages));
        }
        Event::Conversation(page) => format!("You and {} have said nothing yet.", page.with),
        Event::Inbox { .. } => "You have no private messages.".to_owned(),
        Event::Live { .. }
        | Event::Erased { .. }
        | Event::Accepted { .. }
        | Event::Joined { .. }
        | Event::Left { .. }
        | Event::Renamed { .. }
        | Event::Activity(_)
        | Event::Following { .. } => return None,
        Event::Follow { room, level } => match level {
            Some(FollowLevel::All) => format!("You are told of every message in {room}."),
            Some(FollowLevel::Mentions) => format!("In {room} you are told of mentions only."),
            Some(FollowLevel::None) => format!("You are told nothing of {room}."),
            None => format!("You no longer follow {room}."),
        },
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
            members,
        } => lists::people(names, addresses, *total, members.as_deref()),
        Event::Invite(invite) => lists::invitation(invite),
        Event::Link(link) => lists::link(link),
        Event::Invites { invites } => lists::invitations(invites),
        Event::Hook(hook) => lists::hook(hook),
        Event::Hooks { hooks } => lists::hooks(hooks),
        Event::Rooms { rooms, total, .. } => lists::rooms(rooms, *total),
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
        Event::Notice { text } | Event::Away { text, .. } => text.clone(),
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::{Author, ConnectionId, Redaction, Search, Seq, WallTime};

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
            about: None,
            quote: None,
            edited: false,
            edited_at: None,
            reactions: None,
            connection: ConnectionId::SERVER,
        }
    }

    #[test]
    fn help_lists_the_commands_in_one_column() {
        let Event::Notice { text } = help() else {
            panic!("a notice");
        };
        for line in [
            "/name NAME           be called NAME; the answer says how to have that name",
            "                     again; also /nick",
            "/join ROOM           go to another room",
            "/ban WHO [2h] [WHY]  keep out a name, IP or prefix",
            "//TEXT               say a text that begins with a slash",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
        let about = |line: &str| line.len() > ABOUT && !line[ABOUT..].starts_with(' ');
        assert!(text.lines().skip(1).all(about), "{text}");
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
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
