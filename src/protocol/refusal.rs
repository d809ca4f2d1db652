//! Refusals of commands.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::name::MessageId;

/// A refusal of a command: a code for programs and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The reason, for programs.
    pub code: RefusalCode,
    /// A sentence for people that says what to do.
    pub text: String,
    /// The id of the refused message, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<MessageId>,
    /// The time in milliseconds after which the client may try again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_ms: Option<u64>,
}

impl Refusal {
    /// A refusal without an id and without a time to wait.
    pub fn new(code: RefusalCode, text: impl Into<String>) -> Self {
        Refusal {
            code,
            text: text.into(),
            id: None,
            retry_ms: None,
        }
    }

    /// The same refusal with the id of the refused message.
    #[must_use]
    pub fn with_id(mut self, id: Option<MessageId>) -> Self {
        self.id = id;
        self
    }
}

/// The reason why the server refused a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The frame is not one JSON object.
    BadJson,
    /// There is no such command.
    UnknownType,
    /// A field is missing or has an invalid value.
    BadField,
    /// A text, topic, search or frame is over its limit, or a search took over
    /// 2 s.
    TooLong,
    /// A text or search has no content.
    Empty,
    /// The name breaks the rule of names.
    BadName,
    /// Another person owns or uses the name; its secret proves that it is yours.
    NameTaken,
    /// Another message in this room has the id. Say it again under a new id.
    IdTaken,
    /// The person or the message number does not exist here.
    NotHere,
    /// The sentence says why: for operators only, muted, banned, without an owned
    /// name, a full list or inbox, or a text that would publish a secret.
    NotAllowed,
    /// The client sends too fast.
    Rate,
    /// The server cannot do or store this now.
    Busy,
    /// A code of a later version.
    #[serde(other)]
    Other,
}

impl RefusalCode {
    /// All codes of this version.
    pub const ALL: [RefusalCode; 12] = [
        RefusalCode::BadJson,
        RefusalCode::UnknownType,
        RefusalCode::BadField,
        RefusalCode::TooLong,
        RefusalCode::Empty,
        RefusalCode::BadName,
        RefusalCode::NameTaken,
        RefusalCode::IdTaken,
        RefusalCode::NotHere,
        RefusalCode::NotAllowed,
        RefusalCode::Rate,
        RefusalCode::Busy,
    ];

    /// Whether the server may accept the same command later. A client repeats a
    /// message under the same id, after the time in [`Refusal::retry_ms`].
    pub const fn is_temporary(self) -> bool {
        matches!(self, RefusalCode::Rate | RefusalCode::Busy)
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Serialize::serialize(self, f)
    }
}
