//! The table of commands. It declares once how a person types a command, how a
//! program sends it, who may use it and how help describes it.
//!
//! Both parsers, `/help`, the terminal's completion, the page's list and the
//! reference in `docs/protocol.md` use this table.

use serde::Deserialize;
use serde_json::Value;

use super::super::{
    Epoch, Kind, Seq,
    lasting::Lasting,
    name::{MessageId, Name, Reference, RoomName},
    secret::Secret,
    who::Who,
};

/// The declaration of one command.
#[derive(Debug)]
pub struct Spec {
    /// The word after the slash; empty for a message, which has no slash.
    pub word: &'static str,
    /// Other words for the same command.
    pub aliases: &'static [&'static str],
    /// The arguments after the word, as help writes them.
    pub arguments: &'static str,
    /// The `type` in JSON, if the command has one of its own.
    pub kind: Option<&'static str>,
    /// The fields in JSON, except `type` and `ref`.
    pub fields: &'static [Field],
    /// The connections that may use it.
    pub may: May,
    /// A short description of the command.
    pub about: &'static str,
    /// The entry in `/help`.
    pub help: Listing,
    /// The entry in the page's list.
    pub page: Listing,
    /// An example as a person types it.
    pub typed: &'static str,
    /// An example in JSON; empty if JSON has no such command.
    pub sent: &'static str,
}

/// A field of a command in JSON.
#[derive(Debug)]
pub struct Field {
    /// Its key.
    pub name: &'static str,
    /// The description of its values.
    pub holds: &'static str,
    /// Whether the command must have this field.
    pub needed: bool,
    /// Checks a value; fails if the field cannot hold it.
    pub check: fn(&Value) -> Result<(), serde_json::Error>,
}

/// The connections that may use a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum May {
    /// Every connection.
    Everybody,
    /// A connection with a name.
    Named,
    /// A connection that has given the operators' secret.
    Operators,
    /// Every connection in the plain format.
    Plain,
    /// A person at the terminal client. The client does not send it to the
    /// server.
    Terminal,
}

/// The way a list shows a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// On a line of its own, with [`Spec::about`].
    Same,
    /// On a line of its own, with this description.
    As(&'static str),
    /// On the line of the command before it, without a description.
    Beside,
    /// Not at all.
    No,
}

impl Listing {
    /// The description of a command that has a line of its own.
    pub fn about(self, spec: &Spec) -> Option<&'static str> {
        match self {
            Listing::Same => Some(spec.about),
            Listing::As(about) => Some(about),
            Listing::Beside | Listing::No => None,
        }
    }
}

impl Spec {
    /// The usage line: `/kick WHO [WHY]`.
    pub fn form(&self) -> String {
        let slash = if self.word.is_empty() { "" } else { "/" };
        format!("{slash}{} {}", self.word, self.arguments)
            .trim()
            .to_owned()
    }

    /// Whether it publishes a message, private or not.
    pub fn is_message(&self) -> bool {
        self.kind.is_some() && self.fields.iter().any(|field| field.name == ID.name)
    }
}

/// The command for a word after a slash; `None` if the server has no such
/// command.
pub fn typed(word: &str) -> Option<&'static Spec> {
    TABLE.iter().find(|spec| {
        let known = spec.word == word || spec.aliases.contains(&word);
        known && !word.is_empty() && spec.may != May::Terminal
    })
}

/// The command with this `type` in JSON.
pub fn sent(kind: &str) -> Option<&'static Spec> {
    TABLE.iter().find(|spec| spec.kind == Some(kind))
}

/// All commands that JSON has; those that publish a message come first.
pub fn all_sent() -> Vec<&'static Spec> {
    let mut specs: Vec<_> = TABLE.iter().filter(|spec| spec.kind.is_some()).collect();
    specs.sort_by_key(|spec| !spec.is_message());
    specs
}

