//! Acts on a frame: charges it to the rate limit, parses it, and answers it.

use super::{super::pending::PendingCommand, Conversation, command_result::CommandResult};
use crate::{
    fanout::Subscriber,
    hub::{frame_cost, message_cost},
    protocol::{Event, Outline, Refusal, Request, close::CloseReason},
};

impl Conversation<'_> {
    /// Acts on a text frame; returns the work that takes longer.
    ///
    /// # Errors
    ///
    /// Fails with the close reason if the client guesses secrets or floods.
    pub(in crate::session) fn handle(
        &mut self,
        frame: &str,
        subscriber: &mut Subscriber,
    ) -> Result<Option<PendingCommand>, CloseReason> {
        let Some(Request { reference, command }) = self.parse(frame) else {
            return Ok(None);
        };
        let answer = match command.and_then(|command| self.act(command)) {
            Ok(CommandResult::Done) => return Ok(None),
            Ok(CommandResult::Work(work)) => return Ok(Some(PendingCommand { work, reference })),
            Ok(CommandResult::Answer(event)) => event,
            Err(refusal) => Event::Refused(refusal),
        };
        self.answer(&answer, reference.as_ref(), subscriber);
        if self.operator.is_guessing() {
            return Err(CloseReason::WrongSecrets);
        }
        self.check_flood()?;
        Ok(None)
    }

    /// Charges control frames and fragments to the rate limit. The session still
    /// handles them, until the client floods.
    ///
    /// # Errors
    ///
    /// Fails with the close reason if the client floods.
    pub(in crate::session) fn charge_extra(&mut self, frames: u32) -> Result<(), CloseReason> {
        match &mut self.pace {
            Some(pace) if frames > 0 => {
                // No answer to such a frame could carry a refusal.
                let _ = pace.commands(frames);
                self.check_flood()
            }
            _ => Ok(()),
        }
    }

    fn check_flood(&self) -> Result<(), CloseReason> {
        match &self.pace {
            Some(pace) if pace.is_flood() => {
                pace.ban_flooder();
                Err(CloseReason::Flooding)
            }
            _ => Ok(()),
        }
    }

    /// Parses a text frame once it is paid for; `None` if it asks for nothing.
    fn parse(&mut self, frame: &str) -> Option<Request> {
        let outline = self.format.outline(frame)?;
        let bytes = frame.len();
        let allowed = self
            .charge(&outline, bytes)
            .and_then(|()| outline.check_size(bytes));
        match allowed {
            Ok(()) => self.format.parse(frame, outline),
            Err(refusal) => Some(Request {
                reference: outline.reference,
                command: Err(refusal),
            }),
        }
    }

    /// Charges a frame of this many bytes to the rate limit, or refuses it.
    fn charge(&mut self, outline: &Outline, bytes: usize) -> Result<(), Refusal> {
        let Some(pace) = &mut self.pace else {
            return Ok(());
        };
        if outline.is_message() {
            let readers = if outline.is_for_room() {
                self.hub.readers(&self.room)
            } else {
                0
            };
            let cost = message_cost(bytes, readers);
            pace.message(outline.id.as_ref(), outline.follows.as_ref(), cost)
        } else {
            // Without the id, the publisher of an invalid message would wait for
            // an answer for ever.
            let charged = pace.commands(frame_cost(bytes));
            charged.map_err(|refusal| refusal.with_id(outline.id.clone()))
        }
    }
}
