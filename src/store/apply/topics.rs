//! Applies the topic of a room.

use super::Applying;
use crate::{
    protocol::{Topic, name::RoomName, text::Text},
    store::{Outcome, StoreError, row::TableRow, tables::TopicRow},
};

impl Applying<'_> {
    /// Sets a room's topic; an empty text removes it.
    ///
    /// # Errors
    /// Fails if the database cannot be written.
    pub(super) fn set_topic(
        &mut self,
        room: &RoomName,
        text: &Text,
        by: &str,
    ) -> Result<Outcome, StoreError> {
        if text.is_empty() {
            self.db
                .prepare_cached("DELETE FROM topics WHERE room = ?1")?
                .execute([room.as_str()])?;
            return Ok(Outcome::Topic(Topic::none()));
        }
        let at = self.stamp.wall;
        TopicRow {
            room: room.as_str(),
            text,
            author: by,
            at: at.0,
        }
        .put(self.db)?;
        Ok(Outcome::Topic(Topic {
            text: text.clone(),
            by: Some(by.to_owned()),
            at: Some(at),
        }))
    }
}
