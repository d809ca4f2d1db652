//! What a text frame of a client asks.

use super::{Command, Refusal, name::Reference};

/// A text frame of a client, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The client's own name for it, which every answer carries.
    pub reference: Option<Reference>,
    /// The command, or why the frame holds none.
    pub command: Result<Command, Refusal>,
}

impl Request {
    /// A frame that has no ref, or none that can be told apart from others.
    pub fn without_ref(command: Result<Command, Refusal>) -> Self {
        let reference = None;
        Request { reference, command }
    }
}
