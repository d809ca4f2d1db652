//! Carries out the commands of operators.

use std::pin::Pin;

use super::{
    super::pending::{SideTask, SideTaskResult},
    Conversation,
};
use crate::{
    hub::accept_reason,
    log::SanctionKind,
    protocol::{Command, Event, Refusal, RefusalCode, command_target::CommandTarget},
};

/// The future sentence for the operator.
type Told = Pin<Box<dyn Future<Output = Result<String, Refusal>> + Send>>;

impl Conversation<'_> {
    /// Carries out an operator's command.
    pub(super) fn operator_command(&self, command: Command) -> Result<SideTask, Refusal> {
        let (by, peer) = (&self.author, self.registration.peer());
        let done: Told = match command {
            Command::Unban { who } => self.lift(SanctionKind::Ban, who),
            Command::Unmute { who } => self.lift(SanctionKind::Mute, who),
            Command::Kick { who, reason } => {
                let kicked = self.hub.kick(by, peer.id, who, accept_reason(reason)?);
                Box::pin(async { Ok(kicked.await?.to_string()) })
            }
            Command::Ban {
                who,
                duration,
                reason,
            } => {
                let banned = self.hub.sanction(
                    by,
                    peer,
                    SanctionKind::Ban,
                    who,
                    duration,
                    accept_reason(reason)?,
                );
                Box::pin(async { Ok(format!("{} is banned.", banned.await?)) })
            }
            Command::Mute { who, duration } => {
                let kind = SanctionKind::Mute;
                let muted = self.hub.sanction(by, peer, kind, who, duration, None);
                Box::pin(async { Ok(format!("{} is muted.", muted.await?)) })
            }
            Command::Erase { seq } => {
                let erased = self.hub.redact(by, peer.id, self.room.clone(), seq);
                Box::pin(async move { erased.await.map(|()| format!("Number {seq} is erased.")) })
            }
            _ => return Err(Refusal::new(RefusalCode::UnknownType, "No such command.")),
        };
        Ok(SideTask::write(async move {
            let text = match done.await {
                Ok(told) => told,
                Err(refusal) => return SideTaskResult::Event(Event::Refused(refusal)),
            };
            SideTaskResult::Event(Event::Notice { text })
        }))
    }

    /// Lifts a ban or a mute.
    fn lift(&self, kind: SanctionKind, who: CommandTarget) -> Told {
        let origin = self.registration.peer().id;
        let lifted = self.hub.lift(&self.author, origin, kind, who);
        Box::pin(async { Ok(lifted.await?.to_string()) })
    }
}
