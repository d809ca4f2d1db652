//! The table of commands. It declares once how a person types a command, how a
//! program sends it, who may use it and how help describes it.
//!
//! Both parsers, `/help`, the terminal's completion, the page's list and the
//! reference in `docs/protocol.md` use this table.

use serde::Deserialize;
use serde_json::Value;

use super::super::{
    Epoch, MessageKind, Seq,
    command_target::CommandTarget,
    name::{MessageId, Name, Reference, RoomName},
    secret::Secret,
    typed_duration::TypedDuration,
};

/// The declaration of one command.
#[derive(Debug)]
pub struct CommandSpec {
    /// The word after the slash; empty for a message, which has no slash.
    pub word: &'static str,
    /// Other words for the same command.
    pub aliases: &'static [&'static str],
    /// The arguments after the word, as help writes them.
    pub arguments: &'static str,
    /// The `type` in JSON, if the command has one of its own.
    pub json_type: Option<&'static str>,
    /// The fields in JSON, except `type` and `ref`.
    pub fields: &'static [Field],
    /// The connections that may use it.
    pub permission: Permission,
    /// A short description of the command.
    pub about: &'static str,
    /// The entry in `/help`.
    pub help: Listing,
    /// The entry in the page's list.
    pub page: Listing,
    /// An example as a person types it.
    pub typed_example: &'static str,
    /// An example in JSON; empty if JSON has no such command.
    pub json_example: &'static str,
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
pub enum Permission {
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
    /// On a line of its own, with [`CommandSpec::about`].
    OwnLine,
    /// On a line of its own, with this description.
    OwnLineWith(&'static str),
    /// On the line of the command before it, without a description.
    SharedLine,
    /// Not at all.
    Hidden,
}

impl Listing {
    /// The description of a command that has a line of its own.
    pub fn about(self, spec: &CommandSpec) -> Option<&'static str> {
        match self {
            Listing::OwnLine => Some(spec.about),
            Listing::OwnLineWith(about) => Some(about),
            Listing::SharedLine | Listing::Hidden => None,
        }
    }
}

impl CommandSpec {
    /// The usage line: `/kick WHO [WHY]`.
    pub fn form(&self) -> String {
        let slash = if self.word.is_empty() { "" } else { "/" };
        format!("{slash}{} {}", self.word, self.arguments)
            .trim()
            .to_owned()
    }

    /// Whether it publishes a message, private or not.
    pub fn is_message(&self) -> bool {
        self.json_type.is_some() && self.fields.iter().any(|field| field.name == ID.name)
    }
}

/// The command for a word after a slash; `None` if the server has no such
/// command.
pub fn by_word(word: &str) -> Option<&'static CommandSpec> {
    TABLE.iter().find(|spec| {
        let known = spec.word == word || spec.aliases.contains(&word);
        known && !word.is_empty() && spec.permission != Permission::Terminal
    })
}

/// The command with this `type` in JSON.
pub fn by_json_type(kind: &str) -> Option<&'static CommandSpec> {
    TABLE.iter().find(|spec| spec.json_type == Some(kind))
}

/// All commands that JSON has; those that publish a message come first.
pub fn all_in_json() -> Vec<&'static CommandSpec> {
    let mut specs: Vec<_> = TABLE
        .iter()
        .filter(|spec| spec.json_type.is_some())
        .collect();
    specs.sort_by_key(|spec| !spec.is_message());
    specs
}

