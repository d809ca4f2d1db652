//! The sanctions in force: bans and mutes.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use crate::{
    log::{GuardedClock, SanctionKind},
    protocol::{
        Refusal, RefusalCode,
        close::CloseReason,
        command_target::CommandTarget,
        name::{Name, NameKey},
        typed_duration::TypedDuration,
    },
    store::Sanction,
};

/// All sanctions in force, by kind and target.
#[derive(Debug)]
pub(super) struct Sanctions {
    in_force: HashMap<(SanctionKind, String), Sanction>,
    clock: Arc<GuardedClock>,
}

impl Sanctions {
    pub(super) fn new(found: Vec<Sanction>, clock: Arc<GuardedClock>) -> Self {
        let mut sanctions = Sanctions {
            in_force: HashMap::new(),
            clock,
        };
        for sanction in found {
            sanctions.add(sanction);
        }
        sanctions
    }

    pub(super) fn is_empty(&self) -> bool {
        self.in_force.is_empty()
    }

    /// Adds a sanction, in place of one with the same kind and target. Removes
    /// the sanctions that are over.
    pub(super) fn add(&mut self, sanction: Sanction) {
        let now = self.clock.now();
        self.in_force
            .retain(|_, other| other.remaining_ms(now) != Some(0));
        let key = (sanction.kind, sanction.target.clone());
        self.in_force.insert(key, sanction);
    }

    pub(super) fn remove(&mut self, kind: SanctionKind, target: &str) {
        self.in_force.remove(&(kind, target.to_owned()));
    }

    /// The sanction that holds for an address or a name, and the milliseconds
    /// left. If both have one, it is the one for the name.
    fn find(
        &self,
        kind: SanctionKind,
        address: Option<IpAddr>,
        name: Option<&NameKey>,
    ) -> Option<(&Sanction, Option<u64>)> {
        if self.is_empty() {
            return None;
        }
        let now = self.clock.now();
        let keys = [name.map(of_name), address.map(of_address)];
        let mut found = keys
            .into_iter()
            .flatten()
            .filter_map(|key| self.in_force.get(&(kind, key)))
            .map(|sanction| (sanction, sanction.remaining_ms(now)));
        found.find(|(_, left)| *left != Some(0))
    }

    /// The close reason for a banned connection; `None` if it is not banned.
    pub(super) fn ban_reason(
        &self,
        address: Option<IpAddr>,
        name: Option<&NameKey>,
    ) -> Option<CloseReason> {
        let (ban, _) = self.find(SanctionKind::Ban, address, name)?;
        Some(CloseReason::banned(&ban.reason))
    }

    /// Checks that a connection is not banned.
    ///
    /// # Errors
    ///
    /// Refuses a banned connection, with the reason of the ban.
    pub(super) fn check_ban(
        &self,
        address: Option<IpAddr>,
        name: Option<&NameKey>,
    ) -> Result<(), Refusal> {
        let ban = self.find(SanctionKind::Ban, address, name);
        ban.map_or(Ok(()), |ban| {
            Err(refusal("An operator has banned you", ban))
        })
    }

    /// Checks that a connection is not muted.
    ///
    /// # Errors
    ///
    /// Refuses a muted connection, with the reason of the mute.
    pub(super) fn check_mute(
        &self,
        address: Option<IpAddr>,
        name: Option<&NameKey>,
    ) -> Result<(), Refusal> {
        let mute = self.find(SanctionKind::Mute, address, name);
        mute.map_or(Ok(()), |mute| {
            Err(refusal("An operator has muted you", mute))
        })
    }
}

/// The key of a sanction for a name. No address begins with `@`.
fn of_name(key: &NameKey) -> String {
    format!("@{key}")
}

fn of_address(address: IpAddr) -> String {
    address.to_canonical().to_string()
}

/// The key of a sanction for a target.
///
/// # Errors
///
/// Refuses a single connection: it can only be kicked.
pub(in crate::hub) fn key(who: &CommandTarget) -> Result<String, Refusal> {
    match who {
        CommandTarget::Name(name) => Ok(of_name(&Name::key(name))),
        CommandTarget::Address(address) => Ok(of_address(*address)),
        CommandTarget::Connection(_) => {
            let text = "Give a name or an IP address: one connection can only be kicked.";
            Err(Refusal::new(RefusalCode::BadField, text))
        }
    }
}

fn refusal(done: &str, (sanction, left): (&Sanction, Option<u64>)) -> Refusal {
    let left = left
        .map(Duration::from_millis)
        .map(TypedDuration::rounded_up);
    let left = left.map_or_else(String::new, |left| format!(", for another {left}"));
    let reason = &sanction.reason;
    let colon = if reason.is_empty() { "" } else { ": " };
    let text = format!("{done}{left}{colon}{reason}.");
    Refusal::new(RefusalCode::NotAllowed, text)
}
