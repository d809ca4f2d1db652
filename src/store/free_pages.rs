//! The pages of a database file: how many it uses, and how free ones go back to
//! the system.

use rusqlite::Connection;

use super::StoreError;

/// How many free pages stay in the file for later rows.
const SPARE_PAGES: i64 = 64;

/// How many pages one step gives back: the writer waits for it.
const PAGES_A_STEP: i64 = 128;

/// Lets a new database give back its free pages. Changes nothing in a database
/// that has a table.
///
/// # Errors
/// Fails if the database cannot be written.
pub(super) fn prepare(db: &Connection) -> rusqlite::Result<()> {
    db.pragma_update(None, "auto_vacuum", "incremental")
}

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

/// Gives some free pages back to the system; false if there are few.
///
/// # Errors
/// Fails if the database cannot be written.
pub(super) fn give_back(db: &Connection) -> Result<bool, StoreError> {
    let free: i64 = db.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
    let surplus = (free - SPARE_PAGES).min(PAGES_A_STEP);
    if surplus <= 0 {
        return Ok(false);
    }
    let mut step = db.prepare(&format!("PRAGMA incremental_vacuum({surplus})"))?;
    let mut steps = step.query([])?;
    // Each step gives back one page.
    while steps.next()?.is_some() {}
    Ok(true)
}
