//! A digest of each table: two stores that applied the same entries have equal
//! digests.

use ring::digest;
use rusqlite::{Connection, types::ValueRef};

use super::{StoreError, tables::ALL};

/// The name of each table, and the SHA-256 of its rows in the order of the key.
///
/// # Errors
/// Fails if the database cannot be read.
pub(super) fn digests(db: &Connection) -> Result<Vec<(&'static str, String)>, StoreError> {
    let mut digests = Vec::new();
    for (table, order) in ALL {
        let mut digest = digest::Context::new(&digest::SHA256);
        let mut rows = super::row::query(db, table, &format!("NOT INDEXED ORDER BY {order}"))?;
        let columns = rows.column_count();
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            for column in 0..columns {
                let (kind, bytes): (u8, &[u8]) = match row.get_ref(column)? {
                    ValueRef::Null => (0, &[]),
                    ValueRef::Integer(number) => (1, &number.to_le_bytes()),
                    ValueRef::Real(number) => (2, &number.to_le_bytes()),
                    ValueRef::Text(text) => (3, text),
                    ValueRef::Blob(blob) => (4, blob),
                };
                digest.update(&[kind]);
                digest.update(&(bytes.len() as u64).to_le_bytes());
                digest.update(bytes);
            }
        }
        let digest = digest.finish();
        let hex = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
        digests.push((table.name, hex.collect()));
    }
    Ok(digests)
}
