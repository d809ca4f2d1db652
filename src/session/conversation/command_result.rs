//! The result of a command.

use super::super::pending::{PendingWork, SideTask};
use crate::protocol::Event;

/// The result of a command.
pub(super) enum CommandResult {
    /// An answer, sent at once.
    Answer(Event),
    /// Work that takes longer.
    Work(PendingWork),
    /// No answer.
    Done,
}

impl From<Event> for CommandResult {
    fn from(event: Event) -> Self {
        CommandResult::Answer(event)
    }
}

impl From<SideTask> for CommandResult {
    fn from(lookup: SideTask) -> Self {
        CommandResult::Work(PendingWork::LookUp(lookup))
    }
}
