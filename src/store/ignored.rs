//! Reads the names that the owner of a name ignores.

use tracing::error;

use super::{
    StoreError,
    reader::Store,
    row::{TableRow, find, query},
    tables::{IGNORED, IgnoredRow},
};
use crate::protocol::{
    ignored::IgnoredNames,
    name::{Name, NameKey},
};

impl Store {
    /// Whether the owner of a name ignores another name.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub async fn ignores(&self, owner: &NameKey, other: &NameKey) -> Result<bool, StoreError> {
        let keys = [owner.clone(), other.clone()];
        self.on_reader(move |database| {
            let condition = "WHERE owner = ?1 AND key = ?2";
            let keys = keys.each_ref().map(NameKey::as_str);
            let found = find(database.db(), &IGNORED, condition, keys, |row| {
                IgnoredRow::read(row).is_some()
            })?;
            Ok(found == Some(true))
        })
        .await
    }

    /// The names that the owner of a name ignores. A damaged one is left out.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub async fn ignored(&self, owner: &NameKey) -> Result<IgnoredNames, StoreError> {
        let owner = owner.clone();
        self.on_reader(move |database| {
            let mut rows = query(database.db(), &IGNORED, "WHERE owner = ?1 ORDER BY key")?;
            let mut rows = rows.query([owner.as_str()])?;
            let mut names = Vec::new();
            while let Some(row) = rows.next()? {
                let name = IgnoredRow::read(row).and_then(|row| Name::stored(row.name).ok());
                if name.is_none() {
                    error!("{} is damaged", (IGNORED.describe)(row));
                }
                names.extend(name);
            }
            Ok(names.into_iter().collect())
        })
        .await
    }
}