/// All commands, in the order of `/help`.
pub static TABLE: [CommandSpec; 20] = [
    CommandSpec {
        word: "",
        aliases: &[],
        arguments: "TEXT",
        json_type: Some("publish"),
        fields: &[TEXT, ID, KIND, FOLLOWS],
        permission: Permission::Everybody,
        about: "say TEXT to the room",
        help: Listing::Hidden,
        page: Listing::Hidden,
        typed_example: "hi",
        json_example: r#"{"type":"publish","text":"hi"}"#,
    },
    CommandSpec {
        word: "name",
        aliases: &[],
        arguments: "NAME",
        json_type: Some("name"),
        fields: &[NAME, SECRET],
        permission: Permission::Everybody,
        about: "be called NAME",
        help: Listing::OwnLineWith(
            "be called NAME instead of your IP:port; the answer says how to\nhave that name again",
        ),
        page: Listing::OwnLineWith("be called NAME; this browser keeps it yours"),
        typed_example: "/name ana",
        json_example: r#"{"type":"name","name":"ana"}"#,
    },
    CommandSpec {
        word: "join",
        aliases: &[],
        arguments: "ROOM",
        json_type: Some("join"),
        fields: &[ROOM, AFTER, EPOCH, BACKLOG],
        permission: Permission::Everybody,
        about: "go to another room",
        help: Listing::OwnLine,
        page: Listing::OwnLine,
        typed_example: "/join tea",
        json_example: r#"{"type":"join","room":"tea","backlog":20}"#,
    },
    CommandSpec {
        word: "members",
        aliases: &[],
        arguments: "",
        json_type: Some("members"),
        fields: &[],
        permission: Permission::Everybody,
        about: "who is here?",
        help: Listing::OwnLine,
        page: Listing::OwnLine,
        typed_example: "/members",
        json_example: r#"{"type":"members"}"#,
    },
    CommandSpec {
        word: "rooms",
        aliases: &[],
        arguments: "",
        json_type: Some("rooms"),
        fields: &[],
        permission: Permission::Everybody,
        about: "which rooms is somebody in?",
        help: Listing::OwnLine,
        page: Listing::OwnLine,
        typed_example: "/rooms",
        json_example: r#"{"type":"rooms"}"#,
    },
    CommandSpec {
        word: "topic",
        aliases: &[],
        arguments: "[TEXT]",
        json_type: Some("topic"),
        fields: &[TOPIC],
        permission: Permission::Everybody,
        about: "what is this room about? or say so (- for nothing)",
        help: Listing::OwnLine,
        page: Listing::OwnLine,
        typed_example: "/topic tea at five",
        json_example: r#"{"type":"topic","text":"tea at five"}"#,
    },
    CommandSpec {
        word: "me",
        aliases: &[],
        arguments: "TEXT",
        json_type: None,
        fields: &[TEXT, ID, KIND, FOLLOWS],
        permission: Permission::Everybody,
        about: "say what you do: /me waves",
        help: Listing::OwnLine,
        page: Listing::OwnLine,
        typed_example: "/me waves",
        json_example: r#"{"type":"publish","text":"waves","kind":"me"}"#,
    },
    CommandSpec {
        word: "msg",
        aliases: &[],
        arguments: "NAME TEXT",
        json_type: Some("private"),
        fields: &[TO, TEXT, ID, FOLLOWS],
        permission: Permission::Named,
        about: "say something to one person alone",
        help: Listing::OwnLine,
        page: Listing::OwnLine,
        typed_example: "/msg ana are you there?",
        json_example: r#"{"type":"private","to":"bob","text":"hi"}"#,
    },
    CommandSpec {
        word: "history",
        aliases: &[],
        arguments: "[N]",
        json_type: Some("history"),
        fields: &[BEFORE, LIMIT],
        permission: Permission::Everybody,
        about: "the last N messages (50; at most 200)",
        help: Listing::OwnLine,
        page: Listing::Hidden,
        typed_example: "/history 20",
        json_example: r#"{"type":"history","before":70,"limit":20}"#,
    },
    CommandSpec {
        word: "search",
        aliases: &[],
        arguments: "WORDS",
        json_type: Some("search"),
        fields: &[QUERY, BEFORE, LIMIT],
        permission: Permission::Everybody,
        about: "the last messages with all these words",
        help: Listing::OwnLine,
        page: Listing::OwnLineWith("find messages with all these words"),
        typed_example: "/search tea",
        json_example: r#"{"type":"search","query":"green tea"}"#,
    },
    CommandSpec {
        word: "operator",
        aliases: &[],
        arguments: "SECRET",
        json_type: Some("operator"),
        fields: &[PROOF],
        permission: Permission::Everybody,
        about: "be an operator, who can",
        help: Listing::OwnLine,
        page: Listing::OwnLine,
        typed_example: "/operator SECRET",
        json_example: r#"{"type":"operator","secret":"of the operators"}"#,
    },
    CommandSpec {
        word: "kick",
        aliases: &[],
        arguments: "WHO [WHY]",
        json_type: Some("kick"),
        fields: &[WHO, REASON],
        permission: Permission::Operators,
        about: "send away a name, IP or IP:port",
        help: Listing::OwnLine,
        page: Listing::OwnLine,
        typed_example: "/kick ana spam",
        json_example: r#"{"type":"kick","who":"ana","reason":"spam"}"#,
    },
    CommandSpec {
        word: "ban",
        aliases: &[],
        arguments: "WHO [2h] [WHY]",
        json_type: Some("ban"),
        fields: &[WHO, FOR, REASON],
        permission: Permission::Operators,
        about: "keep out a name or IP",
        help: Listing::OwnLine,
        page: Listing::OwnLine,
        typed_example: "/ban ana 2h spam",
        json_example: r#"{"type":"ban","who":"ana","for":"2h","reason":"spam"}"#,
    },
    CommandSpec {
        word: "unban",
        aliases: &[],
        arguments: "WHO",
        json_type: Some("unban"),
        fields: &[WHO],
        permission: Permission::Operators,
        about: "let them in again",
        help: Listing::SharedLine,
        page: Listing::OwnLine,
        typed_example: "/unban ana",
        json_example: r#"{"type":"unban","who":"ana"}"#,
    },
    CommandSpec {
        word: "mute",
        aliases: &[],
        arguments: "WHO [2h]",
        json_type: Some("mute"),
        fields: &[WHO, FOR],
        permission: Permission::Operators,
        about: "let them read only",
        help: Listing::OwnLine,
        page: Listing::OwnLine,
        typed_example: "/mute ana 30m",
        json_example: r#"{"type":"mute","who":"ana","for":"30m"}"#,
    },
    CommandSpec {
        word: "unmute",
        aliases: &[],
        arguments: "WHO",
        json_type: Some("unmute"),
        fields: &[WHO],
        permission: Permission::Operators,
        about: "let them speak again",
        help: Listing::SharedLine,
        page: Listing::OwnLine,
        typed_example: "/unmute ana",
        json_example: r#"{"type":"unmute","who":"ana"}"#,
    },
    CommandSpec {
        word: "erase",
        aliases: &[],
        arguments: "NUMBER",
        json_type: Some("erase"),
        fields: &[SEQ],
        permission: Permission::Operators,
        about: "erase what was said",
        help: Listing::OwnLineWith("erase what was said (?seq=1 shows numbers)"),
        page: Listing::OwnLineWith("erase a message; point at its time to see the number"),
        typed_example: "/erase 7",
        json_example: r#"{"type":"erase","seq":7}"#,
    },
    CommandSpec {
        word: "help",
        aliases: &[],
        arguments: "",
        json_type: None,
        fields: &[],
        permission: Permission::Plain,
        about: "the list of commands",
        help: Listing::OwnLineWith("this list"),
        page: Listing::OwnLineWith("what can be typed, and other ways to join"),
        typed_example: "/help",
        json_example: "",
    },
    CommandSpec {
        word: "quiet",
        aliases: &[],
        arguments: "",
        json_type: None,
        fields: &[],
        permission: Permission::Terminal,
        about: "hide joins and leaves, or show them again",
        help: Listing::Hidden,
        page: Listing::Hidden,
        typed_example: "/quiet",
        json_example: "",
    },
    CommandSpec {
        word: "quit",
        aliases: &[],
        arguments: "",
        json_type: None,
        fields: &[],
        permission: Permission::Terminal,
        about: "leave",
        help: Listing::Hidden,
        page: Listing::Hidden,
        typed_example: "/quit",
        json_example: "",
    },
];

