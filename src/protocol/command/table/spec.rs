//! The fields of a command's declaration.

use super::field::{FOLLOWS, Field, TO};

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

/// The connections that may use a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Every connection.
    Everybody,
    /// A connection that owns its name.
    Owners,
    /// A connection that has given the operators' secret.
    Operators,
    /// Every connection in the plain format.
    Plain,
    /// A person at the terminal client. The client does not send it to the
    /// server.
    Terminal,
    /// A program, in JSON. No person types it.
    Programs,
}

/// The way a list shows a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// On a line of its own, with [`CommandSpec::about`].
    OwnLine,
    /// On a line of its own, with this description.
    OwnLineWith(&'static str),
    /// Not at all.
    Hidden,
}

impl Listing {
    /// The description of a command that has a line of its own.
    pub fn about(self, spec: &CommandSpec) -> Option<&'static str> {
        match self {
            Listing::OwnLine => Some(spec.about),
            Listing::OwnLineWith(about) => Some(about),
            Listing::Hidden => None,
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

    /// Whether the server knows its word.
    pub fn is_typed(&self) -> bool {
        !matches!(self.permission, Permission::Terminal | Permission::Programs)
    }

    /// Whether it publishes a message, private or not.
    pub fn is_message(&self) -> bool {
        self.fields.iter().any(|field| field.name == FOLLOWS.name)
    }

    /// Whether it publishes a message that all readers of the room get.
    pub fn is_for_room(&self) -> bool {
        self.is_message() && !self.fields.iter().any(|field| field.name == TO.name)
    }
}
