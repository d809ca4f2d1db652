//! Reads sanctions: bans and mutes.

use rusqlite::Connection;
use tracing::error;

use super::{
    StoreError,
    row::{TableRow, query},
    tables::{SANCTIONS, SanctionRow},
};
use crate::log::{GuardedTime, SanctionKind};

/// A sanction in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sanction {
    /// Whether it is a ban or a mute.
    pub kind: SanctionKind,
    /// The name or prefix it is against, in the form in which names and
    /// prefixes are compared.
    pub target: String,
    /// The target as the operator named it.
    pub shown: String,
    /// When it ends, by the log's clock; `None`: when it is lifted.
    pub until: Option<GuardedTime>,
    /// The operator's reason; may be empty.
    pub reason: String,
}

impl Sanction {
    /// For how many milliseconds it is still in force: 0 if it has ended,
    /// `None` if it has no end.
    pub fn remaining_ms(&self, now: GuardedTime) -> Option<u64> {
        Some(self.until?.since(now))
    }
}

/// All sanctions; a damaged one is reported and left out.
///
/// # Errors
/// Fails if the database cannot be read.
pub(super) fn all(db: &Connection) -> Result<Vec<Sanction>, StoreError> {
    let mut found = Vec::new();
    let mut rows = query(db, &SANCTIONS, "ORDER BY kind, target")?;
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        let sanction = SanctionRow::read(row).and_then(|row| {
            let kinds = [SanctionKind::Ban, SanctionKind::Mute];
            Some(Sanction {
                kind: kinds.into_iter().find(|kind| kind.word() == row.kind)?,
                target: row.target.to_owned(),
                shown: row.shown.to_owned(),
                until: row.until.map(GuardedTime),
                reason: row.reason.to_owned(),
            })
        });
        if let Some(sanction) = sanction {
            found.push(sanction);
        } else {
            error!("{} is damaged, and not in force", (SANCTIONS.describe)(row));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fanout::Applier,
        log::{Action, AuditRecord},
        store::{Outcome, Storage, check, open},
    };

    fn sanction(kind: SanctionKind, target: &str) -> Sanction {
        Sanction {
            kind,
            target: target.to_owned(),
            shown: target.trim_start_matches('@').to_owned(),
            until: None,
            reason: "spam".to_owned(),
        }
    }

    fn audit(sanction: &Sanction) -> AuditRecord {
        AuditRecord {
            operator: "op".to_owned(),
            act: sanction.kind.word().to_owned(),
            target: sanction.shown.clone(),
            reason: sanction.reason.clone(),
        }
    }

    fn add(log: &mut Applier<'_>, sanction: &Sanction) {
        let outcome = log.apply_action(Action::Sanction {
            kind: sanction.kind,
            target: sanction.target.clone(),
            duration_ms: None,
            audit: audit(sanction),
        });
        let added = Outcome::Sanctioned(sanction.clone());
        assert_eq!(outcome.expect("applied"), added);
    }

    #[test]
    fn a_damaged_sanction_is_not_in_force() {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = Storage::Folder(folder.path().to_owned());
        let ban = sanction(SanctionKind::Ban, "@ana");
        let mute = sanction(SanctionKind::Mute, "@bob");
        let faults = || check(folder.path()).expect("readable").faults;
        let start = || {
            let (replica, _) = open(&storage, "a test").expect("a store");
            Applier::local(replica).expect("a log")
        };
        let in_force = |log: &Applier<'_>| log.replica().sanctions().expect("readable");
        let mut log = start();
        for sanction in [&ban, &mute] {
            add(&mut log, sanction);
        }
        assert_eq!(faults(), [""; 0]);
        let db = Connection::open(folder.path().join("chat.sqlite")).expect("the store");
        let damage = "UPDATE sanctions SET until = 7 WHERE target = '@ana'";
        assert_eq!(db.execute(damage, []).expect("written"), 1);
        drop((log, db));
        assert_eq!(faults(), ["the sanction against \"@ana\" is damaged"]);

        // After a start the other sanctions are in force.
        let mut log = start();
        assert_eq!(in_force(&log), std::slice::from_ref(&mute));
        add(&mut log, &ban);
        drop(log);
        assert_eq!(faults(), [""; 0]);
        let mut log = start();
        assert_eq!(in_force(&log), [ban.clone(), mute.clone()]);
        // A lifted sanction is gone after a start.
        let lift = Action::Lift {
            kind: ban.kind,
            target: ban.target.clone(),
            audit: audit(&ban),
        };
        assert_eq!(log.apply_action(lift).expect("applied"), Outcome::Done);
        drop(log);
        assert_eq!(in_force(&start()), [mute]);
    }
}
