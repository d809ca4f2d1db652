//! The effects of applied entries on the registry in memory.
//!
//! The writer calls this in the order of the log, before it tells anyone the
//! outcome. So memory changes in the same order as the store.

use std::collections::BTreeSet;

use tracing::info;

use super::registry::Registry;
use crate::{
    log::{Action, Entry},
    protocol::{OwnerNumber, close::CloseReason, command_target::CommandTarget, name::RoomName},
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

    /// Notes the activity that applied entries make.
    pub(super) fn note_activity(&self, entries: &[Entry], outcomes: &[Outcome]) {
        let (mut rooms, mut of_owners) = (BTreeSet::new(), BTreeSet::new());
        for (entry, outcome) in entries.iter().zip(outcomes) {
            match (&entry.action, outcome) {
                (Action::Message(draft), Outcome::Stored(_)) if !draft.is_change() => {
                    let author = draft.from.owner.unwrap_or(OwnerNumber::NONE);
                    if let Some(to) = &draft.to {
                        if !to.ignores {
                            of_owners.insert((to.owner, RoomName::inbox(author)));
                        }
                    } else {
                        rooms.insert(&draft.room);
                    }
                    let mentioned = draft.mentions.iter().filter(|owner| **owner != author);
                    of_owners.extend(mentioned.map(|owner| (*owner, draft.room.clone())));
                }
                (Action::Read { owner, room, .. }, Outcome::Done) => {
                    of_owners.insert((*owner, room.clone()));
                }
                _ => {}
            }
        }
        if !rooms.is_empty() || !of_owners.is_empty() {
            self.registry.note_activity(&rooms, &of_owners);
        }
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
            (Action::Claim { name, .. } | Action::Admit { name, .. }, outcome) => {
                if let Outcome::Claimed(owned) | Outcome::Admitted(owned) = outcome {
                    registry.add_owned_name(name, owned.owner);
                }
            }
            (Action::Follow { owner, room, .. }, Outcome::Follows(level)) => {
                registry.change_follow(*owner, room, Some(*level));
            }
            (Action::Unfollow { owner, room }, _) => registry.change_follow(*owner, room, None),
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
