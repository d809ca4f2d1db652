//! The redaction of a message.

use super::{actions::ActionSubmitter, admission};
use crate::{
    log::Action,
    protocol::{ConnectionId, Refusal, RefusalCode, Seq, name::RoomName},
    store::Outcome,
};

/// Redacts the message with number `seq` in a room, as the action of an operator
/// or of its author asks. The room's readers are told.
///
/// # Errors
///
/// Refuses if the room has no message with this number, if the author may not
/// redact it, or if the redaction cannot be stored.
pub(super) async fn redact(
    actions: ActionSubmitter,
    origin: ConnectionId,
    action: Action,
    room: RoomName,
    seq: Seq,
) -> Result<(), Refusal> {
    match actions.act(origin, action).await?.outcome {
        Outcome::NotHere => Err(not_here(&room, seq)),
        Outcome::Denied(denial) => Err(admission::refusal(denial)),
        _ => Ok(()),
    }
}

pub(super) fn not_here(room: &RoomName, seq: Seq) -> Refusal {
    let text = format!(
        "Number {seq} is no message of {room}: go to the room it was said in, where /history shows what there is."
    );
    Refusal::new(RefusalCode::NotHere, text)
}
