//! The plain format: the exercise, made right.
//!
//! A line is `TAG: text`, or `* answer`, or the welcome; what follows an inner
//! newline is set in by two spaces, so no text can fake another's line.

use std::{fmt::Write, num::NonZeroU32};

use super::{
    Command, Entry, Event, GapReason, Kind, Message, Page, Private, Refusal, RefusalCode, RoomInfo,
    Search, Seq, Start, WELCOME,
    name::RoomName,
    text::{Text, clean},
    who::Who,
};

/// What `/help` answers.
const HELP: &str = "\
Type a message to say it to the room. Commands:
/name NAME     be called NAME instead of your IP:port; the answer says how to
               have that name again
/join ROOM     go to another room
/members       who is here?
/rooms         which rooms is somebody in?
/topic [TEXT]  what is this room about? or say so (- for nothing)
/me TEXT       say what you do: /me waves
/msg NAME TEXT    say something to one person alone
/history [N]   the last N messages (50; at most 200)
/search WORDS  the last messages with all these words
/operator SECRET  be an operator, who can
/kick WHO [WHY]   send away a name, IP or IP:port
/ban WHO [2h] [WHY], /unban WHO   keep out a name or IP
/mute WHO [2h], /unmute WHO       let them read only
/erase NUMBER     erase what was said (?seq=1 shows numbers)
/help          this list
//TEXT         say a text that begins with a slash";

/// What a text frame of a client asks for; `None` for an empty one.
pub fn parse(frame: &str) -> Result<Option<Command>, Refusal> {
    let line = frame
        .strip_suffix('\n')
        .map_or(frame, |l| l.strip_suffix('\r').unwrap_or(l));
    if line.is_empty() {
        return Ok(None);
    }
    let Some(typed) = line.strip_prefix('/') else {
        return Ok(Some(publish(line, Kind::Said)));
    };
    if typed.starts_with('/') {
        return Ok(Some(publish(typed, Kind::Said)));
    }
    let (word, rest) = typed.split_once(char::is_whitespace).unwrap_or((typed, ""));
    let rest = rest.trim();
    Ok(Some(match word {
        "me" if rest.is_empty() => return Err(usage("/me TEXT: for example /me waves")),
        "me" => publish(rest, Kind::Me),
        "msg" => private(rest)?,
        "name" => name(rest)?,
        "join" => Command::Join {
            room: rest
                .parse()
                .map_err(|why| usage(format!("/join ROOM: {why}")))?,
            start: Start::default(),
        },
        "members" => Command::Members,
        "rooms" => Command::Rooms,
        "topic" => Command::Topic {
            text: match rest {
                "" => None,
                "-" => Some(String::new()),
                text => Some(text.to_owned()),
            },
        },
        "history" => Command::History {
            before: None,
            limit: match rest {
                "" => None,
                number => {
                    let limit = number.parse().ok().map(NonZeroU32::get);
                    Some(limit.ok_or_else(|| usage("/history N: for example /history 20"))?)
                }
            },
        },
        "search" if rest.is_empty() => return Err(usage("/search WORDS: for example /search tea")),
        "search" => Command::Search {
            query: rest.to_owned(),
            before: None,
            limit: None,
        },
        "operator" => Command::Operator {
            secret: rest.to_owned(),
        },
        "help" => Command::Help,
        word => keep_order(word, rest)?,
    }))
}

/// What an operator asks for.
fn keep_order(word: &str, rest: &str) -> Result<Command, Refusal> {
    Ok(match word {
        "kick" => {
            let (who, why) = somebody("/kick WHO [WHY]", rest)?;
            Command::Kick {
                who,
                reason: (!why.is_empty()).then(|| why.to_owned()),
            }
        }
        "ban" => {
            let (who, rest) = somebody("/ban WHO [2h] [WHY]", rest)?;
            let (first, behind) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            let lasts = first.parse().ok();
            let why = if lasts.is_some() {
                behind.trim_start()
            } else {
                rest
            };
            Command::Ban {
                who,
                lasts,
                reason: (!why.is_empty()).then(|| why.to_owned()),
            }
        }
        "mute" => {
            let (who, lasts) = somebody("/mute WHO [2h]", rest)?;
            let lasts = (!lasts.is_empty()).then(|| lasts.parse());
            Command::Mute {
                who,
                lasts: lasts
                    .transpose()
                    .map_err(|rule| usage(format!("/mute WHO [2h]: {rule}")))?,
            }
        }
        "unban" => Command::Unban {
            who: somebody("/unban WHO", rest)?.0,
        },
        "unmute" => Command::Unmute {
            who: somebody("/unmute WHO", rest)?.0,
        },
        "erase" => Command::Erase {
            seq: Seq(rest.parse().map_err(|_| {
                usage("/erase NUMBER: for example /erase 7; in a room's URL, ?seq=1 shows numbers")
            })?),
        },
        _ => {
            return Err(Refusal::new(
                RefusalCode::UnknownType,
                "No such command: /help lists them, and //TEXT says a text that begins with a slash.",
            ));
        }
    })
}

