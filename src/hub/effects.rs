//! What follows an entry in memory, once it is applied.
//!
//! The writer calls this in the order of the log, before anybody hears of the
//! outcome. So memory changes in the order in which the store does.

use super::registry::Registry;
use crate::{
    log::{Action, Entry},
    protocol::{close::CloseReason, who::Who},
    store::Outcome,
};

/// Where entries have effects.
pub(super) struct Effects {
    registry: Registry,
}

impl Effects {
    pub(super) fn new(registry: Registry) -> Self {
        Effects { registry }
    }

    /// Does what follows an entry; returns how many connections that ended.
    pub(super) fn follow(&self, entry: &Entry, outcome: &Outcome) -> usize {
        let registry = &self.registry;
        match (&entry.action, outcome) {
            (Action::Topic { room, .. }, Outcome::Topic(topic)) => {
                registry.topic_changed(room, topic, entry.connection);
            }
            (Action::Sanction { .. }, Outcome::Sanctioned(sanction)) => {
                registry.sanctioned(sanction.clone());
            }
            (Action::Lift { kind, target, .. }, _) => registry.lifted(*kind, target),
            (Action::Redact { room, seq, .. }, Outcome::Redacted) => {
                registry.redacted(room, *seq);
            }
            (Action::Kick(audit), _) => {
                let reason = CloseReason::kicked(&audit.reason);
                let who = audit.target.parse::<Who>();
                return who.map_or(0, |who| registry.kicked(&who, &reason));
            }
            _ => {}
        }
        0
    }
}
