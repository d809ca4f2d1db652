//! The sanctions in force: who is banned, and who is muted.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use crate::{
    log::{Clock, SanctionKind},
    protocol::{
        Refusal, RefusalCode,
        close::CloseReason,
        lasting::Lasting,
        name::{Name, NameKey},
        who::Who,
    },
    store::Sanction,
};

/// All sanctions in force, by kind and by whom they hold for.
#[derive(Debug)]
pub(super) struct Sanctions {
    in_force: HashMap<(SanctionKind, String), Sanction>,
    clock: Arc<Clock>,
}

impl Sanctions {
    pub(super) fn new(found: Vec<Sanction>, clock: Arc<Clock>) -> Self {
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

    /// Adds a sanction, in place of one of its kind for the same; those that are
    /// over go.
    pub(super) fn add(&mut self, sanction: Sanction) {
        let now = self.clock.now();
        self.in_force.retain(|_, other| other.left(now) != Some(0));
        let key = (sanction.kind, sanction.target.clone());
        self.in_force.insert(key, sanction);
    }

    pub(super) fn remove(&mut self, kind: SanctionKind, target: &str) {
        self.in_force.remove(&(kind, target.to_owned()));
    }

    /// The sanction that holds for an address or a name; that of the name where
    /// both have one.
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
            .map(|sanction| (sanction, sanction.left(now)));
        found.find(|(_, left)| *left != Some(0))
    }

    /// Why a connection may not be here.
    pub(super) fn ban(
        &self,
        address: Option<IpAddr>,
        name: Option<&NameKey>,
    ) -> Option<CloseReason> {
        let (ban, _) = self.find(SanctionKind::Ban, address, name)?;
        Some(CloseReason::banned(&ban.reason))
    }

    /// Refuses a connection that is banned.
    pub(super) fn admits(
        &self,
        address: Option<IpAddr>,
        name: Option<&NameKey>,
    ) -> Result<(), Refusal> {
        let ban = self.find(SanctionKind::Ban, address, name);
        ban.map_or(Ok(()), |ban| Err(refusal("An operator keeps you out", ban)))
    }

    /// Refuses a message of a connection that is muted.
    pub(super) fn hears(
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

/// By what a sanction is found. No address begins like the key of a name.
fn of_name(key: &NameKey) -> String {
    format!("@{key}")
}

fn of_address(address: IpAddr) -> String {
    address.to_canonical().to_string()
}

/// By what a sanction for somebody is found.
///
/// # Errors
///
/// Refuses a single connection, which is only kicked.
pub(in crate::hub) fn key(who: &Who) -> Result<String, Refusal> {
    match who {
        Who::Name(name) => Ok(of_name(&Name::key(name))),
        Who::Address(address) => Ok(of_address(*address)),
        Who::Connection(_) => {
            let text = "It is to be a name or an IP address: a connection is only kicked.";
            Err(Refusal::new(RefusalCode::BadField, text))
        }
    }
}

fn refusal(done: &str, (sanction, left): (&Sanction, Option<u64>)) -> Refusal {
    let left = left.map(Duration::from_millis).map(Lasting::of);
    let left = left.map_or_else(String::new, |left| format!(", for another {left}"));
    let reason = &sanction.reason;
    let colon = if reason.is_empty() { "" } else { ": " };
    let text = format!("{done}{left}{colon}{reason}.");
    Refusal::new(RefusalCode::NotAllowed, text)
}
