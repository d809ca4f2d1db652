//! How many bytes of a database file are in use.

use rusqlite::Connection;

use super::StoreError;

/// The bytes that the file uses, without free pages.
///
/// # Errors
/// Fails if the database cannot be read.
pub(super) fn used_bytes(db: &Connection) -> Result<u64, StoreError> {
    let used = "SELECT (page_count - freelist_count) * page_size
        FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
    let used: i64 = db.prepare_cached(used)?.query_row([], |row| row.get(0))?;
    Ok(used.unsigned_abs())
}
