//! Reads invitations.

use super::{
    StoreError,
    invitation::Invitation,
    reader::Store,
    row::{find, query},
    tables::INVITATIONS,
};
use crate::protocol::name::RoomName;

impl Store {
    /// The invitation with this SHA-256 of its token. A damaged one is none.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub async fn invitation(&self, token: [u8; 32]) -> Result<Option<Invitation>, StoreError> {
        self.on_reader(move |database| {
            let condition = "WHERE token = ?1";
            let found = find(
                database.db(),
                &INVITATIONS,
                condition,
                [token.as_slice()],
                Invitation::read,
            )?;
            Ok(found.flatten())
        })
        .await
    }

    /// The invitations to a room, or to all rooms.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub async fn invitations(&self, room: Option<RoomName>) -> Result<Vec<Invitation>, StoreError> {
        self.on_reader(move |database| {
            let condition = "WHERE ?1 IS NULL OR room = ?1 ORDER BY id";
            let mut rows = query(database.db(), &INVITATIONS, condition)?;
            let mut rows = rows.query([room.as_ref().map(RoomName::as_str)])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.extend(Invitation::read(row));
            }
            Ok(found)
        })
        .await
    }
}
