//! Acts on a frame: charges it to the rate limit, parses it, and answers it.

use super::{super::pending::PendingCommand, Conversation, commands::CommandResult};
use crate::{
    fanout::Subscriber,
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

    /// Charges a ping to the rate limit. Every ping is answered, until the client
    /// floods.
    ///
    /// # Errors
    ///
    /// Fails with the close reason if the client floods.
    pub(in crate::session) fn charge_ping(&mut self) -> Result<(), CloseReason> {
        if let Some(pace) = &mut self.pace {
            // A pong cannot carry a refusal.
            let _ = pace.command(0);
        }
        self.check_flood()
    }

    fn check_flood(&self) -> Result<(), CloseReason> {
        match &self.pace {
            Some(pace) if pace.is_flood() => Err(CloseReason::Flooding),
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
            pace.message(outline.id.as_ref(), outline.follows.as_ref(), bytes)
        } else {
            // Without the id, the publisher of an invalid message would wait for
            // an answer for ever.
            let charged = pace.command(bytes);
            charged.map_err(|refusal| refusal.with_id(outline.id.clone()))
        }
    }
}