/// The field that every command may have. The answers carry it too.
pub const REF: Field = optional::<Option<Reference>>("ref", "1 to 64 of `A-Za-z0-9_-`");

const TEXT: Field = needed::<String>("text", "a text");
const ID: Field = optional::<Option<MessageId>>("id", "1 to 64 of `A-Za-z0-9_-`");
const KIND: Field = optional::<MessageKind>("kind", "`said` (the default) or `me`");
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
const WHO: Field = needed::<CommandTarget>("who", "a name, an IP address or `IP:port`");
const FOR: Field = optional::<Option<TypedDuration>>("for", "a time like `30m`, `2h` or `7d`");
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
    fn whole() -> impl Iterator<Item = (&'static CommandSpec, Map<String, Value>)> {
        all_in_json().into_iter().map(|spec| {
            let value = |field: &Field| match field.name {
                "kind" => json!("me"),
                "after" | "backlog" | "before" | "limit" | "seq" => json!(7),
                "for" => json!("2h"),
                _ => json!("0123456789abcdef"),
            };
            let fields = spec.fields.iter().chain([&REF]);
            let fields = fields.map(|field| (field.name.to_owned(), value(field)));
            let kind = ("type".to_owned(), json!(spec.json_type));
            (spec, fields.chain([kind]).collect())
        })
    }

    fn parse(object: &Map<String, Value>) -> Request {
        json::parse(&Value::Object(object.clone()).to_string())
    }

    #[test]
    fn examples_parse_as_their_own_command() {
        for spec in &TABLE {
            if spec.permission != Permission::Terminal {
                let command = plain::parse(spec.typed_example).expect(spec.typed_example);
                let command = command.expect("a command");
                let own = command.spec().expect("a declaration");
                assert!(
                    ptr::eq(own, spec) || spec.word == "me",
                    "{}",
                    spec.typed_example
                );
            }
            if let Some(kind) = spec.json_type {
                let command = json::parse(spec.json_example)
                    .command
                    .expect(spec.json_example);
                assert_eq!(command.spec().and_then(|spec| spec.json_type), Some(kind));
            }
        }
    }

    #[test]
    fn words_and_kinds_are_unique() {
        let words = TABLE
            .iter()
            .flat_map(|spec| spec.aliases.iter().chain([&spec.word]));
        let words: Vec<_> = words.collect();
        let kinds: Vec<_> = TABLE.iter().filter_map(|spec| spec.json_type).collect();
        assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), words.len());
        assert_eq!(kinds.iter().collect::<BTreeSet<_>>().len(), kinds.len());
    }

    #[test]
    fn a_command_has_exactly_its_declared_fields() {
        for (spec, object) in whole() {
            let request = parse(&object);
            let command = request.command.expect(spec.json_example);
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
                let text = said(&changed).expect_err(spec.json_example);
                assert!(text.starts_with(&wrong), "{text}");
                changed.remove(field.name);
                let missing = format!("\"{}\" is missing", field.name);
                match said(&changed) {
                    Ok(_) => assert!(!field.needed, "{} {}", spec.json_example, field.name),
                    Err(text) => assert!(field.needed && text.starts_with(&missing), "{text}"),
                }
            }
        }
    }
}
