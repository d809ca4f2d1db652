//! Why a command was not carried out.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::name::MessageId;

/// A refusal: a code for programs and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// For people: what to do.
    pub text: String,
    /// The id of the message refused, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<MessageId>,
    /// When trying again makes sense, in milliseconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_ms: Option<u64>,
}

impl Refusal {
    /// A refusal with neither id nor time to wait.
    pub fn new(code: RefusalCode, text: impl Into<String>) -> Self {
        Refusal {
            code,
            text: text.into(),
            id: None,
            retry_ms: None,
        }
    }

    /// The same refusal, of the message with this id.
    #[must_use]
    pub fn of(mut self, id: Option<MessageId>) -> Self {
        self.id = id;
        self
    }
}

/// Why a command was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// Not JSON, or not an object.
    BadJson,
    /// No such command.
    UnknownType,
    /// A field is missing or not of its form.
    BadField,
    /// A text over the limit.
    TooLong,
    /// A text of no characters.
    Empty,
    /// Not a name.
    BadName,
    /// The name is another's.
    NameTaken,
    /// What or who is meant is not here.
    NotHere,
    /// It may not be done.
    NotAllowed,
    /// Too much in too short a time.
    Rate,
    /// It could not be stored now.
    Busy,
    /// A code of a later version.
    #[serde(other)]
    Other,
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Serialize::serialize(self, f)
    }
}
