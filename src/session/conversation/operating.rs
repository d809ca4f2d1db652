//! Carries out the commands of operators.

use std::pin::Pin;

use super::{
    super::pending::{SideTask, SideTaskResult},
    Conversation,
};
use crate::{
    log::SanctionKind,
    protocol::{
        Command, Event, Refusal, RefusalCode, close::MAX_REASON_BYTES,
        command_target::CommandTarget, text::Text,
    },
};

impl Conversation<'_> {
    /// Carries out an operator's command.
    pub(super) fn operator_command(&self, command: Command) -> Result<SideTask, Refusal> {
        let (by, peer) = (&self.author, self.registration.peer());
        let done: Pin<Box<dyn Future<Output = _> + Send>> = match command {
            Command::Unban { who } => {
                return Ok(SideTask::write(self.lift(SanctionKind::Ban, &who)));
            }
            Command::Unmute { who } => {
                return Ok(SideTask::write(self.lift(SanctionKind::Mute, &who)));
            }
            Command::Kick { who, reason } => {
                return Ok(SideTask::write(self.kick(&who, accept_reason(reason)?)));
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
                let erased = self.hub.redact(by, peer.id, &self.room, seq);
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
    fn lift(
        &self,
        kind: SanctionKind,
        who: &CommandTarget,
    ) -> impl Future<Output = SideTaskResult> + use<> {
        let named = who.to_string();
        let done = match kind {
            SanctionKind::Ban => "banned",
            SanctionKind::Mute => "muted",
        };
        let origin = self.registration.peer().id;
        let lifted = self.hub.lift(&self.author, origin, kind, who);
        async move {
            let text = match lifted.await {
                Ok(None) => format!("{named} is not {done}."),
                Ok(Some(other)) => format!("{named} is still {done}, with {other}."),
                Err(refusal) => return SideTaskResult::Event(Event::Refused(refusal)),
            };
            SideTaskResult::Event(Event::Notice { text })
        }
    }

    /// Ends the connections of a person or prefix.
    fn kick(
        &self,
        who: &CommandTarget,
        why: Option<Text>,
    ) -> impl Future<Output = SideTaskResult> + use<> {
        let named = who.to_string();
        let kicked = self
            .hub
            .kick(&self.author, self.registration.peer().id, who, why);
        async move {
            let text = match kicked.await {
                Ok(0) => format!("{named} is not here."),
                Ok(1) => format!("{named} was kicked."),
                Ok(ended) => format!("{named} was kicked, from {ended} connections."),
                Err(refusal) => return SideTaskResult::Event(Event::Refused(refusal)),
            };
            SideTaskResult::Event(Event::Notice { text })
        }
    }
}

/// Makes an operator's reason safe. A reason of more than one line or more than
/// [`MAX_REASON_BYTES`] bytes is refused.
fn accept_reason(reason: Option<String>) -> Result<Option<Text>, Refusal> {
    let text = Text::from(reason.unwrap_or_default().trim().to_owned());
    if text.len() > MAX_REASON_BYTES || text.contains('\n') {
        let rule = format!("A reason is one line of at most {MAX_REASON_BYTES} bytes.");
        return Err(Refusal::new(RefusalCode::BadField, rule));
    }
    Ok((!text.is_empty()).then_some(text))
}
