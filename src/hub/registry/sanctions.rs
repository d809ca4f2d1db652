//! The sanctions in force: bans and mutes.

use std::{collections::HashMap, fmt, net::IpAddr, sync::Arc, time::Duration};

use tracing::error;

use crate::{
    log::{GuardedClock, SanctionKind},
    protocol::{
        Refusal, RefusalCode,
        close::CloseReason,
        command_target::CommandTarget,
        name::{Name, NameKey},
        prefix::Prefix,
        typed_duration::TypedDuration,
    },
    store::Sanction,
};

/// The target of a sanction, as connections are compared with it. Its text is
/// the form in the log and the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::hub) enum SanctionTarget {
    Name(NameKey),
    Prefix(Prefix),
}

impl SanctionTarget {
    /// The target of a command.
    ///
    /// # Errors
    ///
    /// Refuses a single connection: it can only be kicked.
    pub(in crate::hub) fn of(who: &CommandTarget) -> Result<Self, Refusal> {
        match who {
            CommandTarget::Name(name) => Ok(SanctionTarget::Name(Name::key(name))),
            CommandTarget::Prefix(prefix) => Ok(SanctionTarget::Prefix(*prefix)),
            CommandTarget::Connection(_) | CommandTarget::Guest(_) => {
                let text =
                    "Give a name, an IP address or a prefix: one connection can only be kicked.";
                Err(Refusal::new(RefusalCode::BadField, text))
            }
        }
    }

    /// Reads the form in the store. No prefix begins with `@`.
    fn stored(text: &str) -> Option<Self> {
        match text.strip_prefix('@') {
            Some(key) => NameKey::stored(key).ok().map(SanctionTarget::Name),
            None => text.parse().ok().map(SanctionTarget::Prefix),
        }
    }

    /// Whether it has all addresses of another target, or the same name.
    fn includes(&self, other: &SanctionTarget) -> bool {
        match (self, other) {
            (SanctionTarget::Prefix(own), SanctionTarget::Prefix(other)) => own.includes(*other),
            _ => self == other,
        }
    }

    /// Whether a connection with this address and this name is meant.
    pub(in crate::hub) fn covers(&self, address: Option<IpAddr>, name: Option<&NameKey>) -> bool {
        match self {
            SanctionTarget::Name(key) => name == Some(key),
            SanctionTarget::Prefix(prefix) => address.is_some_and(|ip| prefix.contains(ip)),
        }
    }
}

impl fmt::Display for SanctionTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SanctionTarget::Name(key) => write!(f, "@{key}"),
            SanctionTarget::Prefix(prefix) => prefix.fmt(f),
        }
    }
}

/// All sanctions in force, by kind and target.
#[derive(Debug)]
pub(super) struct Sanctions {
    in_force: HashMap<(SanctionKind, SanctionTarget), Sanction>,
    /// The lengths of their prefixes, the longest first.
    lengths: Vec<u8>,
    clock: Arc<GuardedClock>,
}

impl Sanctions {
    pub(super) fn new(found: Vec<Sanction>, clock: Arc<GuardedClock>) -> Self {
        let mut sanctions = Sanctions {
            in_force: HashMap::new(),
            lengths: Vec::new(),
            clock,
        };
        for sanction in found {
            sanctions.insert(sanction);
        }
        sanctions.note_lengths();
        sanctions
    }

    pub(super) fn is_empty(&self) -> bool {
        self.in_force.is_empty()
    }

    /// All sanctions in force, each with the milliseconds left, in the order of
    /// kinds and targets.
    pub(super) fn list(&self) -> Vec<(Sanction, Option<u64>)> {
        let now = self.clock.now();
        let all = self.in_force.values().cloned();
        let left = all.map(|sanction| (sanction.remaining_ms(now), sanction));
        let mut list: Vec<_> = left
            .filter(|(left, _)| *left != Some(0))
            .map(|(left, sanction)| (sanction, left))
            .collect();
        list.sort_by(|(one, _), (other, _)| {
            (one.kind, &one.target).cmp(&(other.kind, &other.target))
        });
        list
    }

