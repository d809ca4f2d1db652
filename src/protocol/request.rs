//! A text frame of a client: its outline, and the parsed frame.

use super::{
    Command, Refusal, RefusalCode,
    command::table::CommandSpec,
    limits::MAX_COMMAND_BYTES,
    name::{MessageId, Reference},
};

/// The part of a text frame that decides its price and its largest size. It is
/// found in one pass that builds no value.
#[derive(Clone, Debug)]
pub struct Outline {
    /// The kind of the frame.
    pub kind: FrameKind,
    /// The id of its message, if it has a valid one.
    pub id: Option<MessageId>,
    /// The id of the message before, if it has a valid one.
    pub follows: Option<MessageId>,
    /// The ref, if it has a valid one.
    pub reference: Option<Reference>,
}

/// The kind of a text frame.
#[derive(Clone, Copy, Debug)]
pub enum FrameKind {
    /// The frame is not one JSON object.
    NoObject,
    /// The object has no `type` that is a string.
    NoType,
    /// There is no such command.
    UnknownType,
    /// The frame asks for this command, perhaps with mistakes.
    Command(&'static CommandSpec),
}

impl Outline {
    /// The outline of a frame of this kind, without ids.
    pub fn new(kind: FrameKind) -> Self {
        Outline {
            kind,
            id: None,
            follows: None,
            reference: None,
        }
    }

    /// Whether the frame publishes a message, private or not.
    pub fn is_message(&self) -> bool {
        matches!(self.kind, FrameKind::Command(spec) if spec.is_message())
    }

    /// Whether the frame publishes a message that all readers of the room get.
    pub fn is_for_room(&self) -> bool {
        matches!(self.kind, FrameKind::Command(spec) if spec.is_for_room())
    }

    /// Checks the size of the frame, before its values are built.
    ///
    /// # Errors
    /// Refuses a frame of more than [`MAX_COMMAND_BYTES`] bytes that publishes
    /// no message. A frame that is no JSON object is left to the parser.
    pub fn check_size(&self, bytes: usize) -> Result<(), Refusal> {
        if bytes <= MAX_COMMAND_BYTES
            || self.is_message()
            || matches!(self.kind, FrameKind::NoObject)
        {
            return Ok(());
        }
        let text = format!(
            "The command has {bytes} bytes; all but messages have at most {MAX_COMMAND_BYTES}."
        );
        Err(Refusal::new(RefusalCode::TooLong, text).with_id(self.id.clone()))
    }
}

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
