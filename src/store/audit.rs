//! Reads the audit records of operators' actions.

use super::{
    StoreError,
    reader::Store,
    row::{TableRow, query},
    tables::{AUDIT, AuditRow},
};
use crate::{log::AuditRecord, protocol::WallTime};

impl Store {
    /// The last audit records, at most `limit`, oldest first, each with its
    /// time. A damaged one is left out.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub async fn audit(&self, limit: u32) -> Result<Vec<(WallTime, AuditRecord)>, StoreError> {
        self.on_reader(move |database| {
            let mut rows = query(database.db(), &AUDIT, "ORDER BY id DESC LIMIT ?1")?;
            let mut rows = rows.query([limit])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.extend(AuditRow::read(row).map(|row| {
                    let record = AuditRecord {
                        operator: row.operator.to_owned(),
                        act: row.action.to_owned(),
                        target: row.target.to_owned(),
                        reason: row.reason.to_owned(),
                    };
                    (WallTime(row.at), record)
                }));
            }
            found.reverse();
            Ok(found)
        })
        .await
    }
}