/// All commands, in the order of `/help`.
pub static TABLE: [Spec; 20] = [
    Spec {
        word: "",
        aliases: &[],
        arguments: "TEXT",
        kind: Some("publish"),
        fields: &[TEXT, ID, KIND, FOLLOWS],
        may: May::Everybody,
        about: "say TEXT to the room",
        help: Listing::No,
        page: Listing::No,
        typed: "hi",
        sent: r#"{"type":"publish","text":"hi"}"#,
    },
    Spec {
        word: "name",
        aliases: &[],
        arguments: "NAME",
        kind: Some("name"),
        fields: &[NAME, SECRET],
        may: May::Everybody,
        about: "be called NAME",
        help: Listing::As(
            "be called NAME instead of your IP:port; the answer says how to\nhave that name again",
        ),
        page: Listing::As("be called NAME; this browser keeps it yours"),
        typed: "/name ana",
        sent: r#"{"type":"name","name":"ana"}"#,
    },
    Spec {
        word: "join",
        aliases: &[],
        arguments: "ROOM",
        kind: Some("join"),
        fields: &[ROOM, AFTER, EPOCH, BACKLOG],
        may: May::Everybody,
        about: "go to another room",
        help: Listing::Same,
        page: Listing::Same,
        typed: "/join tea",
        sent: r#"{"type":"join","room":"tea","backlog":20}"#,
    },
    Spec {
        word: "members",
        aliases: &[],
        arguments: "",
        kind: Some("members"),
        fields: &[],
        may: May::Everybody,
        about: "who is here?",
        help: Listing::Same,
        page: Listing::Same,
        typed: "/members",
        sent: r#"{"type":"members"}"#,
    },
    Spec {
        word: "rooms",
        aliases: &[],
        arguments: "",
        kind: Some("rooms"),
        fields: &[],
        may: May::Everybody,
        about: "which rooms is somebody in?",
        help: Listing::Same,
        page: Listing::Same,
        typed: "/rooms",
        sent: r#"{"type":"rooms"}"#,
    },
    Spec {
        word: "topic",
        aliases: &[],
        arguments: "[TEXT]",
        kind: Some("topic"),
        fields: &[TOPIC],
        may: May::Everybody,
        about: "what is this room about? or say so (- for nothing)",
        help: Listing::Same,
        page: Listing::Same,
        typed: "/topic tea at five",
        sent: r#"{"type":"topic","text":"tea at five"}"#,
    },
    Spec {
        word: "me",
        aliases: &[],
        arguments: "TEXT",
        kind: None,
        fields: &[TEXT, ID, KIND, FOLLOWS],
        may: May::Everybody,
        about: "say what you do: /me waves",
        help: Listing::Same,
        page: Listing::Same,
        typed: "/me waves",
        sent: r#"{"type":"publish","text":"waves","kind":"me"}"#,
    },
    Spec {
        word: "msg",
        aliases: &[],
        arguments: "NAME TEXT",
        kind: Some("private"),
        fields: &[TO, TEXT, ID, FOLLOWS],
        may: May::Named,
        about: "say something to one person alone",
        help: Listing::Same,
        page: Listing::Same,
        typed: "/msg ana are you there?",
        sent: r#"{"type":"private","to":"bob","text":"hi"}"#,
    },
    Spec {
        word: "history",
        aliases: &[],
        arguments: "[N]",
        kind: Some("history"),
        fields: &[BEFORE, LIMIT],
        may: May::Everybody,
        about: "the last N messages (50; at most 200)",
        help: Listing::Same,
        page: Listing::No,
        typed: "/history 20",
        sent: r#"{"type":"history","before":70,"limit":20}"#,
    },
    Spec {
        word: "search",
        aliases: &[],
        arguments: "WORDS",
        kind: Some("search"),
        fields: &[QUERY, BEFORE, LIMIT],
        may: May::Everybody,
        about: "the last messages with all these words",
        help: Listing::Same,
        page: Listing::As("find messages with all these words"),
        typed: "/search tea",
        sent: r#"{"type":"search","query":"green tea"}"#,
    },
    Spec {
        word: "operator",
        aliases: &[],
        arguments: "SECRET",
        kind: Some("operator"),
        fields: &[PROOF],
        may: May::Everybody,
        about: "be an operator, who can",
        help: Listing::Same,
        page: Listing::Same,
        typed: "/operator SECRET",
        sent: r#"{"type":"operator","secret":"of the operators"}"#,
    },
    Spec {
        word: "kick",
        aliases: &[],
        arguments: "WHO [WHY]",
        kind: Some("kick"),
        fields: &[WHO, REASON],
        may: May::Operators,
        about: "send away a name, IP or IP:port",
        help: Listing::Same,
        page: Listing::Same,
        typed: "/kick ana spam",
        sent: r#"{"type":"kick","who":"ana","reason":"spam"}"#,
    },
    Spec {
        word: "ban",
        aliases: &[],
        arguments: "WHO [2h] [WHY]",
        kind: Some("ban"),
        fields: &[WHO, FOR, REASON],
        may: May::Operators,
        about: "keep out a name or IP",
        help: Listing::Same,
        page: Listing::Same,
        typed: "/ban ana 2h spam",
        sent: r#"{"type":"ban","who":"ana","for":"2h","reason":"spam"}"#,
    },
    Spec {
        word: "unban",
        aliases: &[],
        arguments: "WHO",
        kind: Some("unban"),
        fields: &[WHO],
        may: May::Operators,
        about: "let them in again",
        help: Listing::Beside,
        page: Listing::Same,
        typed: "/unban ana",
        sent: r#"{"type":"unban","who":"ana"}"#,
    },
    Spec {
        word: "mute",
        aliases: &[],
        arguments: "WHO [2h]",
        kind: Some("mute"),
        fields: &[WHO, FOR],
        may: May::Operators,
        about: "let them read only",
        help: Listing::Same,
        page: Listing::Same,
        typed: "/mute ana 30m",
        sent: r#"{"type":"mute","who":"ana","for":"30m"}"#,
    },
    Spec {
        word: "unmute",
        aliases: &[],
        arguments: "WHO",
        kind: Some("unmute"),
        fields: &[WHO],
        may: May::Operators,
        about: "let them speak again",
        help: Listing::Beside,
        page: Listing::Same,
        typed: "/unmute ana",
        sent: r#"{"type":"unmute","who":"ana"}"#,
    },
    Spec {
        word: "erase",
        aliases: &[],
        arguments: "NUMBER",
        kind: Some("erase"),
        fields: &[SEQ],
        may: May::Operators,
        about: "erase what was said",
        help: Listing::As("erase what was said (?seq=1 shows numbers)"),
        page: Listing::As("erase a message; point at its time to see the number"),
        typed: "/erase 7",
        sent: r#"{"type":"erase","seq":7}"#,
    },
    Spec {
        word: "help",
        aliases: &[],
        arguments: "",
        kind: None,
        fields: &[],
        may: May::Plain,
        about: "the list of commands",
        help: Listing::As("this list"),
        page: Listing::As("what can be typed, and other ways to join"),
        typed: "/help",
        sent: "",
    },
    Spec {
        word: "quiet",
        aliases: &[],
        arguments: "",
        kind: None,
        fields: &[],
        may: May::Terminal,
        about: "hide joins and leaves, or show them again",
        help: Listing::No,
        page: Listing::No,
        typed: "/quiet",
        sent: "",
    },
    Spec {
        word: "quit",
        aliases: &[],
        arguments: "",
        kind: None,
        fields: &[],
        may: May::Terminal,
        about: "leave",
        help: Listing::No,
        page: Listing::No,
        typed: "/quit",
        sent: "",
    },
];

