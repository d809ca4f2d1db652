//! The effects of applied entries on the registry in memory.
//!
//! The writer calls this in the order of the log, before it tells anyone the
//! outcome. So memory changes in the same order as the store.

use tracing::info;

use super::registry::Registry;
use crate::{
    log::{Action, Entry},
    protocol::{close::CloseReason, command_target::CommandTarget},
    store::Outcome,
};

/// Carries out the effects of entries.
pub(super) struct Effects {
    registry: Registry,
}

impl Effects {
    pub(super) fn new(registry: Registry) -> Self {
        Effects { registry }
    }

    /// Carries out the effects of one entry. Returns how many conversations a
    /// kick ended.
    pub(super) fn carry_out(&self, entry: &Entry, outcome: &Outcome) -> usize {
        let registry = &self.registry;
        log(entry, outcome);
        match (&entry.action, outcome) {
            (Action::Topic { room, .. }, Outcome::Topic(topic)) => {
                registry.topic_changed(room, topic, entry.connection);
            }
            (Action::Sanction { .. }, Outcome::Sanctioned(sanction)) => {
                registry.apply_sanction(sanction.clone());
            }
            (Action::Lift { kind, target, .. }, _) => registry.lifted(*kind, target),
            (
                Action::Redact { room, seq, .. } | Action::Retract { room, seq, .. },
                Outcome::Redacted,
            ) => {
                registry.tell_redaction(room, *seq);
            }
            (Action::Kick(audit), _) => {
                let reason = CloseReason::kicked(&audit.reason);
                let who = audit.target.parse::<CommandTarget>();
                return who.map_or(0, |who| registry.kick(&who, &reason));
            }
            _ => {}
        }
        0
    }
}

/// Logs what operators do.
fn log(entry: &Entry, outcome: &Outcome) {
    match (&entry.action, outcome) {
        (Action::Sanction { audit, .. }, Outcome::Sanctioned(_))
        | (Action::Lift { audit, .. } | Action::Release { audit, .. }, Outcome::Done)
        | (Action::Kick(audit), _) => {
            let reason = audit.reason.as_str();
            let (by, target) = (&audit.operator, &audit.target);
            info!(%by, %target, reason, "{}", audit.act);
        }
        (Action::Redact { room, seq, by }, Outcome::Redacted) => {
            info!(%by, %room, "erase {seq}");
        }
        _ => {}
    }
}
