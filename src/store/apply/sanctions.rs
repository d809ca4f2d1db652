//! Applies sanctions: bans and mutes.

use super::Applying;
use crate::{
    log::{AuditRecord, SanctionKind},
    store::{Outcome, Sanction, StoreError, row::TableRow, tables::SanctionRow},
};

impl Applying<'_> {
    /// Adds a sanction, and replaces one of the same kind and target. Deletes
    /// the sanctions that have ended.
    ///
    /// # Errors
    /// Fails if the database cannot be read or written.
    pub(super) fn sanction(
        &mut self,
        kind: SanctionKind,
        target: &str,
        duration_ms: Option<u64>,
        audit: &AuditRecord,
    ) -> Result<Outcome, StoreError> {
        self.record(audit)?;
        let clock = self.state.clock;
        self.db
            .prepare_cached("DELETE FROM sanctions WHERE until < ?1")?
            .execute([clock.0])?;
        let sanction = Sanction {
            kind,
            target: target.to_owned(),
            shown: audit.target.clone(),
            until: duration_ms.map(|ms| clock.plus(ms)),
            reason: audit.reason.clone(),
        };
        SanctionRow {
            kind: kind.word(),
            target,
            shown: &sanction.shown,
            until: sanction.until.map(|until| until.0),
            reason: &sanction.reason,
        }
        .put(self.db)?;
        Ok(Outcome::Sanctioned(sanction))
    }

    /// Lifts a sanction.
    ///
    /// # Errors
    /// Fails if the database cannot be read or written.
    pub(super) fn lift(
        &mut self,
        kind: SanctionKind,
        target: &str,
        audit: &AuditRecord,
    ) -> Result<Outcome, StoreError> {
        self.record(audit)?;
        self.db
            .prepare_cached("DELETE FROM sanctions WHERE kind = ?1 AND target = ?2")?
            .execute([kind.word(), target])?;
        Ok(Outcome::Done)
    }
}