/// The field that every command may have. The answers carry it too.
pub const REF: Field = optional::<Option<Reference>>("ref", "1 to 64 of `A-Za-z0-9_-`");

const TEXT: Field = needed::<String>("text", "a text");
const ID: Field = optional::<Option<MessageId>>("id", "1 to 64 of `A-Za-z0-9_-`");
const KIND: Field = optional::<Kind>("kind", "`said` (the default) or `me`");
const FOLLOWS: Field =
    optional::<Option<MessageId>>("follows", "the `id` of the message sent before");
const TO: Field = needed::<Name>("to", "a name");
const NAME: Field = needed::<Name>("name", "a name");
const SECRET: Field =
    optional::<Option<Secret>>("secret", "16 to 128 printable ASCII characters, no spaces");
const ROOM: Field = needed::<RoomName>("room", "a room");
const AFTER: Field = optional::<Option<Seq>>("after", "a number of a message");
const EPOCH: Field = optional::<Option<Epoch>>("epoch", "the log that `after` counts in");
const BACKLOG: Field = optional::<Option<u32>>("backlog", "how many messages, at most 1000");
const TOPIC: Field = optional::<Option<String>>("text", "one line; empty for no topic");
const BEFORE: Field = optional::<Option<Seq>>("before", "a number of a message");
const LIMIT: Field = optional::<Option<u32>>("limit", "how many messages, at most 200");
const QUERY: Field = needed::<String>("query", "words");
const PROOF: Field = needed::<String>("secret", "the operators' secret");
const WHO: Field = needed::<Who>("who", "a name, an IP address or `IP:port`");
const FOR: Field = optional::<Option<Lasting>>("for", "a time like `30m`, `2h` or `7d`");
const REASON: Field = optional::<Option<String>>("reason", "one line");
const SEQ: Field = needed::<Seq>("seq", "the number of a message");

