//! Parses the lines that a person types in the plain format.

mod arguments;

use self::arguments::{
    about, bad_field, bad_name, count, example, invite, level, number, optional, some, split_word,
    target,
};
use super::{
    Command, FrameKind, Outline, PublishKind, Refusal, RefusalCode, Seq, Start,
    command::table::{self, CommandSpec},
    misplaced_secret,
    name::RoomName,
};

/// Finds the outline of a text frame; `None` for an empty one.
pub fn outline(frame: &str) -> Option<Outline> {
    let spec = match split(frame) {
        Line::Empty => return None,
        Line::Message(_) => table::by_json_type("publish"),
        Line::Command { word, .. } => table::by_word(word),
    };
    let kind = spec.map_or(FrameKind::UnknownType, FrameKind::Command);
    Some(Outline::new(kind))
}

/// Parses a text frame; `None` for an empty one.
///
/// # Errors
/// Refuses an unknown command, a known command with wrong arguments, and a text
/// that looks like a command with a secret.
pub fn parse(frame: &str) -> Result<Option<Command>, Refusal> {
    let command = match split(frame) {
        Line::Empty => return Ok(None),
        Line::Message(text) => publish(text, PublishKind::Said),
        Line::Command { word, rest } => command(
            table::by_word(word).ok_or_else(|| unknown(word))?,
            rest.trim(),
        )?,
    };
    if let Command::Publish { text, .. }
    | Command::About { text, .. }
    | Command::Private { text, .. }
    | Command::Reply { text }
    | Command::Topic { text: Some(text) } = &command
    {
        misplaced_secret::check(text)?;
    }
    Ok(Some(command))
}

/// The parts of a text frame, without its last line end.
enum Line<'a> {
    Empty,
    Message(&'a str),
    Command { word: &'a str, rest: &'a str },
}

fn split(frame: &str) -> Line<'_> {
    let line = frame
        .strip_suffix('\n')
        .map_or(frame, |l| l.strip_suffix('\r').unwrap_or(l));
    if line.is_empty() {
        return Line::Empty;
    }
    match line.strip_prefix('/') {
        None => Line::Message(line),
        Some(escaped) if escaped.starts_with('/') => Line::Message(escaped),
        Some(typed) => {
            let (word, rest) = split_word(typed);
            Line::Command { word, rest }
        }
    }
}

/// Parses the arguments of a command.
fn command(spec: &CommandSpec, rest: &str) -> Result<Command, Refusal> {
    Ok(match spec.word {
        "me" => publish(some(spec, rest)?, PublishKind::Me),
        "msg" => {
            let (to, text) = split_word(rest);
            let text = some(spec, text)?;
            Command::Private {
                to: to.parse().map_err(|rule| bad_name(spec, rule))?,
                text: text.trim_start().to_owned(),
                id: None,
                follows: None,
            }
        }
        "name" => {
            let (name, secret) = split_word(rest);
            let secret = match secret.trim_start() {
                "" => None,
                secret => Some(secret.parse().map_err(|rule| {
                    let form = format!("{} SECRET", spec.form());
                    bad_field(form, rule)
                })?),
            };
            let name = name.parse().map_err(|rule| bad_name(spec, rule))?;
            Command::Name { name, secret }
        }
        "ignore" => Command::Ignore {
            name: optional(rest)
                .map(|name| name.parse().map_err(|rule| bad_name(spec, rule)))
                .transpose()?,
        },
        "unignore" => Command::Unignore {
            name: rest.parse().map_err(|rule| bad_name(spec, rule))?,
        },
        "join" => Command::Join {
            room: rest.parse().map_err(|rule| bad_field(spec.form(), rule))?,
            start: Start::default(),
        },
        "reply" => about(spec, PublishKind::Reply, rest)?,
        "react" => about(spec, PublishKind::React, rest)?,
        "unreact" => about(spec, PublishKind::Unreact, rest)?,
        "edit" => about(spec, PublishKind::Edit, rest)?,
        "delete" => Command::Delete {
            seq: match optional(rest) {
                None => None,
                Some(rest) => Some(
                    number(&rest)
                        .ok_or_else(|| example(spec, " (in a room's URL, ?seq=1 shows numbers)"))?,
                ),
            },
        },
        "r" => Command::Reply {
            text: some(spec, rest)?.to_owned(),
        },
        "part" => Command::Join {
            room: RoomName::lobby(),
            start: Start::default(),
        },
        "members" => Command::Members,
        "rooms" => Command::Rooms { after: None },
        "topic" => Command::Topic {
            text: match rest {
                "-" => Some(String::new()),
                text => optional(text),
            },
        },
        "notify" => Command::Follow {
            room: None,
            level: Some(level(rest).ok_or_else(|| {
                let text = "Usage: /notify all, /notify mentions or /notify none";
                Refusal::new(RefusalCode::BadField, text)
            })?),
        },
        "unfollow" => Command::Unfollow {
            room: optional(rest)
                .map(|room| room.parse().map_err(|rule| bad_field(spec.form(), rule)))
                .transpose()?,
        },
        "history" => Command::History {
            with: None,
            before: None,
            limit: count(spec, rest)?,
        },
        "inbox" => Command::Inbox {
            before: None,
            limit: count(spec, rest)?,
        },
        "search" => Command::Search {
            query: some(spec, rest)?.to_owned(),
            before: None,
            limit: None,
        },
        "help" => Command::Help,
        _ => return operator(spec, rest),
    })
}