    /// Whether at most `most` sanctions are in force with one more against this
    /// target.
    pub(super) fn has_room_for(
        &self,
        kind: SanctionKind,
        target: &SanctionTarget,
        most: usize,
    ) -> bool {
        if self.in_force.len() < most || self.in_force.contains_key(&(kind, target.clone())) {
            return true;
        }
        let now = self.clock.now();
        let in_force = self.in_force.values();
        in_force
            .filter(|it| it.remaining_ms(now) != Some(0))
            .count()
            < most
    }

    /// Adds a sanction, in place of one with the same kind and target. Removes
    /// the sanctions that are over.
    pub(super) fn add(&mut self, sanction: Sanction) {
        let now = self.clock.now();
        self.in_force
            .retain(|_, other| other.remaining_ms(now) != Some(0));
        self.insert(sanction);
        self.note_lengths();
    }

    pub(super) fn remove(&mut self, kind: SanctionKind, target: &str) {
        if let Some(target) = SanctionTarget::stored(target) {
            self.in_force.remove(&(kind, target));
            self.note_lengths();
        }
    }

    fn insert(&mut self, sanction: Sanction) {
        if let Some(target) = SanctionTarget::stored(&sanction.target) {
            self.in_force.insert((sanction.kind, target), sanction);
        } else {
            error!("a sanction against {:?} is not in force", sanction.target);
        }
    }

    fn note_lengths(&mut self) {
        let lengths = self.in_force.keys().filter_map(|(_, target)| match target {
            SanctionTarget::Prefix(prefix) => Some(prefix.bits()),
            SanctionTarget::Name(_) => None,
        });
        self.lengths = lengths.collect();
        self.lengths.sort_unstable_by(|one, other| other.cmp(one));
        self.lengths.dedup();
    }

    /// The sanction that holds for an address or a name, and the milliseconds
    /// left. If both have one, it is the one for the name; of several prefixes
    /// the longest counts.
    pub(super) fn find(
        &self,
        kind: SanctionKind,
        address: Option<IpAddr>,
        name: Option<&NameKey>,
    ) -> Option<(&Sanction, Option<u64>)> {
        if self.is_empty() {
            return None;
        }
        let now = self.clock.now();
        let prefixes = address.into_iter().flat_map(|address| {
            let lengths = self.lengths.iter();
            lengths.filter_map(move |bits| Prefix::of(address, *bits))
        });
        let name = name.cloned().map(SanctionTarget::Name);
        let mut found = name
            .into_iter()
            .chain(prefixes.map(SanctionTarget::Prefix))
            .filter_map(|target| self.in_force.get(&(kind, target)))
            .map(|sanction| (sanction, sanction.remaining_ms(now)));
        found.find(|(_, left)| *left != Some(0))
    }

    /// A sanction in force that holds for all of a target, as an operator named
    /// it.
    pub(super) fn covering(&self, kind: SanctionKind, target: &SanctionTarget) -> Option<String> {
        let now = self.clock.now();
        let found = self.in_force.iter().find(|((own_kind, own), sanction)| {
            *own_kind == kind && own.includes(target) && sanction.remaining_ms(now) != Some(0)
        });
        found.map(|(_, sanction)| sanction.shown.clone())
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

/// The rest of a sanction, as people read it: its time left and its reason.
pub(in crate::hub) fn rest(sanction: &Sanction, left: Option<u64>) -> String {
    let left = left
        .map(Duration::from_millis)
        .map(TypedDuration::rounded_up);
    let left = left.map_or_else(String::new, |left| format!(", for another {left}"));
    let reason = &sanction.reason;
    let colon = if reason.is_empty() { "" } else { ": " };
    format!("{left}{colon}{reason}")
}

fn refusal(done: &str, (sanction, left): (&Sanction, Option<u64>)) -> Refusal {
    let text = format!("{done}{}.", rest(sanction, left));
    Refusal::new(RefusalCode::NotAllowed, text)
}
