//! What operators did: who, what, to whom, when and why.

use rusqlite::params;

use super::{Changing, StoreError, row::AuditRow};

impl Changing<'_> {
    /// Writes down what an operator did, beside what it changes.
    pub fn audit(
        &mut self,
        operator: String,
        what: &str,
        whom: String,
        why: String,
    ) -> Result<(), StoreError> {
        let row = AuditRow {
            at: self.at.0,
            operator,
            what: what.to_owned(),
            whom,
            why,
        };
        self.db
            .prepare_cached(
                "INSERT INTO audit (at, operator, what, whom, why, sum)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                row.at,
                row.operator,
                row.what,
                row.whom,
                row.why,
                row.sum()
            ])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Storage, check, open};

    #[test]
    fn a_damaged_row_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = Storage::Folder(folder.path().to_owned());
        let (mut writer, _history) = open(&storage, "a test").expect("a log");
        let write =
            |log: &mut Changing<'_>| log.audit("ana".into(), "kick", "bob".into(), "spam".into());
        writer.change(write).expect("written");
        assert_eq!(check(folder.path()).expect("readable").faults.len(), 0);
        let damage =
            |log: &mut Changing<'_>| Ok(log.db.execute("UPDATE audit SET why = ''", [])?);
        assert_eq!(writer.change(damage).expect("written"), 1);
        assert_eq!(check(folder.path()).expect("readable").faults.len(), 1);
    }
}