/// Parses the arguments of an operator's command.
fn operator(spec: &CommandSpec, rest: &str) -> Result<Command, Refusal> {
    Ok(match spec.word {
        "operator" => Command::Operator {
            secret: rest.to_owned(),
        },
        "kick" => {
            let (who, why) = target(spec, rest)?;
            let reason = optional(why);
            Command::Kick { who, reason }
        }
        "ban" => {
            let (who, rest) = target(spec, rest)?;
            let (first, behind) = split_word(rest);
            let duration = first.parse().ok();
            let why = if duration.is_some() { behind } else { rest };
            let reason = optional(why.trim_start());
            Command::Ban {
                who,
                duration,
                reason,
            }
        }
        "mute" => {
            let (who, duration) = target(spec, rest)?;
            let duration = (!duration.is_empty()).then(|| duration.parse()).transpose();
            let duration = duration.map_err(|rule| bad_field(spec.form(), rule))?;
            Command::Mute { who, duration }
        }
        "unban" => Command::Unban {
            who: target(spec, rest)?.0,
        },
        "unmute" => Command::Unmute {
            who: target(spec, rest)?.0,
        },
        "bans" => Command::Bans,
        "erase" => Command::Erase {
            seq: Seq(rest
                .parse()
                .map_err(|_| example(spec, " (in a room's URL, ?seq=1 shows numbers)"))?),
        },
        _ => return access(spec, rest),
    })
}

/// Parses the arguments of a command on the access to rooms.
fn access(spec: &CommandSpec, rest: &str) -> Result<Command, Refusal> {
    let name = || rest.parse().map_err(|rule| bad_name(spec, rule));
    Ok(match spec.word {
        "private" | "public" => Command::Access {
            room: None,
            private: spec.word == "private",
        },
        "invite" => invite(spec, rest)?,
        "invites" => Command::Invites,
        "uninvite" => Command::Uninvite {
            id: rest
                .parse()
                .map_err(|_| example(spec, " (/invites shows the numbers)"))?,
        },
        "remove" => Command::Remove { name: name()? },
        "owner" => Command::Owner { name: name()? },
        "release" => Command::Release { name: name()? },
        "hook" => Command::Hook { name: name()? },
        "hooks" => Command::Hooks,
        "unhook" => Command::Unhook { name: name()? },
        "link" => Command::Link {
            secret: optional(rest)
                .map(|secret| secret.parse().map_err(|rule| bad_field(spec.form(), rule)))
                .transpose()?,
        },
        word => return Err(unknown(word)),
    })
}

fn publish(text: &str, kind: PublishKind) -> Command {
    Command::Publish {
        text: text.to_owned(),
        id: None,
        kind,
        about: None,
        follows: None,
    }
}

fn unknown(word: &str) -> Refusal {
    let shown: String = word.chars().take(table::MAX_WORD).collect();
    let nearest = table::nearest(word);
    Refusal::new(
        RefusalCode::UnknownType,
        format!(
            "No such command: /{shown}. Did you mean /{nearest}? /help lists them, and //TEXT says \
             a text that begins with a slash."
        ),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn lines_are_read_as_the_vectors_of_commands_say() {
        let vectors = include_str!("../../tests/vectors/commands.json");
        let vectors: Vec<Value> = serde_json::from_str(vectors).expect("vectors");
        for vector in vectors {
            let typed = vector["typed"].as_str().expect("a line");
            let asks = match parse(typed) {
                Ok(None) => Value::Null,
                Ok(Some(Command::Help)) => json!("help"),
                Ok(Some(Command::Reply { text })) => json!({ "reply": text }),
                Ok(Some(Command::Delete { seq })) => json!({ "delete": seq }),
                Ok(Some(Command::About { about, kind, text })) => json!(Command::Publish {
                    text,
                    id: None,
                    kind,
                    about,
                    follows: None,
                }),
                Ok(Some(command)) => json!(command),
                Err(_) => json!("wrong"),
            };
            assert_eq!(asks, vector["asks"], "{typed:?}");
        }
    }

    #[test]
    fn each_line_is_read_as_its_command() {
        let said = |text: &str| Some(publish(text, PublishKind::Said));
        let history = |limit| {
            let before = None;
            Some(Command::History {
                with: None,
                before,
                limit,
            })
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
            ("/me waves", Some(publish("waves", PublishKind::Me))),
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
                    duration: "2h".parse().ok(),
                    reason: Some("spam".to_owned()),
                }),
            ),
            (
                "/ban ana spam 2h",
                Some(Command::Ban {
                    who: "ana".parse().expect("somebody"),
                    duration: None,
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
    fn an_unknown_command_names_itself_and_the_nearest() {
        for (frame, nearest) in [
            ("/jion tea", "/jion. Did you mean /join?"),
            ("/serach x", "/serach. Did you mean /search?"),
            ("/Rooms", "/Rooms. Did you mean /rooms?"),
            ("/joins", "/joins. Did you mean /join?"),
        ] {
            let refusal = parse(frame).expect_err(frame);
            assert!(refusal.text.contains(nearest), "{}", refusal.text);
        }
        let long = parse(&format!("/{}", "x".repeat(5000))).expect_err("no command");
        assert!(long.text.len() < 200, "{}", long.text);
    }

    #[test]
    fn each_wrong_line_is_refused_with_its_code() {
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

    proptest! {
        #[test]
        fn parsing_any_line_does_not_panic(frame in any::<String>()) {
            let _ = parse(&frame);
            let _ = parse(&format!("/{frame}"));
        }
    }
}
