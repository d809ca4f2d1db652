//! The table of commands. It declares once how a person types a command, how a
//! program sends it, who may use it and how help describes it.
//!
//! Both parsers, `/help`, the terminal's completion, the page's list and the
//! reference in `docs/protocol.md` use this table.

mod field;
mod spec;

use self::field::{
    AFTER, BACKLOG, BEFORE, EPOCH, FOLLOWS, FOR, ID, KIND, LIMIT, NAME, PROOF, QUERY, REASON, ROOM,
    SECRET, SEQ, TEXT, TO, TOPIC, WHO,
};
pub use self::{
    field::{Field, REF},
    spec::{CommandSpec, Listing, Permission},
};

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
        about: "list the rooms with people in them",
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
        permission: Permission::Owners,
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

#[cfg(test)]
mod tests;
