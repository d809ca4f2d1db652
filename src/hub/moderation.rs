//! Operators' sanctions and kicks: the entries for them, and the list of those
//! in force.

use std::fmt::{self, Write as _};

use tracing::error;

use super::registry::{Registry, SanctionTarget, rest_of_sanction};
use crate::{
    log::{Action, AuditRecord, SanctionKind},
    net::Peer,
    protocol::{
        Author, Event, Refusal, RefusalCode, close::MAX_REASON_BYTES,
        command_target::CommandTarget, name::Name, text::Text, typed_duration::TypedDuration,
    },
    store::Store,
};

/// How many sanctions may be in force. All of them are in memory.
const MAX_SANCTIONS: usize = 10_000;

/// How many sanctions a list shows.
const MAX_LISTED: usize = 200;

/// The outcome of a kick.
#[derive(Clone, Debug)]
pub struct Kicked {
    /// The target.
    pub who: CommandTarget,
    /// How many conversations it ended.
    pub ended: usize,
}

impl fmt::Display for Kicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Kicked { who, ended } = self;
        match ended {
            0 => write!(f, "{who} is not here."),
            1 => write!(f, "{who} was kicked."),
            _ => write!(f, "{who} was kicked, from {ended} connections."),
        }
    }
}

/// The outcome of lifting a ban or a mute.
#[derive(Clone, Debug)]
pub struct Lifted {
    /// The kind of the sanction.
    pub kind: SanctionKind,
    /// The target.
    pub who: CommandTarget,
    /// The target of another sanction that still holds for this one, as an
    /// operator named it.
    pub still: Option<String>,
}

impl fmt::Display for Lifted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (who, done) = (&self.who, self.kind.participle());
        match &self.still {
            None => write!(f, "{who} is not {done}."),
            Some(other) => write!(f, "{who} is still {done}, with {other}."),
        }
    }
}

/// Makes an operator's reason safe.
///
/// # Errors
///
/// Refuses a reason of more than one line or more than [`MAX_REASON_BYTES`]
/// bytes.
pub fn accept_reason(reason: Option<String>) -> Result<Option<Text>, Refusal> {
    let text = Text::from(reason.unwrap_or_default().trim().to_owned());
    if text.len() > MAX_REASON_BYTES || text.contains('\n') {
        let rule = format!("A reason is one line of at most {MAX_REASON_BYTES} bytes.");
        return Err(Refusal::new(RefusalCode::BadField, rule));
    }
    Ok((!text.is_empty()).then_some(text))
}

fn audit(by: &Author, action: String, who: &CommandTarget, why: Option<Text>) -> AuditRecord {
    AuditRecord {
        operator: by.to_string(),
        act: action,
        target: who.to_string(),
        reason: why.map_or_else(String::new, String::from),
    }
}

/// The target of a sanction: for the tag of a guest, the address of the guest.
/// That is a connected one, or else the last one that spoke.
///
/// # Errors
///
/// Refuses a guest whose address is not known, and if the store cannot be read.
pub(super) async fn resolve(
    registry: &Registry,
    store: &Store,
    who: CommandTarget,
) -> Result<CommandTarget, Refusal> {
    let CommandTarget::Guest(tag) = &who else {
        return Ok(who);
    };
    let address = match registry.address_of(tag) {
        Some(address) => Some(address),
        None => store.address_of(tag).await.unwrap_or_else(|error| {
            error!("the address of {tag} cannot be looked up: {error}");
            None
        }),
    };
    let unknown = || {
        let text = format!("The address of {tag} is not known: give a name or an address.");
        Refusal::new(RefusalCode::NotHere, text)
    };
    Ok(CommandTarget::Prefix(address.ok_or_else(unknown)?.into()))
}

/// The entry that adds a sanction, as an operator at the other end of `peer`
/// asks. Applying a ban ends the conversations it bans.
///
/// # Errors
///
/// Refuses a single connection as target: it can only be kicked. Also refuses a
/// target that covers the operator, a trusted proxy or the loopback interface,
/// and one sanction too many.
pub(super) fn sanction(
    registry: &Registry,
    by: &Author,
    peer: Peer,
    kind: SanctionKind,
    who: &CommandTarget,
    lasts: Option<TypedDuration>,
    why: Option<Text>,
) -> Result<Action, Refusal> {
    let target = SanctionTarget::of(who)?;
    let refused = |why: String| Err(Refusal::new(RefusalCode::NotAllowed, why));
    if let SanctionTarget::Prefix(prefix) = &target
        && prefix.has_loopback()
    {
        return refused(format!(
            "{who} has an address of this machine, which everybody behind a proxy on it shares: give a name."
        ));
    }
    if let SanctionTarget::Prefix(prefix) = &target
        && registry.proxies().overlaps(*prefix)
    {
        return refused(format!(
            "{who} has an address of a trusted proxy (--trusted-proxy): give a longer prefix, or a name."
        ));
    }
    let own_key = by.name.as_ref().map(Name::key);
    if target.covers(peer.ip(), own_key.as_ref()) {
        return refused(format!("{who} covers you, too."));
    }
    if !registry.has_room_for_sanction(kind, &target, MAX_SANCTIONS) {
        return refused(format!(
            "{MAX_SANCTIONS} bans and mutes are in force, and no more can be: lift some first."
        ));
    }
    let word = kind.word();
    let action = lasts.map_or_else(|| word.to_owned(), |lasts| format!("{word} {lasts}"));
    let ms = |lasts: TypedDuration| u64::try_from(lasts.duration().as_millis()).unwrap_or(u64::MAX);
    Ok(Action::Sanction {
        kind,
        target: target.to_string(),
        duration_ms: lasts.map(ms),
        audit: audit(by, action, who, why),
    })
}

