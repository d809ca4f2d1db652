//! What operators do to people: ban, mute and kick them.

use super::{
    Hub,
    moderation::{self, Kicked, Lifted},
    registry::SanctionTarget,
};
use crate::{
    log::SanctionKind,
    net::Peer,
    protocol::{
        Author, ConnectionId, Event, Refusal, command_target::CommandTarget, text::Text,
        typed_duration::TypedDuration,
    },
    store::Sanction,
};

impl Hub {
    /// Bans or mutes a name or a prefix, as an operator at the other end of
    /// `peer` asks. The tag of a guest means its address. Returns the target.
    ///
    /// # Errors
    ///
    /// Refuses a target that may have no sanction, and a guest whose address is
    /// not known. Also refuses if the sanction cannot be stored.
    pub fn sanction(
        &self,
        by: &Author,
        peer: Peer,
        kind: SanctionKind,
        who: CommandTarget,
        lasts: Option<TypedDuration>,
        why: Option<Text>,
    ) -> impl Future<Output = Result<CommandTarget, Refusal>> + use<> {
        let (hub, by) = (self.clone(), by.clone());
        async move {
            let (registry, store) = (&hub.shared.registry, hub.history().store());
            let who = moderation::resolve(registry, store, who).await?;
            let action = moderation::sanction(registry, &by, peer, kind, &who, lasts, why)?;
            hub.act(peer.id, action).await.map(|_| who)
        }
    }

    /// Lifts a ban or a mute.
    ///
    /// # Errors
    ///
    /// Refuses a single connection as target, and if the change cannot be
    /// stored.
    pub fn lift(
        &self,
        by: &Author,
        origin: ConnectionId,
        kind: SanctionKind,
        who: CommandTarget,
    ) -> impl Future<Output = Result<Lifted, Refusal>> + use<> {
        let action = moderation::lift(by, kind, &who);
        let target = SanctionTarget::of(&who);
        let (actions, registry) = (self.actions(), self.shared.registry.clone());
        async move {
            actions.act(origin, action?).await?;
            let still = registry.covering(kind, &target?);
            Ok(Lifted { kind, who, still })
        }
    }

    /// The sanctions in force, each with the milliseconds left.
    pub fn sanctions(&self) -> Vec<(Sanction, Option<u64>)> {
        self.shared.registry.sanctions()
    }

    /// The event that lists the sanctions in force, for operators.
    pub fn sanctions_event(&self) -> Event {
        moderation::list(&self.shared.registry)
    }

    /// Ends the conversations of a name, a prefix or a connection.
    ///
    /// # Errors
    ///
    /// Refuses if the server stops or the audit record cannot be stored.
    pub fn kick(
        &self,
        by: &Author,
        origin: ConnectionId,
        who: CommandTarget,
        why: Option<Text>,
    ) -> impl Future<Output = Result<Kicked, Refusal>> + use<> {
        let action = moderation::kick(by, &who, why);
        let actions = self.actions();
        async move {
            let ended = actions.act(origin, action).await?.ended;
            Ok(Kicked { who, ended })
        }
    }
}
