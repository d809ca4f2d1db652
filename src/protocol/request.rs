//! A text frame of a client, parsed.

use super::{Command, Refusal, name::Reference};

/// A text frame of a client, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The ref, which every answer carries.
    pub reference: Option<Reference>,
    /// The command, or the refusal if the frame holds none.
    pub command: Result<Command, Refusal>,
}

impl Request {
    /// The request of a frame without a ref, or with one that breaks the rule.
    pub fn without_ref(command: Result<Command, Refusal>) -> Self {
        let reference = None;
        Request { reference, command }
    }
}
