//! Erasing what somebody said.

use std::future::Future;

use super::Hub;
use crate::{
    history::{Changing, Erasure},
    protocol::{Author, Refusal, RefusalCode, Seq, name::RoomName},
};

impl Hub {
    /// Erases what was said in a room under a number, once that is written down,
    /// and tells the room's readers.
    pub fn erase(
        &self,
        by: &Author,
        room: &RoomName,
        seq: Seq,
    ) -> impl Future<Output = Result<(), Refusal>> + use<> {
        let (hub, by, room) = (self.clone(), by.to_string(), room.clone());
        async move {
            let mut turn = hub.history().erasing().await;
            let place = room.clone();
            let change = move |log: &mut Changing<'_>| {
                let erasure = log.erase(&place, seq, &mut turn)?;
                if let Erasure::Done { whose } = &erasure {
                    log.audit(by, &format!("erase {seq}"), whose.clone(), String::new())?;
                }
                Ok(erasure)
            };
            let (readers, place) = (hub.clone(), room.clone());
            let then = move |erasure: &Erasure| {
                if matches!(erasure, Erasure::Done { .. }) {
                    readers.fanout().erased(&place, seq);
                }
            };
            match hub.change_then(change, then).await? {
                Erasure::Done { .. } | Erasure::Before => Ok(()),
                Erasure::NotHere => Err(not_here(&room, seq)),
            }
        }
    }
}

fn not_here(room: &RoomName, seq: Seq) -> Refusal {
    let text = format!(
        "Number {seq} is no message of {room}: go to the room it was said in, where /history shows what there is."
    );
    Refusal::new(RefusalCode::NotHere, text)
}
