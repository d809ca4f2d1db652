//! Reads hooks.

use super::{
    StoreError,
    hook::{self, Hook},
    reader::Store,
    row::find,
    tables::HOOKS,
};
use crate::protocol::name::RoomName;

impl Store {
    /// The hook with this SHA-256 of its token. A damaged one is none.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub async fn hook(&self, token: [u8; 32]) -> Result<Option<Hook>, StoreError> {
        self.on_reader(move |database| {
            let condition = "WHERE token = ?1";
            let token = [token.as_slice()];
            let found = find(database.db(), &HOOKS, condition, token, Hook::read)?;
            Ok(found.flatten())
        })
        .await
    }

    /// The hooks of a room, by name.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub async fn hooks(&self, room: RoomName) -> Result<Vec<Hook>, StoreError> {
        self.on_reader(move |database| hook::all(database.db(), &room))
            .await
    }
}
