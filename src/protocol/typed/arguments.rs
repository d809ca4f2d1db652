//! Parses the arguments of typed commands.

use std::{fmt::Display, num::NonZeroU32};

use crate::protocol::{
    Command, FollowLevel, PublishKind, Refusal, RefusalCode, Seq, command::table::CommandSpec,
    command_target::CommandTarget,
};

/// Parses a command about a message: its number, if given, and a text.
pub(super) fn about(spec: &CommandSpec, kind: PublishKind, rest: &str) -> Result<Command, Refusal> {
    let (first, behind) = split_word(rest);
    let number = number(first).filter(|_| !behind.trim().is_empty());
    let text = if number.is_some() {
        behind.trim_start()
    } else {
        rest
    };
    Ok(Command::About {
        about: number,
        kind,
        text: some(spec, text)?.to_owned(),
    })
}

/// The number of a message, as a person types it.
pub(super) fn number(word: &str) -> Option<Seq> {
    let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
    word.parse().ok().filter(|_| is_number).map(Seq)
}

/// Parses `/invite 5 2d`, in any order and each optional, or `/invite TOKEN`.
pub(super) fn invite(spec: &CommandSpec, rest: &str) -> Result<Command, Refusal> {
    // A person may paste the whole URL.
    let token = rest
        .rsplit_once("#invite=")
        .map_or(rest, |(_, token)| token);
    if let Ok(token) = token.parse() {
        return Ok(Command::Invite {
            uses: None,
            duration: None,
            token: Some(token),
        });
    }
    let (mut uses, mut duration) = (None, None);
    for word in rest.split_whitespace() {
        if uses.is_none() && word.bytes().all(|byte| byte.is_ascii_digit()) {
            uses = Some(word.parse().map_err(|_| example(spec, ""))?);
        } else if duration.is_none() {
            duration = Some(word.parse().map_err(|rule| bad_field(spec.form(), rule))?);
        } else {
            return Err(example(spec, ""));
        }
    }
    Ok(Command::Invite {
        uses,
        duration,
        token: None,
    })
}

/// The first word, and the text after the space that ends it.
pub(super) fn split_word(text: &str) -> (&str, &str) {
    text.split_once(char::is_whitespace).unwrap_or((text, ""))
}

/// How many messages to return; `None` if no number is given.
pub(super) fn count(spec: &CommandSpec, rest: &str) -> Result<Option<u32>, Refusal> {
    if rest.is_empty() {
        return Ok(None);
    }
    let count = rest.parse().ok().map(NonZeroU32::get);
    count.map(Some).ok_or_else(|| example(spec, ""))
}

/// How much of a room is told.
pub(super) fn level(word: &str) -> Option<FollowLevel> {
    match word {
        "all" => Some(FollowLevel::All),
        "mentions" => Some(FollowLevel::Mentions),
        "none" => Some(FollowLevel::None),
        _ => None,
    }
}

/// The text; `None` if it is empty.
pub(super) fn optional(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// The text; refused if it is empty.
pub(super) fn some<'a>(spec: &CommandSpec, text: &'a str) -> Result<&'a str, Refusal> {
    if text.is_empty() {
        return Err(example(spec, ""));
    }
    Ok(text)
}

/// The target of an operator's command, and the text after it.
pub(super) fn target<'a>(
    spec: &CommandSpec,
    rest: &'a str,
) -> Result<(CommandTarget, &'a str), Refusal> {
    let (who, behind) = split_word(rest);
    let who = who.parse().map_err(|rule| bad_field(spec.form(), rule))?;
    Ok((who, behind.trim_start()))
}

pub(super) fn bad_field(form: impl Display, rule: impl Display) -> Refusal {
    Refusal::new(RefusalCode::BadField, format!("{form}: {rule}"))
}

pub(super) fn bad_name(spec: &CommandSpec, rule: impl Display) -> Refusal {
    Refusal::new(RefusalCode::BadName, format!("{}: {rule}", spec.form()))
}

/// The refusal of a command whose only argument is missing or wrong. It shows an
/// example.
pub(super) fn example(spec: &CommandSpec, hint: &str) -> Refusal {
    // The only argument is needed here, though it may be left out elsewhere.
    let only = |form: &'static str| form.strip_prefix('[')?.strip_suffix(']');
    let argument = only(spec.arguments).filter(|only| !only.contains('['));
    let argument = argument.unwrap_or(spec.arguments);
    let usage = format!("Usage: /{} {argument}", spec.word);
    Refusal::new(
        RefusalCode::BadField,
        format!("{usage}, for example {}{hint}", spec.typed_example),
    )
}
