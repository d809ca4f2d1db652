//! The parents: the logs that this log continues.

use rusqlite::Connection;
use tracing::error;

use super::{
    StoreError,
    row::{TableRow, query},
    tables::{PARENTS, ParentRow},
};
use crate::{
    log::BatchPosition,
    protocol::{Epoch, Parent, Seq},
};

/// The most parents that are kept: the last ones. A position of an earlier log
/// counts as one of an unknown log.
const MAX_PARENTS: u32 = 16;

/// All parents, the last one first; a damaged one is reported and left out.
///
/// # Errors
/// Fails if the database cannot be read.
pub(super) fn all(db: &Connection) -> Result<Vec<Parent>, StoreError> {
    let mut found = Vec::new();
    let mut rows = query(db, &PARENTS, "ORDER BY batch DESC")?;
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(parent) = ParentRow::read(row) {
            found.push(Parent {
                epoch: Epoch(parent.epoch.into()),
                upto: parent.upto,
            });
        } else {
            let described = (PARENTS.describe)(row);
            error!("{described} is damaged: its readers start over");
        }
    }
    Ok(found)
}

/// Adds the log that ends with a batch and a number. The oldest parents beyond
/// [`MAX_PARENTS`] are removed.
///
/// # Errors
/// Fails if the database cannot be written.
pub(super) fn add(
    db: &Connection,
    batch: BatchPosition,
    epoch: &Epoch,
    upto: Seq,
) -> Result<(), StoreError> {
    let batch = Seq(batch.0);
    ParentRow {
        batch,
        epoch: &epoch.0,
        upto,
    }
    .put(db)?;
    let surplus = "SELECT batch FROM parents ORDER BY batch DESC LIMIT -1 OFFSET ?1";
    db.prepare_cached(&format!("DELETE FROM parents WHERE batch IN ({surplus})"))?
        .execute([MAX_PARENTS])?;
    Ok(())
}