/// Whom an operator means, and what stands behind it.
fn somebody<'a>(form: &str, rest: &'a str) -> Result<(Who, &'a str), Refusal> {
    let (who, behind) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let who = who
        .parse()
        .map_err(|rule| usage(format!("{form}: {rule}")))?;
    Ok((who, behind.trim_start()))
}

/// A name, and behind it perhaps its secret.
fn name(rest: &str) -> Result<Command, Refusal> {
    let (name, secret) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let secret = match secret.trim_start() {
        "" => None,
        secret => Some(
            secret
                .parse()
                .map_err(|why| usage(format!("/name NAME SECRET: {why}")))?,
        ),
    };
    let name = name.parse().map_err(|why| bad_name(&why))?;
    Ok(Command::Name { name, secret })
}

/// A name, and what is said to it.
fn private(rest: &str) -> Result<Command, Refusal> {
    let (to, text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    if text.is_empty() {
        let form = "/msg NAME TEXT: for example /msg ana are you there?";
        return Err(usage(form));
    }
    let to = to
        .parse()
        .map_err(|why| Refusal::new(RefusalCode::BadName, format!("/msg NAME TEXT: {why}")))?;
    Ok(Command::Private {
        to,
        text: text.trim_start().to_owned(),
        id: None,
        follows: None,
    })
}

fn publish(text: &str, kind: Kind) -> Command {
    Command::Publish {
        text: text.to_owned(),
        id: None,
        kind,
        follows: None,
    }
}

fn usage(text: impl Into<String>) -> Refusal {
    Refusal::new(RefusalCode::BadField, text)
}

fn bad_name(why: &super::name::BadName) -> Refusal {
    Refusal::new(RefusalCode::BadName, format!("/name NAME: {why}"))
}

/// The answer to [`Command::Help`].
pub fn help() -> Event {
    Event::Notice {
        text: HELP.to_owned(),
    }
}

/// The answer to [`Command::Join`], where a welcome is said but once.
pub fn joined(room: &RoomName, topic: Option<&Text>) -> Event {
    let topic = topic.map_or_else(String::new, |text| format!(" The topic: {}", &**text));
    Event::Notice {
        text: format!("You are now in {room}.{topic}"),
    }
}

/// Appends a message as `TAG: text`; what was said to one person alone as an
/// answer: `* ana to you: text`.
pub fn put_message(line: &mut String, message: &Message) {
    if let Some(private) = message.private() {
        return put_private(line, &private);
    }
    let verb = match message.kind {
        Kind::Said => "",
        Kind::Me => "* ",
    };
    // Writing to a String cannot fail.
    let _ = write!(line, "{}: {verb}", message.from);
    put_inset(line, &message.text);
}

fn put_private(line: &mut String, private: &Private) {
    // Writing to a String cannot fail.
    let _ = if private.sent {
        write!(line, "* you to {}: ", private.to)
    } else {
        write!(line, "* {} to you: ", private.from)
    };
    put_inset(line, &private.text);
}

/// The answer to [`Command::History`] or [`Command::Search`]: each message on a
/// line of its own, as `put` writes it.
pub fn page(page: &Page, put: impl Fn(&mut String, &Message)) -> String {
    let mut lines = String::new();
    for message in page.messages.iter().filter_map(Entry::message) {
        lines.push_str(if lines.is_empty() { "* " } else { "\n* " });
        put(&mut lines, message);
    }
    match &page.search {
        Some(Search { indexed, .. }) => {
            let found = match (page.messages.len(), page.more) {
                (0, _) => "Nothing was".to_owned(),
                (count, false) => format!("{count}"),
                (count, true) => format!("The last {count} of more"),
            };
            let end = if lines.is_empty() { "" } else { "\n" };
            // Writing to a String cannot fail.
            let _ = write!(lines, "{end}* {found} found up to number {indexed}.");
        }
        None if page.messages.is_empty() => lines.push_str("* Nothing was said here yet."),
        None if lines.is_empty() => lines.push_str("* What was said here is erased."),
        None => {}
    }
    lines
}

/// What the plain format shows of an event; `None` where it shows nothing.
pub fn event(event: &Event) -> Option<String> {
    let said = match event {
        Event::Welcome(_) => return Some(WELCOME.to_owned()),
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
            format!("{after} is no position of this log: what it holds follows from its start.")
        }
        Event::Gap {
            after,
            next,
            reason: GapReason::Damaged,
        } => {
            format!("What stood between {after} and {next} is damaged, and not shown.")
        }
        Event::Gap { after, next, .. } => {
            format!("What stood between {after} and {next} is not to be had any more.")
        }
        Event::Name { name, secret: None } => format!("You are now {name}."),
        Event::Name {
            name,
            secret: Some(secret),
        } => {
            let secret = secret.reveal();
            format!("You are now {name}. To have this name again: /name {name} {secret}")
        }
        // Not an answer: people come and go.
        Event::Members { names, .. } if names.is_empty() => return None,
        Event::Members { names, total } => {
            let more = match total - names.len().min(*total) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("{total} here: {}{more}", names.join(", "))
        }
        Event::Rooms { rooms, total } => {
            let more = total - rooms.len().min(*total);
            let mut said = match total {
                0 => "Nobody is in a room that is listed.".to_owned(),
                _ => "Rooms that somebody is in:".to_owned(),
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
    put_inset(&mut line, &clean(&said));
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
    use crate::protocol::{At, Author, Erased, Seq};

    fn message(name: Option<&str>, text: &str, kind: Kind) -> Message {
        Message {
            seq: Seq(7),
            prev: Seq(3),
            room: RoomName::lobby(),
            at: At(0),
            from: Author {
                name: name.map(|n| n.parse().expect("a name")),
                addr: ([127, 0, 0, 1], 5000).into(),
            },
            text: text.to_owned().into(),
            id: None,
            kind,
            to: None,
        }
    }

    #[test]
    fn commands() {
        let said = |text: &str| Some(publish(text, Kind::Said));
        let history = |limit| {
            let before = None;
            Some(Command::History { before, limit })
        };
        for (frame, command) in [
            ("hi", said("hi")),
            ("hi\n", said("hi")),
            ("hi\r\n", said("hi")),
            ("hi\n\n", said("hi\n")),
            ("", None),
            ("\n", None),
            (" ", said(" ")),
            ("//x", said("/x")),
            ("///x", said("//x")),
            ("/me waves", Some(publish("waves", Kind::Me))),
            ("/members", Some(Command::Members)),
            ("/help\n", Some(Command::Help)),
            (
                "/kick ana  too much ",
                Some(Command::Kick {
                    who: "ana".parse().expect("somebody"),
                    reason: Some("too much".to_owned()),
                }),
            ),
            (
                "/ban ana 2h spam",
                Some(Command::Ban {
                    who: "ana".parse().expect("somebody"),
                    lasts: "2h".parse().ok(),
                    reason: Some("spam".to_owned()),
                }),
            ),
            (
                "/ban ana spam 2h",
                Some(Command::Ban {
                    who: "ana".parse().expect("somebody"),
                    lasts: None,
                    reason: Some("spam 2h".to_owned()),
                }),
            ),
            ("/erase 7", Some(Command::Erase { seq: Seq(7) })),
            ("/history", history(None)),
            ("/history 20 ", history(Some(20))),
            (
                "/search green  tea ",
                Some(Command::Search {
                    query: "green  tea".to_owned(),
                    before: None,
                    limit: None,
                }),
            ),
            (
                "/name ana",
                Some(Command::Name {
                    name: "ana".parse().expect("a name"),
                    secret: None,
                }),
            ),
            (
                "/name ana  0123456789abcdef\n",
                Some(Command::Name {
                    name: "ana".parse().expect("a name"),
                    secret: "0123456789abcdef".parse().ok(),
                }),
            ),
            (
                "/join Ops",
                Some(Command::Join {
                    room: "ops".parse().expect("a room"),
                    start: Start::default(),
                }),
            ),
        ] {
            assert_eq!(parse(frame).as_ref(), Ok(&command), "{frame:?}");
        }
    }

    #[test]
    fn refusals() {
        for (frame, code) in [
            ("/", RefusalCode::UnknownType),
            ("/dance", RefusalCode::UnknownType),
            ("/name", RefusalCode::BadName),
            ("/name a:b", RefusalCode::BadName),
            ("/name a b", RefusalCode::BadField),
            (
                "/name a 0123456789abcdef 0123456789abcdef",
                RefusalCode::BadField,
            ),
            ("/join", RefusalCode::BadField),
            ("/join a/b", RefusalCode::BadField),
            ("/me", RefusalCode::BadField),
            ("/kick", RefusalCode::BadField),
            ("/mute ana soon", RefusalCode::BadField),
            ("/erase", RefusalCode::BadField),
            ("/erase -1", RefusalCode::BadField),
            ("/erase 7 8", RefusalCode::BadField),
            ("/erase 18446744073709551616", RefusalCode::BadField),
            ("/history all", RefusalCode::BadField),
            ("/history 0", RefusalCode::BadField),
            ("/search", RefusalCode::BadField),
            ("/history -1", RefusalCode::BadField),
        ] {
            assert_eq!(parse(frame).expect_err(frame).code, code, "{frame:?}");
        }
    }

    #[test]
    fn lines() {
        for (message, line) in [
            (message(None, "hi", Kind::Said), "127.0.0.1:5000: hi"),
            (message(Some("ana"), "hi", Kind::Said), "ana: hi"),
            (message(Some("ana"), "waves", Kind::Me), "ana: * waves"),
            (
                message(None, "a\nbob: b\n* c", Kind::Said),
                "127.0.0.1:5000: a\n  bob: b\n  * c",
            ),
        ] {
            assert_eq!(event(&Event::Message(message)).as_deref(), Some(line));
        }
    }

    #[test]
    fn pages() {
        let erased = Entry::Erased(Erased {
            seq: Seq(8),
            prev: Seq(7),
            id: None,
        });
        let messages = vec![
            Entry::Message(message(Some("ana"), "a\n* bob: b", Kind::Said)),
            erased.clone(),
            Entry::Message(message(None, "waves", Kind::Me)),
        ];
        let found = [messages[0].clone(), messages[2].clone()];
        let lines = "* ana: a\n  * bob: b\n* 127.0.0.1:5000: * waves";
        let search = Some(Search {
            query: "a".to_owned(),
            indexed: Seq(9),
        });
        let page = |messages: &[Entry], more, search: &Option<Search>| {
            event(&Event::Page(Page {
                messages: messages.to_vec(),
                more,
                search: search.clone(),
            }))
        };
        assert_eq!(page(&messages, true, &None).as_deref(), Some(lines));
        for (messages, more, search, last) in [
            (&found[..], false, &search, "* 2 found up to number 9."),
            (
                &found,
                true,
                &search,
                "* The last 2 of more found up to number 9.",
            ),
            (&[], false, &search, "* Nothing was found up to number 9."),
            (&[], false, &None, "* Nothing was said here yet."),
            (&[erased], false, &None, "* What was said here is erased."),
        ] {
            let told = page(messages, more, search).expect("lines");
            assert_eq!(told.lines().last(), Some(last));
        }
    }

    proptest! {
        #[test]
        fn no_text_fakes_a_line(text in any::<String>()) {
            let mut line = String::new();
            put_message(&mut line, &message(Some("ana"), &text, Kind::Said));
            let mut lines = line.split('\n');
            prop_assert!(lines.next().is_some_and(|first| first.starts_with("ana: ")));
            prop_assert!(lines.all(|next| next.starts_with("  ")));
        }

        #[test]
        fn anything_typed_is_answered(frame in any::<String>()) {
            let _ = parse(&frame);
            let _ = parse(&format!("/{frame}"));
        }
    }
}
