//! The redaction of a message.

use super::actions::ActionSubmitter;
use crate::{
    log::Action,
    protocol::{ConnectionId, Refusal, RefusalCode, Seq, name::RoomName},
    store::Outcome,
};

/// Redacts the message with number `seq` in a room. The room's readers are
/// told.
///
/// # Errors
///
/// Refuses if the room has no message with this number, or if the redaction
/// cannot be stored.
pub(super) async fn redact(
    actions: ActionSubmitter,
    origin: ConnectionId,
    by: String,
    room: RoomName,
    seq: Seq,
) -> Result<(), Refusal> {
    let place = room.clone();
    let action = Action::Redact { room, seq, by };
    match actions.act(origin, action).await?.outcome {
        Outcome::NotHere => Err(not_here(&place, seq)),
        _ => Ok(()),
    }
}

fn not_here(room: &RoomName, seq: Seq) -> Refusal {
    let text = format!(
        "Number {seq} is no message of {room}: go to the room it was said in, where /history shows what there is."
    );
    Refusal::new(RefusalCode::NotHere, text)
}
