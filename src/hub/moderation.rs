//! The entries for an operator's sanctions and kicks.

use super::registry::sanction_key;
use crate::{
    log::{Action, AuditRecord, SanctionKind},
    protocol::{
        Author, Refusal, command_target::CommandTarget, text::Text, typed_duration::TypedDuration,
    },
};

fn audit(by: &Author, action: String, who: &CommandTarget, why: Option<Text>) -> AuditRecord {
    AuditRecord {
        operator: by.to_string(),
        act: action,
        target: who.to_string(),
        reason: why.map_or_else(String::new, String::from),
    }
}

/// The entry that adds a sanction. Applying a ban ends the conversations it
/// bans.
///
/// # Errors
///
/// Refuses a single connection as target: it can only be kicked.
pub(super) fn sanction(
    by: &Author,
    kind: SanctionKind,
    who: &CommandTarget,
    lasts: Option<TypedDuration>,
    why: Option<Text>,
) -> Result<Action, Refusal> {
    let word = kind.word();
    let action = lasts.map_or_else(|| word.to_owned(), |lasts| format!("{word} {lasts}"));
    let ms = |lasts: TypedDuration| u64::try_from(lasts.duration().as_millis()).unwrap_or(u64::MAX);
    Ok(Action::Sanction {
        kind,
        target: sanction_key(who)?,
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
        target: sanction_key(who)?,
        audit: audit(by, format!("un{}", kind.word()), who, None),
    })
}

/// The entry that ends the conversations of a name, an address or a connection.
pub(super) fn kick(by: &Author, who: &CommandTarget, why: Option<Text>) -> Action {
    Action::Kick(audit(by, "kick".into(), who, why))
}
