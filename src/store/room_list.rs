//! Lists the rooms that the store knows.

use super::{
    StoreError,
    reader::Store,
    row::{TableRow, query},
    tables::{ROOMS, RoomRow},
};
use crate::protocol::{Seq, name::RoomName};

/// A room of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRoom {
    /// Its name.
    pub room: RoomName,
    /// The number of its last message.
    pub last: Seq,
    /// Whether only its members may enter.
    pub private: bool,
}

impl Store {
    /// The rooms with messages or members of a private room, the last spoken in
    /// first, at most `limit`. Inboxes and damaged rows are left out.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub async fn rooms(&self, limit: u32) -> Result<Vec<StoredRoom>, StoreError> {
        self.on_reader(move |database| {
            let condition = "WHERE substr(name, 1, 1) <> '@' ORDER BY said DESC, name LIMIT ?1";
            let mut rows = query(database.db(), &ROOMS, condition)?;
            let mut rows = rows.query([limit])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.extend(RoomRow::read(row).and_then(|row| {
                    Some(StoredRoom {
                        room: row.name.parse().ok()?,
                        last: row.said,
                        private: row.private,
                    })
                }));
            }
            Ok(found)
        })
        .await
    }
}