const fn needed<T: for<'a> Deserialize<'a>>(name: &'static str, holds: &'static str) -> Field {
    Field {
        name,
        holds,
        needed: true,
        check: check::<T>,
    }
}

const fn optional<T: for<'a> Deserialize<'a>>(name: &'static str, holds: &'static str) -> Field {
    Field {
        name,
        holds,
        needed: false,
        check: check::<T>,
    }
}

fn check<T: for<'a> Deserialize<'a>>(value: &Value) -> Result<(), serde_json::Error> {
    T::deserialize(value).map(drop)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, ptr};

    use serde_json::{Map, json};

    use super::*;
    use crate::protocol::{Request, json, typed as plain};

    /// All commands that JSON has, each with all its fields.
    fn whole() -> impl Iterator<Item = (&'static Spec, Map<String, Value>)> {
        all_sent().into_iter().map(|spec| {
            let value = |field: &Field| match field.name {
                "kind" => json!("me"),
                "after" | "backlog" | "before" | "limit" | "seq" => json!(7),
                "for" => json!("2h"),
                _ => json!("0123456789abcdef"),
            };
            let fields = spec.fields.iter().chain([&REF]);
            let fields = fields.map(|field| (field.name.to_owned(), value(field)));
            let kind = ("type".to_owned(), json!(spec.kind));
            (spec, fields.chain([kind]).collect())
        })
    }

    fn parse(object: &Map<String, Value>) -> Request {
        json::parse(&Value::Object(object.clone()).to_string())
    }

    #[test]
    fn examples_parse_as_their_own_command() {
        for spec in &TABLE {
            if spec.may != May::Terminal {
                let command = plain::parse(spec.typed).expect(spec.typed);
                let command = command.expect("a command");
                let own = command.spec().expect("a declaration");
                assert!(ptr::eq(own, spec) || spec.word == "me", "{}", spec.typed);
            }
            if let Some(kind) = spec.kind {
                let command = json::parse(spec.sent).command.expect(spec.sent);
                assert_eq!(command.spec().and_then(|spec| spec.kind), Some(kind));
            }
        }
    }

    #[test]
    fn words_and_kinds_are_unique() {
        let words = TABLE
            .iter()
            .flat_map(|spec| spec.aliases.iter().chain([&spec.word]));
        let words: Vec<_> = words.collect();
        let kinds: Vec<_> = TABLE.iter().filter_map(|spec| spec.kind).collect();
        assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), words.len());
        assert_eq!(kinds.iter().collect::<BTreeSet<_>>().len(), kinds.len());
    }

    #[test]
    fn a_command_has_exactly_its_declared_fields() {
        for (spec, object) in whole() {
            let request = parse(&object);
            let command = request.command.expect(spec.sent);
            let again = json::request(&command, request.reference.as_ref());
            let again: Map<_, _> = serde_json::from_str(&again).expect("an object");
            assert_eq!(again, object);
        }
    }

    #[test]
    fn a_refusal_names_the_wrong_or_missing_field() {
        for (spec, object) in whole() {
            for field in spec.fields.iter().chain([&REF]) {
                let said =
                    |object: &Map<_, _>| parse(object).command.map_err(|refusal| refusal.text);
                let mut changed = object.clone();
                changed.insert(field.name.to_owned(), json!({}));
                let wrong = format!("\"{}\" is not what it is to be", field.name);
                let text = said(&changed).expect_err(spec.sent);
                assert!(text.starts_with(&wrong), "{text}");
                changed.remove(field.name);
                let missing = format!("\"{}\" is missing", field.name);
                match said(&changed) {
                    Ok(_) => assert!(!field.needed, "{} {}", spec.sent, field.name),
                    Err(text) => assert!(field.needed && text.starts_with(&missing), "{text}"),
                }
            }
        }
    }
}