/// The entry that lifts a sanction.
///
/// # Errors
///
/// Refuses a single connection as target: it cannot have a sanction.
pub(super) fn lift(
    by: &Author,
    kind: SanctionKind,
    who: &CommandTarget,
) -> Result<Action, Refusal> {
    Ok(Action::Lift {
        kind,
        target: SanctionTarget::of(who)?.to_string(),
        audit: audit(by, format!("un{}", kind.word()), who, None),
    })
}

/// The entry that ends the conversations of a name, a prefix or a connection.
pub(super) fn kick(by: &Author, who: &CommandTarget, why: Option<Text>) -> Action {
    Action::Kick(audit(by, "kick".into(), who, why))
}

/// The list of the sanctions in force, for operators. If there are many, only a
/// part of them.
pub(super) fn list(registry: &Registry) -> Event {
    let all = registry.sanctions();
    let mut text = match all.len() {
        0 => "No ban or mute is in force.".to_owned(),
        _ => "Bans and mutes in force:".to_owned(),
    };
    for (sanction, left) in all.iter().take(MAX_LISTED) {
        let (word, rest) = (sanction.kind.word(), rest_of_sanction(sanction, *left));
        // Writing to a String cannot fail.
        let _ = write!(text, "\n{word} {}{rest}", sanction.shown);
    }
    if let Some(more) = all.len().checked_sub(MAX_LISTED).filter(|more| *more > 0) {
        let _ = write!(text, "\nand {more} more");
    }
    Event::Notice { text }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        hub::Capacity,
        log::{GuardedClock, GuardedTime},
        store::Sanction,
    };

    fn registry(sanctions: usize) -> Registry {
        let sanction = |n| {
            let target = std::net::Ipv4Addr::from(n).to_string();
            Sanction {
                kind: SanctionKind::Ban,
                shown: target.clone(),
                target,
                until: None,
                reason: String::new(),
            }
        };
        let numbers = 0x0a00_0000_u32..;
        let sanctions = numbers.take(sanctions).map(sanction).collect();
        let clock = Arc::new(GuardedClock::after(GuardedTime(0)));
        let proxies = "10.200.0.0/16".parse().expect("a prefix");
        Registry::new(
            Capacity::UNLIMITED,
            proxies,
            false,
            sanctions,
            Vec::new(),
            Vec::new(),
            clock,
        )
    }

    // Verified to fail when proxies are not looked at.
    #[test]
    fn a_ban_cannot_cover_a_trusted_proxy() {
        let peer = Peer::accepted(Some(([192, 0, 2, 1], 5000).into())).expect("an id");
        let by = Author {
            name: None,
            addr: peer.tag(),
            owner: None,
        };
        let registry = registry(0);
        for (who, allowed) in [
            ("10.200.3.4", false),
            ("10.0.0.0/8", false),
            ("10.201.0.0/16", true),
        ] {
            for kind in [SanctionKind::Ban, SanctionKind::Mute] {
                let who = who.parse().expect("a prefix");
                let made = sanction(&registry, &by, peer, kind, &who, None, None);
                assert_eq!(made.is_ok(), allowed, "{who}");
            }
        }
    }

    #[test]
    fn sanctions_in_force_are_bounded_and_so_is_their_list() {
        let peer = Peer::accepted(Some(([192, 0, 2, 1], 5000).into())).expect("an id");
        let by = Author {
            name: None,
            addr: peer.tag(),
            owner: None,
        };
        let who = "203.0.113.7".parse().expect("an address");
        let ban = |in_force| {
            let registry = registry(in_force);
            sanction(&registry, &by, peer, SanctionKind::Ban, &who, None, None)
        };
        assert!(ban(MAX_SANCTIONS - 1).is_ok());
        let refused = ban(MAX_SANCTIONS).expect_err("one too many");
        assert_eq!(refused.code, RefusalCode::NotAllowed);

        for (in_force, lines, last) in [
            (0, 1, "No ban or mute is in force."),
            (200, 201, "ban 10.0.0.199"),
            (205, 202, "and 5 more"),
        ] {
            let Event::Notice { text } = list(&registry(in_force)) else {
                panic!("another event");
            };
            assert_eq!(text.lines().count(), lines);
            assert!(text.lines().any(|line| line == last), "{text}");
        }
    }
}
